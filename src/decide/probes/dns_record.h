/* Names and records of a DNS message that has arrived whole, RFC 1035 4.1.3 and 4.1.4. For dns.c and mdns.c. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	DNS_HEADER_LEN = 12,
	DNS_FLAGS_MULTICAST = 0x0600, /* authoritative, truncated: what a query of multicast DNS may have */
	DNS_CLASS_IN = 1,
	DNS_CLASS_ANY = 255,
};

struct dns_question {
	size_t labels;
	const uint8_t *last; /* the last label, its length in front; NULL: the root */
	uint32_t type, class;
};

/* Reads the question at `*at` and moves `*at` to behind it. A name may end in a pointer to what is before it; false: it is
 * no question, or does not end within `len` bytes. */
bool dns_question_read(const uint8_t *message, size_t len, size_t *at, struct dns_question *ret);

/* Moves `*at` to behind so many records; false: they are none, or there are fewer. */
bool dns_records_skip(const uint8_t *message, size_t len, size_t *at, size_t count);
