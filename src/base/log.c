/* Builds log lines in the caller's record and writes each with one system call. It refuses to wait, to
 * allocate, and to let a byte through that could end a line or a string early. The state below is the
 * process's, which has one thread. */
#include "log.h"
#include "escape.h"
#include "fd.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

_Static_assert(2 * LOG_LINE_MAX <= PIPE_BUF, "a write of two lines to the pipe is whole or not at all");

/* 0 .. len: built    len .. ROOM: free    ROOM .. LOG_LINE_MAX: kept for the end of the line */
#define END_MAX (sizeof ",\"truncated\":true}\n")
#define ROOM    (LOG_LINE_MAX - END_MAX)

#define PREFIX_LEN     3 /* "<6>" */
#define LONGEST_ESCAPE 6 /* \u001f */

const char *const log_level_names[LOG_LEVELS] = { "error", "warning", "notice", "info", "debug" };
static const char level_priorities[] = "34567"; /* RFC 5424 6.2.1 */

static struct {
	int fd;
	struct log_settings settings;
	uint64_t dropped;          /* since the process began */
	uint64_t untold;           /* of these, not yet told in a line */
	_Atomic uint64_t *counter; /* where they are counted for others; NULL: nowhere */
	time_t second;             /* whose text is: */
	char time_text[80];        /* "2026-11-21T22:10:11" */
} state = { .fd = STDERR_FILENO, .settings = { .level = LEVEL_INFO } };

static size_t format_time(char *dst)
{
	struct timespec now;

	/* The wall clock, but only to be printed: nothing here compares two of its readings. */
	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec != state.second || !state.time_text[0]) {
		struct tm tm;
		if (!gmtime_r(&now.tv_sec, &tm))
			tm = (struct tm){ .tm_year = 70, .tm_mday = 1 };
		snprintf(state.time_text, sizeof(state.time_text), "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900,
			tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
		state.second = now.tv_sec;
	}
	size_t len = strlen(state.time_text);
	unsigned ms = (unsigned)(now.tv_nsec / 1000000);
	memcpy(dst, state.time_text, len);
	dst[len++] = '.';
	dst[len++] = (char)('0' + ms / 100);
	dst[len++] = (char)('0' + ms / 10 % 10);
	dst[len++] = (char)('0' + ms % 10);
	dst[len++] = 'Z';
	return len;
}

void log_setup(int fd, const struct log_settings *settings)
{
	char unused[sizeof(state.time_text) + 8];
	int saved = errno;

	state.fd = fd;
	state.settings = *settings;
	/* The first gmtime_r() of a process reads the time zone from a file, which a sandboxed worker could
	 * not. */
	format_time(unused);
	errno = saved;
}

int log_own_fd(int fd)
{
	int own = fd == STDERR_FILENO ? -1 : fd_reopen(fd, O_WRONLY | O_NONBLOCK);
	return own < 0 ? fd : own;
}

void log_set_level(enum log_level level)
{
	state.settings.level = level;
}

bool log_wants(enum log_level level)
{
	return level <= state.settings.level;
}

uint64_t log_untold(void)
{
	return state.untold;
}

void log_lost_before(uint64_t lines)
{
	state.untold += lines;
}

void log_count_dropped(_Atomic uint64_t *counter)
{
	state.counter = counter;
}

uint64_t log_dropped(void)
{
	return state.dropped;
}

static bool is_json(void)
{
	return state.settings.format == LOG_JSON;
}

static bool put(struct record *record, const char *bytes, size_t len)
{
	if (len > ROOM - record->len)
		return false;
	memcpy(record->line + record->len, bytes, len);
	record->len += len;
	return true;
}

static bool put_text(struct record *record, const char *text)
{
	return put(record, text, strlen(text));
}

/* As much of the bytes as fits; false where some may be missing. To tell that from the length alone the
 * longest escape must still have had its place, so the last few bytes of a line may stay empty. */
static bool put_escaped(struct record *record, const void *bytes, size_t len)
{
	size_t size = ROOM - record->len;
	char *dst = record->line + record->len;
	size_t used = is_json() ? escape_json(dst, size, bytes, len) : escape_text(dst, size, bytes, len);

	record->len += used;
	return used + LONGEST_ESCAPE < size;
}

static bool put_key(struct record *record, const char *key)
{
	if (is_json())
		return put_text(record, ",\"") && put_text(record, key) && put_text(record, "\":");
	return put_text(record, " ") && put_text(record, key) && put_text(record, "=");
}

static bool is_bare(const unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = bytes[i];
		bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
		bool digit = c >= '0' && c <= '9';
		if (!letter && !digit && (c == '\0' || !strchr("._:/@+*,-", c)))
			return false;
	}
	return len > 0;
}

static bool put_string(struct record *record, const void *value, size_t len)
{
	if (!is_json() && is_bare(value, len))
		return put(record, value, len);
	return put_text(record, "\"") && put_escaped(record, value, len) && put_text(record, "\"");
}

/* Takes back what was put since `len` where not all of it fitted. */
static void settle(struct record *record, size_t len, bool complete)
{
	if (complete)
		return;
	record->len = len;
	record->truncated = true;
}

void record_begin(struct record *record, enum log_level level, const char *event)
{
	int saved = errno;

	record->level = level;
	record->truncated = false;
	record->len = 0;
	if (!log_wants(level))
		return;
	record->line[0] = '<';
	record->line[1] = level_priorities[level];
	record->line[2] = '>';
	record->len = PREFIX_LEN;
	if (is_json())
		put_text(record, state.settings.timestamps ? "{\"time\":\"" : "{");
	if (state.settings.timestamps) {
		record->len += format_time(record->line + record->len);
		put_text(record, is_json() ? "\"," : " ");
	}
	put_text(record, is_json() ? "\"level\":\"" : "");
	put_text(record, log_level_names[level]);
	put_text(record, is_json() ? "\",\"event\":\"" : " ");
	put_text(record, event);
	put_text(record, is_json() ? "\"" : "");
	errno = saved;
}

void record_bytes(struct record *record, const char *key, const void *value, size_t len)
{
	size_t before = record->len;

	if (before > 0)
		settle(record, before, put_key(record, key) && put_string(record, value, len));
}

void record_text(struct record *record, const char *key, const char *value)
{
	if (value)
		record_bytes(record, key, value, strlen(value));
}

void record_address(struct record *record, const char *key, const struct address *value)
{
	char text[ADDRESS_TEXT_MAX];
	int saved = errno;

	if (record->len > 0)
		record_text(record, key, address_format(value, text));
	errno = saved;
}

/* Writes the digits so that they end before `end`; at least `least` of them. */
static char *format_number(char *end, uint64_t value, unsigned least)
{
	for (; value > 0 || least > 0; value /= 10) {
		*--end = (char)('0' + value % 10);
		least -= least > 0;
	}
	return end;
}

void record_number(struct record *record, const char *key, uint64_t value)
{
	char digits[24], *end = digits + sizeof(digits);
	char *text = format_number(end, value, 1);
	size_t before = record->len;

	if (before > 0)
		settle(record, before, put_key(record, key) && put(record, text, (size_t)(end - text)));
}

void record_ms(struct record *record, const char *key, uint64_t value_us)
{
	char digits[32], *end = digits + sizeof(digits);
	char *text = format_number(end, value_us % 1000, 3);
	size_t before = record->len;

	*--text = '.';
	text = format_number(text, value_us / 1000, 1);
	if (before > 0)
		settle(record, before, put_key(record, key) && put(record, text, (size_t)(end - text)));
}

void record_end(struct record *record)
{
	if (record->len == 0)
		return;
	const char *end = is_json() ? "}\n" : "\n";
	if (record->truncated)
		end = is_json() ? ",\"truncated\":true}\n" : " truncated=1\n";
	memcpy(record->line + record->len, end, strlen(end));
	record->len += strlen(end);
}

/* One write for the line and, before it, the count of those that were dropped: a pipe that has room for the
 * short one only would otherwise fill up with counts. */
static bool write_lines(const struct record *count, const struct record *line)
{
	size_t from = state.fd == STDERR_FILENO ? PREFIX_LEN : 0;
	struct iovec parts[2] = {
		{ .iov_base = (char *)count->line + from, .iov_len = count->len ? count->len - from : 0 },
		{ .iov_base = (char *)line->line + from, .iov_len = line->len - from },
	};
	ssize_t written;

	do
		written = writev(state.fd, parts, 2);
	while (written < 0 && errno == EINTR);
	return written == (ssize_t)(parts[0].iov_len + parts[1].iov_len);
}

void record_write(struct record *record)
{
	struct record count;
	int saved = errno;

	if (record->len == 0)
		return;
	record_end(record);
	count.len = 0;
	if (state.untold > 0) {
		record_begin(&count, log_wants(LEVEL_WARNING) ? LEVEL_WARNING : LEVEL_ERROR, "log-dropped");
		record_number(&count, "lines", state.untold);
		record_end(&count);
	}
	if (write_lines(&count, record)) {
		state.untold = 0;
	} else {
		state.dropped++;
		if (state.counter)
			atomic_fetch_add_explicit(state.counter, 1, memory_order_relaxed);
		state.untold++;
	}
	errno = saved;
}

/* In text form a quotation mark stays: a message has no values that it could end, and people quote in
 * messages. */
static bool put_message(struct record *record, const char *text, size_t len)
{
	const char *end = text + len;

	if (is_json())
		return put_escaped(record, text, len);
	for (;;) {
		const char *quote = memchr(text, '"', (size_t)(end - text));
		if (!put_escaped(record, text, (size_t)((quote ? quote : end) - text)))
			return false;
		if (!quote)
			return true;
		if (!put(record, "\"", 1))
			return false;
		text = quote + 1;
	}
}

void log_message(enum log_level level, const char *format, ...)
{
	char text[LOG_LINE_MAX];
	struct record record;
	int saved = errno;
	va_list args;

	if (!log_wants(level))
		return;
	va_start(args, format);
	int len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	size_t shown = len < 0 ? 0 : (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;

	/* The message stands where an event's name would; in JSON it is an event of its own, with a text. */
	record_begin(&record, level, is_json() ? "message" : "");
	put_text(&record, is_json() ? ",\"text\":\"" : "");
	bool whole = put_message(&record, text, shown);
	put_text(&record, is_json() ? "\"" : ""); /* fits: put_escaped() leaves at least the byte of its NUL */
	record.truncated = !whole || (len >= 0 && (size_t)len > shown);
	record_write(&record);
	errno = saved;
}
