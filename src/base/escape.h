/* Makes bytes that a stranger chose safe to print: in a log line, a JSON string, a terminal. */
#pragma once
#include <stddef.h>
#include <stdio.h>

/* Text form: printable ASCII but `"` and `\` stays, every other byte becomes \xNN. JSON form: the same within JSON's rules
 * (\" \\ \u00NN). Both always end `dst` with NUL, never write past `size`, cut at a whole escape, and return how many
 * bytes they wrote without the NUL. */
size_t escape_text(char *dst, size_t size, const void *src, size_t len);
size_t escape_json(char *dst, size_t size, const void *src, size_t len);

/* A whole string of JSON, with its quotes. */
void escape_json_write(FILE *to, const void *src, size_t len);

/* The next member of an object: `, "key": "text"`; null where there is no text. */
void escape_json_member(FILE *to, const char *key, const char *text);

/* The character, or '?' where it is not printable ASCII. */
static inline char escape_printable(char c)
{
	return c >= ' ' && c <= '~' ? c : '?';
}
