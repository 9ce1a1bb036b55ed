/* The master. A state machine over generations: one that serves, perhaps one that is coming up, and those that retire. Owns
 * the listening sockets, the logger and the pid file. */
#include "master.h"
#include "fd.h"
#include "generation.h"
#include "log.h"
#include "logger.h"
#include "loop.h"
#include "pidfile.h"
#include "process.h"
#include "sockets.h"
#include "worker.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

/* After workers were told to stop: how long until they are killed. */
#define KILL_US 2000000

struct master {
	const struct master_options *options;
	struct loop loop;
	struct watch signals;
	struct sockets sockets;
	struct logger logger;
	struct shared *shared;

	struct generation *serving, *coming; /* NULL: none */
	struct generation *all;              /* with those that retire */

	int ready_fd; /* of the process that started a daemon */
	const char *pid_file;
	bool ending;  /* drains or stops */
	bool stopped; /* told to end now */
	struct timer deadline;
	int status; /* to exit with */
};

static void master_notify(const char *state)
{
#ifdef HAVE_LIBSYSTEMD
	sd_notify(0, state);
#endif
}

/* ---- generations ------------------------------------------------------------------------------------------------------ */

static void master_end_if_over(struct master *master)
{
	if (!master->all && (master->ending || !master->coming))
		loop_stop(&master->loop);
}

static void master_generation_ready(struct generation *generation)
{
	struct master *master = generation->context;
	struct generation *before = master->serving;

	master->serving = generation;
	master->coming = NULL;
	log_setup(master->logger.pipe_fd, &generation->policy->log);
	if (before)
		generation_drain(before);
	if (!master->options->inetd)
		sockets_close_others(&master->sockets, generation->policy);
	log_notice("serving: %u workers, %zu listeners, %zu services", generation->n_workers,
		generation->policy->n_listeners, generation->policy->n_services);
	master_notify("READY=1");
	if (before)
		return;
	if (master->options->serving)
		master->options->serving(generation->policy);
	process_ready(master->ready_fd);
	master->ready_fd = -1;
}

static void master_generation_failed(struct generation *generation)
{
	struct master *master = generation->context;

	generation_kill(generation);
	master->coming = NULL;
	if (master->serving) {
		log_error("the new workers do not start: the old ones go on");
		master_notify("READY=1");
	} else {
		master->status = 1;
		master->ending = true;
	}
}

static void complain_to_log(const char *message)
{
	log_error("%s", message);
}

static void complain_to_stderr(const char *message)
{
	fprintf(stderr, "usher: %s\n", message);
}

/* Takes over the policy. */
static int master_start_generation(struct master *master, struct policy *policy)
{
	struct generation *generation = calloc(1, sizeof(*generation));
	int *listening = calloc(policy->n_listeners, sizeof(*listening));

	if (!generation || !listening) {
		free(generation);
		free(listening);
		policy_free(policy);
		return -ENOMEM;
	}
	*generation = (struct generation){
		.loop = &master->loop,
		.shared = master->shared,
		.policy = policy,
		.listening = listening,
		.log_fd = master->logger.pipe_fd,
		.connection = master->options->inetd ? 0 : -1,
		.context = master,
		.ready = master_generation_ready,
		.failed = master_generation_failed,
	};
	int error = 0;
	if (!master->options->inetd)
		error = sockets_open(
			&master->sockets, policy, listening, master->serving ? complain_to_log : complain_to_stderr);
	if (error < 0) {
		generation_free(generation);
		return error;
	}
	generation->next = master->all;
	master->all = generation;
	master->coming = generation;
	error = generation_start(generation);
	if (error < 0) {
		log_error("cannot start the workers: %s", strerrordesc_np(-error));
		master->coming = NULL;
	}
	return error;
}

static void master_free_if_over(struct master *master, struct generation **link)
{
	struct generation *generation = *link;

	if (!generation_over(generation))
		return;
	if (generation == master->serving)
		master->serving = NULL;
	*link = generation->next;
	generation_free(generation);
	master_end_if_over(master);
}

/* Nobody else hears of it: lines wait in the pipe until there is a logger again. */
static void master_restart_logger(struct master *master)
{
	const struct policy *policy = master->serving ? master->serving->policy : NULL;
	if (!policy || logger_restart(&master->logger, policy->log_file) < 0)
		return;
	log_error("the logger died and was started again");
}

/* Also what programs leave behind: who is not of a generation is one of them. */
static void master_reap(struct master *master)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct generation **link = &master->all;
		while (*link && !generation_reap(*link, pid, status))
			link = &(*link)->next;
		if (*link)
			master_free_if_over(master, link);
		else if (pid == master->logger.pid)
			master_restart_logger(master);
		else
			log_debug("process %d ended with status 0x%x", pid, (unsigned)status);
	}
}

/* ---- signals ---------------------------------------------------------------------------------------------------------- */

static void log_complaints(const struct complaints *complaints)
{
	for (size_t i = 0; i < complaints->count; i++) {
		const struct complaint *complaint = &complaints->list[i];
		enum log_level level = complaint->kind == COMPLAINT_ERROR ? LEVEL_ERROR : LEVEL_WARNING;
		log_message(level, "%s:%u: %s", complaint->file ? complaint->file : "configuration", complaint->line,
			complaint->text);
	}
}

/* What does not compile changes nothing. */
static void master_reload(struct master *master)
{
	struct complaints complaints = { 0 };
	struct policy *policy;

	if (master->ending || master->options->inetd)
		return;
	if (master->coming) {
		log_warning("a reload is under way already");
		return;
	}
	master_notify("RELOADING=1");
	int error = master->options->load(master->options->context, &policy, &complaints);
	log_complaints(&complaints);
	complaints_fini(&complaints);
	if (error == 0)
		error = master_start_generation(master, policy);
	if (error < 0) {
		log_error("reload refused: the running configuration stays");
		master_notify("READY=1");
	}
}

static void master_stop(struct master *master)
{
	master->ending = true;
	sockets_close_others(&master->sockets, NULL);
	for (struct generation *generation = master->all; generation; generation = generation->next) {
		if (master->stopped)
			generation_kill(generation);
		else
			generation_stop(generation);
	}
	master->stopped = true;
	loop_timer(&master->loop, &master->deadline, master->loop.now_us + KILL_US);
}

static void master_drain(struct master *master)
{
	if (master->ending || !master->serving) {
		master_stop(master);
		return;
	}
	uint64_t most_us = master->serving->policy->drain_timeout_us;
	master->ending = true;
	master_notify("STOPPING=1");
	log_notice("ending: no new connections, at most %lu s for those that are open",
		(unsigned long)(most_us / 1000000));
	sockets_close_others(&master->sockets, NULL);
	for (struct generation *generation = master->all; generation; generation = generation->next)
		generation_drain(generation);
	loop_timer(&master->loop, &master->deadline, master->loop.now_us + most_us);
}

static void master_deadline(struct timer *timer)
{
	master_stop(container_of(timer, struct master, deadline));
}

static void master_reopen_log(struct master *master)
{
	if (!master->serving || master->serving->policy->log_sink != SINK_FILE)
		return;
	int error = logger_reopen(&master->logger, master->serving->policy->log_file);
	if (error < 0)
		log_error("cannot reopen %s: %s", master->serving->policy->log_file, strerrordesc_np(-error));
}

static void master_signal(struct watch *watch, uint32_t events)
{
	struct master *master = container_of(watch, struct master, signals);
	struct signalfd_siginfo info;

	while (read(watch->fd, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			master_reap(master);
			break;
		case SIGHUP:
			master_reload(master);
			break;
		case SIGUSR1:
			master_reopen_log(master);
			break;
		case SIGTERM:
			master_drain(master);
			break;
		case SIGINT:
			master_stop(master);
			break;
		}
	}
}

/* Blocked before the first fork, so that none is lost; every child puts its own mask back. */
static int master_watch_signals(struct master *master)
{
	const int watched[] = { SIGCHLD, SIGHUP, SIGUSR1, SIGTERM, SIGINT };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
		sigaddset(&set, watched[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	master->signals.ready = master_signal;
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : loop_watch(&master->loop, &master->signals, fd, EPOLLIN);
}

/* ---- life ------------------------------------------------------------------------------------------------------------- */

static int master_write_pid_file(struct master *master, const struct policy *policy)
{
	long holder = 0;

	if (!policy->pid_file || master->options->inetd)
		return 0;
	int error = pidfile_write(policy->pid_file, &holder);
	if (error == -EEXIST)
		fprintf(stderr, "usher: %s: usher runs already, as process %ld\n", policy->pid_file, holder);
	else if (error < 0)
		fprintf(stderr, "usher: cannot write the pid file %s: %s\n", policy->pid_file,
			strerrordesc_np(-error));
	else
		master->pid_file = strdup(policy->pid_file);
	return error;
}

/* In inetd's service descriptor 2 is often the client: nothing of ours may be written there. */
static enum log_sink master_log_sink(const struct master *master, const struct policy *policy)
{
	bool stderr_is_not_ours = master->options->inetd || master->options->daemon;
	return stderr_is_not_ours && policy->log_sink == SINK_STDERR ? SINK_SYSLOG : policy->log_sink;
}

static int master_start_logger(struct master *master, const struct policy *policy)
{
	enum log_sink sink = master_log_sink(master, policy);
	int error = logger_start(
		&master->logger, sink, policy->log_file, policy->uid, policy->gid, policy->drop_identity);
	if (error < 0)
		fprintf(stderr, "usher: cannot log to %s: %s\n", policy->log_file ? policy->log_file : "its target",
			strerrordesc_np(-error));
	return error;
}

static int master_init(struct master *master, const struct master_options *options)
{
	*master = (struct master){
		.options = options, .ready_fd = -1, .signals.fd = -1, .logger.pipe_fd = -1, .logger.control_fd = -1
	};
	master->deadline = (struct timer){ .fired = master_deadline };
	master->shared =
		mmap(NULL, sizeof(*master->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (master->shared == MAP_FAILED)
		return -errno;
	atomic_init(&master->shared->next_connection, 1);
	fd_raise_limit();
	int error = loop_init(&master->loop);
	if (error == 0 && options->daemon)
		error = process_daemonize(&master->ready_fd);
	if (error == 0)
		error = master_watch_signals(master);
	if (error == 0)
		error = sockets_adopt(&master->sockets);
	return error;
}

/* What goes wrong up to here is for the person who started us: on stderr, before there is a log. */
static int master_start(struct master *master, struct policy *policy)
{
	int error = master_write_pid_file(master, policy);
	if (error == 0)
		error = master_start_logger(master, policy);
	if (error < 0) {
		policy_free(policy);
		return error;
	}
	return master_start_generation(master, policy);
}

static void master_fini(struct master *master)
{
	sockets_close_others(&master->sockets, NULL);
	while (master->all) {
		struct generation *next = master->all->next;
		generation_free(master->all);
		master->all = next;
	}
	pidfile_remove(master->pid_file);
	free((char *)master->pid_file);
	fd_close(loop_unwatch(&master->loop, &master->signals));
	loop_fini(&master->loop);
	log_setup(2, &(struct log_settings){ .level = LEVEL_ERROR });
	logger_close(&master->logger);
	if (master->logger.pid > 0)
		waitpid(master->logger.pid, NULL, 0); /* the last lines are written */
	munmap(master->shared, sizeof(*master->shared));
}

static int master_load(const struct master_options *options, struct policy **ret)
{
	struct complaints complaints = { 0 };
	int error = options->load(options->context, ret, &complaints);
	complaints_print(&complaints, stderr);
	complaints_fini(&complaints);
	return error;
}

int master_run(const struct master_options *options)
{
	struct master master;
	struct policy *policy;

	if (master_load(options, &policy) < 0)
		return 2;
	int error = master_init(&master, options);
	if (error < 0) {
		fprintf(stderr, "usher: cannot start: %s\n", strerrordesc_np(-error));
		policy_free(policy);
		return 1;
	}
	process_rename("usher: master");
	error = master_start(&master, policy);
	if (error == 0)
		error = loop_run(&master.loop);
	master_fini(&master);
	return error < 0 ? 1 : master.status;
}
