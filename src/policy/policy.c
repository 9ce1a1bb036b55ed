/* The configuration as a whole: read, compiled room by room, published or thrown away.
 *
 * Refuses to publish a policy with a single error in it. Everything belongs to the policy's arena but the
 * compiled expressions, which policy_free() frees first. */
#include "policy.h"
#include "compile.h"
#include "cpus.h"
#include "region.h"
#include "settings.h"
#include "text_file.h"
#include <errno.h>
#include <grp.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

static unsigned workers_preset(void)
{
	unsigned count = cpus_available("/proc/self/cgroup", "/sys/fs/cgroup");
	return count > 256 ? 256 : count;
}

static uint64_t seconds(const struct values *values, enum top_key key)
{
	return (uint64_t)llround(values_number(values, key) * 1e6);
}

static const char *absolute_path(struct compiler *compiler, const struct values *values, size_t key)
{
	const char *text = values_text(values, key);

	if (!text)
		return NULL;
	if (text[0] == '/')
		return arena_strdup(compiler->arena, text);
	compile_error(compiler, values->value[key], "`%s' is \"%s\", expected an absolute path",
		values->section->keys[key].name, text);
	return NULL;
}

#define SYSTEM_PATIENCE_US 900000000ULL /* tcp_retries2 */

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Bytes for a peer that has vanished would else count as bytes that move. Beyond that the system itself gives up. */
unsigned patience_ms(const struct policy *policy, uint64_t idle_us)
{
	return idle_us < SYSTEM_PATIENCE_US ? (unsigned)(most(idle_us, policy->connect_timeout_us) / 1000) : 0;
}

static void settings_compile(struct compiler *compiler, const struct values *top)
{
	struct policy *policy = compiler->policy;

	policy->decide_timeout_us = seconds(top, TOP_DECIDE_TIMEOUT);
	policy->search_timeout_us = seconds(top, TOP_SEARCH_TIMEOUT);
	policy->banner_timeout_us = seconds(top, TOP_BANNER_TIMEOUT);
	policy->name_max_age_s = (unsigned)values_number(top, TOP_NAME_MAX_AGE);
	policy->connect_timeout_us = seconds(top, TOP_CONNECT_TIMEOUT);
	policy->access_timeout_us = seconds(top, TOP_ACCESS_TIMEOUT);
	policy->idle_timeout_us = seconds(top, TOP_IDLE_TIMEOUT);
	policy->patience_ms = patience_ms(policy, policy->idle_timeout_us);
	policy->drain_timeout_us = seconds(top, TOP_DRAIN_TIMEOUT);
	policy->upgrade_timeout_us = seconds(top, TOP_UPGRADE_TIMEOUT);
	policy->workers = top->value[TOP_WORKERS] ? (unsigned)values_number(top, TOP_WORKERS) : workers_preset();
	policy->max_connections = (unsigned)values_number(top, TOP_MAX_CONNECTIONS);
	policy->max_undecided = (unsigned)values_number(top, TOP_MAX_UNDECIDED);
	policy->max_undecided_per_source = (unsigned)values_number(top, TOP_MAX_UNDECIDED_PER_SOURCE);
	policy->keep_evidence = (size_t)values_number(top, TOP_KEEP_EVIDENCE);
	policy->pid_file = absolute_path(compiler, top, TOP_PID_FILE);
}

/* A path, or a group with one. */
static void control_compile(struct compiler *compiler, const struct setting *at)
{
	struct policy *policy = compiler->policy;
	struct values values = { .section = &sections[SECTION_CONTROL] };
	unsigned mode = 0600;

	if (!at)
		return;
	if (setting_is_group(at))
		values_read(compiler->reader, &values, at, &sections[SECTION_CONTROL]);
	else
		values.value[CONTROL_PATH] = at;
	policy->control = absolute_path(compiler, &values, CONTROL_PATH);
	if (!values.value[CONTROL_PATH] || !values_text(&values, CONTROL_PATH))
		compile_error(compiler, at, "`control' without `path', expected path = \"/run/usher/control.sock\"");
	else if (policy->control && strlen(policy->control) > 107)
		compile_error(compiler, at, "path of `control' is too long, expected at most 107 bytes");
	const char *group = values_text(&values, CONTROL_GROUP);
	const struct group *found = group ? getgrnam(group) : NULL;
	if (group && !found)
		compile_error(compiler, values.value[CONTROL_GROUP], "unknown group `%s'", group);
	if (found) {
		policy->control_group = arena_strdup(compiler->arena, group);
		policy->control_gid = found->gr_gid;
		mode = 0660;
	}
	values_mode(&values, CONTROL_MODE, &mode);
	policy->control_mode = (mode_t)mode;
}

static void log_sink_compile(struct compiler *compiler, const struct setting *at)
{
	static const char *const names[] = {
		[SINK_STDERR] = "stderr", [SINK_SYSLOG] = "syslog", [SINK_JOURNAL] = "journal"
	};
	struct policy *policy = compiler->policy;
	const char *text = setting_text(at);

	if (text[0] == '/') {
		policy->log_sink = SINK_FILE;
		policy->log_file = arena_strdup(compiler->arena, text);
		return;
	}
	if (address_parse_remote(&(struct address){ 0 }, &(enum transport_kind){ 0 }, text) == 0) {
		policy->log_sink = SINK_SERVER;
		policy->log_file = arena_strdup(compiler->arena, text);
		return;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) != 0)
			continue;
		policy->log_sink = (enum log_sink)i;
		return;
	}
	compile_error(compiler, at,
		"`to' is \"%s\", expected one of \"stderr\", \"syslog\", \"journal\", an absolute path, or a log "
		"server "
		"such as \"udp:192.0.2.1:514\" or \"tcp:[2001:db8::1]:601\"",
		text);
}

/* In the order of the key's choices. */
static const int facilities[] = { LOG_AUTH, LOG_AUTHPRIV, LOG_CRON, LOG_DAEMON, LOG_FTP, LOG_LPR, LOG_MAIL, LOG_NEWS,
	LOG_SYSLOG, LOG_USER, LOG_UUCP, LOG_LOCAL0, LOG_LOCAL1, LOG_LOCAL2, LOG_LOCAL3, LOG_LOCAL4, LOG_LOCAL5,
	LOG_LOCAL6, LOG_LOCAL7 };

static void log_compile(struct compiler *compiler, const struct setting *at)
{
	struct policy *policy = compiler->policy;
	struct values values = { .section = &sections[SECTION_LOG] };

	if (at)
		values_read(compiler->reader, &values, at, &sections[SECTION_LOG]);
	policy->log.level = (enum log_level)values_choice(&values, LOG_KEY_LEVEL);
	policy->empty_level =
		values.value[LOG_KEY_EMPTY_LEVEL] ? (int)values_choice(&values, LOG_KEY_EMPTY_LEVEL) : -1;
	policy->log.format = (enum log_format)values_choice(&values, LOG_KEY_FORMAT);
	log_fields_compile(compiler, values.value[LOG_KEY_FIELDS]);
	if (values.value[LOG_KEY_TO])
		log_sink_compile(compiler, values.value[LOG_KEY_TO]);
	policy->log.facility = facilities[values_choice(&values, LOG_KEY_FACILITY)];
}

static void top_compile(struct compiler *compiler)
{
	struct values top;

	values_read(compiler->reader, &top, reader_root(compiler->reader), &sections[SECTION_TOP]);
	if (!top.given[TOP_LISTEN])
		compile_error(
			compiler, NULL, "no `listen', expected addresses such as listen = [ \"0.0.0.0:443\" ];");
	if (!top.given[TOP_SERVICES])
		compile_error(compiler, NULL,
			"no `services', expected services = ( { name = ...; match = ...; connect = ...; } "
			");");
	settings_compile(compiler, &top);
	log_compile(compiler, top.value[TOP_LOG]);
	control_compile(compiler, top.value[TOP_CONTROL]);
	identity_compile(compiler, &top);
	listeners_compile(compiler, top.value[TOP_LISTEN]);
	metrics_compile(compiler, top.value[TOP_METRICS]);
	protocols_compile(compiler, top.value[TOP_PROTOCOLS]);
	identifiers_compile(compiler, top.value[TOP_IDENTIFIERS]);
	services_compile(compiler, &top);
}

static void compile(struct policy *policy, struct arena *arena, struct reader *reader,
	const struct policy_options *options, struct complaints *complaints)
{
	static const struct policy_options no_options;
	struct compiler compiler = {
		.policy = policy,
		.arena = arena,
		.reader = reader,
		.options = options ? options : &no_options,
		.listeners = index_new(),
		.protocols = index_new(),
		.externals = index_new(),
		.services = index_new(),
		.names = index_new(),
		.identities = index_new(),
	};
	size_t errors = complaints->errors;

	top_compile(&compiler);
	overlap_warn(&compiler);
	ambiguity_warn(&compiler);
	if (complaints->errors == errors) {
		deciders_compile(&compiler);
		waiting_warn(&compiler);
	}

	index_free(compiler.listeners);
	index_free(compiler.protocols);
	index_free(compiler.externals);
	index_free(compiler.services);
	index_free(compiler.names);
	index_free(compiler.identities);
	free(compiler.identity);
	free(compiler.drafts);
	free(compiler.words);
}

static int policy_read(struct policy **ret, const char *file, bool is_file, const char *text, size_t len,
	const struct policy_options *options, struct complaints *complaints)
{
	size_t errors = complaints->errors;
	struct arena *given = options ? options->arena : NULL;
	struct arena *own = given ? NULL : arena_new();
	struct arena *arena = given ? given : own;
	struct policy *policy = arena_alloc(arena, sizeof(*policy));

	*policy = (struct policy){ .arena = own, .file = arena_strdup(arena, file) };
	struct reader *reader = reader_new(policy->file, is_file, text, len, NULL, complaints);
	if (reader)
		compile(policy, arena, reader, options, complaints);
	if (reader && options && options->keep_settings && complaints->errors == errors)
		policy->settings = settings_text(arena, reader);
	/* To give back what libconfig made of a large text, piece by piece, takes half as long as to make it. */
	if (!options || !options->process_ends)
		reader_free(reader);
	if (complaints->errors > errors) {
		policy_free(policy);
		return -EINVAL;
	}
	*ret = policy;
	return 0;
}

int policy_load_text(struct policy **ret, const char *file, const char *text, const struct policy_options *options,
	struct complaints *complaints)
{
	return policy_read(ret, file, false, text, strlen(text), options, complaints);
}

int policy_load(
	struct policy **ret, const char *file, const struct policy_options *options, struct complaints *complaints)
{
	size_t len;
	char *text = text_file_read(file, &len, complaints);
	int r = text ? policy_read(ret, file, true, text, len, options, complaints) : -EINVAL;

	free(text);
	return r;
}

/* In the process that compiled it. */
static void policy_free_arena(struct policy *policy)
{
	for (size_t i = 0; i < policy->n_protocols; i++)
		for (size_t p = 0; p < policy->protocols[i].n_patterns; p++)
			pattern_free(policy->protocols[i].patterns[p]);
	for (size_t i = 0; i < policy->n_expected; i++)
		for (size_t p = 0; p < policy->expected[i]->n_patterns; p++)
			pattern_free(policy->expected[i]->patterns[p]);
	arena_free(policy->arena);
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	if (!policy->region) {
		policy_free_arena(policy);
		return;
	}
	region_free(policy->region);
	free(policy);
}

struct policy *policy_adopt(const struct policy *from, struct region *region)
{
	struct policy *policy = malloc(sizeof(*policy));

	if (!policy) {
		region_free(region);
		return NULL;
	}
	*policy = *from;
	policy->arena = NULL;
	policy->region = region;
	return policy;
}

struct policy *policy_share(const struct policy *policy)
{
	return policy_adopt(policy, region_share(policy->region));
}

int policy_revive(const struct policy *policy)
{
	int error = policy->region ? region_own(policy->region) : 0;

	for (size_t i = 0; policy->region && i < policy->n_protocols; i++)
		for (size_t p = 0; error == 0 && p < policy->protocols[i].n_patterns; p++)
			error = pattern_revive(policy->protocols[i].patterns[p]);
	for (size_t i = 0; policy->region && i < policy->n_expected; i++)
		for (size_t p = 0; error == 0 && p < policy->expected[i]->n_patterns; p++)
			error = pattern_revive(policy->expected[i]->patterns[p]);
	return error;
}
