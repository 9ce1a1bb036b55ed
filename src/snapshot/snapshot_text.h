/* Numbers as people read them. */
#pragma once

#define SNAPSHOT_TEXT_MAX 32

/* "1.5 MiB"; "12.0 s", "3 min", "4.5 h", "2.1 d". They return `ret`. */
const char *snapshot_size_text(double bytes, char ret[SNAPSHOT_TEXT_MAX]);
const char *snapshot_duration_text(double seconds, char ret[SNAPSHOT_TEXT_MAX]);
