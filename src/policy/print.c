/* The routing table as `usher check` prints it: listeners, services in aligned columns, and what happens
 * otherwise. Columns that would be empty are left out. Owns no memory past the call. */
#include "balance.h"
#include "checks.h"
#include "compile.h"
#include "forwarding_rules.h"
#include "nsswitch.h"
#include "resolved.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ASKED_MAX 24 /* protocols of a listener that are named */

#define COLUMN_MAX 48 /* a longer cell pushes its line out rather than all of them */

enum column {
	COLUMN_NUMBER,
	COLUMN_NAME,
	COLUMN_MATCH,
	COLUMN_TAKES, /* only where both can come */
	COLUMN_TARGET,
	COLUMN_AS,
	COLUMN_FALLBACK,
	COLUMN_COUNT
};

static const char *const column_titles[COLUMN_COUNT] = { "#", "service", "matches", "takes", "goes to", "runs as",
	"fallback" };

struct table {
	struct arena *arena;
	char *(*rows)[COLUMN_COUNT];
	size_t n_rows;
	size_t width[COLUMN_COUNT]; /* 0: the column is left out */
};

/* With what the file says of it beyond its address. */
static char *backend_row(struct arena *arena, const struct backend *backend)
{
	char *text = arena_strdup(arena, backend->text);

	if (backend->weight != 1)
		text = arena_printf(arena, "%s weight %u", text, backend->weight);
	if (backend->max_connections)
		text = arena_printf(arena, "%s at most %u", text, backend->max_connections);
	return backend->backup ? arena_printf(arena, "%s backup", text) : text;
}

/* " (ports 443, 8000-8999)", piece by piece. */
static char *ports_row(struct arena *arena, const struct target *target, size_t i)
{
	const struct port_range *range = &target->connect.ports[i];
	const char *begin = i == 0 ? " (ports " : ", ", *end = i + 1 == target->connect.n_ports ? ")" : "";

	if (range->first == range->last)
		return arena_printf(arena, "%s%u%s", begin, range->first, end);
	return arena_printf(arena, "%s%u-%u%s", begin, range->first, range->last, end);
}

static char *target_backends(struct arena *arena, const struct target *target)
{
	static const char *const hashes[] = { "source", "sni", "host", "connection id" };
	const struct balance *balance = balances[target->connect.balance];
	char *text = NULL;

	for (size_t i = 0; i < target->connect.n_backends; i++)
		text = arena_printf(arena, "%s%s%s", text ? text : "", text ? ", " : "",
			backend_row(arena, &target->connect.backends[i]));
	if (balance->hashes)
		text = arena_printf(arena, "%s (hash of %s)", text, hashes[target->connect.hash_by]);
	else if (target->connect.balance != BALANCE_FIRST)
		text = arena_printf(arena, "%s (%s)", text, balance->name);
	for (size_t i = 0; i < target->connect.n_ports; i++)
		text = arena_printf(arena, "%s%s", text, ports_row(arena, target, i));
	if (target->connect.name_by != NAME_BY_FILE)
		text = arena_printf(arena, "%s (names %s)", text, target->connect.allow_names_text);
	if (target->connect.allow_addresses)
		text = arena_printf(arena, "%s (also to %s)", text, target->connect.allow_addresses_text);
	if (target->connect.observe)
		text = arena_printf(arena, "%s (resets count)", text);
	if (target->connect.check)
		text = arena_printf(arena, "%s (checked every %g s%s)", text,
			(double)target->connect.check->every_us / 1e6,
			target->connect.closes_on_down ? ", closed when down" : "");
	if (target->connect.slow_start_us)
		text = arena_printf(arena, "%s (slow start %g s)", text, (double)target->connect.slow_start_us / 1e6);
	if (target->connect.forwarded)
		text = arena_printf(arena, "%s (through the kernel)", text);
	if (target->connect.transparent)
		text = arena_printf(arena, "%s (transparent)", text);
	if (target->connect.resolves)
		text = arena_printf(arena, "%s (names asked for by each connection)", text);
	if (target->connect.send_proxy)
		text = arena_printf(arena, "%s (PROXY v%u%s)", text, target->connect.send_proxy,
			target->connect.send_proxy_each ? ", each datagram" : "");
	if (target->connect.pass_proxy)
		text = arena_printf(arena, "%s (PROXY header passed)", text);
	return text;
}

/* As a shell would read it back. */
static char *quoted(struct arena *arena, const char *word)
{
	char *text = arena_alloc(arena, 4 * strlen(word) + 3), *end = text;

	*end++ = '\'';
	for (; *word; word++) {
		if (*word == '\'')
			end = stpcpy(end, "'\\''");
		else
			*end++ = *word;
	}
	strcpy(end, "'");
	return text;
}

static char *target_program(struct arena *arena, const struct program *program)
{
	static const char *const stdio_names[] = {
		[STDIO_SOCKET] = "", [STDIO_PIPE] = " (pipe)", [STDIO_PTY] = " (pty)"
	};
	char *text = arena_strdup(arena, program->argv[0]);

	for (size_t i = 1; program->argv[i]; i++) {
		const char *word = program->argv[i];
		bool is_plain = *word && strcspn(word, " \t\n\"'\\$&|;<>()*?[]#~`!{}") == strlen(word);
		text = arena_printf(arena, "%s %s", text, is_plain ? word : quoted(arena, word));
	}
	return arena_printf(arena, "%s%s", text, stdio_names[program->stdio]);
}

/* 3600 s is an hour to a person; 2.5 s stays. */
static const char *duration(uint64_t us, char buf[32])
{
	uint64_t s = us / 1000000;

	if (us % 1000000 || s == 0)
		snprintf(buf, 32, "%g s", (double)us / 1e6);
	else if (s % 86400 == 0)
		snprintf(buf, 32, "%ju d", (uintmax_t)(s / 86400));
	else if (s % 3600 == 0)
		snprintf(buf, 32, "%ju h", (uintmax_t)(s / 3600));
	else if (s % 60 == 0)
		snprintf(buf, 32, "%ju min", (uintmax_t)(s / 60));
	else
		snprintf(buf, 32, "%ju s", (uintmax_t)s);
	return buf;
}

static char *target_text(struct arena *arena, const struct target *target)
{
	const char *delivery = delivery_names[target->delivery];

	switch (target->delivery) {
	case DELIVERY_CONNECT:
		if (target->connect.start)
			return arena_printf(arena, "%s %s (started by %s, ended after %s)", delivery,
				target_backends(arena, target), target_program(arena, target->connect.start),
				duration(target->connect.stop_after_us, (char[32]){ 0 }));
		return arena_printf(arena, "%s %s", delivery, target_backends(arena, target));
	case DELIVERY_HANDOVER:
		return arena_printf(arena, "%s %s%s", delivery, target->handover.text,
			target->handover.format == HANDOVER_TCPMUX ? " (tcpmux)" : "");
	case DELIVERY_EXEC:
		return arena_printf(arena, "%s %s", delivery, target_program(arena, &target->exec));
	case DELIVERY_REJECT:
		if (target->reject.tarpit_us)
			return arena_printf(arena, "%s (tarpit, %s)", delivery,
				duration(target->reject.tarpit_us, (char[32]){ 0 }));
		return arena_printf(arena, "%s (%s)", delivery, target->reject.reset ? "reset" : "close");
	}
	return NULL;
}

static const struct program *target_runs(const struct target *target)
{
	if (target->delivery == DELIVERY_EXEC)
		return &target->exec;
	return target->delivery == DELIVERY_CONNECT ? target->connect.start : NULL;
}

static char *identity_text(struct arena *arena, const struct target *target)
{
	const struct program *program = target_runs(target);

	if (!program)
		return NULL;
	if (program->own_identity)
		return arena_printf(arena, "%s", program->user);
	return arena_strdup(arena, geteuid() == 0 ? "root" : "usher's starter");
}

/* What gets there from the listeners that there are. */
static char *takes_text(struct arena *arena, const struct policy *policy, const struct service *service)
{
	static const char *const names[] = { "-", "connections", "datagrams", "both" };
	unsigned takes = 0;

	for (int t = 0; t < TRANSPORT_COUNT; t++)
		if (policy_has_transport(policy, (enum transport_kind)t))
			takes |= service->transports & 1U << t;
	return arena_strdup(arena, names[takes]);
}

static void table_fill(struct table *table, const struct policy *policy)
{
	bool datagrams = policy_has_transport(policy, TRANSPORT_DATAGRAM);

	table->n_rows = policy->n_services;
	table->rows = arena_alloc(table->arena, table->n_rows * sizeof(*table->rows));
	for (size_t i = 0; i < policy->n_services; i++) {
		const struct service *service = &policy->services[i];
		char **row = table->rows[i];

		row[COLUMN_NUMBER] = arena_printf(table->arena, "%zu", i + 1);
		row[COLUMN_NAME] = arena_strdup(table->arena, service->name);
		row[COLUMN_MATCH] = arena_strdup(table->arena, *service->match ? service->match : "-");
		row[COLUMN_TAKES] = datagrams ? takes_text(table->arena, policy, service) : NULL;
		row[COLUMN_TARGET] = target_text(table->arena, &service->target);
		if (datagrams && service->answers != ANSWERS_ANY)
			row[COLUMN_TARGET] = arena_printf(
				table->arena, "%s (answers to a datagram: %u)", row[COLUMN_TARGET], service->answers);
		if (service->starttls)
			row[COLUMN_TARGET] = arena_printf(table->arena, "%s (STARTTLS)", row[COLUMN_TARGET]);
		if (service->bandwidth.text)
			row[COLUMN_TARGET] = arena_printf(
				table->arena, "%s (%s each)", row[COLUMN_TARGET], service->bandwidth.text);
		if (service->total_bandwidth.text)
			row[COLUMN_TARGET] = arena_printf(
				table->arena, "%s (%s in all)", row[COLUMN_TARGET], service->total_bandwidth.text);
		row[COLUMN_AS] = identity_text(table->arena, &service->target);
		if (service->fallback != SERVICE_NONE)
			row[COLUMN_FALLBACK] = arena_strdup(table->arena, policy->services[service->fallback].name);
	}
}

static void table_measure(struct table *table)
{
	for (size_t c = 0; c < COLUMN_COUNT; c++) {
		for (size_t r = 0; r < table->n_rows; r++) {
			size_t len = table->rows[r][c] ? strlen(table->rows[r][c]) : 0;
			if (len > table->width[c])
				table->width[c] = len;
		}
		if (table->width[c] > COLUMN_MAX)
			table->width[c] = COLUMN_MAX;
		if (table->width[c] && table->width[c] < strlen(column_titles[c]))
			table->width[c] = strlen(column_titles[c]);
	}
}

/* Blanks are written only where something follows, so that no line ends in them. */
static void table_row(const struct table *table, FILE *to, const char *const *cells)
{
	size_t owed = 2;

	for (size_t c = 0; c < COLUMN_COUNT; c++) {
		const char *cell = cells[c] ? cells[c] : "";
		size_t len = strlen(cell), width = table->width[c];
		if (!width)
			continue;
		size_t before = c == COLUMN_NUMBER && len < width ? width - len : 0;
		if (len) {
			fprintf(to, "%*s%s", (int)(owed + before), "", cell);
			owed = 0;
		}
		owed += (len + before < width ? width - len - before : 0) + 2;
	}
	fputc('\n', to);
}

static const char *service_text(const struct policy *policy, uint32_t service)
{
	return service == SERVICE_NONE ? "closed" : policy->services[service].name;
}

/* The rule asks for this protocol, or for what the protocol can tell. */
static bool rule_asks(const struct policy *policy, const struct rule *rule, uint32_t protocol)
{
	const struct probe *probe = policy->protocols[protocol].probe;
	uint32_t asked = 0;

	for (size_t i = 0; i < rule->n_protocols; i++)
		if (rule->protocols[i] == protocol)
			return true;
	for (unsigned a = 0; a < ATTRIBUTE_COUNT; a++)
		asked |= rule->attribute[a].count ? 1U << a : 0;
	return rule->n_protocols == 0 && probe && (probe->attributes & asked) == asked;
}

/* The protocols that are looked for here, where it is not the same on all listeners. */
static void print_asked(const struct policy *policy, size_t listener, FILE *to)
{
	const struct rule_list *list = &policy->rule_lists[listener];
	size_t n = 0;

	fprintf(to, "    %s: ",
		policy->listeners[listener].transport == TRANSPORT_DATAGRAM ? "datagrams" : "connections");
	for (uint32_t p = 0; p < policy->n_protocols; p++) {
		bool asked = false;
		if (!protocol_is_spoken(&policy->protocols[p], policy->listeners[listener].transport))
			continue;
		for (size_t i = 0; i < list->n_rules && !asked; i++)
			asked = rule_asks(policy, &list->rules[i], p);
		if (asked && n++ < ASKED_MAX)
			fprintf(to, "%s%s", n > 1 ? ", " : "", policy->protocols[p].name);
	}
	if (n > ASKED_MAX)
		fprintf(to, " and %zu more", n - ASKED_MAX);
	fputs(n == 0 ? "nothing is looked for\n" : "\n", to);
}

static void print_listeners(const struct policy *policy, FILE *to)
{
	bool datagrams = policy_has_transport(policy, TRANSPORT_DATAGRAM);

	fputs("Listeners\n", to);
	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct listener_policy *listener = &policy->listeners[i];
		fprintf(to, "  %s", listener->text);
		if (!address_is_ip(&listener->address))
			fprintf(to, "  mode %04o", (unsigned)listener->mode);
		if (listener->max_connections)
			fprintf(to, "  at most %u %s", listener->max_connections,
				listener->transport == TRANSPORT_DATAGRAM ? "flows" : "connections");
		if (listener->receive_buffer)
			fprintf(to, "  receive buffer %u bytes", listener->receive_buffer);
		if (listener->freebind)
			fputs("  whether it is there or not", to);
		if (listener->on_silence != policy->on_silence && listener->transport == TRANSPORT_STREAM)
			fprintf(to, "  silent: %s", service_text(policy, listener->on_silence));
		if (listener->on_unknown != policy->on_unknown)
			fprintf(to, "  matches nothing: %s",
				listener->on_unknown == SERVICE_NONE && listener->transport == TRANSPORT_DATAGRAM
					? "dropped"
					: service_text(policy, listener->on_unknown));
		if (listener->banner_service != SERVICE_NONE)
			fprintf(to, "  %s: %s", listener->greeting == STARTTLS_NONE ? "banner" : "greeted for",
				service_text(policy, listener->banner_service));
		if (listener->proxies)
			fprintf(to, "  PROXY headers from %s%s, others %s", listener->proxies_text,
				listener->plain_absent ? " where there are any" : "",
				listener->plain_others ? "plain" : "refused");
		if (listener->log_level >= 0)
			fprintf(to, "  logged at %s", log_level_names[listener->log_level]);
		if (listener->empty_level >= 0)
			fprintf(to, "  without a byte at %s", log_level_names[listener->empty_level]);
		fputc('\n', to);
		if (policy->rule_lists && datagrams)
			print_asked(policy, i, to);
	}
}

static void print_services(const struct policy *policy, FILE *to)
{
	struct table table = { .arena = arena_new() };

	fputs("\nServices, in the order in which they are tried\n", to);
	table_fill(&table, policy);
	table_measure(&table);
	table_row(&table, to, column_titles);
	for (size_t i = 0; i < table.n_rows; i++)
		table_row(&table, to, (const char *const *)table.rows[i]);
	arena_free(table.arena);
}

/* One rule a line; the service's name stands before its first. */
struct rules {
	FILE *to;
	const char *service; /* NULL once it was written */
	bool title;          /* was written */
};

static void rules_say(struct rules *rules, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void rules_say(struct rules *rules, const char *format, ...)
{
	va_list arguments;

	if (!rules->title)
		fputs("\nAccess\n", rules->to);
	rules->title = true;
	fprintf(rules->to, "  %-12s ", rules->service ? rules->service : "");
	rules->service = NULL;
	va_start(arguments, format);
	vfprintf(rules->to, format, arguments);
	va_end(arguments);
	fputc('\n', rules->to);
}

static void rules_say_limits(struct rules *rules, const struct access *access)
{
	if (access->max_connections)
		rules_say(rules, "at most %u connections", access->max_connections);
	if (access->per_source)
		rules_say(rules, "at most %u connections of one source", access->per_source);
	if (access->rate_text)
		rules_say(rules, "at most %s from one source", access->rate_text);
	if (access->max_startups)
		rules_say(rules, "at most %u programs younger than 2 min", access->max_startups);
	if (access->max_startups_per_source)
		rules_say(rules, "at most %u programs younger than 2 min of one source",
			access->max_startups_per_source);
}

static void print_access(const struct policy *policy, FILE *to)
{
	struct arena *arena = arena_new();
	struct rules rules = { .to = to };

	for (size_t i = 0; i < policy->n_services; i++) {
		const struct service *service = &policy->services[i];
		const struct access *access = service->access;
		if (!access)
			continue;
		rules.service = service->name;
		if (access->deny_text)
			rules_say(&rules, "not from %s", access->deny_text);
		if (access->allow_text)
			rules_say(&rules, "only from %s", access->allow_text);
		if (access->hours_text)
			rules_say(&rules, "%s", access->hours_text);
		rules_say_limits(&rules, access);
		if (service->asks)
			rules_say(&rules, "if %s admits it", target_program(arena, service->asks));
		if (access->reset)
			rules_say(&rules, "else a reset");
	}
	arena_free(arena);
}

static bool shows_banner(const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_listeners; i++)
		if (policy->listeners[i].banner_service != SERVICE_NONE)
			return true;
	return false;
}

static bool asks_programs(const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_services; i++)
		if (policy->services[i].asks)
			return true;
	return false;
}

/* How the names of backends are looked up. */
static void print_names(const struct policy *policy, FILE *to)
{
	char text[NSSWITCH_TEXT_MAX];
	struct nsswitch nsswitch;

	if (policy->n_names == 0)
		return;
	nsswitch_read(&nsswitch);
	fputs("\nNames\n", to);
	for (size_t i = 0; i < policy->n_names; i++) {
		const char *name = policy->names[i];
		bool is_srv = strncmp(name, RESOLVED_SRV, strlen(RESOLVED_SRV)) == 0;
		fprintf(to, "  %-22s %s\n", name,
			is_srv ? "DNS, SRV records" : nsswitch_describe(&nsswitch, name, text));
	}
}

static void print_forwarding(const struct policy *policy, FILE *to)
{
	if (!policy->forwarding_table)
		return;
	fputs("\nRules with which the kernel forwards flows, as nft(8) reads them\n", to);
	forwarding_write(policy, to);
}

static void print_rest(const struct policy *policy, FILE *to)
{
	static const char *const sinks[] = { "stderr", "syslog", "journal" };
	char a[32], b[32], c[32];

	fputs("\nOtherwise\n", to);
	if (shows_banner(policy))
		fprintf(to, "  silent for %-11s shown a banner\n", duration(policy->banner_timeout_us, a));
	if (policy->decide_timeout_us)
		fprintf(to, "  silent for %-11s %s\n", duration(policy->decide_timeout_us, a),
			service_text(policy, policy->on_silence));
	else
		fputs("  silent                 waited for\n", to);
	fprintf(to, "  %-22s %s\n", "matches nothing", service_text(policy, policy->on_unknown));

	fputs("\nTimeouts  ", to);
	if (policy->search_timeout_us)
		fprintf(to, "search %s, ", duration(policy->search_timeout_us, a));
	if (asks_programs(policy))
		fprintf(to, "access %s, ", duration(policy->access_timeout_us, a));
	fprintf(to, "connect %s, idle %s, drain %s\n", duration(policy->connect_timeout_us, a),
		duration(policy->idle_timeout_us, b), duration(policy->drain_timeout_us, c));
	fprintf(to, "Workers   %u, as %s%s", policy->workers, policy->user,
		policy->drop_identity ? "" : " (the user that starts usher)");
	if (policy->max_connections)
		fprintf(to, ", at most %u connections in all", policy->max_connections);
	fprintf(to, "\nLog       %s and above, to %s, as %s\n", log_level_names[policy->log.level],
		policy->log_file ? policy->log_file : sinks[policy->log_sink],
		policy->log.format == LOG_JSON ? "JSON" : "text");
	if (policy->pid_file)
		fprintf(to, "Pid file  %s\n", policy->pid_file);
	if (policy->metrics.text)
		fprintf(to, "Metrics   %s%s\n", policy->metrics.text, policy->metrics.page ? ", with a page" : "");
	if (policy->control)
		fprintf(to, "Control   %s, mode %04o%s%s\n", policy->control, (unsigned)policy->control_mode,
			policy->control_group ? ", group " : "", policy->control_group ? policy->control_group : "");
	if (policy->keep_evidence)
		fprintf(to, "Evidence  the first %zu bytes of each connection are kept\n", policy->keep_evidence);
}

void policy_print(const struct policy *policy, FILE *to)
{
	print_listeners(policy, to);
	print_services(policy, to);
	print_access(policy, to);
	print_names(policy, to);
	print_forwarding(policy, to);
	print_rest(policy, to);
}
