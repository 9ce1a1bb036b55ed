/* Makes bytes that a stranger chose safe to print: in a log line, a JSON string, a terminal. */
#pragma once
#include <stddef.h>

/* Text form: printable ASCII but `"` and `\` stays, every other byte becomes \xNN. JSON form: the same within JSON's rules
 * (\" \\ \u00NN). Both always end `dst` with NUL, never write past `size`, cut at a whole escape, and return how many
 * bytes they wrote without the NUL. */
size_t escape_text(char *dst, size_t size, const void *src, size_t len);
size_t escape_json(char *dst, size_t size, const void *src, size_t len);
