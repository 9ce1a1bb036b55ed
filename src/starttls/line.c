/* Lines, and replies of several lines: for the protocols that consist of them. Owns nothing. */
#include "starttls_kind.h"
#include <string.h>

bool starttls_line_read(struct starttls_line *ret, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	const uint8_t *end = len ? memchr(bytes, '\n', len) : NULL;

	if (!end)
		return false;
	*ret = (struct starttls_line){ (const char *)bytes, (size_t)(end - bytes) };
	*ret_taken = ret->len + 1;
	if (ret->len > 0 && ret->at[ret->len - 1] == '\r')
		ret->len--;
	return true;
}

bool starttls_line_is(const struct starttls_line *line, const char *word)
{
	size_t len = strlen(word);

	return line->len >= len && strncasecmp(line->at, word, len) == 0 &&
		(line->len == len || line->at[len] == ' ');
}

enum starttls_step starttls_reply_read(struct starttls *starttls, const struct starttls_line *line, const char *code)
{
	bool has_code = line->len >= 3 && memcmp(line->at, code, 3) == 0;
	bool is_last = has_code && (line->len == 3 || line->at[3] == ' ');

	if (!starttls->in_reply && !is_last && !(has_code && line->at[3] == '-'))
		return STARTTLS_REFUSED;
	starttls->in_reply = !is_last;
	return is_last ? STARTTLS_TLS : STARTTLS_ON;
}
