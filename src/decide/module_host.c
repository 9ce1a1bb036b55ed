/* A module while it introduces itself: the functions that it calls, and what becomes of what it says.
 *
 * Refuses names, types and numbers that are not what <usher/module.h> says, with a sentence that an operator
 * understands. A host belongs to one use of a module and, once init is over, to the process: the module may
 * log through it at any time. It owns the list of names that init fills. */
#include "module_host.h"
#include "timer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINES_PER_SECOND 10
#define LINE_MAX_BYTES   512

static void (*hall_log)(const char *path, enum usher_level level, const char *text);
static _Atomic uint32_t nobody_looks;
_Atomic uint32_t *module_running = &nobody_looks;

static struct module_host *host_of(struct usher_host *api)
{
	return (struct module_host *)api;
}

static void host_fail(struct module_host *host, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first fault is the one to tell. */
static void host_fail(struct module_host *host, const char *format, ...)
{
	va_list arguments;

	if (host->failed)
		return;
	host->failed = true;
	va_start(arguments, format);
	vsnprintf(host->error, sizeof(host->error), format, arguments);
	va_end(arguments);
}

/* ---- probes ---- */

bool module_name_is_valid(const char *name)
{
	size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-");

	return len >= 1 && len <= USHER_NAME_MAX && name[len] == 0;
}

static bool name_is_known(const struct module_host *host, const char *name)
{
	for (size_t i = 0; i < host->n_probes; i++)
		if (strcmp(host->names[i], name) == 0)
			return true;
	return false;
}

static int host_probe_add(struct usher_host *api, const struct usher_probe *probe)
{
	struct module_host *host = host_of(api);

	if (!host->in_init)
		return -EPERM;
	if (!probe || !probe->name || !module_name_is_valid(probe->name)) {
		host_fail(host,
			"registers a probe named `%.80s', expected 1 to %d letters, digits, `.', `_', `+' or `-'",
			probe && probe->name ? probe->name : "", USHER_NAME_MAX);
		return -EINVAL;
	}
	if (name_is_known(host, probe->name))
		host_fail(host, "registers probe `%s' twice", probe->name);
	else if (!probe->run)
		host_fail(host, "registers probe `%s' without a function", probe->name);
	else if (probe->attributes & ~(USHER_SETS_SNI | USHER_SETS_ALPN | USHER_SETS_HOST))
		host_fail(host, "registers probe `%s' with unknown attributes 0x%x", probe->name, probe->attributes);
	else if (host->n_probes == USHER_PROBES_MAX) {
		host_fail(host, "registers more than %d probes", USHER_PROBES_MAX);
		return -E2BIG;
	}
	if (host->failed)
		return -EINVAL;
	int r = host->take(host, probe);
	if (r < 0) {
		snprintf(host->error, sizeof(host->error), "the name `%s' of its probe is taken", probe->name);
		return r;
	}
	strcpy(host->names[host->n_probes++], probe->name);
	return 0;
}

/* ---- settings ---- */

static const char *const type_names[] = {
	[MODULE_STRING] = "a string",
	[MODULE_WHOLE] = "a whole number",
	[MODULE_REAL] = "a number with a point",
	[MODULE_BOOL] = "true or false",
};

static struct module_setting *setting_find(struct module_host *host, const char *key)
{
	for (size_t i = 0; host->in_init && key && i < host->use->n_settings; i++)
		if (strcmp(host->use->settings[i].key, key) == 0)
			return &host->use->settings[i];
	return NULL;
}

static size_t host_setting_count(struct usher_host *api, const char *key)
{
	struct module_setting *setting = setting_find(host_of(api), key);

	if (!setting)
		return 0;
	setting->asked = true;
	return setting->n_values;
}

/* 0 and the value, if it is of this type; a whole number is a real one too. */
static int value_find(struct module_host *host, const char *key, size_t place, enum module_type type,
	const struct module_value **ret)
{
	struct module_setting *setting = setting_find(host, key);

	if (!setting)
		return -ENOENT;
	setting->asked = true;
	if (place >= setting->n_values)
		return -ENOENT;
	const struct module_value *value = &setting->values[place];
	if (value->type != type && !(type == MODULE_REAL && value->type == MODULE_WHOLE)) {
		host_fail(host, "`%s' is %s, expected %s", key, type_names[value->type], type_names[type]);
		return -EINVAL;
	}
	*ret = value;
	return 0;
}

static int host_setting_string(struct usher_host *api, const char *key, size_t place, const char **ret)
{
	const struct module_value *value;
	int r = value_find(host_of(api), key, place, MODULE_STRING, &value);

	if (r == 0)
		*ret = value->text;
	return r;
}

static int host_setting_whole(
	struct usher_host *api, const char *key, size_t place, int64_t least, int64_t most, int64_t *ret)
{
	const struct module_value *value;
	int r = value_find(host_of(api), key, place, MODULE_WHOLE, &value);

	if (r < 0)
		return r;
	if (value->whole < least || value->whole > most) {
		host_fail(host_of(api), "`%s' is %jd, expected a whole number from %jd to %jd", key,
			(intmax_t)value->whole, (intmax_t)least, (intmax_t)most);
		return -EINVAL;
	}
	*ret = value->whole;
	return 0;
}

static int host_setting_real(
	struct usher_host *api, const char *key, size_t place, double least, double most, double *ret)
{
	const struct module_value *value;
	int r = value_find(host_of(api), key, place, MODULE_REAL, &value);

	if (r < 0)
		return r;
	if (!(value->real >= least && value->real <= most)) { /* no NaN passes */
		host_fail(host_of(api), "`%s' is %g, expected a number from %g to %g", key, value->real, least, most);
		return -EINVAL;
	}
	*ret = value->real;
	return 0;
}

static int host_setting_bool(struct usher_host *api, const char *key, size_t place, bool *ret)
{
	const struct module_value *value;
	int r = value_find(host_of(api), key, place, MODULE_BOOL, &value);

	if (r == 0)
		*ret = value->whole != 0;
	return r;
}

/* ---- the log ---- */

void module_set_hooks(const struct module_hooks *hooks)
{
	hall_log = hooks->log;
	module_running = hooks->running ? hooks->running : &nobody_looks;
}

/* May this line be written? Tells of those that were not, once a second has passed. A module's lines differ, so that several are due at
 * once, other than under a log_limit; a token bucket would let one through at a time, each behind a line of its own that tells of the rest. */
static bool line_is_due(struct module_host *host)
{
	uint64_t now = clock_monotonic_us() / 1000000 + 1; /* so that no second is 0, where a host begins */
	char text[64];

	if (now != host->second) {
		unsigned suppressed = host->n_suppressed;
		host->second = now;
		host->n_lines = host->n_suppressed = 0;
		if (suppressed > 0) {
			snprintf(text, sizeof(text), "%u lines of this module left out", suppressed);
			hall_log(host->use->path, USHER_WARNING, text);
		}
	}
	if (host->n_lines < LINES_PER_SECOND) {
		host->n_lines++;
		return true;
	}
	host->n_suppressed++;
	return false;
}

static void host_log(struct usher_host *api, enum usher_level level, const char *format, ...)
{
	struct module_host *host = host_of(api);
	int error = errno;
	char text[LINE_MAX_BYTES + 1];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if ((unsigned)level > USHER_DEBUG)
		level = USHER_DEBUG;
	if (host->in_init && level == USHER_ERROR && !host->failed)
		strcpy(host->error, text);
	if (hall_log && line_is_due(host))
		hall_log(host->use->path, level, text);
	errno = error;
}

/* ---- from birth to the end of init ---- */

int module_host_new(struct module_host **ret, struct module_use *use)
{
	struct module_host *host = calloc(1, sizeof(*host));

	if (!host || !(host->names = calloc(USHER_PROBES_MAX, sizeof(*host->names)))) {
		free(host);
		return -ENOMEM;
	}
	host->use = use;
	host->api = (struct usher_host){
		.abi = USHER_MODULE_ABI,
		.probe_add = host_probe_add,
		.setting_count = host_setting_count,
		.setting_string = host_setting_string,
		.setting_whole = host_setting_whole,
		.setting_real = host_setting_real,
		.setting_bool = host_setting_bool,
		.log = host_log,
		.attribute_set = module_attribute_set,
	};
	*ret = host;
	return 0;
}

void module_host_free(struct module_host *host)
{
	if (!host)
		return;
	free(host->names);
	free(host);
}

int module_host_init(struct module_host *host, module_init_function *init, char *error, size_t size)
{
	const char *path = host->use->path;

	host->in_init = true;
	int r = init(&host->api);
	host->in_init = false;
	if (host->failed) {
		snprintf(error, size, "module `%s': %s", path, host->error);
		r = -EINVAL;
	} else if (r != 0) {
		const char *why = *host->error ? host->error : r < 0 && r > -4096 ? strerrordesc_np(-r) : NULL;
		snprintf(error, size, "module `%s': its init failed: %s", path, why ? why : "it does not say why");
		r = r < 0 && r > -4096 ? r : -EINVAL;
	} else if (host->n_probes == 0) {
		snprintf(error, size, "module `%s': it registers no probe", path);
		r = -EINVAL;
	}
	free(host->names);
	host->names = NULL;
	return r;
}
