/* Reads sslh's configuration file, which is libconfig's as usher's own is: the policy's reader parses it, with its
 * words for what is wrong with the form. In names `-' and `_' are the same.
 *
 * Refuses what cannot be parsed, and entries without a name, a host or a port, as sslh does. Keys that sslh does
 * not know and values of another type than it wants, which one version or another of it passes over, are left out
 * with a warning. Texts stay the reader's, which sslh_config_fini() frees. */
#include "index.h"
#include "reader.h"
#include "sslh_config.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum kind { TEXT, NUMBER, SETTING, LIST };

struct known_key {
	const char *name;
	enum kind kind;
	size_t offset;
};

#define KEY(type, kind, field)                                                                                       \
	{                                                                                                            \
#field, kind, offsetof(struct type, field)                                                           \
	}

static const struct known_key listen_keys[] = {
	KEY(sslh_listen, TEXT, host),
	KEY(sslh_listen, TEXT, port),
	KEY(sslh_listen, NUMBER, is_udp),
	KEY(sslh_listen, NUMBER, is_unix),
	KEY(sslh_listen, NUMBER, keepalive),
	KEY(sslh_listen, NUMBER, max_connections),
	KEY(sslh_listen, NUMBER, proxyprotocol),
};

static const struct known_key protocol_keys[] = {
	KEY(sslh_protocol, TEXT, name),
	KEY(sslh_protocol, TEXT, host),
	KEY(sslh_protocol, TEXT, port),
	KEY(sslh_protocol, TEXT, service),
	KEY(sslh_protocol, NUMBER, is_udp),
	KEY(sslh_protocol, NUMBER, is_unix),
	KEY(sslh_protocol, NUMBER, udp_timeout),
	KEY(sslh_protocol, NUMBER, fork),
	KEY(sslh_protocol, NUMBER, tfo_ok),
	KEY(sslh_protocol, NUMBER, transparent),
	KEY(sslh_protocol, NUMBER, resolve_on_forward),
	KEY(sslh_protocol, NUMBER, log_level),
	KEY(sslh_protocol, NUMBER, keepalive),
	KEY(sslh_protocol, NUMBER, max_connections),
	KEY(sslh_protocol, NUMBER, minlength),
	KEY(sslh_protocol, NUMBER, proxyprotocol),
	KEY(sslh_protocol, SETTING, sni_hostnames),
	KEY(sslh_protocol, SETTING, alpn_protocols),
	KEY(sslh_protocol, SETTING, regex_patterns),
	KEY(sslh_protocol, SETTING, probe),
};

#define CLASS(name, which)                                                                                           \
	{                                                                                                            \
		"verbose_" name, NUMBER, offsetof(struct sslh_config, classes[which])                                \
	}

static const struct known_key global_keys[] = {
	KEY(sslh_config, NUMBER, verbose),
	CLASS("config", SSLH_CONFIG),
	CLASS("config_error", SSLH_CONFIG_ERROR),
	CLASS("connections", SSLH_CONNECTIONS),
	CLASS("connections_try", SSLH_CONNECTIONS_TRY),
	CLASS("connections_error", SSLH_CONNECTIONS_ERROR),
	CLASS("fd", SSLH_FD),
	CLASS("packets", SSLH_PACKETS),
	CLASS("probe_info", SSLH_PROBE_INFO),
	CLASS("probe_error", SSLH_PROBE_ERROR),
	CLASS("system_error", SSLH_SYSTEM_ERROR),
	CLASS("int_error", SSLH_INT_ERROR),
	KEY(sslh_config, NUMBER, foreground),
	KEY(sslh_config, NUMBER, background),
	KEY(sslh_config, NUMBER, inetd),
	KEY(sslh_config, NUMBER, numeric),
	KEY(sslh_config, NUMBER, transparent),
	KEY(sslh_config, NUMBER, timeout),
	KEY(sslh_config, NUMBER, udp_max_connections),
	KEY(sslh_config, TEXT, user),
	KEY(sslh_config, TEXT, pidfile),
	KEY(sslh_config, TEXT, chroot),
	KEY(sslh_config, TEXT, syslog_facility),
	KEY(sslh_config, TEXT, logfile),
	KEY(sslh_config, TEXT, on_timeout),
	KEY(sslh_config, TEXT, prefix),
	{ "listen", LIST },
	{ "protocols", LIST },
};

#define N(keys) (sizeof(keys) / sizeof((keys)[0]))

/* ---- values ---- */

bool sslh_number_parse(const char *text, long *ret)
{
	char *end;
	bool digits = text[0] >= '0' && text[0] <= '9';
	bool signed_digits = (text[0] == '-' || text[0] == '+') && text[1] >= '0' && text[1] <= '9';

	errno = 0;
	*ret = strtol(text, &end, 10);
	return (digits || signed_digits) && !*end && !errno;
}

static void number_read(struct reader *reader, const char *name, const struct setting *at, struct sslh_number *ret)
{
	const char *text = setting_text(at);
	long value = 0;
	bool fits = true;

	if (setting_kind(at) == SETTING_BOOL)
		value = setting_bool(at);
	else if (setting_kind(at) == SETTING_WHOLE)
		value = (long)setting_whole(at);
	else
		fits = text && sslh_number_parse(text, &value);
	if (fits)
		*ret = (struct sslh_number){ true, value, setting_line(at) };
	else
		reader_warn(reader, at, "`%s' is no whole number and neither true nor false: left out", name);
}

/* What is remembered beside the reader's own strings. */
static const char *keep(struct sslh_config *config, char *text)
{
	config->owned = reallocarray(config->owned, config->n_owned + 1, sizeof(*config->owned));
	if (!config->owned)
		abort();
	return config->owned[config->n_owned++] = text;
}

/* A port may be a number without its quotation marks. */
static void text_read(struct sslh_config *config, const char *name, const struct setting *at, struct sslh_text *ret)
{
	const char *text = setting_text(at);
	char *digits;

	if (!text && setting_kind(at) == SETTING_WHOLE) {
		if (asprintf(&digits, "%lld", (long long)setting_whole(at)) < 0)
			abort();
		text = keep(config, digits);
	}
	if (text)
		*ret = (struct sslh_text){ text, setting_line(at) };
	else
		reader_warn(config->reader, at, "`%s' is no string: left out", name);
}

/* ---- groups ---- */

static char *underscored(const char *name)
{
	char *copy = strdup(name);

	if (!copy)
		abort();
	for (char *c = copy; *c; c++)
		if (*c == '-')
			*c = '_';
	return copy;
}

static struct index *keys_index(const struct known_key *keys, size_t n)
{
	struct index *index = index_new();

	for (size_t i = 0; i < n; i++)
		index_add(index, keys[i].name, (uint32_t)i);
	return index;
}

static void group_read(struct sslh_config *config, const struct setting *group, const struct known_key *keys,
	size_t n, const char *where, void *into)
{
	struct index *known = keys_index(keys, n);

	for (size_t i = 0; i < setting_member_count(group); i++) {
		const struct setting *at = setting_member(group, i);
		char *name = underscored(setting_name(at));
		uint32_t number = index_find(known, name);
		void *field = number == INDEX_NONE ? NULL : (char *)into + keys[number].offset;

		if (number == INDEX_NONE)
			reader_warn(config->reader, at, "unknown key `%s' in %s is left out%s", setting_name(at),
				where, reader_suggest(config->reader, name, known));
		else if (keys[number].kind == TEXT)
			text_read(config, setting_name(at), at, field);
		else if (keys[number].kind == NUMBER)
			number_read(config->reader, setting_name(at), at, field);
		else if (keys[number].kind == SETTING)
			*(const struct setting **)field = at;
		free(name);
	}
	index_free(known);
}

static void entry_check(struct sslh_config *config, const struct setting *at, const char *what,
	const struct sslh_text *name, const struct sslh_text *host, const struct sslh_text *port, bool is_unix)
{
	const char *missing = name && !name->text ? "name"
		: !host->text                     ? "host"
		: !port->text && !is_unix         ? "port"
						  : NULL;

	if (missing)
		reader_error(config->reader, at, "an entry of `%s' without `%s', expected %s: \"...\";", what,
			missing, missing);
}

static void listen_read(struct sslh_config *config, const struct setting *at)
{
	struct sslh_listen *listen = &config->listens[config->n_listens++];

	*listen = (struct sslh_listen){ .line = setting_line(at) };
	group_read(config, at, listen_keys, N(listen_keys), "`listen'", listen);
	entry_check(config, at, "listen", NULL, &listen->host, &listen->port, listen->is_unix.value);
}

static void protocol_read(struct sslh_config *config, const struct setting *at)
{
	struct sslh_protocol *protocol = &config->protocols[config->n_protocols++];

	*protocol = (struct sslh_protocol){ .line = setting_line(at) };
	group_read(config, at, protocol_keys, N(protocol_keys), "`protocols'", protocol);
	entry_check(
		config, at, "protocols", &protocol->name, &protocol->host, &protocol->port, protocol->is_unix.value);
}

/* The list of a name that may be spelt in two ways; NULL: absent. */
static const struct setting *list_find(const struct setting *top, const char *name)
{
	const struct setting *found = NULL;

	for (size_t i = 0; i < setting_member_count(top); i++)
		if (strcmp(setting_name(setting_member(top, i)), name) == 0)
			found = setting_member(top, i);
	return found;
}

static void list_read(struct sslh_config *config, const struct setting *top, const char *name, void **items,
	size_t size, void (*read)(struct sslh_config *config, const struct setting *at))
{
	const struct setting *at = list_find(top, name);
	size_t count = at ? setting_count(at) : 0;

	*items = calloc(count + 1, size);
	if (!*items)
		abort();
	for (size_t i = 0; i < count; i++) {
		const struct setting *item = setting_item(at, i);
		if (setting_is_group(item))
			read(config, item);
		else
			reader_error(config->reader, item,
				"`%s' holds something else than groups, expected { host: \"...\"; port: \"...\"; }",
				name);
	}
}

/* ---- the file ---- */

/* Where a comment that begins here ends, else where it begins. */
static const char *comment_end(const char *at, const char *end)
{
	const char *stop = at;

	if (*at == '#' || (*at == '/' && at + 1 < end && at[1] == '/')) {
		stop = memchr(at, '\n', (size_t)(end - at));
	} else if (*at == '/' && at + 1 < end && at[1] == '*') {
		stop = memmem(at + 2, (size_t)(end - at - 2), "*/", 2);
		stop = stop ? stop + 2 : NULL;
	}
	return stop ? stop : end;
}

/* libconfig leaves "\x00" out of a string; in an expression it is meant, and "\\x00" says the same to PCRE. */
static char *zeros_kept(
	const char *file, const char *text, size_t len, struct complaints *complaints, size_t *ret_len)
{
	char *copy = malloc(len + len / 4 + 1), *to = copy;
	const char *at = text, *end = text + len;
	bool quoted = false, told = false;
	unsigned line = 1;

	if (!copy)
		abort();
	while (at < end) {
		const char *past = quoted ? at : comment_end(at, end);
		if (past == at) {
			bool escape = quoted && *at == '\\' && at + 1 < end;
			if (escape && end - at >= 4 && memcmp(at, "\\x00", 4) == 0) {
				*to++ = '\\';
				if (!told)
					complaint_add(complaints, COMPLAINT_WARNING, file, line,
						"\\x00, which sslh's expressions lose, is a byte of value zero here");
				told = true;
			}
			if (*at == '"')
				quoted = !quoted;
			past = at + (escape ? 2 : 1);
		}
		for (; at < past; at++) {
			line += *at == '\n';
			*to++ = *at;
		}
	}
	*to = 0;
	*ret_len = (size_t)(to - copy);
	return copy;
}

void sslh_file_read(
	struct sslh_config *config, const char *file, const char *text, size_t len, struct complaints *complaints)
{
	size_t kept_len;

	config->text = zeros_kept(file, text, len, complaints, &kept_len);
	config->reader = reader_new(file, false, config->text, kept_len, NULL, complaints);
	if (!config->reader)
		return;
	const struct setting *top = reader_root(config->reader);

	group_read(config, top, global_keys, N(global_keys), "the configuration", config);
	list_read(config, top, "listen", (void **)&config->listens, sizeof(*config->listens), listen_read);
	list_read(config, top, "protocols", (void **)&config->protocols, sizeof(*config->protocols), protocol_read);
}

void sslh_config_fini(struct sslh_config *config)
{
	for (size_t i = 0; i < config->n_owned; i++)
		free(config->owned[i]);
	free(config->owned);
	free(config->listens);
	free(config->protocols);
	reader_free(config->reader);
	free(config->text);
	*config = (struct sslh_config){ 0 };
}

/* ---- keys by name ---- */

static void *global_find(struct sslh_config *config, const char *name, enum kind kind)
{
	for (size_t i = 0; i < N(global_keys); i++)
		if (global_keys[i].kind == kind && strcmp(global_keys[i].name, name) == 0)
			return (char *)config + global_keys[i].offset;
	return NULL;
}

struct sslh_text *sslh_global_text(struct sslh_config *config, const char *key)
{
	return global_find(config, key, TEXT);
}

struct sslh_number *sslh_global_number(struct sslh_config *config, const char *key)
{
	return global_find(config, key, NUMBER);
}
