/* How probes fill the findings. The header of one room's inside: only probes include it. */
#pragma once
#include "evidence.h"

#define HOST_MAX 255 /* bytes of a host name, RFC 1035 2.3.4 */

#define FINDING_TEXT_MAX 255

/* What may stand around the name. */
enum host_form {
	HOST_BARE,      /* nothing: a server name, RFC 6066 3 */
	HOST_AUTHORITY, /* a port behind it, and an IPv6 address in brackets instead of it, RFC 3986 3.2.2 */
};

/* Writes the name as it is compared (lower case, without the port and one trailing dot, an IPv6 address in
 * its brackets) to `dst` and returns its length, 1..HOST_MAX. 0: it has bytes that no host name has, or a
 * wrong length. */
size_t host_normalize(uint8_t dst[HOST_MAX], const uint8_t *src, size_t len, enum host_form form);

/* Room in the scratch that lives as long as the findings; NULL: it is used up. */
uint8_t *findings_take(struct findings *findings, size_t size);

/* Adds a value that is in the evidence or the scratch already. Values past FINDING_VALUES_MAX are dropped. */
void finding_add(struct findings *findings, enum attribute attribute, const uint8_t *at, size_t len);

/* Settles the attribute with this one value, copied to the scratch; without any if len is 0. A probe settles what it has
 * learned, or cannot learn any more, where it says YES. finding_close() settles it with the values that it has. */
void finding_settle(struct findings *findings, enum attribute attribute, const uint8_t *value, size_t len);

/* The same for text of any length that a client chose: without a value unless it is 1..FINDING_TEXT_MAX bytes, all of
 * them printable ASCII. */
void finding_settle_text(struct findings *findings, enum attribute attribute, const uint8_t *value, size_t len);

static inline void finding_close(struct findings *findings, enum attribute attribute)
{
	findings->settled |= 1U << attribute;
}

static inline bool finding_is_settled(const struct findings *findings, enum attribute attribute)
{
	return findings->settled >> attribute & 1;
}

static inline size_t evidence_len(const struct evidence *evidence)
{
	return evidence->len < EVIDENCE_MAX ? evidence->len : EVIDENCE_MAX;
}
