/* Reads the first lines of RTSP and SIP as far as they have come. Refuses methods of more than METHOD_MAX bytes and
 * targets of more than TARGET_MAX. Owns no memory. */
#include "request_line.h"

#include "finding.h"
#include "look.h"

#include <string.h>

#define EMPTY_LINES_MAX 8
#define METHOD_MAX      32
#define TARGET_MAX      4096

static bool is_token(uint8_t c)
{
	return (look_lower(c) >= 'a' && look_lower(c) <= 'z') || (c >= '0' && c <= '9') ||
		(c != 0 && strchr("!#$%&'*+-.^_`|~", c));
}

enum verdict request_method_skip(const uint8_t *bytes, size_t len, size_t *ret_target)
{
	size_t at = 0, start;

	for (int n = 0; at < len && bytes[at] == '\r'; n++, at += 2) {
		enum verdict verdict = look_literal(bytes + at, len - at, "\r\n", 2);
		if (verdict != VERDICT_YES || n == EMPTY_LINES_MAX)
			return verdict == VERDICT_MORE ? VERDICT_MORE : VERDICT_NO;
	}
	for (start = at; at < len && at - start <= METHOD_MAX && is_token(bytes[at]); at++)
		;
	if (at - start > METHOD_MAX)
		return VERDICT_NO;
	if (at == len)
		return VERDICT_MORE;
	*ret_target = at + 1;
	return at > start && bytes[at] == ' ' ? VERDICT_YES : VERDICT_NO;
}

enum verdict request_target_match(const uint8_t *bytes, size_t len, size_t at, const char *protocol)
{
	size_t start = at;

	while (at < len && at - start <= TARGET_MAX && bytes[at] > ' ' && bytes[at] != 0x7f)
		at++;
	if (at - start > TARGET_MAX)
		return VERDICT_NO;
	if (at == len)
		return VERDICT_MORE;
	if (at == start || bytes[at] != ' ')
		return VERDICT_NO;
	return look_word(bytes + at + 1, len - at - 1, protocol, strlen(protocol));
}

/* Where the target's host is: behind the colon, slashes and the user. */
static const uint8_t *host_find(const uint8_t *target, const uint8_t *end)
{
	const uint8_t *at = memchr(target, ':', (size_t)(end - target));

	if (!at)
		return NULL;
	at++;
	bool has_slashes = look_literal(at, (size_t)(end - at), "//", 2) == VERDICT_YES;
	if (has_slashes)
		at += 2;
	const uint8_t *stop = has_slashes ? memchr(at, '/', (size_t)(end - at)) : NULL;
	const uint8_t *user_end = memchr(at, '@', (size_t)((stop ? stop : end) - at));
	return user_end ? user_end + 1 : at;
}

void request_host_settle(struct findings *findings, const uint8_t *bytes, size_t len, size_t at)
{
	const uint8_t *target = bytes + at, *end = target;
	uint8_t name[HOST_MAX];
	size_t host_len = 0;

	while (end < bytes + len && end - target <= TARGET_MAX && *end > ' ' && *end != 0x7f)
		end++;
	if (end == bytes + len && end - target <= TARGET_MAX)
		return;
	const uint8_t *host = end - target <= TARGET_MAX ? host_find(target, end) : NULL;
	while (host && host + host_len < end && !strchr("/;?#,", host[host_len]))
		host_len++;
	finding_settle(
		findings, ATTRIBUTE_HOST, name, host ? host_normalize(name, host, host_len, HOST_AUTHORITY) : 0);
}

enum verdict response_match(const uint8_t *bytes, size_t len, const char *protocol)
{
	size_t at = strlen(protocol);

	enum verdict verdict = look_word(bytes, len, protocol, at);
	for (size_t i = 0; verdict == VERDICT_YES && i < 5; i++, at++) {
		bool is_space = i == 0 || i == 4;
		if (at == len)
			verdict = VERDICT_MORE;
		else if (is_space ? bytes[at] != ' ' : bytes[at] < '0' || bytes[at] > '9')
			verdict = VERDICT_NO;
	}
	return verdict;
}
