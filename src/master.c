/* The master. A state machine over generations: one that serves, perhaps one that is coming up, and those that retire. Owns
 * the listening sockets, the logger and the pid file. */
#include "master.h"
#include "ask.h"
#include "children.h"
#include "control.h"
#include "counters.h"
#include "fd.h"
#include "generation.h"
#include "ipc.h"
#include "log.h"
#include "logger.h"
#include "loop.h"
#include "message.h"
#include "pidfile.h"
#include "privileges.h"
#include "process.h"
#include "program_table.h"
#include "shared_memory.h"
#include "sockets.h"
#include "status.h"
#include "takeover.h"
#include "transparent.h"
#include "trial.h"
#include "upgrade.h"
#include "worker.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

/* After workers were told to stop: how long until they are killed. */
#define KILL_US 2000000

/* After workers were told that they are on their own: how long until they are. */
#define LEAVE_US 50000

#define LOGGER_WAIT_MS    1000
#define LOGGER_RESTART_US 100000

struct master {
	const struct master_options *options;
	struct loop loop;
	struct watch signals;
	struct sockets sockets;
	struct logger logger, next_logger; /* the next: of the generation that is coming, where it logs elsewhere */
	struct shared shared;
	struct program_table *programs;
	struct asks asks;
	bool slots[LIMITS_SLOTS_MAX];
	int connection; /* inetd; -1: none */
	bool stderr_is_client;

	struct generation *serving, *coming; /* NULL: none */
	struct generation *all;              /* with those that retire */

	bool reload_again;
	struct task reload;
	struct upgrade upgrade;
	struct task all_held; /* then it goes on */
	struct control *control;
	time_t since;
	uint64_t privileges, privileges_told; /* in force, and as the log has them; 0: not limited yet */
	int shared_fd, limits_fd, counters_fd; /* of what is mapped */
	struct takeover *takeover;             /* from the image before this one; NULL: there was none */

	int ready_fd; /* of the process that started a daemon */
	char *pid_file;
	bool ending;  /* drains or stops */
	bool stopped; /* told to end now */
	bool left;    /* without its workers */
	struct timer deadline, logger_restart;
	int status; /* to exit with */
};

/* None, or one that was closed. */
static const struct logger no_logger = { .pipe_fd = -1, .control_fd = -1, .read_fd = -1 };

static void master_notify(const char *state)
{
#ifdef HAVE_LIBSYSTEMD
	sd_notify(0, state);
#endif
}

/* ---- what is said before there is a log ---------------------------------------------------------------------------- */

static void master_say(const struct master *master, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void master_say(const struct master *master, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (master->stderr_is_client) {
		openlog("usher", LOG_PID, LOG_DAEMON);
		vsyslog(LOG_ERR, format, arguments);
	} else {
		fputs("usher: ", stderr);
		vfprintf(stderr, format, arguments);
		fputc('\n', stderr);
	}
	va_end(arguments);
}

static const char *log_place(const struct policy *policy)
{
	static const char *const places[] = {
		[SINK_STDERR] = "stderr", [SINK_SYSLOG] = "syslog", [SINK_JOURNAL] = "the journal"
	};
	return policy->log_sink == SINK_FILE ? policy->log_file : places[policy->log_sink];
}

/* In the background, and where the client is on descriptor 2, stderr is no place for a log. */
static int master_start_logger(const struct master *master, const struct policy *policy, struct logger *ret)
{
	bool unheard = master->options->daemon || master->stderr_is_client;
	enum log_sink sink = unheard && policy->log_sink == SINK_STDERR ? SINK_SYSLOG : policy->log_sink;
	return logger_start(
		ret, sink, policy->log_file, &policy->log, policy->uid, policy->gid, policy->drop_identity);
}

/* ---- generations ------------------------------------------------------------------------------------------------------ */

static void master_end_if_over(struct master *master)
{
	if (!master->all && (master->ending || !master->coming))
		loop_stop(&master->loop);
}

/* What the policies that live need, and `coming`, which is not among them yet (NULL: none), and no more. */
static void master_fit_privileges(struct master *master, const struct policy *coming)
{
	uint64_t needed = coming ? privileges_needed(coming) : 0;

	if (master->ending || !master->serving) /* from start to end whatever it was given */
		return;
	for (const struct generation *generation = master->all; generation; generation = generation->next)
		needed |= privileges_needed(generation->policy);
	if (needed == master->privileges)
		return;
	int error = privileges_put_in_force(needed);
	if (error < 0)
		log_error("cannot limit the privileges of the master: %s", strerrordesc_np(-error));
	master->privileges = needed;
}

/* Lets go of generations of which no process is left; also of one that had none when it was told to end. */
static void master_sweep(struct master *master)
{
	for (struct generation **link = &master->all; *link;) {
		struct generation *generation = *link;
		if (!generation_over(generation)) {
			link = &generation->next;
			continue;
		}
		if (generation == master->serving)
			master->serving = NULL;
		*link = generation->next;
		loop_defer(&master->loop, &generation->burial);
	}
	master_fit_privileges(master, NULL);
	master_end_if_over(master);
}

/* Lines of the old generation still go to the old one; it ends with the last process that has its pipe. */
static void master_take_next_logger(struct master *master)
{
	if (master->next_logger.pipe_fd < 0)
		return;
	logger_close(&master->logger);
	master->logger = master->next_logger;
	master->next_logger = no_logger;
}

/* Whatever was opened for the generation that did not come. */
static void master_forget_coming(struct master *master)
{
	master->coming = NULL;
	if (master->next_logger.pipe_fd >= 0)
		logger_close(&master->next_logger);
	master->next_logger = no_logger;
	if (master->serving)
		sockets_close_others(&master->sockets, master->serving->policy);
}

/* After a reload: it may have moved, or somebody may have removed it. */
static void master_rewrite_pid_file(struct master *master, const struct policy *policy)
{
	const char *path = policy->pid_file;
	long holder;

	if (master->pid_file && (!path || strcmp(master->pid_file, path) != 0))
		pidfile_remove(master->pid_file);
	free(master->pid_file);
	master->pid_file = path && !master->options->inetd ? strdup(path) : NULL;
	int error = master->pid_file ? pidfile_write(path, &holder) : 0;
	if (error < 0)
		log_error("cannot write the pid file %s: %s", path, strerrordesc_np(-error));
}

static void master_reload_again(struct master *master)
{
	if (master->reload_again)
		loop_defer(&master->loop, &master->reload);
	master->reload_again = false;
}

/* Without it usher serves all the same. */
static void master_control_listen(struct master *master, const struct policy *policy)
{
	int error = master->options->inetd ? 0 : control_listen(master->control, policy);

	if (error == -EADDRINUSE)
		log_error("control socket %s: another usher answers there", policy->control);
	else if (error < 0)
		log_error("control socket %s: %s", policy->control, strerrordesc_np(-error));
}

static void master_reported(struct generation *generation, uint64_t serial, int error)
{
	const struct master *master = generation->context;
	control_reported(master->control, serial, error);
}

static void master_tell_capacity(const struct policy *policy)
{
	struct capacity capacity;

	capacity_of(policy, &capacity);
	log_info("room: %lu descriptors a process, %u of a worker's own: %u connections a worker, %u in all, of "
		 "these %u "
		 "undecided, %u of one source",
		capacity.descriptors, capacity.reserved, capacity.connections, capacity.in_all,
		capacity.undecided ? capacity.undecided : capacity.in_all,
		capacity.of_one_source ? capacity.of_one_source : capacity.in_all);
}

static void master_generation_ready(struct generation *generation)
{
	struct master *master = generation->context;
	struct generation *before = master->serving;

	master->serving = generation;
	master->coming = NULL;
	master_take_next_logger(master);
	log_setup(master->logger.pipe_fd, &generation->policy->log);
	for (struct generation *old = master->all; old; old = old->next)
		if (old != generation)
			generation_migrate(old, generation);
	master_sweep(master);
	if (!master->options->inetd)
		sockets_close_others(&master->sockets, generation->policy);
	if (before)
		master_rewrite_pid_file(master, generation->policy);
	transparent_check(generation->policy);
	master_control_listen(master, generation->policy);
	log_notice("serving: %u workers, %zu listeners, %zu services", generation->n_workers,
		generation->policy->n_listeners, generation->policy->n_services);
	master_tell_capacity(generation->policy);
	master_fit_privileges(master, NULL);
	if (master->privileges != master->privileges_told)
		privileges_log(generation->policy);
	master->privileges_told = master->privileges;
	master_notify("READY=1");
	control_reloaded(master->control, NULL);
	control_upgraded(master->control, NULL);
	master_reload_again(master);
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
	master_forget_coming(master);
	if (master->serving) {
		log_error("the new workers do not start: the old ones go on");
		generation_resume(master->serving);
		control_reloaded(master->control, "the new workers do not start: the old ones go on");
		control_upgraded(master->control, "the new workers do not start: the old ones go on");
		master_notify("READY=1");
		master_reload_again(master);
	} else {
		master->status = 1;
		master->ending = true;
	}
}

/* To the log, or before there is one to whoever started us. */
static void master_complain(void *context, const char *message)
{
	const struct master *master = context;
	if (master->serving)
		log_error("%s", message);
	else
		master_say(master, "%s", message);
}

static void generation_bury(struct task *task)
{
	generation_free(container_of(task, struct generation, burial));
}

static void master_worker_held(struct generation *generation);

/* Takes over the policy. NULL: no memory. */
static struct generation *master_new_generation(struct master *master, struct policy *policy)
{
	struct generation *generation = calloc(1, sizeof(*generation));
	int *listening = calloc(policy->n_listeners, sizeof(*listening));

	if (!generation || !listening) {
		free(generation);
		free(listening);
		policy_free(policy);
		return NULL;
	}
	*generation = (struct generation){
		.loop = &master->loop,
		.shared = &master->shared,
		.policy = policy,
		.listening = listening,
		.log_fd = master->next_logger.pipe_fd >= 0 ? master->next_logger.pipe_fd : master->logger.pipe_fd,
		.connection = master->connection,
		.quiet = master->options->inetd || master->options->daemon,
		.leaves_workers = master->options->leaves_workers,
		.programs = master->programs,
		.asks = &master->asks,
		.slots = master->slots,
		.context = master,
		.ready = master_generation_ready,
		.failed = master_generation_failed,
		.reported = master_reported,
		.held = master_worker_held,
		.burial = { .run = generation_bury },
	};
	return generation;
}

/* Takes over the policy. */
static int master_start_generation(struct master *master, struct policy *policy)
{
	struct generation *generation = master_new_generation(master, policy);
	int error = generation ? 0 : -ENOMEM;

	if (error == 0 && !master->options->inetd)
		error = sockets_open(&master->sockets, policy, generation->listening, master_complain, master);
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
		master_forget_coming(master);
		if (generation_over(generation)) {
			master->all = generation->next;
			generation_free(generation);
		}
	}
	return error;
}

/* Nobody else hears of it: lines wait in the pipe until there is a logger again. */
static void master_restart_logger(struct timer *timer)
{
	struct master *master = container_of(timer, struct master, logger_restart);
	const struct policy *policy = master->serving ? master->serving->policy : NULL;

	if (!policy || master->ending)
		return;
	if (logger_restart(&master->logger, policy->log_file) < 0)
		loop_timer(&master->loop, timer, master->loop.now_us + LOGGER_RESTART_US);
	else
		log_error("the logger died and was started again");
}

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
static void master_reap(struct master *master)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct generation **link = &master->all;
		while (*link && !generation_reap(*link, pid, status))
			link = &(*link)->next;
		if (*link)
			continue;
		if (pid == master->logger.pid)
			loop_timer(&master->loop, &master->logger_restart, master->loop.now_us + LOGGER_RESTART_US);
		else if (!upgrade_reap(&master->upgrade, pid, status) && !asks_reap(&master->asks, pid, status))
			master_program_ended(master, pid, status);
	}
	master_sweep(master);
}

/* ---- signals ---------------------------------------------------------------------------------------------------------- */

/* Also for whoever asked for the reload. */
static void log_complaint(void *context, const struct complaint *complaint, const char *line)
{
	FILE *errors = context;

	log_message(complaint->kind == COMPLAINT_ERROR ? LEVEL_ERROR : LEVEL_WARNING, "%s", line);
	if (errors && complaint->kind == COMPLAINT_ERROR)
		fprintf(errors, "%s%s", ftell(errors) ? "\n" : "", line);
}

/* A reload may send the log elsewhere. On failure the policy is freed. */
static int master_start_next_logger(struct master *master, struct policy *policy)
{
	const struct policy *now = master->serving->policy;
	bool same_file = policy->log_file && now->log_file ? strcmp(policy->log_file, now->log_file) == 0
							   : policy->log_file == now->log_file;

	if (policy->log_sink == now->log_sink && same_file && policy->log.facility == now->log.facility)
		return 0;
	int error = master_start_logger(master, policy, &master->next_logger);
	if (error < 0) {
		log_error("cannot log to %s: %s", log_place(policy), strerrordesc_np(-error));
		master->next_logger = no_logger;
		policy_free(policy);
	}
	return error;
}

/* What does not compile changes nothing. */
static void master_reload(struct master *master)
{
	struct complaints complaints = { 0 };
	struct policy *policy;
	char *errors = NULL;
	size_t errors_len = 0;

	if (master->ending || master->options->inetd)
		return;
	if (master->upgrade.step != UPGRADE_NONE) { /* which reads the file as well */
		master->reload_again = true;
		return;
	}
	if (master->coming) { /* the file may have changed since it was read: once more, after this one */
		master->reload_again = true;
		return;
	}
	master_notify("RELOADING=1");
	int error = master->options->load(master->options->context, &policy, &complaints);
	FILE *to = open_memstream(&errors, &errors_len);
	complaints_each(&complaints, log_complaint, to);
	complaints_fini(&complaints);
	if (to)
		fclose(to);
	if (error == 0) {
		master_fit_privileges(master, policy);
		error = master_start_next_logger(master, policy);
	}
	if (error == 0)
		error = master_start_generation(master, policy);
	if (error < 0) {
		master_fit_privileges(master, NULL);
		log_error("reload refused: the running configuration stays");
		control_reloaded(master->control, errors && *errors ? errors : "the new workers cannot be started");
		master_notify("READY=1");
	}
	free(errors);
}

static void master_reload_task(struct task *task)
{
	master_reload(container_of(task, struct master, reload));
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
	master_sweep(master);
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
	master_sweep(master);
	loop_timer(&master->loop, &master->deadline, master->loop.now_us + most_us);
}

/* They serve what there is without a master. It is gone a moment later: whoever starts it again at once finds the ports free. */
static void master_leave(struct master *master)
{
	master->ending = true;
	master->left = true;
	master_notify("STOPPING=1");
	log_notice("ending: open connections go on without a master");
	sockets_close_others(&master->sockets, NULL);
	for (struct generation *generation = master->all; generation; generation = generation->next)
		generation_drain(generation);
	master_sweep(master);
	loop_timer(&master->loop, &master->deadline, master->loop.now_us + LEAVE_US);
}

static void master_terminate(struct master *master)
{
	if (master->left)
		return;
	if (master->options->leaves_workers && master->serving && !master->ending)
		master_leave(master);
	else
		master_drain(master);
}

static void master_deadline(struct timer *timer)
{
	struct master *master = container_of(timer, struct master, deadline);
	if (master->left)
		loop_stop(&master->loop);
	else
		master_stop(master);
}

static void master_reopen_log(struct master *master)
{
	if (!master->serving || master->serving->policy->log_sink != SINK_FILE)
		return;
	int error = logger_reopen(&master->logger, master->serving->policy->log_file);
	if (error < 0)
		log_error("cannot reopen %s: %s", master->serving->policy->log_file, strerrordesc_np(-error));
}

/* ---- upgrades ---------------------------------------------------------------------------------------------------------- */

/* Requests name services and identifiers by their places. */
static uint64_t services_digest(const struct policy *policy)
{
	uint64_t digest = policy->n_identifiers;

	for (size_t i = 0; i < policy->n_services; i++)
		digest = (digest ^ limits_service(policy->services[i].name)) * 0x100000001b3ULL +
			(uint64_t)policy->services[i].target.delivery;
	return digest >> 1; /* JSON's numbers have a sign */
}

static void describe_program(void *context, pid_t pid, const char *service, uint64_t source, uint64_t started_us)
{
	struct takeover *takeover = context;
	struct takeover_program *one = &takeover->programs[takeover->n_programs++];

	one->pid = pid;
	snprintf(one->service, sizeof(one->service), "%s", service);
	one->source = source;
	one->started_us = started_us;
}

static void describe_generation(const struct generation *generation, unsigned number, struct takeover *takeover)
{
	for (unsigned i = 0; i < generation->n_workers; i++) {
		const struct worker_process *worker = &generation->workers[i];
		if (!worker->pid)
			continue;
		for (const struct child *child = generation->children; child; child = child->next)
			if (child->worker == worker)
				takeover->children[takeover->n_children++] = (struct takeover_child){ child->pid,
					(int)takeover->n_workers, child->identifier, child->serial };
		takeover->workers[takeover->n_workers++] =
			(struct takeover_worker){ worker->pid, worker->channel.fd, worker->slot, number };
	}
}

static int master_describe_generations(const struct master *master, struct takeover *ret)
{
	size_t n_workers = 0, n_children = 0;
	unsigned number = 1;

	for (const struct generation *one = master->all; one; one = one->next) {
		n_workers += one->n_workers;
		for (const struct child *child = one->children; child; child = child->next)
			n_children++;
	}
	ret->workers = calloc(n_workers + 1, sizeof(*ret->workers));
	ret->children = calloc(n_children + 1, sizeof(*ret->children));
	if (!ret->workers || !ret->children)
		return -ENOMEM;
	for (const struct generation *one = master->all; one; one = one->next)
		describe_generation(one, one == master->serving ? 0 : number++, ret);
	return 0;
}

static int master_describe(void *context, struct takeover *ret)
{
	const struct master *master = context;

	*ret = (struct takeover){
		.since = master->since,
		.services = services_digest(master->serving->policy),
		.shared_fd = master->shared_fd,
		.limits_fd = master->limits_fd,
		.counters_fd = master->counters_fd,
		.resolver = master->serving->resolver,
	};
	const char *path = control_leave(master->control, &ret->control_fd, &ret->control_client);
	snprintf(ret->control_path, sizeof(ret->control_path), "%s", path ? path : "");
	ret->sockets = calloc(master->sockets.count + 1, sizeof(*ret->sockets));
	ret->programs = calloc(program_table_count(master->programs) + 1, sizeof(*ret->programs));
	if (!ret->sockets || !ret->programs)
		return -ENOMEM;
	for (size_t i = 0; i < master->sockets.count; i++) {
		const struct socket_held *held = &master->sockets.list[i];
		ret->sockets[ret->n_sockets++] = (struct takeover_socket){ held->address, held->fd, held->handed };
	}
	program_table_each(master->programs, describe_program, ret);
	return master_describe_generations(master, ret);
}

static void master_hold(void *context)
{
	struct master *master = context;

	for (struct generation *generation = master->all; generation; generation = generation->next)
		generation_hold(generation);
}

static void master_resume(void *context)
{
	struct master *master = context;

	for (struct generation *generation = master->all; generation; generation = generation->next)
		generation_resume(generation);
}

static void master_upgrade_failed(void *context, const char *why)
{
	struct master *master = context;

	log_error("upgrade refused: %s", why);
	control_upgraded(master->control, why);
	master_notify("READY=1");
	master_reload_again(master);
}

static const struct upgrade_hooks upgrade_hooks = {
	.describe = master_describe,
	.hold = master_hold,
	.resume = master_resume,
	.failed = master_upgrade_failed,
};

/* Not from within: the next image takes the worker's message for read. */
static void master_worker_held(struct generation *generation)
{
	struct master *master = generation->context;
	bool held = true;

	for (const struct generation *one = master->all; one; one = one->next)
		held = held && generation_is_held(one);
	if (held)
		loop_defer(&master->loop, &master->all_held);
}

static void master_all_held(struct task *task)
{
	upgrade_held(&container_of(task, struct master, all_held)->upgrade);
}

static int master_upgrade(struct master *master)
{
	if (master->ending || master->options->inetd || !master->serving)
		return -ESHUTDOWN;
	if (master->coming)
		return -EBUSY;
	master_notify("RELOADING=1");
	upgrade_begin(&master->upgrade);
	return 0;
}

/* ---- signals again ------------------------------------------------------------------------------------------------------ */

static void master_signal(struct watch *watch, uint32_t events)
{
	struct master *master = container_of(watch, struct master, signals);
	struct signalfd_siginfo info;

	while (read(watch->fd, &info, sizeof(info)) == sizeof(info)) {
		if ((int)info.ssi_signo == master->options->reload_signal)
			info.ssi_signo = SIGHUP;
		switch (info.ssi_signo) {
		case SIGCHLD:
			master_reap(master);
			break;
		case SIGHUP:
			master_reload(master);
			break;
		case SIGUSR1:
			if (master->options->tell && master->serving)
				master->options->tell(master->options->context);
			else
				master_reopen_log(master);
			break;
		case SIGUSR2:
			if (master_upgrade(master) == -EBUSY)
				log_error("upgrade refused: a reload is under way");
			break;
		case SIGTERM:
			master_terminate(master);
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
	const int watched[] = { SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++)
		sigaddset(&set, watched[i]);
	if (master->options->reload_signal)
		sigaddset(&set, master->options->reload_signal);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	master->signals.ready = master_signal;
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : loop_watch(&master->loop, &master->signals, fd, EPOLLIN);
}

/* ---- the control socket -------------------------------------------------------------------------------------------------- */

static void control_status(void *context, FILE *to)
{
	const struct master *master = context;

	status_write(&(struct status){ master->all, master->serving, master->coming, &master->shared, master->since,
			     master->ending },
		to);
}

static unsigned control_report(void *context, const struct message *request, int *files)
{
	struct master *master = context;
	unsigned n = 0;

	for (struct generation *generation = master->all; generation; generation = generation->next)
		n += generation_report(generation, request, files + n, CONTROL_PARTS_MAX - n);
	return n;
}

static void control_drain(void *context)
{
	master_drain(context);
}

static int control_reload(void *context)
{
	struct master *master = context;

	if (master->ending)
		return -ESHUTDOWN;
	loop_defer(&master->loop, &master->reload);
	return 0;
}

static int control_upgrade(void *context)
{
	return master_upgrade(context);
}

static void control_log_level(void *context, unsigned level)
{
	struct master *master = context;

	log_notice("log level %u, by the control socket", level);
	log_set_level((enum log_level)level);
	for (struct generation *generation = master->all; generation; generation = generation->next)
		generation_log_level(generation, level);
}

static const struct control_hooks control_hooks = {
	.status = control_status,
	.report = control_report,
	.drain = control_drain,
	.reload = control_reload,
	.upgrade = control_upgrade,
	.log_level = control_log_level,
};

/* ---- life ------------------------------------------------------------------------------------------------------------- */

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

static void master_answered(struct asks *asks, void *asker, uint64_t serial, bool admitted)
{
	generation_answered(asker, serial, admitted);
}

static bool same_file(int a, int b)
{
	struct stat one, other;
	return fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_dev == other.st_dev &&
		one.st_ino == other.st_ino;
}

/* inetd gives the client on 0, 1 and often 2. It gets one number of ours, and nothing of what we write. */
static int master_take_connection(struct master *master)
{
	struct stat status;

	if (fstat(0, &status) < 0 || !S_ISSOCK(status.st_mode))
		return -ENOTSOCK;
	master->stderr_is_client = same_file(0, 2);
	master->connection = fcntl(0, F_DUPFD_CLOEXEC, 3);
	if (master->connection < 0)
		return -errno;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
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
		.logger = no_logger,
		.next_logger = no_logger,
		.connection = -1,
		.deadline = { .fired = master_deadline },
		.logger_restart = { .fired = master_restart_logger },
		.reload = { .run = master_reload_task },
		.all_held = { .run = master_all_held },
		.shared_fd = -1,
		.limits_fd = -1,
		.counters_fd = -1,
	};
	if (options->inetd) {
		int error = master_take_connection(master);
		if (error < 0) {
			master_say(master,
				"descriptor 0 is no socket: -i is for inetd, which passes the connection there");
			return error;
		}
	}
	return 0;
}

/* New, or as the image before this one had it. */
static int master_map_memory(struct master *master)
{
	bool fresh = master->shared_fd < 0;
	void *page;

	int error = shared_memory_map(&master->shared_fd, sizeof(struct shared_page), &page);
	if (error < 0)
		return error;
	master->shared.page = page;
	if (fresh)
		atomic_init(&master->shared.page->next_connection, 1);
	error = limits_new(&master->shared.limits, &master->limits_fd);
	return error < 0 ? error : counters_new(&master->shared.counters, &master->counters_fd);
}

static int master_prepare(struct master *master)
{
	int error = master_map_memory(master);
	if (error < 0)
		return error;
	master->programs = program_table_new();
	if (!master->programs)
		return -ENOMEM;
	fd_raise_limit();
	error = loop_init(&master->loop);
	master->since = time(NULL);
	if (error == 0)
		error = control_new(&master->control, &master->loop, &control_hooks, master);
	master->asks = (struct asks){ .loop = &master->loop, .answered = master_answered };
	upgrade_init(&master->upgrade, &master->loop, &upgrade_hooks, master);
	if (error == 0 && master->options->daemon && !master->takeover)
		error = process_daemonize(&master->ready_fd);
	if (error == 0)
		error = master_watch_signals(master);
	if (error == 0)
		error = sockets_adopt(&master->sockets);
	return error;
}

/* ---- taking over -------------------------------------------------------------------------------------------------------- */

/* The workers that serve, as a generation of ours; and those that were retiring. */
static int master_adopt_generation(struct master *master, unsigned number)
{
	struct complaints complaints = { 0 };
	struct policy *policy;

	int error = master->options->load(master->options->context, &policy, &complaints);
	complaints_fini(&complaints);
	if (error < 0)
		return error;
	bool is_stale = number > 0 || services_digest(policy) != master->takeover->services;
	struct generation *generation = master_new_generation(master, policy);
	if (!generation)
		return -ENOMEM;
	generation->is_stale = is_stale;
	error = generation_adopt(generation, master->takeover, number);
	if (error < 0) {
		generation_free(generation);
		return error;
	}
	generation->next = master->all;
	master->all = generation;
	if (number == 0)
		master->serving = generation;
	return 0;
}

static int master_take_over(struct master *master)
{
	const struct takeover *takeover = master->takeover;
	unsigned last = 0;
	int error = 0;

	master->since = (time_t)takeover->since;
	for (size_t i = 0; error == 0 && i < takeover->n_sockets; i++)
		error = sockets_take(&master->sockets, &takeover->sockets[i].address, takeover->sockets[i].fd,
			takeover->sockets[i].handed);
	for (size_t i = 0; error == 0 && i < takeover->n_programs; i++)
		error = program_table_restore(master->programs, takeover->programs[i].pid,
			takeover->programs[i].service, takeover->programs[i].source,
			takeover->programs[i].started_us);
	control_adopt(master->control, takeover->control_path, takeover->control_fd, takeover->control_client);
	for (size_t i = 0; i < takeover->n_workers; i++)
		last = takeover->workers[i].generation > last ? takeover->workers[i].generation : last;
	for (unsigned number = 0; error == 0 && number <= last; number++)
		error = master_adopt_generation(master, number);
	master_reap(master); /* who ended in between was told to nobody */
	return error;
}

/* What goes wrong up to here is for the person who started us, before there is a log. */
static int master_start(struct master *master, struct policy *policy)
{
	int error = master->takeover ? 0 : master_write_pid_file(master, policy);
	if (error == 0) {
		error = master_start_logger(master, policy, &master->logger);
		if (error < 0)
			master_say(master, "cannot log to %s: %s", log_place(policy), strerrordesc_np(-error));
	}
	if (error == 0 && master->takeover) {
		log_setup(master->logger.pipe_fd, &policy->log);
		error = master_take_over(master);
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

/* It writes the last lines and ends; one whose reader is stuck is not waited for. */
static void master_end_logger(struct master *master)
{
	pid_t pid = master->logger.pid;

	logger_close(&master->logger);
	if (pid <= 0 || master->left) /* it writes what the workers will say */
		return;
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd end = { .fd = fd, .events = POLLIN };
	if (fd < 0 || poll(&end, 1, LOGGER_WAIT_MS) == 0)
		kill(pid, SIGKILL);
	fd_close(fd);
	waitpid(pid, NULL, 0);
}

static void master_fini(struct master *master)
{
	upgrade_fini(&master->upgrade);
	sockets_close_others(&master->sockets, NULL);
	while (master->all) {
		struct generation *next = master->all->next;
		generation_free(master->all);
		master->all = next;
	}
	control_free(master->control);
	asks_fini(&master->asks);
	program_table_free(master->programs);
	limits_free(master->shared.limits);
	counters_free(master->shared.counters);
	fd_close(master->limits_fd);
	fd_close(master->counters_fd);
	pidfile_remove(master->pid_file);
	free(master->pid_file);
	fd_close(loop_unwatch(&master->loop, &master->signals));
	loop_fini(&master->loop);
	log_setup(2, &(struct log_settings){ .level = LEVEL_ERROR });
	master_end_logger(master);
	munmap(master->shared.page, sizeof(*master->shared.page));
	fd_close(master->shared_fd);
}

static void say_complaint(void *context, const struct complaint *complaint, const char *line)
{
	const struct master *master = context;
	if (master->stderr_is_client)
		master_say(master, "%s", line);
	else
		fprintf(stderr, "%s\n", line);
}

static int master_load(struct master *master, struct policy **ret)
{
	struct complaints complaints = { 0 };
	int error = master->options->load(master->options->context, ret, &complaints);
	complaints_each(&complaints, say_complaint, master);
	complaints_fini(&complaints);
	return error;
}

/* In the place of a usher that runs, there is no way back: a configuration that does not compile, for that is what can have
 * changed since the trial, is waited for. Its workers serve, but for programs. */
static int master_load_again(struct master *master, struct policy **ret)
{
	const struct message resume = { .kind = MESSAGE_RESUME };
	const struct timespec second = { .tv_sec = 1 };
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	for (size_t i = 0; i < master->takeover->n_workers; i++)
		ipc_send(master->takeover->workers[i].channel, &resume, sizeof(resume), NULL, 0);
	while (sigtimedwait(&ends, NULL, &second) < 0)
		if (master_load(master, ret) == 0)
			return 0;
	return -EINTR;
}

/* The state of the image before this one, where there was one. */
static int master_inherit(struct master *master, struct takeover *takeover, int state)
{
	const char *why;

	if (state < 0)
		return 0;
	int error = takeover_read(state, takeover, &why);
	fd_close(state);
	if (error < 0) {
		master_say(master, "%s", why);
		return error;
	}
	takeover_keep_fds(takeover, false);
	master->takeover = takeover;
	master->shared_fd = takeover->shared_fd;
	master->limits_fd = takeover->limits_fd;
	master->counters_fd = takeover->counters_fd;
	return 0;
}

int master_run(const struct master_options *options)
{
	struct master master;
	struct takeover takeover = { 0 };
	struct policy *policy;
	bool is_trial;

	int state = upgrade_inherited(&is_trial);
	if (is_trial)
		return trial_run(options, state);
	if (master_init(&master, options) < 0 || master_inherit(&master, &takeover, state) < 0)
		return 1;
	if (master_load(&master, &policy) < 0 && (!master.takeover || master_load_again(&master, &policy) < 0))
		return master.takeover ? 0 : 2;
	int error = master_prepare(&master);
	if (error < 0) {
		master_say(&master, "cannot start: %s", strerrordesc_np(-error));
		policy_free(policy);
		return 1;
	}
	process_rename("usher: master");
	error = master_start(&master, policy);
	takeover_free(&takeover);
	master.takeover = NULL;
	if (error == 0)
		error = loop_run(&master.loop);
	master_fini(&master);
	return error < 0 ? 1 : master.status;
}
