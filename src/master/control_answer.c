/* The words of the control socket: what a request says. Refuses anything but a known word with as many arguments as it has;
 * reads no byte behind the line. Owns no memory. */
#include "control.h"
#include "log.h"
#include <errno.h>
#include <string.h>

enum argument { ARGUMENT_NONE, ARGUMENT_ID, ARGUMENT_LEVEL };

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
	}
	return -EINVAL;
}

int control_parse(const char *line, size_t len, struct control_request *ret, const char **ret_why)
{
	const char *blank = memchr(line, ' ', len);
	size_t name_len = blank ? (size_t)(blank - line) : len;

	*ret = (struct control_request){ .word = CONTROL_UNKNOWN };
	*ret_why = "unknown request, expected status, sessions, evidence ID, close ID, drain, reload, upgrade, "
		   "reopen or log LEVEL";
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strlen(words[i].name) != name_len || memcmp(words[i].name, line, name_len) != 0)
			continue;
		ret->word = words[i].word;
		return blank ? argument_parse(words[i].argument, blank + 1, len - name_len - 1, ret, ret_why)
			     : argument_parse(words[i].argument, line, 0, ret, ret_why);
	}
	return -EINVAL;
}
