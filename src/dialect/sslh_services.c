/* sslh's list of protocols, as usher's services.
 *
 * Entries keep their order. sslh asks them all again whenever bytes come and takes the first that says yes; usher
 * does the same, save that an entry which needs more bytes is waited for, until the timeout. What all refuse gets
 * the last entry, `on_unknown'; who is silent that of `on-timeout', `on_silence'.
 *
 * Entries with `is_udp' are for datagrams, the others for connections; in a file without any (as of 1.22) they are all
 * for both. An entry whose protocol comes both ways names the listeners that it is for.
 *
 * Refuses probes that sslh does not have, ports that are none, regular expressions (through the policy) that PCRE
 * refuses. Leaves out, with a warning, entries that an earlier one takes everything from, and those that no listener is
 * for. */
#include "reader.h"
#include "sslh_write.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define WITHIN           8192 /* bytes that expressions look at: as many as sslh reads at once */
#define AT_LEAST_MAX     32768
#define SEARCH_TIMEOUT   "0.3" /* seconds: sslh's expressions do not wait for what they did not find */
#define NAME_BYTES       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-"
#define NAME_LEN_MAX     40 /* of a service, so that a suffix fits behind */
#define NONE             SIZE_MAX
#define CONNECTIONS_MAX  10000000
#define FLOW_TIMEOUT     60 /* udp_timeout, in seconds */
#define FLOW_TIMEOUT_MAX 2592000

#define TCP  (1U << SSLH_TCP)
#define UDP  (1U << SSLH_UDP)
#define BOTH (TCP | UDP)

enum probe_kind { BUILT_IN, EXPRESSION, ANYTHING };

/* sslh's probes; of usher's protocols the one that is meant. */
static const struct probe_name {
	const char *name, *protocol;
	enum probe_kind kind;
	unsigned ways; /* that usher knows it by */
} probe_names[] = {
	{ "ssh", "ssh", BUILT_IN, TCP },
	{ "tls", "tls", BUILT_IN, TCP },
	{ "sni_alpn", "tls", BUILT_IN, TCP },
	{ "http", "http", BUILT_IN, TCP },
	{ "openvpn", "openvpn", BUILT_IN, BOTH },
	{ "tinc", "tinc", BUILT_IN, TCP },
	{ "xmpp", "xmpp", BUILT_IN, TCP },
	{ "adb", "adb", BUILT_IN, TCP },
	{ "socks5", "socks5", BUILT_IN, TCP },
	{ "syslog", "syslog", BUILT_IN, BOTH },
	{ "msrdp", "rdp", BUILT_IN, BOTH },
	{ "regex", NULL, EXPRESSION, BOTH },
	{ "anyprot", NULL, ANYTHING, BOTH },
	{ "timeout", NULL, ANYTHING, BOTH },
	{ "wireguard", "wireguard", BUILT_IN, UDP },
	{ "teamspeak", "teamspeak", BUILT_IN, UDP },
};

struct entry {
	const struct sslh_protocol *from;
	const struct probe_name *probe;
	const struct setting *expressions; /* NULL: none */
	char *name;                        /* of the service */
	unsigned ways;                     /* that it is for, a bit for each */
	bool takes_all, takes_nothing;
	bool counts;  /* something leads to it */
	bool matches; /* what it matches does, and not only its place */
};

struct sslh_services {
	const struct sslh_translation *translation;
	struct entry *entries;
	size_t n;
	size_t silence, unknown[SSLH_WAYS]; /* which entry; NONE */
	bool searches;                      /* some expression is one */
};

/* ---- entries ---- */

static const struct probe_name *probe_find(const struct sslh_protocol *from)
{
	const char *name = sslh_probe_name(from->name.text);

	if (from->probe && setting_count(from->probe) && !setting_text(from->probe)) /* up to 1.17 */
		name = "regex";
	for (size_t i = 0; i < sizeof(probe_names) / sizeof(probe_names[0]); i++)
		if (strcmp(probe_names[i].name, name) == 0)
			return &probe_names[i];
	return NULL;
}

static bool name_is_taken(const struct sslh_services *services, const char *name)
{
	for (size_t i = 0; i < services->n; i++)
		if (strcmp(services->entries[i].name, name) == 0)
			return true;
	return false;
}

/* sslh has many of the same name, and old ones may be called anything. */
static char *name_make(const struct sslh_services *services, const char *from)
{
	char *base = strndup(from, NAME_LEN_MAX), *name;

	if (!base)
		abort();
	for (char *c = base; *c; c++)
		if (!strchr(NAME_BYTES, *c))
			*c = '_';
	if (!(name = strdup(*base ? base : "_")))
		abort();
	for (unsigned n = 2; name_is_taken(services, name); n++) {
		free(name);
		if (asprintf(&name, "%s-%u", base, n) < 0)
			abort();
	}
	free(base);
	return name;
}

/* An expression without a byte in it matches whatever there is. */
static bool takes_all(const struct entry *entry)
{
	if (entry->probe->kind == ANYTHING)
		return true;
	for (size_t i = 0; i < setting_count(entry->expressions); i++) {
		const char *text = setting_text(setting_item(entry->expressions, i));
		if (text && !*text && entry->from->minlength.value <= 1)
			return true;
	}
	return false;
}

/* Names were asked for, and no client can send one of them. */
static bool names_are_lost(const struct sslh_translation *translation, const struct setting *list, bool host)
{
	size_t count = list ? setting_count(list) : 0, lost = 0;

	for (size_t i = 0; i < count; i++) {
		const struct setting *at = setting_item(list, i);
		const char *text = setting_text(at);
		char *name = text ? sslh_name(text, host) : NULL;
		if (!name)
			sslh_warn(translation, setting_line(at), "`%s' is left out: no client can ask for it",
				text ? text : "(no string)");
		lost += !name;
		free(name);
	}
	return count > 0 && lost == count;
}

static bool entry_is_served(const struct sslh_translation *translation, const struct sslh_protocol *from)
{
	if (!from->name.text || !from->host.text || (!from->port.text && !from->is_unix.value))
		return false; /* complained of */
	const struct probe_name *probe = probe_find(from);
	if (!probe) {
		sslh_refuse(translation, from->name.line,
			"`%s' is no probe of sslh, expected one such as \"ssh\", \"tls\", \"regex\" or \"anyprot\"",
			from->name.text);
		return false;
	}
	return true;
}

static bool some_entry_is_udp(const struct sslh_config *config)
{
	for (size_t i = 0; i < config->n_protocols; i++)
		if (config->protocols[i].is_udp.value)
			return true;
	return false;
}

/* What usher has for connections alone. */
static bool is_for_connections(const struct sslh_translation *translation, const struct sslh_protocol *from)
{
	return translation->config->transparent.value || from->transparent.value || from->is_unix.value ||
		from->proxyprotocol.value || (from->service.text && translation->options->has_rules);
}

/* The ways that the file means it for and there are listeners of; 0 after a warning. */
static unsigned entry_ways(
	const struct sslh_translation *translation, const struct sslh_protocol *from, const struct probe_name *probe)
{
	unsigned there = (translation->has[SSLH_TCP] ? TCP : 0) | (translation->has[SSLH_UDP] ? UDP : 0);
	bool udp = from->is_udp.value || probe->ways == UDP;
	unsigned meant = udp ? UDP : some_entry_is_udp(translation->config) ? TCP : BOTH;
	const char *why = NULL;

	if (meant == BOTH && is_for_connections(translation, from))
		meant = TCP;
	unsigned ways = meant & probe->ways;
	if (udp && from->is_unix.value)
		why = "datagrams do not go to UNIX sockets";
	else if (!ways)
		why = "usher knows it in connections alone";
	else if (there && !(ways & there))
		why = ways == UDP ? "no listener is on UDP" : "all listeners are on UDP";
	if (why)
		sslh_warn(translation, from->line, "`%s' is left out: %s", from->name.text, why);
	return why ? 0 : ways & (there ? there : BOTH);
}

static bool is_tls(const struct entry *entry)
{
	return entry->probe->protocol && strcmp(entry->probe->protocol, "tls") == 0;
}

static void belongings_warn(const struct sslh_translation *translation, const struct entry *entry)
{
	const struct sslh_protocol *from = entry->from;

	if (!is_tls(entry) && (from->sni_hostnames || from->alpn_protocols))
		sslh_warn(translation, from->line,
			"`sni_hostnames' and `alpn_protocols' of `%s' are left out: they are for `tls'",
			from->name.text);
	if (entry->probe->kind != EXPRESSION && from->regex_patterns)
		sslh_warn(translation, from->line, "`regex_patterns' of `%s' are left out: they are for `regex'",
			from->name.text);
	if (entry->probe->kind != EXPRESSION && from->minlength.value > 1)
		sslh_warn(translation, from->minlength.line,
			"`minlength' of `%s' is left out: its probe knows by itself when "
			"it has seen enough",
			from->name.text);
}

static bool takes_nothing(const struct sslh_translation *translation, const struct entry *entry)
{
	if (entry->probe->kind == EXPRESSION)
		return setting_count(entry->expressions) == 0;
	if (!is_tls(entry))
		return false;
	bool no_server = names_are_lost(translation, entry->from->sni_hostnames, true);
	return names_are_lost(translation, entry->from->alpn_protocols, false) || no_server;
}

static void entries_collect(struct sslh_services *services)
{
	const struct sslh_config *config = services->translation->config;

	services->entries = calloc(config->n_protocols + 1, sizeof(*services->entries));
	if (!services->entries)
		abort();
	for (size_t i = 0; i < config->n_protocols; i++) {
		const struct sslh_protocol *from = &config->protocols[i];
		struct entry *entry = &services->entries[services->n];
		if (!entry_is_served(services->translation, from))
			continue;
		const struct probe_name *probe = probe_find(from);
		assert(probe); /* or it is not served */
		unsigned ways = entry_ways(services->translation, from, probe);
		if (!ways)
			continue;
		bool old = from->probe && setting_count(from->probe) && !setting_text(from->probe);
		*entry = (struct entry){
			.from = from, .probe = probe, .ways = ways, .expressions = old ? from->probe : NULL
		};
		if (probe->kind == EXPRESSION && !old)
			entry->expressions = from->regex_patterns;
		entry->name = name_make(services, from->name.text);
		entry->takes_all = takes_all(entry);
		entry->takes_nothing = takes_nothing(services->translation, entry);
		services->searches = services->searches || probe->kind == EXPRESSION;
		belongings_warn(services->translation, entry);
		services->n++;
	}
}

static size_t first_of(const struct sslh_services *services, enum sslh_way way)
{
	for (size_t i = 0; i < services->n; i++)
		if (services->entries[i].ways >> way & 1)
			return i;
	return NONE;
}

/* By the names that sslh's users gave; the first entry where there is none of that name. Datagrams are not silent. */
static size_t silence_find(const struct sslh_services *services)
{
	const struct sslh_text *on_timeout = &services->translation->config->on_timeout;
	const char *name = on_timeout->text ? on_timeout->text : "ssh";
	size_t first = first_of(services, SSLH_TCP);

	for (size_t i = 0; i < services->n; i++)
		if (services->entries[i].ways & TCP &&
			strcmp(sslh_probe_name(services->entries[i].from->name.text), sslh_probe_name(name)) == 0)
			return i;
	if (on_timeout->text && first != NONE)
		sslh_warn(services->translation, on_timeout->line,
			"`on-timeout' is \"%s\", which is no entry: the first one, `%s', gets silent clients", name,
			services->entries[first].name);
	return first;
}

/* Among the entries of one way: is it led to at all? Where it takes nothing, or an entry before it everything, only by its
 * place. */
static bool entry_counts(const struct sslh_services *services, enum sslh_way way, size_t i, bool last, bool all_taken)
{
	const struct entry *entry = &services->entries[i];

	if ((way == SSLH_TCP && i == services->silence) || (!all_taken && (last || !entry->takes_nothing)))
		return true;
	if (!(entry->ways & ((1U << way) - 1))) /* or it was said of the way before */
		sslh_warn(services->translation, entry->from->line,
			"`%s' is left out: nothing can reach it, because %s", entry->from->name.text,
			all_taken ? "an entry before it takes everything" : "it matches nothing");
	return false;
}

static void way_judge(struct sslh_services *services, enum sslh_way way)
{
	bool all_taken = false;
	size_t last = NONE;

	for (size_t i = 0; i < services->n; i++)
		if (services->entries[i].ways >> way & 1)
			last = i;
	for (size_t i = 0; i < services->n; i++) {
		struct entry *entry = &services->entries[i];
		if (!(entry->ways >> way & 1))
			continue;
		/* sslh does not ask a last `anyprot' while another may still say yes. */
		bool rest = i == last && strcmp(entry->probe->name, "anyprot") == 0;
		if (!entry_counts(services, way, i, i == last, all_taken)) {
			services->unknown[way] = NONE;
			continue;
		}
		entry->counts = true;
		entry->matches = !all_taken && !rest && !entry->takes_nothing;
		services->unknown[way] = all_taken ? NONE : i;
		all_taken = all_taken || (entry->takes_all && !rest);
	}
}

struct sslh_services *sslh_services_new(const struct sslh_translation *translation)
{
	struct sslh_services *services = calloc(1, sizeof(*services));

	if (!services)
		abort();
	services->translation = translation;
	services->unknown[SSLH_TCP] = services->unknown[SSLH_UDP] = NONE;
	entries_collect(services);
	services->silence = silence_find(services);
	way_judge(services, SSLH_TCP);
	way_judge(services, SSLH_UDP);
	return services;
}

void sslh_services_free(struct sslh_services *services)
{
	for (size_t i = 0; i < services->n; i++)
		free(services->entries[i].name);
	free(services->entries);
	free(services);
}

const char *sslh_services_unknown(const struct sslh_services *services)
{
	return services->unknown[SSLH_UDP] == NONE ? NULL : services->entries[services->unknown[SSLH_UDP]].name;
}

bool sslh_services_take_datagrams(const struct sslh_services *services)
{
	return first_of(services, SSLH_UDP) != NONE;
}

/* ---- protocols of their own ---- */

/* To sslh `.' is no newline. */
static void write_expression(struct writer *writer, const char *text)
{
	char *whole;

	if (asprintf(&whole, "%s%s", strchr(text, '.') && strncmp(text, "(*", 2) != 0 ? "(?-s)" : "", text) < 0)
		abort();
	writer_string(writer, whole);
	free(whole);
}

static void write_expressions(const struct sslh_services *services)
{
	struct writer *writer = services->translation->writer;
	const char *before = "protocols = (";

	for (size_t i = 0; i < services->n; i++) {
		const struct entry *entry = &services->entries[i];
		long at_least = entry->from->minlength.value;
		if (entry->takes_all || setting_count(entry->expressions) == 0)
			continue;
		writer_raw(writer, "%s\n", before);
		writer_from(writer, entry->from->line);
		writer_raw(writer, "\t{ name = \"%s-pattern\"; regex = [ ", entry->name);
		for (size_t k = 0; k < setting_count(entry->expressions); k++) {
			const struct setting *at = setting_item(entry->expressions, k);
			writer_from(writer, setting_line(at));
			writer_raw(writer, "%s", k ? ", " : "");
			write_expression(writer, setting_text(at) ? setting_text(at) : "");
			if (!setting_text(at))
				sslh_refuse(
					services->translation, setting_line(at), "an expression that is no string");
		}
		writer_raw(writer, " ]; within = %d;", WITHIN);
		if (at_least > 1)
			writer_raw(writer, " at_least = %ld;", at_least < AT_LEAST_MAX ? at_least : AT_LEAST_MAX);
		writer_raw(writer, " }");
		writer_from(writer, 0);
		before = ",";
	}
	if (*before == ',')
		writer_raw(writer, "\n);\n");
	if (services->searches)
		writer_raw(writer, "search_timeout = " SEARCH_TIMEOUT ";\n");
}

/* ---- services ---- */

static void write_names(
	const struct sslh_translation *translation, const char *key, const struct setting *list, bool host)
{
	struct writer *writer = translation->writer;
	size_t count = list ? setting_count(list) : 0;
	const char *before = " = [ ";

	if (!count)
		return;
	writer_raw(writer, " %s", key);
	for (size_t i = 0; i < count; i++) {
		const struct setting *at = setting_item(list, i);
		char *name = setting_text(at) ? sslh_name(setting_text(at), host) : NULL;
		if (!name)
			continue;
		writer_from(writer, setting_line(at));
		writer_raw(writer, "%s", before);
		writer_string(writer, name);
		free(name);
		before = ", ";
	}
	writer_raw(writer, " ];");
}

/* Those of the entry's way, where its protocol comes the other way too. */
static void write_named_listeners(const struct sslh_translation *translation, enum sslh_way way)
{
	const struct sslh_written *written = translation->written;

	writer_raw(translation->writer, " listener = [ ");
	for (size_t i = 0; i < written->n[way]; i++) {
		writer_raw(translation->writer, i ? ", " : "");
		writer_string(translation->writer, written->texts[way][i]);
	}
	writer_raw(translation->writer, " ];");
}

static void write_match(const struct sslh_translation *translation, const struct entry *entry)
{
	const struct sslh_protocol *from = entry->from;
	struct writer *writer = translation->writer;
	bool named = is_tls(entry) &&
		((from->sni_hostnames && setting_count(from->sni_hostnames)) ||
			(from->alpn_protocols && setting_count(from->alpn_protocols)));
	bool apart = entry->probe->ways == BOTH && entry->ways != BOTH && translation->written->n[SSLH_TCP] &&
		translation->written->n[SSLH_UDP];
	bool own = entry->probe->kind == EXPRESSION && !entry->takes_all;
	const char *protocol = entry->takes_all ? "any" : own ? entry->name : entry->probe->protocol;

	writer_raw(writer, named || apart ? " match = { protocol = \"%s%s\";" : " match = \"%s%s\";", protocol,
		own ? "-pattern" : "");
	if (named) {
		write_names(translation, "sni", from->sni_hostnames, true);
		write_names(translation, "alpn", from->alpn_protocols, false);
	}
	if (apart)
		write_named_listeners(translation, entry->ways == UDP ? SSLH_UDP : SSLH_TCP);
	if (named || apart)
		writer_raw(writer, " };");
}

static void write_backend(const struct sslh_translation *translation, const struct sslh_protocol *from)
{
	const char *host = from->host.text;
	unsigned port = from->is_unix.value ? 0 : sslh_port(from->port.text);
	char *text, *path = from->is_unix.value ? writer_absolute(host) : NULL;
	size_t len = strlen(host);
	bool bare_v6 = host[0] != '[' && strchr(host, ':');

	if (!from->is_unix.value && !port)
		sslh_complain(translation, -EHOSTUNREACH, from->port.line,
			"port `%s' of `%s', expected 1 to 65535 or a name of services(5)", from->port.text,
			from->name.text);
	if (!len)
		sslh_refuse(translation, from->host.line, "an empty host of `%s'", from->name.text);
	int made = path ? asprintf(&text, "unix:%s", path)
			: asprintf(&text, bare_v6 ? "[%s]:%u" : "%s:%u", host, port ? port : 1);
	if (made < 0)
		abort();
	writer_from(translation->writer, from->line);
	writer_raw(translation->writer, " ");
	writer_setting(translation->writer, "connect", text);
	free(text);
	free(path);
}

/* Whoever made the configuration may not have said that the file's rules are to be kept; but they were. */
static void write_access(const struct sslh_translation *translation, const struct sslh_protocol *from)
{
	const struct sslh_options *options = translation->options;
	struct writer *writer = translation->writer;

	if (!from->service.text || !options->has_rules)
		return;
	if (!options->asks_rules) {
		sslh_warn(translation, from->service.line,
			"`service' of `%s' is left out: hosts.allow and hosts.deny are not asked, because this usher "
			"was "
			"built without libwrap",
			from->name.text);
		return;
	}
	writer_from(writer, from->service.line);
	writer_raw(writer, " access = [ ");
	writer_string(writer, options->asks_rules);
	writer_raw(writer, translation->config->numeric.value ? ", \"-n\", " : ", ");
	writer_string(writer, from->service.text);
	writer_raw(writer, " ];");
}

static bool some_listener_is_proxied(const struct sslh_translation *translation)
{
	const struct sslh_config *config = translation->config;

	for (size_t i = 0; i < config->n_listens; i++)
		if (config->listens[i].proxyprotocol.value && !config->listens[i].is_udp.value)
			return !translation->inetd && !translation->options->n_handed;
	return false;
}

/* sslh does not ask whether there was an answer. */
static void write_flow_options(const struct sslh_translation *translation, const struct entry *entry)
{
	const struct sslh_number *given = &entry->from->udp_timeout;
	long seconds = !given->given ? FLOW_TIMEOUT : given->value < 1 ? 1 : given->value;

	seconds = seconds < FLOW_TIMEOUT_MAX ? seconds : FLOW_TIMEOUT_MAX;
	if (entry->ways == UDP)
		writer_raw(translation->writer, " idle_timeout = %ld.0;", seconds);
	writer_raw(translation->writer, " answer_timeout = %ld.0;", seconds);
}

static void write_options(const struct sslh_translation *translation, const struct entry *entry)
{
	const struct sslh_protocol *from = entry->from;
	struct writer *writer = translation->writer;
	long most = from->max_connections.value;

	if (from->resolve_on_forward.value && !from->is_unix.value)
		writer_raw(writer, " resolve = \"connect\";");
	if (from->keepalive.given && !from->keepalive.value && entry->ways & TCP)
		writer_raw(writer, " keepalive = false;");
	if (from->log_level.given && from->log_level.value < 1)
		writer_raw(writer, " log_level = \"debug\";");
	if (most > 0)
		writer_raw(writer, " max_connections = %ld;", most < CONNECTIONS_MAX ? most : CONNECTIONS_MAX);
	if (entry->ways & UDP)
		write_flow_options(translation, entry);
	if (entry->ways == UDP) {
		if (from->transparent.value || from->proxyprotocol.value)
			sslh_warn(translation, from->line,
				"`transparent' and `proxyprotocol' of `%s' are left out for datagrams",
				from->name.text);
		return;
	}
	if ((translation->config->transparent.value || from->transparent.value) && !from->is_unix.value)
		writer_raw(writer, " transparent = true;");
	if (from->proxyprotocol.value == 1 || from->proxyprotocol.value == 2)
		writer_raw(writer, " send_proxy = %ld;%s", from->proxyprotocol.value,
			from->is_unix.value ? "" : " send_proxy_family = \"backend\";");
	else if (!from->proxyprotocol.given && some_listener_is_proxied(translation))
		writer_raw(writer, " pass_proxy = true;");
	else if (from->proxyprotocol.value)
		sslh_refuse(translation, from->proxyprotocol.line,
			"`proxyprotocol' of `%s' is %ld, expected 0, 1 or 2", from->name.text,
			from->proxyprotocol.value);
	write_access(translation, from);
}

static void write_entries(const struct sslh_services *services)
{
	const struct sslh_translation *translation = services->translation;
	struct writer *writer = translation->writer;
	const char *before = "services = (";

	for (size_t i = 0; i < services->n; i++) {
		const struct entry *entry = &services->entries[i];
		if (!entry->counts)
			continue;
		writer_raw(writer, "%s\n", before);
		writer_from(writer, entry->from->line);
		writer_raw(writer, "\t{ ");
		writer_setting(writer, "name", entry->name);
		if (entry->matches)
			write_match(translation, entry);
		write_backend(translation, entry->from);
		write_options(translation, entry);
		writer_raw(writer, " }");
		writer_from(writer, 0);
		before = ",";
	}
	writer_raw(writer, "\n);\n");
}

void sslh_services_write(struct sslh_services *services)
{
	const struct sslh_translation *translation = services->translation;

	if (services->n == 0) {
		sslh_refuse(translation, 0,
			"no protocol to serve, expected `protocols' in the file or options such as --ssh HOST:PORT");
	} else {
		write_expressions(services);
		write_entries(services);
	}
	if (services->silence != NONE) {
		writer_from(translation->writer, translation->config->on_timeout.line);
		writer_raw(translation->writer, "on_silence = \"%s\";\n", services->entries[services->silence].name);
		writer_from(translation->writer, 0);
	}
	if (services->unknown[SSLH_TCP] != NONE)
		writer_raw(translation->writer, "on_unknown = \"%s\";\n",
			services->entries[services->unknown[SSLH_TCP]].name);
}
