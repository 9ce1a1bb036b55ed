/* Takes lines out of the log's pipe and writes them on.
 *
 * Refuses to interpret a line beyond its "<N>", and does not believe that a line is clean either, since a worker that was taken
 * over writes into the same pipe: control bytes become '?', and what never ends is cut into lines. Lines that cannot be written
 * are counted, and the count is written once that works again. Owns its descriptor. */
#include "outlet.h"
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
static size_t write_bytes(struct outlet *outlet, const char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(outlet->fd, bytes + done, len - done);
		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			/* Someone else made our stderr non-blocking: the flag belongs to all who share it. */
			poll(&(struct pollfd){ .fd = outlet->fd, .events = POLLOUT }, 1, -1);
			continue;
		}
		outlet->error = n < 0 ? errno : ENOSPC;
		break;
	}
	if (done > 0)
		outlet->broken_line = bytes[done - 1] != '\n';
	return done;
}

#ifdef HAVE_LIBSYSTEMD
static bool send_to_journal(int priority, int facility, const char *text, size_t len)
{
	char message[sizeof "MESSAGE=" + LOG_LINE_MAX], level[] = "PRIORITY=6", kind[32];

	size_t used = sizeof "MESSAGE=" - 1;
	memcpy(message, "MESSAGE=", used);
	memcpy(message + used, text, len);
	level[sizeof level - 2] = (char)('0' + priority);
	int kind_len =
		snprintf(kind, sizeof kind, "SYSLOG_FACILITY=%d", facility >> 3); /* as RFC 5424 6.2.1 counts */
	struct iovec fields[] = {
		{ .iov_base = message, .iov_len = used + len },
		{ .iov_base = level, .iov_len = sizeof level - 1 },
		{ .iov_base = kind, .iov_len = (size_t)kind_len },
		{ .iov_base = (char *)"SYSLOG_IDENTIFIER=usher", .iov_len = sizeof "SYSLOG_IDENTIFIER=usher" - 1 },
	};
	int result = sd_journal_sendv(fields, sizeof fields / sizeof fields[0]);
	if (result < 0)
		errno = -result;
	return result >= 0;
}
#endif

/* One line to a sink that takes lines. `text` has no '\n'. */
static bool send_line(const struct outlet *outlet, int priority, const char *text, size_t len)
{
#ifdef HAVE_LIBSYSTEMD
	if (outlet->sink == SINK_JOURNAL)
		return send_to_journal(priority, outlet->facility, text, len);
#endif
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
static bool tell_lost(struct outlet *outlet)
{
	struct record record;

	if (outlet->lost == 0)
		return true;
	record_begin(&record, log_wants(LEVEL_WARNING) ? LEVEL_WARNING : LEVEL_ERROR, "log-lost");
	record_number(&record, "lines", outlet->lost);
	record_text(&record, "why", strerror(outlet->error));
	record_end(&record);
	if (outlet->fd < 0) {
		if (!send_line(outlet, LOG_WARNING, record.line + PREFIX_LEN, record.len - PREFIX_LEN - 1))
			return false;
	} else {
		size_t from = outlet->prefixed ? 0 : PREFIX_LEN;
		size_t len = record.len - from;
		/* The piece of a line that a full disk cut off must not swallow this one. */
		if (outlet->broken_line && write_bytes(outlet, "\n", 1) < 1)
			return false;
		if (write_bytes(outlet, record.line + from, len) < len)
			return false;
	}
	outlet->lost = 0;
	return true;
}

static void flush(struct outlet *outlet)
{
	size_t written = 0;

	if (tell_lost(outlet))
		written = write_bytes(outlet, outlet->out, outlet->out_len);
	outlet->lost += count_lines(outlet->out + written, outlet->out_len - written);
	outlet->out_len = 0;
}

/* One line without its '\n'. */
static void take_line(struct outlet *outlet, char *line, size_t len)
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
	if (outlet->fd < 0) {
		if (!tell_lost(outlet) || !send_line(outlet, priority, line, len)) {
			outlet->error = errno;
			outlet->lost++;
		}
		return;
	}
	if (sizeof outlet->out - outlet->out_len < PREFIX_LEN + len + 1)
		flush(outlet);
	if (outlet->prefixed) {
		outlet->out[outlet->out_len++] = '<';
		outlet->out[outlet->out_len++] = (char)('0' + priority);
		outlet->out[outlet->out_len++] = '>';
	}
	memcpy(outlet->out + outlet->out_len, line, len);
	outlet->out_len += len;
	outlet->out[outlet->out_len++] = '\n';
}

/* Takes the whole lines out of what was read; at the end of the pipe the rest counts as one. */
static void take_lines(struct outlet *outlet, bool at_end)
{
	char *line = outlet->in, *end = outlet->in + outlet->in_len;

	while (line < end) {
		size_t left = (size_t)(end - line);
		char *newline = memchr(line, '\n', left < LOG_LINE_MAX ? left : LOG_LINE_MAX);
		if (!newline && left < LOG_LINE_MAX && !at_end)
			break;
		size_t len = newline ? (size_t)(newline - line) : left < LOG_LINE_MAX ? left : LOG_LINE_MAX;
		take_line(outlet, line, len);
		line += len + (newline ? 1 : 0);
	}
	outlet->in_len = (size_t)(end - line);
	memmove(outlet->in, line, outlet->in_len);
	if (outlet->fd >= 0)
		flush(outlet);
}

bool outlet_read(struct outlet *outlet, int pipe_fd)
{
	ssize_t n;

	do
		n = read(pipe_fd, outlet->in + outlet->in_len, sizeof outlet->in - outlet->in_len);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		outlet->in_len += (size_t)n;
	take_lines(outlet, n <= 0);
	return n > 0;
}

void outlet_reopen(struct outlet *outlet, int fd)
{
	fd_close(outlet->fd);
	outlet->fd = fd;
	outlet->broken_line = false;
}
