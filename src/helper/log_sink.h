/* Where log lines go: a file, stderr, syslog, the journal or a log server. In the logger process only, which may wait. */
#pragma once
#include "log_remote.h"
#include "policy.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_SINK_CHUNK (64 * 1024)

/* Zero but for the sink, the facility, the log server, the descriptor and `prefixed`. */
struct sink {
	enum log_sink sink;
	int facility; /* of syslog, the journal and a log server */
	struct log_remote remote;
	int fd;           /* stderr or the file; -1 for the others */
	bool prefixed;    /* whoever reads our stderr understands "<N>" */
	bool broken_line; /* what was written last did not end its line */
	uint64_t lost;    /* lines that could not be written and were not told yet */
	int error;        /* why */
	size_t out_len;
	char out[LOG_SINK_CHUNK];
	size_t in_len; /* a line whose end has not been read yet, then what is read */
	char in[LOG_SINK_CHUNK];
};

/* Reads what is in the pipe, once, and writes the lines. False once there will be no more: everyone who could write has closed
 * the pipe. */
bool log_sink_read(struct sink *sink, int pipe_fd);

/* Another file from now on. Takes it over and closes the one before. */
void log_sink_reopen(struct sink *sink, int fd);
