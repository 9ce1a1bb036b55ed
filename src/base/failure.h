/* Why a process could not do what it must do at its start: which call, as whom, and what would help. Kept until the one line that
 * says so is written. One for each process: it ends with the first. */
#pragma once

#define FAILURE_MAX 256 /* bytes of a text, its NUL counted; what is longer is cut */

/* Keeps "FORMAT: the description of `error`" and returns `error`, a -errno. */
int failure_set(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Keeps a whole text as it is: what another process of usher said. Returns `error`. */
int failure_take(int error, const char *text);

/* What is kept of `error`, or else its description; nothing is kept afterwards. Valid until the next call of these functions. */
const char *failure_text(int error);
