/* Takes lines out of the log's pipe and writes them on.
 *
 * Refuses to interpret a line beyond its "<N>", and does not believe that a line is clean either, since a worker that was taken
 * over writes into the same pipe: control bytes become '?', and what never ends is cut into lines. Lines that cannot be written
 * are counted, and the count is written once that works again. Owns its descriptor. */
#include "log_sink.h"
#include "fd.h"
#include "log.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-journal.h>
#endif

#define PREFIX_LEN 3 /* "<6>" */

/* Writes all or as much as can be written, and returns how much that was. */
static size_t write_bytes(struct sink *sink, const char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(sink->fd, bytes + done, len - done);
		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			/* Someone else made our stderr non-blocking: the flag belongs to all who share it. */
			poll(&(struct pollfd){ .fd = sink->fd, .events = POLLOUT }, 1, -1);
			continue;
		}
		sink->error = n < 0 ? errno : ENOSPC;
		break;
	}
	if (done > 0)
		sink->broken_line = bytes[done - 1] != '\n';
	return done;
}

#ifdef HAVE_LIBSYSTEMD
static bool send_to_journal(int priority, int facility, const char *text, size_t len)
{
	char message[sizeof("MESSAGE=") + LOG_LINE_MAX], level[] = "PRIORITY=6", kind[32];

	size_t used = sizeof("MESSAGE=") - 1;
	memcpy(message, "MESSAGE=", used);
	memcpy(message + used, text, len);
	level[sizeof(level) - 2] = (char)('0' + priority);
	int kind_len =
		snprintf(kind, sizeof(kind), "SYSLOG_FACILITY=%d", facility >> 3); /* as RFC 5424 6.2.1 counts */
	struct iovec fields[] = {
		{ .iov_base = message, .iov_len = used + len },
		{ .iov_base = level, .iov_len = sizeof(level) - 1 },
		{ .iov_base = kind, .iov_len = (size_t)kind_len },
		{ .iov_base = (char *)"SYSLOG_IDENTIFIER=usher", .iov_len = sizeof("SYSLOG_IDENTIFIER=usher") - 1 },
	};
	int r = sd_journal_sendv(fields, sizeof(fields) / sizeof(fields[0]));
	if (r < 0)
		errno = -r;
	return r >= 0;
}
#endif

/* One line to a sink that takes lines. `text` has no '\n'. */
static bool send_line(struct sink *sink, int priority, const char *text, size_t len)
{
#ifdef HAVE_LIBSYSTEMD
	if (sink->sink == SINK_JOURNAL)
		return send_to_journal(priority, sink->facility, text, len);
#endif
	if (sink->sink == SINK_SERVER)
		return log_remote_send(&sink->remote, sink->facility | priority, text, len);
	syslog(priority, "%.*s", (int)len, text);
	return true;
}

static size_t count_lines(const char *bytes, size_t len)
{
	size_t count = 0;

	for (const char *end = bytes + len; (bytes = memchr(bytes, '\n', (size_t)(end - bytes))); bytes++)
		count++;
	return count;
}

/* Says how many lines were lost, once writing works again. */
static bool tell_lost(struct sink *sink)
{
	struct record record;

	if (sink->lost == 0)
		return true;
	record_begin(&record, log_wants(LEVEL_WARNING) ? LEVEL_WARNING : LEVEL_ERROR, "log-lost");
	record_number(&record, "lines", sink->lost);
	record_text(&record, "why", strerror(sink->error));
	record_end(&record);
	if (sink->fd < 0) {
		if (!send_line(sink, LOG_WARNING, record.line + PREFIX_LEN, record.len - PREFIX_LEN - 1))
			return false;
	} else {
		size_t from = sink->prefixed ? 0 : PREFIX_LEN;
		size_t len = record.len - from;
		/* The piece of a line that a full disk cut off must not swallow this one. */
		if (sink->broken_line && write_bytes(sink, "\n", 1) < 1)
			return false;
		if (write_bytes(sink, record.line + from, len) < len)
			return false;
	}
	sink->lost = 0;
	return true;
}

static void flush(struct sink *sink)
{
	size_t written = 0;

	if (tell_lost(sink))
		written = write_bytes(sink, sink->out, sink->out_len);
	sink->lost += count_lines(sink->out + written, sink->out_len - written);
	sink->out_len = 0;
}

/* One line without its '\n'. */
static void take_line(struct sink *sink, char *line, size_t len)
{
	int priority = LOG_INFO;

	if (len >= PREFIX_LEN && line[0] == '<' && line[1] >= '0' && line[1] <= '7' && line[2] == '>') {
		priority = line[1] - '0';
		line += PREFIX_LEN;
		len -= PREFIX_LEN;
	}
	for (size_t i = 0; i < len; i++)
		if (line[i] < 0x20 || line[i] > 0x7e)
			line[i] = '?';
	if (sink->fd < 0) {
		if (!tell_lost(sink) || !send_line(sink, priority, line, len)) {
			sink->error = errno;
			sink->lost++;
		}
		return;
	}
	if (sizeof(sink->out) - sink->out_len < PREFIX_LEN + len + 1)
		flush(sink);
	if (sink->prefixed) {
		sink->out[sink->out_len++] = '<';
		sink->out[sink->out_len++] = (char)('0' + priority);
		sink->out[sink->out_len++] = '>';
	}
	memcpy(sink->out + sink->out_len, line, len);
	sink->out_len += len;
	sink->out[sink->out_len++] = '\n';
}

/* Takes the whole lines out of what was read; at the end of the pipe the rest counts as one. */
static void take_lines(struct sink *sink, bool at_end)
{
	char *line = sink->in, *end = sink->in + sink->in_len;

	while (line < end) {
		size_t left = (size_t)(end - line);
		char *newline = memchr(line, '\n', left < LOG_LINE_MAX ? left : LOG_LINE_MAX);
		if (!newline && left < LOG_LINE_MAX && !at_end)
			break;
		size_t len = newline ? (size_t)(newline - line) : left < LOG_LINE_MAX ? left : LOG_LINE_MAX;
		take_line(sink, line, len);
		line += len + (newline ? 1 : 0);
	}
	sink->in_len = (size_t)(end - line);
	memmove(sink->in, line, sink->in_len);
	if (sink->fd >= 0)
		flush(sink);
}

bool log_sink_read(struct sink *sink, int pipe_fd)
{
	ssize_t n;

	do
		n = read(pipe_fd, sink->in + sink->in_len, sizeof(sink->in) - sink->in_len);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		sink->in_len += (size_t)n;
	take_lines(sink, n <= 0);
	return n > 0;
}

void log_sink_reopen(struct sink *sink, int fd)
{
	fd_close(sink->fd);
	sink->fd = fd;
	sink->broken_line = false;
}
