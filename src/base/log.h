/* Log lines, as structured records: an event, then keys and values. A line goes as one non-blocking write into a pipe; the
 * logger process at its other end may wait for a disk or a reader, this process never does. What does not fit is dropped
 * and counted, and the count is logged as soon as there is room.
 *
 * On the pipe a line is "<N>" (a syslog priority), text without control bytes, '\n'; at most LOG_LINE_MAX bytes in all. */
#pragma once
#include "address.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_MAX 2048 /* two of them are one whole write to a pipe (PIPE_BUF) */

enum log_level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_NOTICE, LEVEL_INFO, LEVEL_DEBUG };
#define LOG_LEVELS (LEVEL_DEBUG + 1)

extern const char *const log_level_names[LOG_LEVELS]; /* "error" ... "debug" */
enum log_format { LOG_TEXT, LOG_JSON };

struct log_settings {
	enum log_level level;
	enum log_format format;
	bool timestamps; /* off where the receiver writes its own: journal, syslog */
	int facility;    /* of syslog(3), for these two */
};

/* One for the process. `fd` is the pipe's write end, or 2 before there is a logger: then "<N>" is left out. The process
 * ignores SIGPIPE: a logger that died must not take it along. Every function here leaves errno as it was. */
void log_setup(int fd, const struct log_settings *settings);

/* For a process that was forked: its own description of the pipe behind `fd`, so that nobody else can make it wait there; close-on-exec.
 * `fd` itself where there can be none, or no pipe of the logger's is there yet. */
int log_own_fd(int fd);

void log_set_level(enum log_level level); /* until the next log_setup() */
bool log_wants(enum log_level level);
uint64_t log_dropped(void);
uint64_t log_untold(void);            /* of these, those that no line has told of yet */
void log_lost_before(uint64_t lines); /* by an image of this process before this one: they are to be told too */
void log_count_dropped(_Atomic uint64_t *counter); /* also there, from now on; NULL: nowhere */

struct record {
	enum log_level level;
	size_t len;     /* 0: not wanted, nothing is built */
	bool truncated; /* something was left out: the line says so at its end */
	char line[LOG_LINE_MAX];
};

/* A record is built and written only where log_wants(level); ask first on a hot path. Keys are literals of ours; string
 * values are escaped. A value that no longer fits is left out whole and the record is marked as truncated; a NULL value
 * is left out too. */
void record_begin(struct record *record, enum log_level level, const char *event);
void record_text(struct record *record, const char *key, const char *value);
void record_bytes(struct record *record, const char *key, const void *value, size_t len);
void record_address(struct record *record, const char *key, const struct address *value);
void record_number(struct record *record, const char *key, uint64_t value);
void record_ms(
	struct record *record, const char *key, uint64_t value_us); /* written in milliseconds, three decimals */
void record_end(struct record *record);   /* completes `line` and `len` ('\n' included) for who writes it elsewhere */
void record_write(struct record *record); /* completes and writes */

/* A record with nothing but a message, which is cut where it does not fit. */
void log_message(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define log_error(...)   log_message(LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_message(LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_message(LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_message(LEVEL_DEBUG, __VA_ARGS__)
