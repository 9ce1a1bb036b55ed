/* HTTP/1 fields, RFC 9112 5: Host (RFC 9110 7.2) and Upgrade (RFC 9110 7.8). Since a second, different Host makes the
 * request invalid, nothing is known before the fields have ended, or no more of them can be seen. A line may end with LF alone
 * (RFC 9112 2.2).
 *
 * A line that is not `name ":" value` is passed over: whether to refuse it is the server's business, and which host is meant
 * is not in doubt. Some servers take a CR for the end of a line, so what is behind one is read as a line too, but does not
 * end the fields.
 *
 * Refuses what leaves the host in doubt: Host fields that differ, one that is no host name or has blanks before its colon,
 * a fold before the first field. Of Upgrade, what is not `token [ "/" token ]` is left out. Owns no memory. */
#include "http_fields.h"

#include <string.h>
#include <strings.h>

const bool token_bytes[256] = { ['a' ... 'z'] = true,
	['A' ... 'Z'] = true,
	['0' ... '9'] = true,
	['!'] = true,
	['#'] = true,
	['$'] = true,
	['%'] = true,
	['&'] = true,
	['\''] = true,
	['*'] = true,
	['+'] = true,
	['-'] = true,
	['.'] = true,
	['^'] = true,
	['_'] = true,
	['`'] = true,
	['|'] = true,
	['~'] = true };

/* The fields as they come together from their lines. */
struct reader {
	struct fields *fields;
	enum { FIELD_OTHER, FIELD_HOST, FIELD_UPGRADE } field; /* that is being read */
	const uint8_t *host;
	size_t host_len;
	bool host_is_torn; /* by a fold */
};

static bool is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t';
}

static void upgrade_add(struct fields *fields, const uint8_t *at, const uint8_t *end)
{
	if (at == end || end - at > 255 || fields->n_upgrades == FINDING_VALUES_MAX)
		return;
	for (const uint8_t *c = at; c < end; c++)
		if (!is_token(*c) && *c != '/')
			return;
	fields->upgrade[fields->n_upgrades].at = at;
	fields->upgrade[fields->n_upgrades++].len = (size_t)(end - at);
}

/* The elements of a list, RFC 9110 5.6.1. */
static void upgrades_add(struct fields *fields, const uint8_t *at, const uint8_t *end)
{
	while (at < end) {
		const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
		const uint8_t *from = at, *to = comma ? comma : end;
		while (from < to && is_blank(*from))
			from++;
		while (from < to && is_blank(to[-1]))
			to--;
		upgrade_add(fields, from, to);
		at = comma ? comma + 1 : end;
	}
}

/* A line's part of a value; RFC 9112 5.2 makes a fold one space. */
static void value_append(struct reader *reader, const uint8_t *at, const uint8_t *end)
{
	while (at < end && is_blank(*at))
		at++;
	while (at < end && is_blank(end[-1]))
		end--;
	if (at == end)
		return;
	if (reader->field == FIELD_UPGRADE)
		upgrades_add(reader->fields, at, end);
	if (reader->field != FIELD_HOST)
		return;
	reader->host_is_torn = reader->host_len > 0;
	reader->host = at;
	reader->host_len = (size_t)(end - at);
}

/* At the end of a field. false: it is not a good one, or not the same as before. */
static bool field_finish(struct reader *reader)
{
	struct fields *fields = reader->fields;
	uint8_t name[HOST_MAX];

	if (reader->field != FIELD_HOST)
		return true;
	size_t len = reader->host_is_torn ? 0 : host_normalize(name, reader->host, reader->host_len, HOST_AUTHORITY);
	if (len == 0 || (fields->host_len > 0 && (len != fields->host_len || memcmp(name, fields->host, len) != 0)))
		return false;
	memcpy(fields->host, name, len);
	fields->host_len = len;
	return true;
}

/* A line that begins a field. */
static bool field_begin(struct reader *reader, const uint8_t *line, const uint8_t *end)
{
	const uint8_t *colon = line;

	if (!field_finish(reader))
		return false;
	while (colon < end && is_token(*colon))
		colon++;
	reader->field = FIELD_OTHER;
	bool is_host = colon - line == 4 && strncasecmp((const char *)line, "host", 4) == 0;
	if (colon == line || colon == end || *colon != ':')
		return !(is_host && colon < end && is_blank(*colon));
	if (is_host) {
		reader->field = FIELD_HOST;
		reader->host_len = 0;
		reader->host_is_torn = false;
	} else if (colon - line == 7 && strncasecmp((const char *)line, "upgrade", 7) == 0) {
		reader->field = FIELD_UPGRADE;
	}
	if (reader->field != FIELD_OTHER)
		value_append(reader, colon + 1, end);
	return true;
}

/* A line or what a CR ends of one. `is_first`: no field stands before it. */
static bool piece_read(struct reader *reader, const uint8_t *piece, const uint8_t *end, bool is_first)
{
	if (piece == end)
		return true;
	if (!is_blank(*piece))
		return field_begin(reader, piece, end);
	if (is_first)
		return false;
	value_append(reader, piece, end);
	return true;
}

/* At the end of what can be seen, `line` is cut. It may have been going on with the field before it. */
static enum verdict fields_cut(struct reader *reader, const uint8_t *line, const uint8_t *end)
{
	if ((line == end || is_blank(*line)) && reader->field == FIELD_HOST)
		return VERDICT_NO;
	return field_finish(reader) ? VERDICT_YES : VERDICT_NO;
}

enum verdict fields_read(struct fields *ret, const uint8_t *line, const uint8_t *end, bool is_all)
{
	struct reader reader = { .fields = ret };
	const uint8_t *line_end;
	bool any = false;

	ret->host_len = ret->n_upgrades = 0;
	for (; (line_end = memchr(line, '\n', (size_t)(end - line))); line = line_end + 1) {
		const uint8_t *text_end = line_end;
		if (text_end > line && text_end[-1] == '\r')
			text_end--;
		if (text_end == line)
			return field_finish(&reader) ? VERDICT_YES : VERDICT_NO;
		for (const uint8_t *piece = line, *piece_end; piece <= text_end; piece = piece_end + 1) {
			piece_end = memchr(piece, '\r', (size_t)(text_end - piece));
			piece_end = piece_end ? piece_end : text_end;
			if (!piece_read(&reader, piece, piece_end, !any))
				return VERDICT_NO;
			any = any || piece < piece_end;
		}
	}
	return is_all ? fields_cut(&reader, line, end) : VERDICT_MORE;
}
