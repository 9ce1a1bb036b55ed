/* A line of usher's log, read: text or JSON, with or without what syslog or a journal put in front of it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As it stands in the line, escapes included. `at` NULL: the line has none. */
struct log_text {
	const char *at;
	size_t len;
};

/* What a line about a connection says. Texts are borrowed from the line. */
struct log_line {
	struct log_text time; /* "2026-11-21T22:10:11.123Z" */
	struct log_text client, service, end, rule;
	bool has_decided, has_total;
	uint64_t decided_us, total_us;
	uint64_t bytes_up, bytes_down;
};

enum log_line_kind {
	LOG_LINE_CONNECTION,
	LOG_LINE_OTHER, /* usher's, about something else; or another program's */
	LOG_LINE_BROKEN /* about a connection, and not as usher writes it: cut, for example */
};

/* A line without its end. `ret` is whole for LOG_LINE_CONNECTION only. Keys may come in any order; unknown ones are passed over. */
enum log_line_kind log_line_read(const char *line, size_t len, struct log_line *ret);
