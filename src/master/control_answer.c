/* The words of the control socket: what a request says. Refuses anything but a known word with as many arguments as it has;
 * reads no byte behind the line. Owns no memory. */
#include "backend_table.h"
#include "control.h"
#include "log.h"
#include <errno.h>
#include <string.h>

enum argument {
	ARGUMENT_NONE,
	ARGUMENT_ID,
	ARGUMENT_LEVEL,
	ARGUMENT_BACKEND,
	ARGUMENT_BAN,
	ARGUMENT_UNBAN,
	ARGUMENT_OPEN,
	ARGUMENT_SHUT
};

static const struct {
	const char *name;
	enum control_word word;
	enum argument argument;
} words[] = {
	{ "status", CONTROL_STATUS, ARGUMENT_NONE },
	{ "sessions", CONTROL_SESSIONS, ARGUMENT_NONE },
	{ "evidence", CONTROL_EVIDENCE, ARGUMENT_ID },
	{ "close", CONTROL_CLOSE, ARGUMENT_ID },
	{ "drain", CONTROL_DRAIN, ARGUMENT_NONE },
	{ "reload", CONTROL_RELOAD, ARGUMENT_NONE },
	{ "upgrade", CONTROL_UPGRADE, ARGUMENT_NONE },
	{ "log", CONTROL_LOG, ARGUMENT_LEVEL },
	{ "reopen", CONTROL_REOPEN, ARGUMENT_NONE },
	{ "backends", CONTROL_BACKENDS, ARGUMENT_NONE },
	{ "settings", CONTROL_SETTINGS, ARGUMENT_NONE },
	{ "backend", CONTROL_BACKEND, ARGUMENT_BACKEND },
	{ "bans", CONTROL_BANS, ARGUMENT_NONE },
	{ "ban", CONTROL_LIVE, ARGUMENT_BAN },
	{ "unban", CONTROL_LIVE, ARGUMENT_UNBAN },
	{ "open", CONTROL_LIVE, ARGUMENT_OPEN },
	{ "shut", CONTROL_LIVE, ARGUMENT_SHUT },
};

static int id_parse(const char *text, size_t len, uint64_t *ret)
{
	uint64_t id = 0;

	if (len == 0 || len > 18)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		id = id * 10 + (uint64_t)(text[i] - '0');
	}
	*ret = id;
	return 0;
}

static int level_parse(const char *text, size_t len, unsigned *ret)
{

	for (unsigned i = 0; i < LOG_LEVELS; i++) {
		if (strlen(log_level_names[i]) != len || memcmp(log_level_names[i], text, len) != 0)
			continue;
		*ret = i;
		return 0;
	}
	return -EINVAL;
}

/* The word behind the last blank of `text`; its length. What is before that blank is left in *len; 0: there is no blank. */
static size_t last_word(const char *text, size_t *len, const char **ret)
{
	const char *blank = memrchr(text, ' ', *len);
	size_t word = *len;

	*ret = blank ? blank + 1 : text;
	*len = blank ? (size_t)(blank - text) : 0;
	return word - (size_t)(*ret - text);
}

static bool is_word(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(text, word, len) == 0;
}

static int text_copy(char *to, size_t size, const char *from, size_t len)
{
	if (len == 0 || len >= size || memchr(from, '\0', len))
		return -EINVAL;
	memcpy(to, from, len);
	to[len] = '\0';
	return 0;
}

/* An order's words are its last ones and the service is the first: the path of a UNIX socket may have blanks. */
static int backend_parse(const char *text, size_t len, struct control_backend *ret)
{
	static const char *const orders[] = { "drain", "down", "up" };
	const char *word, *blank = memchr(text, ' ', len);
	size_t word_len = last_word(text, &len, &word), service_len = blank ? (size_t)(blank - text) : len;
	uint64_t weight;

	ret->order = CONTROL_BACKEND_WEIGHT;
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (is_word(word, word_len, orders[i]))
			ret->order = (enum control_backend_order)i;
	if (ret->order == CONTROL_BACKEND_WEIGHT) {
		if (id_parse(word, word_len, &weight) < 0 || weight > BACKEND_WEIGHT_MAX)
			return -EINVAL;
		ret->weight = (uint32_t)weight;
		word_len = last_word(text, &len, &word);
		if (!is_word(word, word_len, "weight"))
			return -EINVAL;
	}
	if (len <= service_len)
		return -EINVAL;
	int error = text_copy(ret->service, sizeof(ret->service), text, service_len);
	return error < 0
		? error
		: text_copy(ret->address, sizeof(ret->address), text + service_len + 1, len - service_len - 1);
}

/* The word in front of the first blank, into `to`; *text and *len are what is behind it. */
static int first_word(const char **text, size_t *len, char *to, size_t size)
{
	const char *blank = memchr(*text, ' ', *len);
	size_t word = blank ? (size_t)(blank - *text) : *len;

	int error = text_copy(to, size, *text, word);
	*text += blank ? word + 1 : word;
	*len -= blank ? word + 1 : word;
	return error;
}

/* [SERVICE] ADDRESS [SECONDS] */
static int live_parse(const char *text, size_t len, enum control_live_order order, bool has_service, bool needs_time,
	struct control_live *ret)
{
	char address[LIVE_SOURCE_MAX];

	*ret = (struct control_live){ .order = order, .seconds = CONTROL_EVER };
	if (has_service && first_word(&text, &len, ret->service, sizeof(ret->service)) < 0)
		return -EINVAL;
	if (first_word(&text, &len, address, sizeof(address)) < 0 || live_source_parse(&ret->source, address) < 0)
		return -EINVAL;
	bool takes_time = order == CONTROL_LIVE_BAN || order == CONTROL_LIVE_OPEN;
	if (len == 0)
		return needs_time ? -EINVAL : 0;
	if (!takes_time || id_parse(text, len, &ret->seconds) < 0)
		return -EINVAL;
	return ret->seconds < 1 || ret->seconds > CONTROL_SECONDS_MAX ? -EINVAL : 0;
}

static int argument_parse(
	enum argument argument, const char *text, size_t len, struct control_request *ret, const char **ret_why)
{
	switch (argument) {
	case ARGUMENT_NONE:
		*ret_why = "the request takes no argument";
		return len == 0 ? 0 : -EINVAL;
	case ARGUMENT_ID:
		*ret_why = "expected the number of a connection behind the request";
		return id_parse(text, len, &ret->id);
	case ARGUMENT_LEVEL:
		*ret_why = "expected error, warning, notice, info or debug behind the request";
		return level_parse(text, len, &ret->level);
	case ARGUMENT_BACKEND:
		*ret_why = "expected a service, the address of a backend of it, and drain, down, up or weight N with "
			   "N from 0 to 256";
		return backend_parse(text, len, &ret->backend);
	case ARGUMENT_BAN:
		*ret_why = "expected an address or a prefix, and perhaps for how many seconds";
		return live_parse(text, len, CONTROL_LIVE_BAN, false, false, &ret->live);
	case ARGUMENT_UNBAN:
		*ret_why = "expected an address or a prefix";
		return live_parse(text, len, CONTROL_LIVE_UNBAN, false, false, &ret->live);
	case ARGUMENT_OPEN:
		*ret_why = "expected a service, an address or a prefix, and for how many seconds";
		return live_parse(text, len, CONTROL_LIVE_OPEN, true, true, &ret->live);
	case ARGUMENT_SHUT:
		*ret_why = "expected a service, and an address or a prefix";
		return live_parse(text, len, CONTROL_LIVE_SHUT, true, false, &ret->live);
	}
	return -EINVAL;
}

int control_parse(const char *line, size_t len, struct control_request *ret, const char **ret_why)
{
	const char *blank = memchr(line, ' ', len);
	size_t name_len = blank ? (size_t)(blank - line) : len;

	*ret = (struct control_request){ .word = CONTROL_UNKNOWN };
	*ret_why =
		"unknown request, expected status, sessions, backends, bans, evidence ID, close ID, drain, "
		"reload, upgrade, reopen, settings, log LEVEL, backend SERVICE ADDRESS ORDER, ban ADDRESS [SECONDS], "
		"unban ADDRESS, open SERVICE ADDRESS SECONDS or shut SERVICE ADDRESS";
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strlen(words[i].name) != name_len || memcmp(words[i].name, line, name_len) != 0)
			continue;
		ret->word = words[i].word;
		return blank ? argument_parse(words[i].argument, blank + 1, len - name_len - 1, ret, ret_why)
			     : argument_parse(words[i].argument, line, 0, ret, ret_why);
	}
	return -EINVAL;
}
