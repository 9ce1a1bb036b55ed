/* The fields behind an HTTP/1 request line. For the HTTP probe only. */
#pragma once
#include "finding.h"

/* What the fields say that anybody asks for. */
struct fields {
	uint8_t host[HOST_MAX];
	size_t host_len; /* 0: none */
	size_t n_upgrades;
	struct {
		const uint8_t *at; /* as it was sent */
		size_t len;
	} upgrade[FINDING_VALUES_MAX];
};

extern const bool token_bytes[256];

/* A character of a token, RFC 9110 5.6.2. */
static inline bool is_token(uint8_t byte)
{
	return token_bytes[byte];
}

/* Reads from the first field's line. YES: `ret` has what they say. MORE: the fields have not ended, and nothing is known. NO: it
 * is not clear which host is meant. `is_all`: nothing follows `end`, so that fields that have not ended have, before the line that
 * is cut. */
enum verdict fields_read(struct fields *ret, const uint8_t *line, const uint8_t *end, bool is_all);
