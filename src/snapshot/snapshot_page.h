/* A snapshot as a page of HTML for people, whole in itself: no part of it comes from elsewhere, and without its script it is loaded anew. */
#pragma once
#include "history.h"
#include <stdio.h>

void snapshot_page(
	const struct snapshot *snapshot, const struct sample *samples, size_t n_samples, int64_t now_s, FILE *to);

/* The Content-Security-Policy that it is to be sent with: its own script and style, by their digests, and nothing else. */
const char *snapshot_page_security(void);

/* Its style and its script (snapshot_page_parts.c). */
extern const char page_style[], page_script[];
