/* The logger: a process that takes the log lines of all the others out of one pipe and may wait for a disk, a terminal or
 * a journal. It ends when the last process that could still write a line has closed the pipe, so that none is lost; it
 * ignores SIGINT, SIGTERM and SIGHUP.
 */
#pragma once
#include "policy.h"
#include <stdbool.h>
#include <sys/types.h>

struct logger {
	pid_t pid;
	int pipe_fd;    /* the write end, non-blocking: for log_setup() */
	int control_fd; /* to the logger */
	int read_fd;    /* the pipe's other end, kept for the logger's successor should it die */
	enum log_sink sink;
	bool drop;
	uid_t uid;
	gid_t gid;
	struct log_settings log;
	bool to_journal; /* by a standard stream */
};

/* Opens the file (SINK_FILE only; as who the caller is) and forks the logger. `drop`: it becomes
 * uid and gid. 0, or -errno: of the file, of the fork, or of the logger. For the journal -EOPNOTSUPP: it is not built in;
 * -ENOENT: none runs here. `log`: how its own lines look, those about lines that a full disk cost. */
int logger_begin(struct logger *ret, enum log_sink sink, const char *file, const struct log_settings *log, uid_t uid,
	gid_t gid, bool drop);

/* How lines for it are to look under a policy. */
struct log_settings logger_settings(const struct logger *logger, const struct policy *policy);

/* After the logger died and was reaped: another one at the same pipe. What was in the pipe is not lost. 0 or -errno. */
int logger_begin_again(struct logger *logger, const char *file);

/* How that went, once the control socket is readable: 0, it logs; -EAGAIN: not known yet; or -errno. */
int logger_started(struct logger *logger);

/* One that does not start, or does not end. */
void logger_kill(const struct logger *logger);

/* All of it, for who has nothing else to do: begins and waits. One that does not start is reaped. */
int logger_start(struct logger *ret, enum log_sink sink, const char *file, const struct log_settings *log, uid_t uid,
	gid_t gid, bool drop);

/* Opens the file anew and has the logger write there from the next line on. Other sinks: nothing. 0 or -errno, and the
 * logger then stays with the file that it has. */
int logger_reopen(struct logger *logger, const char *file);

/* In a process that was forked: keeps nothing but pipe_fd. */
void logger_detach(struct logger *logger);

/* Closes everything, pipe_fd too. The logger ends once all the others have as well; the caller reaps it. */
void logger_close(struct logger *logger);
