/* Modules at work: loaded into a worker, their probes asked.
 *
 * Refuses a shared object that exports less than <usher/module.h> demands or was built for another version of
 * it, and what a probe says beyond its registration: an attribute that is not its own, a value that no client
 * could have sent, an answer that is no verdict. Nothing is ever unloaded, and the hosts live as long as the
 * process. */
#include "module.h"

#include "finding.h"
#include "module_host.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)USHER_NO == VERDICT_NO && (int)USHER_MORE == VERDICT_MORE && (int)USHER_YES == VERDICT_YES,
	"a module's verdicts are ours");
_Static_assert(USHER_SETS_SNI == 1U << ATTRIBUTE_SNI && USHER_SETS_ALPN == 1U << ATTRIBUTE_ALPN &&
		USHER_SETS_HOST == 1U << ATTRIBUTE_HOST,
	"a module's attributes are ours");
_Static_assert(USHER_EVIDENCE_MAX == EVIDENCE_MAX && USHER_VALUES_MAX == FINDING_VALUES_MAX, "as documented");

/* ---- loading ---- */

int module_load(const char *path, module_init_function **ret_init, char *error, size_t size)
{
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!object) {
		const char *why = dlerror();
		snprintf(error, size, "module `%s' cannot be loaded: %s", path, why ? why : "unknown reason");
		return -ENOEXEC;
	}
	const unsigned *abi = dlsym(object, "usher_module_abi");
	/* POSIX has dlsym() return functions as void pointers too. */
	*ret_init = (module_init_function *)dlsym(object, "usher_module_init");
	if (!abi || !*ret_init) {
		snprintf(error, size, "`%s' is no module of usher's: it has no `%s'", path,
			abi ? "usher_module_init" : "usher_module_abi");
		return -ENOEXEC;
	}
	if (*abi != USHER_MODULE_ABI) {
		snprintf(error, size,
			"module `%s' was built for version %u of usher's module interface, expected version %d", path,
			*abi, USHER_MODULE_ABI);
		return -ENOEXEC;
	}
	return 0;
}

/* Probes that the policy does not know were refused when it was compiled, as they are now. */
static int probe_bind(struct module_host *host, const struct usher_probe *probe)
{
	for (size_t i = 0; i < host->use->n_probes; i++) {
		struct module_probe *known = &host->use->probes[i];
		if (strcmp(known->name, probe->name) != 0)
			continue;
		known->host = host;
		known->run = probe->run;
		known->context = probe->context;
		return 0;
	}
	return -EEXIST;
}

/* Kept in sight, as only a module may know of its host. */
static struct module_host *hosts;

static int module_bind_one(struct module_use *use, uint32_t place, char *error, size_t size)
{
	module_init_function *init;
	struct module_host *host = NULL;

	atomic_store_explicit(module_running, MODULE_IN_INIT | place, memory_order_relaxed);
	int r = module_load(use->path, &init, error, size);
	if (r == 0 && (r = module_host_new(&host, use)) < 0)
		snprintf(error, size, "module `%s': %s", use->path, strerrordesc_np(-r));
	if (r == 0) {
		host->next = hosts;
		hosts = host;
		host->take = probe_bind;
		r = module_host_init(host, init, error, size);
	}
	atomic_store_explicit(module_running, 0, memory_order_relaxed);
	for (size_t i = 0; r == 0 && i < use->n_probes; i++) {
		if (use->probes[i].run)
			continue;
		snprintf(error, size, "module `%s' does not register probe `%s' any more", use->path,
			use->probes[i].name);
		r = -ENOENT;
	}
	return r;
}

int module_bind(struct module_use *modules, size_t n, char *error, size_t size)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = module_bind_one(&modules[i], (uint32_t)i, error, size);
	return r;
}

/* ---- asking ---- */

/* What a probe sets, until it says YES. The bytes are in the findings' scratch already. */
struct usher_findings {
	struct findings *findings;
	unsigned attributes; /* that the probe may set */
	size_t count[ATTRIBUTE_COUNT];
	struct {
		const uint8_t *at;
		size_t len;
	} value[ATTRIBUTE_COUNT][FINDING_VALUES_MAX];
};

int module_attribute_set(struct usher_findings *findings, unsigned attribute, const void *value, size_t len)
{
	uint8_t name[HOST_MAX];
	int which = attribute == USHER_SETS_SNI ? ATTRIBUTE_SNI
		: attribute == USHER_SETS_ALPN  ? ATTRIBUTE_ALPN
						: ATTRIBUTE_HOST;

	if (attribute != 1U << which || !(findings->attributes & attribute))
		return -EPERM;
	if (len < 1 || (which == ATTRIBUTE_ALPN && len > 255))
		return -EINVAL;
	if (which != ATTRIBUTE_ALPN) {
		len = host_normalize(name, value, len, which == ATTRIBUTE_SNI ? HOST_BARE : HOST_AUTHORITY);
		if (len == 0)
			return -EINVAL;
		value = name;
	}
	uint8_t *at = findings->count[which] < FINDING_VALUES_MAX ? findings_take(findings->findings, len) : NULL;
	if (!at)
		return -ENOSPC;
	memcpy(at, value, len);
	findings->value[which][findings->count[which]].at = at;
	findings->value[which][findings->count[which]++].len = len;
	return 0;
}

/* The answers that settled something, so that none is taken back while it is remembered: newer ones take
 * their places. NO saves asking. */
struct answer {
	uint64_t connection; /* 0: none */
	uint32_t probe;
	enum verdict verdict;
};

static struct answer answers[MODULE_ANSWERS];

static struct answer *answer_place(const struct module_probe *probe, uint64_t connection)
{
	return &answers[(connection * 31 + probe->number) % MODULE_ANSWERS];
}

static void answer_keep(const struct module_probe *probe, uint64_t connection, enum verdict verdict)
{
	if (connection != 0 && verdict != VERDICT_MORE)
		*answer_place(probe, connection) = (struct answer){ connection, probe->number, verdict };
}

/* MORE: nothing is remembered. */
static enum verdict answer_recall(const struct module_probe *probe, uint64_t connection)
{
	const struct answer *answer = answer_place(probe, connection);

	return connection != 0 && answer->connection == connection && answer->probe == probe->number ? answer->verdict
												     : VERDICT_MORE;
}

static enum verdict probe_ask(
	const struct module_probe *probe, const struct evidence *evidence, struct findings *findings)
{
	struct usher_evidence given = { findings->serial, evidence->bytes, evidence_len(evidence) };
	struct usher_findings set; /* the values are left as they are: to clear them costs more than many a probe */
	size_t scratch_used = findings->scratch_used;

	set.findings = findings;
	set.attributes = probe->attributes;
	memset(set.count, 0, sizeof(set.count));
	atomic_store_explicit(module_running, probe->number + 1, memory_order_relaxed);
	enum usher_verdict said = probe->run(probe->context, &given, &set);
	atomic_store_explicit(module_running, 0, memory_order_relaxed);

	if (said == USHER_YES) {
		for (int i = 0; i < ATTRIBUTE_COUNT; i++)
			for (size_t k = 0; k < set.count[i]; k++)
				finding_add(findings, (enum attribute)i, set.value[i][k].at, set.value[i][k].len);
		return VERDICT_YES;
	}
	findings->scratch_used = scratch_used;
	return said == USHER_MORE && given.len < EVIDENCE_MAX ? VERDICT_MORE : VERDICT_NO;
}

enum verdict module_probe_run(
	const struct module_probe *probe, const struct evidence *evidence, struct findings *findings)
{
	enum verdict before = answer_recall(probe, evidence->serial);

	if (!probe->run || before == VERDICT_NO)
		return VERDICT_NO;
	enum verdict verdict = probe_ask(probe, evidence, findings);
	if (before == VERDICT_YES && verdict != VERDICT_YES) {
		probe->host->api.log(&probe->host->api, USHER_WARNING, "probe %s took back its YES", probe->name);
		return VERDICT_YES;
	}
	if (before == VERDICT_MORE)
		answer_keep(probe, evidence->serial, verdict);
	return verdict;
}
