/* Is this text exactly one JSON value (RFC 8259) and nothing else? No leniency: for tests of what usher
 * writes. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct json_text {
	const char *at, *end;
	int depth;
};

static inline bool json_value(struct json_text *t);

static inline bool json_take(struct json_text *t, char c)
{
	if (t->at == t->end || *t->at != c)
		return false;
	t->at++;
	return true;
}

static inline bool json_digits(struct json_text *t)
{
	const char *start = t->at;

	while (t->at < t->end && *t->at >= '0' && *t->at <= '9')
		t->at++;
	return t->at > start;
}

static inline bool json_hex4(struct json_text *t)
{
	for (int i = 0; i < 4; i++, t->at++)
		if (t->at == t->end || !*t->at || !strchr("0123456789abcdefABCDEF", *t->at))
			return false;
	return true;
}

static inline bool json_string(struct json_text *t)
{
	if (!json_take(t, '"'))
		return false;
	while (t->at < t->end && *t->at != '"') {
		unsigned char c = (unsigned char)*t->at++;
		if (c < 0x20 || c > 0x7e) /* beyond ASCII is JSON too, but usher never writes it */
			return false;
		if (c != '\\')
			continue;
		if (t->at == t->end || !*t->at || !strchr("\"\\/bfnrtu", *t->at))
			return false;
		if (*t->at++ == 'u' && !json_hex4(t))
			return false;
	}
	return json_take(t, '"');
}

static inline bool json_number(struct json_text *t)
{
	json_take(t, '-');
	if (!json_take(t, '0') && !json_digits(t))
		return false;
	if (json_take(t, '.') && !json_digits(t))
		return false;
	return true;
}

static inline bool json_word(struct json_text *t, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(t->end - t->at) < len || memcmp(t->at, word, len) != 0)
		return false;
	t->at += len;
	return true;
}

static inline bool json_object(struct json_text *t)
{
	if (!json_take(t, '{'))
		return false;
	if (json_take(t, '}'))
		return true;
	do {
		if (!json_string(t) || !json_take(t, ':') || !json_value(t))
			return false;
	} while (json_take(t, ','));
	return json_take(t, '}');
}

static inline bool json_value(struct json_text *t)
{
	if (++t->depth > 8 || t->at == t->end)
		return false;
	bool good;
	if (*t->at == '{')
		good = json_object(t);
	else if (*t->at == '"')
		good = json_string(t);
	else if (*t->at == 't')
		good = json_word(t, "true");
	else if (*t->at == 'f')
		good = json_word(t, "false");
	else
		good = json_number(t);
	t->depth--;
	return good;
}

static inline bool json_is_strict(const char *text, size_t len)
{
	struct json_text t = { .at = text, .end = text + len };

	return json_value(&t) && t.at == t.end;
}
