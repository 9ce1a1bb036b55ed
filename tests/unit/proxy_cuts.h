/* What proxy_header_read() promises, checked at every cut of some bytes: each look is at a copy that ends where
 * they do, and what was said once is said of every longer prefix. For the unit test and the fuzz target alike. */
#pragma once
#include "proxy_header.h"

#include <stdlib.h>
#include <string.h>

static void cuts_require(bool condition)
{
	if (!condition)
		abort();
}

static bool tlvs_are_whole(const struct proxy_header *header)
{
	const uint8_t *at = header->tlvs;
	size_t left = header->tlvs_len;
	struct proxy_tlv tlv;

	while (proxy_tlv_next(&at, &left, &tlv))
		if (left > header->tlvs_len || tlv.value + tlv.len != at)
			return false;
	return left == 0;
}

/* The verdict on all of them. */
static ssize_t proxy_cuts(const uint8_t *bytes, size_t len)
{
	ssize_t said = 0;

	for (size_t cut = 0; cut <= len; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);
		struct proxy_header header;
		cuts_require(copy != NULL);
		if (cut)
			memcpy(copy, bytes, cut);
		ssize_t n = proxy_header_read(copy, cut, &header);
		cuts_require(n <= (ssize_t)cut && n <= PROXY_HEADER_MAX);
		cuts_require(said == 0 || n == said);
		if (n > 0) {
			cuts_require(tlvs_are_whole(&header));
			cuts_require(header.tlvs_len == 0 || header.tlvs + header.tlvs_len == copy + n);
			cuts_require((header.source.len == 0) == (header.destination.len == 0));
		}
		said = n;
		free(copy);
	}
	return said;
}
