/* What an HTTP target says. For the HTTP probe only. */
#pragma once
#include "finding.h"

#define PATH_LEN_MAX 2048

/* The authority in the target of a method, if it is of a form that has one (RFC 9112 3.2.2, 3.2.3); NULL: it has none. */
const uint8_t *target_authority(
	const uint8_t *method, size_t method_len, const uint8_t *target, size_t target_len, size_t *ret_len);

/* Settles the attribute `path`: what lies between the authority, if there is one, and the query. Bytes that are not
 * printable ASCII are written as %XX, as the client should have done. Without a value if it is longer than
 * PATH_LEN_MAX, or the target has no path. */
void target_path_settle(struct findings *findings, const uint8_t *target, size_t target_len);
