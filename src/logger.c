/* The logger process, and the master's side of it. The master keeps the pipe and a control socket; the logger
 * keeps the pipe's read end, the other end of the socket and where it writes to, and closes everything else.
 *
 * It is the one process that may wait. It refuses to interpret a line beyond its "<N>", and it does not
 * believe that a line is clean either, since a worker that was taken over writes into the same pipe: control
 * bytes become '?', and what never ends is cut into lines. */
#include "logger.h"
#include "fd.h"
#include "ipc.h"
#include "log.h"
#include "process.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-journal.h>
#endif

#define PIPE_SIZE      (1024 * 1024)
#define CHUNK          (64 * 1024)
#define PREFIX_LEN     3 /* "<6>" */
#define READY_WAIT_MS  5000
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* Where lines go; in the logger process only. */
struct outlet {
	enum log_sink sink;
	int facility;     /* of syslog and the journal */
	int fd;           /* stderr or the file; -1 for the others */
	bool prefixed;    /* whoever reads our stderr understands "<N>" */
	bool broken_line; /* what was written last did not end its line */
	uint64_t lost;    /* lines that could not be written and were not told yet */
	int error;        /* why */
	size_t out_len;
	char out[CHUNK];
	size_t in_len; /* a line whose end has not been read yet, then what is read */
	char in[CHUNK];
};

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

/* False once there will be no more: everyone who could write has closed the pipe. */
static bool read_lines(struct outlet *outlet, int pipe_fd)
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

/* A new file from the master; -1 once the master is gone. Everything taken so far has been written by now. */
static int take_control(struct outlet *outlet, int control_fd)
{
	int fds[IPC_FDS_MAX];
	char byte;

	ssize_t n = ipc_receive(control_fd, &byte, sizeof byte, fds);
	if (n == 0)
		return fd_close(control_fd);
	if (fds[0] >= 0) {
		fd_close(outlet->fd);
		outlet->fd = fds[0];
		outlet->broken_line = false;
	}
	return control_fd;
}

static void logger_run(struct outlet *outlet, int pipe_fd, int control_fd)
{
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = pipe_fd, .events = POLLIN },
			{ .fd = control_fd, .events = POLLIN }, /* -1 is passed over */
		};
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents)
			control_fd = take_control(outlet, control_fd);
		if (fds[0].revents && !read_lines(outlet, pipe_fd))
			return;
	}
}

/* Does our stderr lead to the journal? systemd says which stream it made, since the variable outlives a
 * redirection. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat status;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &status) == 0 &&
		status.st_dev == device && status.st_ino == inode;
}

static int become_logger(const struct logger *logger, struct outlet *outlet, int control_fd)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ };
	sigset_t none;

	process_rename("usher: logger");
	log_setup(outlet->fd, &logger->log); /* it only builds records, and writes them itself */
	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	/* 0 and 1 may be a client (inetd) or a terminal; neither must stay open because of us. */
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return -errno;
	for (int fd = 0; fd <= (outlet->sink == SINK_STDERR ? 1 : 2); fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	int keep[] = { logger->read_fd, control_fd, outlet->fd };
	int result = process_keep_only(keep, sizeof keep / sizeof keep[0]);
	if (result < 0)
		return result;
	result = process_drop_privileges(logger->drop, logger->uid, logger->gid);
	if (result < 0)
		return result;
	outlet->prefixed = outlet->sink == SINK_STDERR && stderr_is_journal();
	if (outlet->sink == SINK_SYSLOG)
		openlog("usher", LOG_NDELAY, logger->log.facility);
	return 0;
}

static void __attribute__((noreturn)) logger_main(const struct logger *logger, int sink_fd, int control_fd)
{
	static struct outlet outlet; /* 128 KiB, touched in this process only */

	outlet.sink = logger->sink;
	outlet.facility = logger->log.facility;
	outlet.fd = logger->sink == SINK_STDERR ? STDERR_FILENO : sink_fd;
	int result = become_logger(logger, &outlet, control_fd);
	ipc_send(control_fd, &result, sizeof result, NULL, 0);
	if (result == 0)
		logger_run(&outlet, logger->read_fd, control_fd);
	_exit(result == 0 ? 0 : 1);
}

/* The descriptor of the file, or -errno. O_NONBLOCK only so that a FIFO without a reader is an error and not
 * a wait. */
static int open_log_file(const char *file)
{
	int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	int result = fd_set_nonblocking(fd, false);
	if (result == 0)
		return fd;
	fd_close(fd);
	return result;
}

/* What the logger says of its own start. */
static int await_ready(int control_fd)
{
	struct pollfd pollfd = { .fd = control_fd, .events = POLLIN };
	int fds[IPC_FDS_MAX], result = 0, n;

	do
		n = poll(&pollfd, 1, READY_WAIT_MS);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return -ETIMEDOUT;
	ssize_t len = ipc_receive(control_fd, &result, sizeof result, fds);
	if (len < 0)
		return (int)len;
	return len == sizeof result ? result : -EPIPE;
}

static int fork_logger(struct logger *logger, const char *file)
{
	int sink_fd = -1, control[2] = { -1, -1 };
	int result = 0;

	if (logger->sink == SINK_FILE) {
		sink_fd = open_log_file(file);
		if (sink_fd < 0)
			return sink_fd;
	}
	result = ipc_pair(control);
	if (result < 0)
		goto out;
	pid_t pid = fork();
	if (pid < 0) {
		result = -errno;
		goto out;
	}
	if (pid == 0)
		logger_main(logger, sink_fd, control[1]);
	control[1] = fd_close(control[1]);
	result = await_ready(control[0]);
	if (result < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		goto out;
	}
	logger->pid = pid;
	logger->control_fd = control[0];
	control[0] = -1;
out:
	fd_close(sink_fd);
	fd_close(control[0]);
	fd_close(control[1]);
	return result;
}

int logger_start(struct logger *ret, enum log_sink sink, const char *file, const struct log_settings *log, uid_t uid,
	gid_t gid, bool drop)
{
	int ends[2];

	if (sink == SINK_JOURNAL) {
#ifndef HAVE_LIBSYSTEMD
		return -EOPNOTSUPP;
#endif
		/* Without a journal sd_journal_sendv() says that all is well, and every line is gone. */
		if (access(JOURNAL_SOCKET, W_OK) < 0)
			return -errno;
	}
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	/* As much as an unprivileged process may have by default; with less, lines are dropped a little
	 * sooner. */
	fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE);
	struct logger logger = {
		.pid = -1,
		.pipe_fd = ends[1],
		.control_fd = -1,
		.read_fd = ends[0],
		.sink = sink,
		.drop = drop,
		.uid = uid,
		.gid = gid,
		.log = *log,
	};
	int result = fd_set_nonblocking(logger.pipe_fd, true);
	if (result == 0)
		result = fork_logger(&logger, file);
	if (result < 0) {
		logger_close(&logger);
		return result;
	}
	*ret = logger;
	return 0;
}

int logger_restart(struct logger *logger, const char *file)
{
	logger->control_fd = fd_close(logger->control_fd);
	logger->pid = -1;
	return fork_logger(logger, file);
}

int logger_reopen(struct logger *logger, const char *file)
{
	if (logger->sink != SINK_FILE)
		return 0;
	int fd = open_log_file(file);
	if (fd < 0)
		return fd;
	int result = ipc_send(logger->control_fd, "f", 1, &fd, 1);
	fd_close(fd);
	return result;
}

void logger_detach(struct logger *logger)
{
	logger->control_fd = fd_close(logger->control_fd);
	logger->read_fd = fd_close(logger->read_fd);
}

void logger_close(struct logger *logger)
{
	logger_detach(logger);
	logger->pipe_fd = fd_close(logger->pipe_fd);
}
