/* RADIUS, in datagrams, by its requests: RFC 2865 3 (access), RFC 2866 3 (accounting), RFC 5997 3 (status), RFC 5176 2.3
 * (disconnect, change of authorization).
 *
 *     01 | id | LL LL | authenticator[16] | type LL value | type LL value | ...
 *     04, 0c,  the datagram's              1..255  from 2, itself included
 *     28, 2b
 *
 * The attributes must fill the datagram, and there is at least one. `user` is that of User-Name (1), if the request has
 * it: `alice@example.org` tells a realm. Refuses answers. RADIUS over TLS or DTLS is tls or dtls. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

enum {
	HEADER_LEN = 20,
	LEN_MAX = 4096,
	ACCESS_REQUEST = 1,
	ACCOUNTING_REQUEST = 4,
	STATUS_SERVER = 12,
	DISCONNECT_REQUEST = 40,
	CHANGE_REQUEST = 43,
	ATTRIBUTE_USER_NAME = 1,
};

static bool is_request(uint8_t code)
{
	return code == ACCESS_REQUEST || code == ACCOUNTING_REQUEST || code == STATUS_SERVER ||
		code == DISCONNECT_REQUEST || code == CHANGE_REQUEST;
}

enum verdict probe_radius_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes, *user = NULL;
	size_t len = evidence->len, at = HEADER_LEN, user_len = 0;

	if (len <= HEADER_LEN || len > LEN_MAX || !is_request(bytes[0]) || look_be16(bytes + 2) != len)
		return VERDICT_NO;
	for (size_t attribute_len; at < len; at += attribute_len) {
		if (len - at < 2 || bytes[at] == 0 || bytes[at + 1] < 2 || bytes[at + 1] > len - at)
			return VERDICT_NO;
		attribute_len = bytes[at + 1];
		if (bytes[at] == ATTRIBUTE_USER_NAME && !user) {
			user = bytes + at + 2;
			user_len = attribute_len - 2;
		}
	}
	finding_settle_text(findings, ATTRIBUTE_USER, user, user_len);
	return VERDICT_YES;
}
