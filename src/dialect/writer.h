/* Writes native configuration text, with every string quoted as libconfig reads it, and keeps account of where
 * each line comes from. Out of memory ends the process, as it does while a configuration is compiled. */
#pragma once
#include "native.h"
#include <stdbool.h>
#include <stdint.h>

struct writer;

struct writer *writer_new(void);
/* Ends it and gives what was written. */
void writer_finish(struct writer *writer, struct native *ret);
void writer_discard(struct writer *writer);

/* What is written from here on stands for this line of the foreign file; 0: for none. */
void writer_from(struct writer *writer, unsigned line);

void writer_raw(struct writer *writer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "text" in double quotes. No NUL in it: see writer_bytes(). */
void writer_string(struct writer *writer, const char *text);

/* `key = "text";` */
void writer_setting(struct writer *writer, const char *key, const char *text);

/* A path: taken from the current folder where it is not absolute, so that it stays what it was. */
void writer_path(struct writer *writer, const char *key, const char *path);
char *writer_absolute(const char *path); /* the same path, to be freed */

/* Can it stand in a string? A NUL byte cannot: libconfig would leave it out. */
bool writer_can_quote(const uint8_t *bytes, size_t len);

/* The same bytes in hex, "00 0e 38", quoted: for `bytes`. */
void writer_bytes(struct writer *writer, const uint8_t *bytes, size_t len);

/* "host:port" of a listener or backend, split at its last colon: an IPv6 address gets its brackets. `ret`
 * must be freed. NULL: there is no port from 1 to 65535 behind a colon, or nothing before it. */
char *writer_endpoint(const char *text);
