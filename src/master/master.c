/* The master. A state machine over generations: one that serves, perhaps one that is coming up, and those that retire. Here are
 * its start, its children and its end. Owns the listening sockets, the logger and the pid file. */
#include "master.h"
#include "failure.h"
#include "fd.h"
#include "generation_life.h"
#include "master_parts.h"
#include "pidfile.h"
#include "process.h"
#include "program_table.h"
#include "requests.h"
#include "trial.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- its children ---- */

static void master_program_ended(struct master *master, pid_t pid, int status)
{
	struct program_end end;

	if (!program_table_remove(master->programs, pid, status, master->loop.now_us, &end))
		return;
	log_debug("service %s: process %d ended with status 0x%x", end.service, pid, (unsigned)status);
	if (end.back_off_us && end.back_off_first)
		log_warning(
			"service %s: its program dies at once again and again (status 0x%x), not started for %lu ms",
			end.service, (unsigned)status, (unsigned long)(end.back_off_us / 1000));
}

/* Also what programs leave behind: who is not of a generation is one of them. */
static void master_child_ended(struct master *master, pid_t pid, int status)
{
	struct generation *generation = master->all;

	while (generation && !generation_reap(generation, pid, status))
		generation = generation->next;
	if (generation)
		return;
	if (pid == master->logger.pid)
		master_logger_died(master);
	else if (pid == master->next_logger.pid)
		master->next_logger.pid = 0;
	else if (compiling_reap(&master->compiling, pid, status))
		master_compiled(master);
	else if (exporting_reap(&master->exporting, pid, status) || checking_reap(&master->checking, pid, status) ||
		watching_reap(&master->watching, pid) || server_processes_reap(&master->servers, pid, status))
		return;
	else if (!upgrade_reap(&master->upgrade, pid, status) && !asks_reap(&master->asks, pid, status) &&
		!forwarding_reap(&master->forwarding, pid, status))
		master_program_ended(master, pid, status);
}

/* Each is dealt with before its number may be another's. */
void master_reap(struct master *master)
{
	int status;
	pid_t pid;

	while ((pid = process_ended(&status, false)) > 0) {
		master_child_ended(master, pid, status);
		process_bury(pid);
	}
	master_sweep(master);
	/* The image before this one left them, and only a reload brings others. */
	if (master->serving && generation_is_adopted(master->serving) && master->serving->n_running == 0 &&
		!master_is_reloading(master))
		loop_defer(&master->loop, &master->reload);
}

/* ---- its life ---- */

static int master_write_pid_file(struct master *master, const struct policy *policy)
{
	long holder = 0;

	if (!policy->pid_file || master->options->inetd)
		return 0;
	int error = pidfile_write(policy->pid_file, &holder);
	if (error == -EEXIST)
		master_say(master, "%s: usher runs already, as process %ld", policy->pid_file, holder);
	else if (error < 0)
		master_say(master, "cannot write the pid file %s: %s", policy->pid_file, strerrordesc_np(-error));
	else
		master->pid_file = strdup(policy->pid_file);
	return error;
}

static bool same_file(int a, int b)
{
	struct stat one, other;
	return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_dev == other.st_dev &&
		one.st_ino == other.st_ino;
}

/* Of a connection. A datagram socket has no end, and one that listens is for who accepts (inetd's "wait"). */
static bool is_stream(int fd)
{
	int type = 0, listens = 0;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM &&
		getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && !listens;
}

/* inetd gives the client on 0, 1 and often 2. It gets one number of ours, and nothing of what we write. */
static int master_take_connection(struct master *master)
{
	struct stat status;

	if (fstat(0, &status) < 0 || !S_ISSOCK(status.st_mode))
		return -ENOTSOCK;
	if (!is_stream(0))
		return -ESOCKTNOSUPPORT;
	master->stderr_is_client = same_file(0, 2);
	master->connection = fcntl(0, F_DUPFD_CLOEXEC, 3);
	if (master->connection < 0)
		return -errno;
	int null = fd_open_null();
	for (int fd = 0; fd <= 2; fd++)
		if (same_file(fd, master->connection))
			dup2(null, fd);
	fd_close(null);
	return 0;
}

static int master_init(struct master *master, const struct master_options *options)
{
	*master = (struct master){
		.options = options,
		.ready_fd = -1,
		.signals.fd = -1,
		.logger = NO_LOGGER,
		.next_logger = NO_LOGGER,
		.connection = -1,
		.deadline = { .fired = master_deadline },
		.logger_restart = { .fired = master_restart_logger },
		.control_again = { .fired = master_control_again },
		.reload = { .run = master_reload_task },
		.all_held = { .run = master_all_held },
		.shared = NO_SHARED,
	};
	forwarding_init(&master->forwarding);
	if (options->inetd) {
		int error = master_take_connection(master);
		if (error < 0) {
			master_say(master,
				"descriptor 0 is no %s: -i is for inetd, which passes the connection there",
				error == -ESOCKTNOSUPPORT ? "connection, expected one of a stream socket" : "socket");
			return error;
		}
	}
	return 0;
}

/* Also where a socket that a worker has shut down does not stand any more: whoever reloads gets another. */
static void master_reload_later(void *context)
{
	struct master *master = context;
	loop_defer(&master->loop, &master->reload);
}

static int master_prepare(struct master *master)
{
	/* First of all: what is mapped before it stays with the process that starts this one. */
	int error = master->options->daemon && !master->takeover ? process_daemonize(&master->ready_fd) : 0;
	if (error == 0)
		error = shared_open(&master->shared);
	if (error < 0)
		return error;
	master->programs = program_table_new();
	if (!master->programs)
		return -ENOMEM;
	fd_raise_limit();
	error = loop_init(&master->loop);
	master->since = time(NULL);
	if (error == 0)
		error = control_new(&master->control, &master->loop, &master_control_hooks, master);
	notify_init(&master->notify, &master->loop);
	logger_wait_init(&master->logger_wait, &master->loop, master_logger_over);
	logger_wait_init(&master->next_logger_wait, &master->loop, master_next_logger_over);
	master->asks = (struct asks){ .loop = &master->loop, .answered = request_decided };
	listener_guard_init(&master->guard, &master->loop, master_reload_later, master);
	if (master->options->watch)
		watching_init(&master->watching, &master->loop, master->options->watch, &master->read_since,
			master_reload_later, master);
	server_processes_init(&master->servers, &master->loop, &master->shared);
	exporting_init(&master->exporting, &master->loop, &master->shared, master_publish, master);
	checking_init(&master->checking, &master->loop, &master->shared);
	backend_upkeep_init(&master->upkeep, &master->loop, master->shared.backends, master->shared.limits,
		(const struct generation *const *)&master->all);
	upgrade_init(&master->upgrade, &master->loop, &master_upgrade_hooks, master);
	if (error == 0)
		error = master_watch_signals(master);
	if (error == 0)
		error = sockets_adopt(&master->sockets);
	return error;
}

/* What goes wrong up to here is for the person who started us, before there is a log. */
static int master_start(struct master *master, struct policy *policy)
{
	int error = master->takeover ? 0 : master_write_pid_file(master, policy);
	if (error == 0)
		error = master_start_first_logger(master, policy);
	if (error == 0 && master->takeover) {
		const struct log_settings settings = logger_settings(&master->logger, policy);
		log_setup(master->logger.pipe_fd, &settings);
		error = master_take_over(master, policy);
	}
	if (error < 0) {
		policy_free(policy);
		return error;
	}
	error = master_start_generation(master, policy);
	if (error < 0 && master->serving) { /* the workers of the image before this one */
		master_resume(master);
		master_upgrade_failed(master, "the new workers cannot be started: the old ones go on");
		error = 0;
	}
	return error;
}

static void master_fini(struct master *master)
{
	upgrade_fini(&master->upgrade);
	compiling_cancel(&master->compiling);
	master_close_sockets(master, NULL);
	while (master->all) {
		struct generation *next = master->all->next;
		generation_free(master->all);
		master->all = next;
	}
	control_free(master->control);
	exporting_fini(&master->exporting);
	checking_fini(&master->checking);
	server_processes_fini(&master->servers);
	watching_fini(&master->watching);
	backend_upkeep_fini(&master->upkeep);
	logger_wait_cancel(&master->logger_wait);
	logger_wait_cancel(&master->next_logger_wait);
	asks_fini(&master->asks);
	forwarding_fini(&master->forwarding);
	program_table_free(master->programs);
	pidfile_remove(master->pid_file);
	free(master->pid_file);
	fd_close(loop_unwatch(&master->loop, &master->signals));
	loop_fini(&master->loop);
	log_setup(2, &(struct log_settings){ .level = LEVEL_ERROR });
	master_end_logger(master);
	shared_close(&master->shared);
}

static void say_complaint(void *context, enum complaint_kind kind, const char *line)
{
	const struct master *master = context;
	if (master->stderr_is_client)
		master_say(master, "%s", line);
	else
		fprintf(stderr, "%s\n", line);
}

int master_load(struct master *master, struct policy **ret)
{
	int error = compiling_wait(master->options, ret, say_complaint, master);

	if (error < 0 && error != -EINVAL && error != -EINTR)
		master_say(master, "cannot start: %s", failure_text(error));
	return error;
}

// From an inherited state, or none, to the end. Returns the exit status.
static int master_serve(struct master *master, struct takeover *takeover)
{
	struct policy *policy;

	if (master->takeover)
		master_resume_taken(master);
	clock_gettime(CLOCK_REALTIME_COARSE, &master->read_since);
	int error = master_load(master, &policy);
	if (error < 0 && !master->takeover)
		return error == -EINVAL ? 2 : 1;
	if (error < 0 && master_load_again(master, &policy) < 0)
		return master_leave_nothing(master);
	error = master_prepare(master);
	if (error < 0) {
		master_say(master, "cannot start: %s", failure_text(error));
		policy_free(policy);
		return 1;
	}
	process_rename("master");
	error = master_start(master, policy);
	master->takeover = NULL;
	takeover_free(takeover);
	if (error == 0)
		error = loop_run(&master->loop);
	master_fini(master);
	return error < 0 ? 1 : master->status;
}

int master_run(const struct master_options *options)
{
	struct master master;
	struct takeover takeover = { 0 };
	int status = 1;
	bool is_trial;

	int state = upgrade_inherited(&is_trial);
	if (is_trial)
		return trial_run(options, state);
	if (master_init(&master, options) == 0 && master_inherit(&master, &takeover, state) == 0)
		status = master_serve(&master, &takeover);
	takeover_free(&takeover);
	return status;
}
