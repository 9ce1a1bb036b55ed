/* Every flow of a capture file. */
#pragma once
#include "explain_print.h"

#define CAPTURE_FLOWS_MAX (1U << 20)
#define CAPTURE_BYTES_MAX (512U << 20) /* of evidence, of all flows together */

/* Do these first bytes of a file (at least 4) begin a pcap or pcapng? */
bool capture_begins(const uint8_t *bytes);

struct capture_options {
	bool json;                        /* an object a line, else a table */
	size_t only;                      /* the number of one flow, from 1 on; 0: all */
	void (*progress)(size_t packets); /* now and then how many were read, then 0; NULL: nobody wants to know */
};

/* Reads `from` to its end and closes it. `name` is for messages, which go to standard error. The exit status: 0; 1: it could
 * not be read to its end, or there is no such flow, after what could be read was explained. */
int explain_capture(struct explainer *explainer, FILE *from, const char *name, const struct capture_options *options,
	const struct page *page);
