/* Configuration text of any kind: it compiles or is complained of, and what compiles can be printed and
 * asked. The text is the operator's, not a stranger's, but other programs' configurations pass through here
 * too.
 *
 * Text that includes files is left out, and this machine's users, groups and interfaces are replaced by a few
 * that never change: a finding is the same everywhere, and the databases are slow. */
#include "../decide.h"
#include "libconfig_text.h"
#include "policy.h"
#include <grp.h>
#include <ifaddrs.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

struct passwd *getpwuid(uid_t uid)
{
	static struct passwd nobody = { "nobody", "x", 65534, 65534, "", "/", "/bin/sh" };
	nobody.pw_uid = uid;
	return &nobody;
}

struct passwd *getpwnam(const char *name)
{
	return strcmp(name, "nobody") == 0 ? getpwuid(65534) : NULL;
}

struct group *getgrgid(gid_t gid)
{
	static struct group nogroup = { "nogroup", "x", 65534, NULL };
	nogroup.gr_gid = gid;
	return &nogroup;
}

struct group *getgrnam(const char *name)
{
	return strcmp(name, "nogroup") == 0 ? getgrgid(65534) : NULL;
}

/* More groups than fit at first, as on machines that have them. */
int getgrouplist(const char *user, gid_t group, gid_t *groups, int *count)
{
	int room = *count;
	*count = 100;
	for (int i = 0; i < room && i < 100; i++)
		groups[i] = group + (gid_t)i;
	return room < 100 ? -1 : 100;
}

int getifaddrs(struct ifaddrs **ret)
{
	static struct sockaddr_in in = { .sin_family = AF_INET };
	static struct ifaddrs list = { .ifa_name = "eth0", .ifa_addr = (struct sockaddr *)&in };
	in.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1 */
	*ret = &list;
	return 0;
}

void freeifaddrs(struct ifaddrs *list)
{
}

/* No module is loaded here: each has two probes and asks for every other key. */
int module_inspect(
	struct module_use *use, const struct module_inspection *how, struct arena *arena, char *error, size_t size)
{
	if (strlen(use->path) % 4 == 1) {
		snprintf(error, size, "module `%s' is not to be had", use->path);
		return -1;
	}
	use->n_probes = 2;
	use->probes = arena_alloc(arena, use->n_probes * sizeof(*use->probes));
	use->probes[0] =
		(struct module_probe){ .name = use->n_settings ? use->settings[0].key : "first", .attributes = 1 };
	use->probes[1] = (struct module_probe){ .name = "second", .priority = -1 };
	for (size_t i = 0; i < use->n_settings; i++)
		use->settings[i].asked = i % 2 == 0;
	return 0;
}

static FILE *nowhere(void)
{
	static FILE *to;
	if (!to && !(to = fopen("/dev/null", "we")))
		abort();
	return to;
}

static void policy_ask(const struct policy *policy, const uint8_t *data, size_t size)
{
	static struct findings findings;
	struct evidence evidence = { data, size < EVIDENCE_MAX ? size : EVIDENCE_MAX };
	const uint32_t end = (uint32_t)evidence.len;
	struct outcome outcome;

	evidence.ends = &end;
	for (size_t i = 0; i < policy->n_listeners; i++) {
		bool is_datagram = policy->listeners[i].transport == TRANSPORT_DATAGRAM;
		evidence.n_datagrams = is_datagram && evidence.len > 0;
		decider_ask(policy->deciders[i], &evidence, &findings, &outcome);
		if (outcome.yes == SERVICE_NONE)
			continue;
		if (outcome.yes >= policy->n_services ||
			(is_datagram && !(policy->services[outcome.yes].transports >> TRANSPORT_DATAGRAM & 1)))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;
	struct policy_options options = { .port = size && data[0] == '#' ? 8080 : 0, .keep_rules = size % 2 };

	char *text = libconfig_text(data, size);
	if (!text)
		return 0;

	int error = policy_load_text(&policy, "fuzz.conf", text, &options, &complaints);
	if ((error == 0) != (policy != NULL) || (error == 0) != (complaints.errors == 0))
		abort();
	complaints_print(&complaints, nowhere());
	if (policy) {
		policy_print(policy, nowhere());
		policy_ask(policy, data, size);
	}
	policy_free(policy);
	complaints_fini(&complaints);
	free(text);
	return 0;
}
