/* Where the master's words and its workers' lines go: before there is a log to a person, then to the logger, which is started again
 * when it dies and replaced when a reload sends the log elsewhere. Waits for it only at the end, and not for long. */
#include "failure.h"
#include "fd.h"
#include "file.h"
#include "kill_as.h"
#include "master_parts.h"
#include "process.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

#define LOGGER_WAIT_MS    1000
#define LOGGER_RESTART_US 100000

void master_say(const struct master *master, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (master->stderr_is_client) {
		openlog(process_program_name(), LOG_PID, LOG_DAEMON);
		vsyslog(LOG_ERR, format, arguments);
	} else {
		fputs("usher: ", stderr);
		vfprintf(stderr, format, arguments);
		fputc('\n', stderr);
	}
	va_end(arguments);
}

/* In the background, and where the client is on it, a standard stream is no place for a log. */
static bool is_unheard(const struct master *master, const struct policy *policy)
{
	int stream = policy->log_sink == SINK_STDERR ? STDERR_FILENO
		: policy->log_sink == SINK_FILE      ? file_descriptor(policy->log_file)
						     : -1;

	if (stream < 0 || stream > STDERR_FILENO)
		return false;
	return master->options->daemon ||
		(stream == STDERR_FILENO ? master->stderr_is_client : master->options->inetd);
}

typedef int logger_function(struct logger *ret, enum log_sink sink, const char *file, const struct log_settings *log,
	uid_t uid, gid_t gid, bool drop);

static int master_start_logger(
	const struct master *master, const struct policy *policy, logger_function *start, struct logger *ret)
{
	enum log_sink sink = is_unheard(master, policy) ? SINK_SYSLOG : policy->log_sink;

	return start(ret, sink, policy->log_file, &policy->log, policy->uid, policy->gid, policy->drop_identity);
}

int master_start_first_logger(struct master *master, const struct policy *policy)
{
	int error = master_start_logger(master, policy, logger_start, &master->logger);

	if (error < 0)
		master_say(master, "%s", failure_text(error));
	return error;
}

/* ---- its successor ---- */

static bool same_logger(const struct policy *policy, const struct policy *now)
{
	bool same_file = policy->log_file && now->log_file ? strcmp(policy->log_file, now->log_file) == 0
							   : policy->log_file == now->log_file;
	bool same_user =
		policy->drop_identity == now->drop_identity && policy->uid == now->uid && policy->gid == now->gid;

	return policy->log_sink == now->log_sink && same_file && same_user &&
		policy->log.facility == now->log.facility;
}

int master_start_next_logger(struct master *master, struct policy *policy)
{
	if (same_logger(policy, master->serving->policy))
		return 0;
	int error = master_start_logger(master, policy, logger_begin, &master->next_logger);
	if (error == 0) {
		error = logger_wait_begin(&master->next_logger_wait, &master->next_logger);
		master->waiting = policy;
	}
	if (error == 0)
		return -EINPROGRESS;
	log_error("%s", failure_text(error));
	if (!master->waiting)
		policy_free(policy);
	master_forget_next_logger(master);
	return error;
}

void master_forget_next_logger(struct master *master)
{
	logger_wait_cancel(&master->next_logger_wait);
	policy_free(master->waiting);
	master->waiting = NULL;
	if (master->next_logger.pipe_fd >= 0)
		logger_close(&master->next_logger);
	master->next_logger = NO_LOGGER;
}

void master_next_logger_over(struct logger_wait *wait, int error)
{
	struct master *master = container_of(wait, struct master, next_logger_wait);
	struct policy *policy = master->waiting;
	char why[FAILURE_MAX];

	if (error == 0) {
		master->waiting = NULL;
		master_logged(master, policy);
		return;
	}
	snprintf(why, sizeof(why), "%s", failure_text(error));
	log_error("%s", why);
	master_forget_next_logger(master);
	master_refuse_reload(master, why);
}

void master_take_next_logger(struct master *master)
{
	if (master->next_logger.pipe_fd < 0)
		return;
	logger_wait_cancel(&master->logger_wait);
	loop_timer_stop(&master->loop, &master->logger_restart);
	logger_close(&master->logger);
	master->logger = master->next_logger;
	master->next_logger = NO_LOGGER;
	if (master->logger.pid == 0) /* since it was seen to log */
		master_logger_died(master);
}

/* ---- when it dies ---- */

void master_logger_over(struct logger_wait *wait, int error)
{
	struct master *master = container_of(wait, struct master, logger_wait);

	if (error < 0)
		loop_timer(&master->loop, &master->logger_restart, master->loop.now_us + LOGGER_RESTART_US);
	else
		log_error("the logger died and was started again");
}

/* Nobody else hears of it: lines wait in the pipe until there is a logger again. */
void master_restart_logger(struct timer *timer)
{
	struct master *master = container_of(timer, struct master, logger_restart);
	const struct policy *policy = master->serving ? master->serving->policy : NULL;

	if (!policy || master_is_ending(master) || master->logger_wait.logger)
		return;
	if (logger_begin_again(&master->logger, policy->log_file) < 0 ||
		logger_wait_begin(&master->logger_wait, &master->logger) < 0)
		loop_timer(&master->loop, timer, master->loop.now_us + LOGGER_RESTART_US);
}

void master_logger_died(struct master *master)
{
	logger_wait_cancel(&master->logger_wait);
	master->logger.pid = 0;
	loop_timer(&master->loop, &master->logger_restart, master->loop.now_us + LOGGER_RESTART_US);
}

int master_reopen_log(struct master *master)
{
	master->reopen_when_ready = !master->serving || master->next_logger.pipe_fd >= 0;
	if (!master->serving || master->serving->policy->log_sink != SINK_FILE)
		return 0;
	int error = logger_reopen(&master->logger, master->serving->policy->log_file);
	if (error < 0)
		log_error("cannot reopen %s: %s", master->serving->policy->log_file, strerrordesc_np(-error));
	return error;
}

void master_end_logger(struct master *master)
{
	pid_t pid = master->logger.pid;
	uid_t uid = master->logger.drop ? master->logger.uid : geteuid();

	logger_close(&master->logger);
	if (pid <= 0 || master->state == MASTER_LEAVING) /* it writes what the workers will say */
		return;
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd end = { .fd = fd, .events = POLLIN };
	if (fd < 0 || poll(&end, 1, LOGGER_WAIT_MS) == 0)
		kill_as(pid, uid, SIGKILL);
	fd_close(fd);
	process_bury(pid); /* one that waits for a disk cannot be killed, and is not waited for */
}
