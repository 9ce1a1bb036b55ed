/* Lines of JSON in, a line of JSON each out; usher(8), "Explaining many". */
#pragma once
#include "explainer.h"

#define BATCH_LINE_MAX (16U << 20) /* bytes of a line; a longer one is malformed */

/* Reads `fd` to its end. Answers are complete in `to` whenever the input pauses. 0; 1: at least one line was malformed, and
 * was answered by saying so; or -errno of reading or writing. */
int explain_batch(struct explainer *explainer, int fd, FILE *to);

/* One line, without its end. Returns false if it was malformed. */
bool explain_line(struct explainer *explainer, const char *line, size_t len, FILE *to);
