/* HTTP targets, RFC 9112 3.2: in origin form, absolute form, authority form, or an asterisk.
 *
 * Refuses nothing: what fits no form has no authority, and is a path as it stands. Owns no memory. */
#include "http_target.h"

#include "look.h"

#include <string.h>

/* RFC 3986 3.1 */
static bool is_scheme(uint8_t byte)
{
	uint8_t c = look_lower(byte);

	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
}

/* What is behind "scheme://", to the next delimiter. */
static const uint8_t *absolute_authority(const uint8_t *target, size_t len, size_t *ret_len)
{
	const uint8_t *end = target + len, *slashes;

	if (len == 0 || target[0] == '/' || !(slashes = memmem(target, len, "://", 3)))
		return NULL;
	for (const uint8_t *at = target; at < slashes; at++)
		if (!is_scheme(*at))
			return NULL;
	const uint8_t *at = slashes + 3;
	while (at < end && *at != '/' && *at != '?' && *at != '#')
		at++;
	*ret_len = (size_t)(at - slashes - 3);
	return slashes + 3;
}

const uint8_t *target_authority(
	const uint8_t *method, size_t method_len, const uint8_t *target, size_t target_len, size_t *ret_len)
{
	*ret_len = target_len;
	if (method_len == 7 && memcmp(method, "CONNECT", 7) == 0)
		return target;
	return absolute_authority(target, target_len, ret_len);
}

void target_path_settle(struct findings *findings, const uint8_t *target, size_t target_len)
{
	static const char digits[] = "0123456789ABCDEF";
	const uint8_t *end = target + target_len;
	size_t len, n = 0;
	uint8_t path[PATH_LEN_MAX];

	const uint8_t *authority = absolute_authority(target, target_len, &len);
	const uint8_t *at = authority ? authority + len : target;
	if (authority && (at == end || *at != '/'))
		path[n++] = '/'; /* RFC 9112 3.2.1: an empty one is sent so */
	for (; at < end && *at != '?' && *at != '#'; at++) {
		bool is_plain = *at > ' ' && *at <= '~';
		if (n + (is_plain ? 1 : 3) > sizeof(path)) {
			n = 0;
			break;
		}
		path[n++] = is_plain ? *at : '%';
		if (is_plain)
			continue;
		path[n++] = (uint8_t)digits[*at >> 4];
		path[n++] = (uint8_t)digits[*at & 15];
	}
	finding_settle(findings, ATTRIBUTE_PATH, path, n);
}
