/* The master. A state machine over generations: one that serves, perhaps one that is coming up, and those that retire. Owns
 * the listening sockets, the logger and the pid file. */
#include "counters.h"
#include "fd.h"
#include "master_parts.h"
#include "pidfile.h"
#include "process.h"
#include "program_table.h"
#include "requests.h"
#include "shared_memory.h"
#include "status.h"
#include "trial.h"
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

void master_notify(const char *state)
{
#ifdef HAVE_LIBSYSTEMD
	sd_notify(0, state);
#endif
}

/* ---- what is said before there is a log ---------------------------------------------------------------------------- */

void master_say(const struct master *master, const char *format, ...)
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
void master_reap(struct master *master)
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
	/* The image before this one left them, and only a reload brings others. */
	if (master->serving && master->serving->is_adopted && master->serving->n_running == 0 && !master->coming)
		loop_defer(&master->loop, &master->reload);
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
		master->next_logger = NO_LOGGER;
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
	upgrade_cancel(&master->upgrade);
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
	upgrade_cancel(&master->upgrade);
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
	upgrade_cancel(&master->upgrade);
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
				log_error("upgrade refused: a reload or an upgrade is under way");
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
			     master->ending, program_table_count(master->programs) },
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
		.logger = NO_LOGGER,
		.next_logger = NO_LOGGER,
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
	master->asks = (struct asks){ .loop = &master->loop, .answered = request_decided };
	upgrade_init(&master->upgrade, &master->loop, &master_upgrade_hooks, master);
	if (error == 0 && master->options->daemon && !master->takeover)
		error = process_daemonize(&master->ready_fd);
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

int master_load(struct master *master, struct policy **ret)
{
	struct complaints complaints = { 0 };
	int error = master->options->load(master->options->context, ret, &complaints);
	complaints_each(&complaints, say_complaint, master);
	complaints_fini(&complaints);
	return error;
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
