/* The logger process, and the master's side of it. The master keeps the pipe and a control socket; the logger
 * keeps the pipe's read end, the other end of the socket and where it writes to, and closes everything else.
 *
 * It is the one process that may wait. What becomes of a line: log_sink.c. */
#include "logger.h"
#include "failure.h"
#include "fd.h"
#include "file.h"
#include "helper_process.h"
#include "ipc.h"
#include "kill_as.h"
#include "log.h"
#include "log_sink.h"
#include "process.h"
#include "sandbox.h"
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

#define PIPE_SIZE      (1024 * 1024)
#define READY_WAIT_MS  30000
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* What the logger says of its own start. */
struct start {
	int error;
	char why[FAILURE_MAX];
};

/* A new file from the master; -1 once the master is gone. Everything taken so far has been written by now. */
static int take_control(struct sink *sink, int control_fd)
{
	struct ipc_fds fds;
	char byte;

	ssize_t n = ipc_receive(control_fd, &byte, sizeof(byte), &fds);
	if (n == 0)
		return fd_close(control_fd);
	if (fds.fd[0] >= 0)
		log_sink_reopen(sink, fds.fd[0]);
	return control_fd;
}

static void logger_run(struct sink *sink, int pipe_fd, int control_fd)
{
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = pipe_fd, .events = POLLIN },
			{ .fd = control_fd, .events = POLLIN }, /* -1 is passed over */
		};
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents)
			control_fd = take_control(sink, control_fd);
		if (fds[0].revents && !log_sink_read(sink, pipe_fd))
			return;
	}
}

/* Does a stream of ours lead to the journal? systemd says which one it made, since the variable outlives a redirection. */
static bool is_journal(int stream)
{
	const char *made = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat status;

	return made && stream >= 0 && sscanf(made, "%llu:%llu", &device, &inode) == 2 &&
		fstat(stream, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

/* The descriptor that a log goes to, where it is one of ours; -1. */
static int log_stream(enum log_sink sink, const char *file)
{
	return sink == SINK_STDERR ? STDERR_FILENO : sink == SINK_FILE ? file_descriptor(file) : -1;
}

static int become_logger(const struct logger *logger, struct sink *sink, int control_fd)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ };

	log_setup(sink->fd, &logger->log); /* it only builds records, and writes them itself */
	/* Its standard input and output may be a client (inetd) or a terminal: neither may stay open because of it. */
	int r = helper_process_begin(&(struct helper_process){
		.role = "logger",
		.ignored = ignored,
		.n_ignored = sizeof(ignored) / sizeof(ignored[0]),
		.n_null = sink->sink == SINK_STDERR ? 2 : 3,
		.keep = (int[]){ logger->read_fd, control_fd, sink->fd },
		.n_keep = 3,
		.drop_privileges = true,
		.drop_identity = logger->drop,
		.uid = logger->uid,
		.gid = logger->gid,
	});
	if (r < 0)
		return r;
	sink->prefixed = logger->to_journal;
	if (sink->sink == SINK_SYSLOG)
		openlog(process_program_name(), LOG_NDELAY, logger->log.facility);
	return sandbox_enter_logger(sink->sink == SINK_SERVER ? &sink->remote : NULL);
}

static void __attribute__((noreturn))
logger_main(const struct logger *logger, const char *file, int sink_fd, int control_fd)
{
	static struct sink sink; /* 128 KiB, touched in this process only */

	sink.sink = logger->sink;
	sink.facility = logger->log.facility;
	sink.fd = logger->sink == SINK_STDERR ? STDERR_FILENO : sink_fd;
	if (sink.sink == SINK_SERVER)
		log_remote_init(&sink.remote, file, getppid());
	struct start start = { .error = become_logger(logger, &sink, control_fd) };
	if (start.error < 0)
		snprintf(start.why, sizeof(start.why), "the logger cannot start: %s", failure_text(start.error));
	int error = ipc_send_waiting(control_fd, &start, sizeof(start));
	if (start.error == 0 && error == 0)
		logger_run(&sink, logger->read_fd, control_fd);
	_exit(start.error == 0 && error == 0 ? 0 : 1);
}

/* The descriptor of the file, or -errno. What is written to it may wait. */
static int open_log_file(const char *file)
{
	int fd = file_append(file, 0640);
	if (fd < 0)
		return fd;
	int r = file_descriptor(file) < 0 ? fd_set_nonblocking(fd, false) : 0; /* others write to that one as well */
	if (r == 0)
		return fd;
	fd_close(fd);
	return r;
}

int logger_started(struct logger *logger)
{
	struct ipc_fds fds;
	struct start start;

	ssize_t len = ipc_receive(logger->control_fd, &start, sizeof(start), &fds);
	ipc_close_fds(&fds);
	if (len < 0)
		return (int)len;
	if (len != sizeof(start))
		return failure_set(-EPIPE, "the logger ended before it was ready");
	return start.error < 0 ? failure_take(start.error, start.why) : 0;
}

void logger_kill(const struct logger *logger)
{
	if (logger->pid > 0)
		kill_as(logger->pid, logger->drop ? logger->uid : geteuid(), SIGKILL);
}

static int fork_logger(struct logger *logger, const char *file)
{
	int sink_fd = -1, control_fd;

	if (logger->sink == SINK_FILE) {
		sink_fd = open_log_file(file);
		if (sink_fd < 0)
			return failure_set(sink_fd, "cannot log to %s", file);
	}
	pid_t pid = helper_process_fork(&control_fd);
	if (pid == 0)
		logger_main(logger, file, sink_fd, control_fd);
	fd_close(sink_fd);
	if (pid < 0)
		return pid;
	logger->pid = pid;
	logger->control_fd = control_fd;
	return 0;
}

/* Whoever has the lines next writes the time in front of them. */
static struct log_settings logger_settings_of(const struct logger *logger, const struct log_settings *log)
{
	struct log_settings settings = *log;

	settings.timestamps = !logger->to_journal && (logger->sink == SINK_STDERR || logger->sink == SINK_FILE);
	return settings;
}

struct log_settings logger_settings(const struct logger *logger, const struct policy *policy)
{
	return logger_settings_of(logger, &policy->log);
}

int logger_begin(struct logger *ret, enum log_sink sink, const char *file, const struct log_settings *log, uid_t uid,
	gid_t gid, bool drop)
{
	int ends[2];

	if (sink == SINK_JOURNAL) {
#ifndef HAVE_LIBSYSTEMD
		return failure_set(-EOPNOTSUPP, "cannot log to the journal, which is not built in");
#endif
		/* Without a journal sd_journal_sendv() says that all is well, and every line is gone. */
		if (access(JOURNAL_SOCKET, W_OK) < 0)
			return failure_set(-errno, "cannot log to the journal (" JOURNAL_SOCKET ")");
	}
	if (pipe2(ends, O_CLOEXEC) < 0)
		return failure_set(-errno, "cannot start the logger: pipe2");
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
		.to_journal = is_journal(log_stream(sink, file)),
	};
	logger.log = logger_settings_of(&logger, log);
	int r = fd_set_nonblocking(logger.pipe_fd, true);
	if (r < 0)
		failure_set(r, "cannot start the logger: ioctl(FIONBIO)");
	if (r == 0)
		r = fork_logger(&logger, file);
	if (r < 0) {
		logger_close(&logger);
		return r;
	}
	*ret = logger;
	return 0;
}

int logger_begin_again(struct logger *logger, const char *file)
{
	logger->control_fd = fd_close(logger->control_fd);
	logger->pid = -1;
	return fork_logger(logger, file);
}

int logger_start(struct logger *ret, enum log_sink sink, const char *file, const struct log_settings *log, uid_t uid,
	gid_t gid, bool drop)
{
	int r = logger_begin(ret, sink, file, log, uid, gid, drop);
	if (r < 0)
		return r;

	struct pollfd pollfd = { .fd = ret->control_fd, .events = POLLIN };
	int n;
	do
		n = poll(&pollfd, 1, READY_WAIT_MS);
	while (n < 0 && errno == EINTR);
	r = n > 0 ? logger_started(ret) : failure_set(-ETIMEDOUT, "the logger does not start");
	if (r < 0) {
		logger_kill(ret);
		waitpid(ret->pid, NULL, 0);
		logger_close(ret);
	}
	return r;
}

int logger_reopen(struct logger *logger, const char *file)
{
	if (logger->sink != SINK_FILE)
		return 0;
	int fd = open_log_file(file);
	if (fd < 0)
		return fd;
	int r = ipc_send(logger->control_fd, "f", 1, &fd, 1);
	fd_close(fd);
	return r;
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
