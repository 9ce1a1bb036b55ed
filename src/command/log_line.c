/* Reads lines of usher's log. Refuses to unescape: texts are compared and printed as they stand, which is printable ASCII where usher wrote
 * them. Owns nothing, allocates nothing; a line is read once, from the left to the right. */
#include "log_line.h"
#include <string.h>

struct cursor {
	const char *at, *end;
};

static bool cursor_is(const struct cursor *cursor, char c)
{
	return cursor->at < cursor->end && *cursor->at == c;
}

static void cursor_blanks(struct cursor *cursor)
{
	while (cursor_is(cursor, ' '))
		cursor->at++;
}

static bool text_is(struct log_text text, const char *word)
{
	return text.len == strlen(word) && memcmp(text.at, word, text.len) == 0;
}

/* Up to the quotation mark at its end; `escape` keeps the character behind it. */
static bool quoted_read(struct cursor *cursor, char escape, struct log_text *ret)
{
	const char *begin = ++cursor->at;

	for (; cursor->at < cursor->end; cursor->at++) {
		if (*cursor->at == escape && escape)
			cursor->at++;
		else if (*cursor->at == '"') {
			*ret = (struct log_text){ begin, (size_t)(cursor->at++ - begin) };
			return true;
		}
	}
	cursor->at = cursor->end;
	return false;
}

static struct log_text bare_read(struct cursor *cursor, const char *ends)
{
	const char *begin = cursor->at;

	while (cursor->at < cursor->end && !strchr(ends, *cursor->at))
		cursor->at++;
	return (struct log_text){ begin, (size_t)(cursor->at - begin) };
}

/* "12" and "12.345", `scale` times: what does not fit is the largest. False: it is no number. */
static bool number_read(struct log_text text, unsigned scale, uint64_t *ret)
{
	uint64_t value = 0;
	size_t i = 0;

	for (; i < text.len && text.at[i] >= '0' && text.at[i] <= '9'; i++)
		value = value > (UINT64_MAX / scale - 9) / 10 ? UINT64_MAX / scale
							      : value * 10 + (uint64_t)(text.at[i] - '0');
	if (i == 0)
		return false;
	value *= scale;
	if (i < text.len && text.at[i] == '.')
		for (i++; i < text.len && text.at[i] >= '0' && text.at[i] <= '9'; i++)
			value += (uint64_t)(text.at[i] - '0') * (scale /= 10);
	*ret = value;
	return i == text.len;
}

/* False: a value that usher does not write. */
static bool member_take(struct log_line *line, struct log_text key, struct log_text value)
{
	static const struct {
		const char *key;
		size_t at;
	} texts[] = {
		{ "time", offsetof(struct log_line, time) },
		{ "client", offsetof(struct log_line, client) },
		{ "service", offsetof(struct log_line, service) },
		{ "end", offsetof(struct log_line, end) },
		{ "rule", offsetof(struct log_line, rule) },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (text_is(key, texts[i].key)) {
			*(struct log_text *)((char *)line + texts[i].at) = value;
			return true;
		}
	if (text_is(key, "bytes_up"))
		return number_read(value, 1, &line->bytes_up);
	if (text_is(key, "bytes_down"))
		return number_read(value, 1, &line->bytes_down);
	if (text_is(key, "decided_ms"))
		return line->has_decided = number_read(value, 1000, &line->decided_us);
	if (text_is(key, "total_ms"))
		return line->has_total = number_read(value, 1000, &line->total_us);
	return true;
}

/* ---- JSON: a flat object ---- */

static bool json_value_read(struct cursor *cursor, struct log_text *ret)
{
	if (cursor_is(cursor, '"'))
		return quoted_read(cursor, '\\', ret);
	*ret = bare_read(cursor, ",} ");
	return ret->len > 0;
}

static enum log_line_kind json_read(struct cursor cursor, struct log_line *ret)
{
	struct log_text key, value, event = { 0 };
	bool is_sound = true;

	do {
		cursor.at++; /* '{' or ',' */
		cursor_blanks(&cursor);
		is_sound = cursor_is(&cursor, '"') && quoted_read(&cursor, '\\', &key) && cursor_is(&cursor, ':');
		if (!is_sound)
			break;
		cursor.at++;
		cursor_blanks(&cursor);
		is_sound = json_value_read(&cursor, &value) && member_take(ret, key, value);
		if (is_sound && text_is(key, "event"))
			event = value;
		cursor_blanks(&cursor);
	} while (is_sound && cursor_is(&cursor, ','));
	if (!event.at || !text_is(event, "connection"))
		return LOG_LINE_OTHER;
	return is_sound && cursor_is(&cursor, '}') ? LOG_LINE_CONNECTION : LOG_LINE_BROKEN;
}

/* ---- text ---- */

static enum log_line_kind text_read(struct cursor cursor, struct log_line *ret)
{
	while (cursor_is(&cursor, ' ')) {
		cursor.at++;
		struct log_text value, key = bare_read(&cursor, "= ");
		if (key.len == 0 || !cursor_is(&cursor, '='))
			return LOG_LINE_BROKEN;
		cursor.at++;
		if (cursor_is(&cursor, '"')) {
			if (!quoted_read(&cursor, '\0', &value))
				return LOG_LINE_BROKEN;
		} else {
			value = bare_read(&cursor, " ");
		}
		if (!member_take(ret, key, value))
			return LOG_LINE_BROKEN;
	}
	return cursor.at == cursor.end ? LOG_LINE_CONNECTION : LOG_LINE_BROKEN;
}

/* The event behind one of the levels: in a message, "connection" could be any word. */
static const char *event_find(const char *line, size_t len)
{
	static const char *const levels[] = { "error", "warning", "notice", "info", "debug" };
	static const char event[] = " connection ";
	const char *at = memmem(line, len, event, sizeof(event) - 1);

	for (size_t i = 0; at && i < sizeof(levels) / sizeof(levels[0]); i++) {
		size_t n = strlen(levels[i]);
		if ((size_t)(at - line) >= n && memcmp(at - n, levels[i], n) == 0 &&
			((size_t)(at - line) == n || at[-(ptrdiff_t)n - 1] == ' '))
			return at + sizeof(event) - 2;
	}
	return NULL;
}

enum log_line_kind log_line_read(const char *line, size_t len, struct log_line *ret)
{
	const char *end = line + len;
	const char *object = memchr(line, '{', len), *event;

	*ret = (struct log_line){ 0 };
	/* What syslog puts in front of an object has no quotation marks. */
	if (object && !memchr(line, '"', (size_t)(object - line)))
		return json_read((struct cursor){ object, end }, ret);
	event = event_find(line, len);
	if (!event)
		return LOG_LINE_OTHER;
	const char *blank = memchr(line, ' ', len);
	if (blank - line >= 19 && line[4] == '-' && line[10] == 'T')
		ret->time = (struct log_text){ line, (size_t)(blank - line) };
	return text_read((struct cursor){ event, end }, ret);
}
