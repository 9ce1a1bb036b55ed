/* What the master is told, by signals and over the control socket: to reload, to reopen its log, to take another image, to end.
 * What does not compile changes nothing; whoever is told to end twice ends at once. */
#include "backend_orders.h"
#include "failure.h"
#include "generation_life.h"
#include "live_orders.h"
#include "master_parts.h"
#include "program_table.h"
#include "status.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* After workers were told to stop: how long until they are killed. */
#define KILL_US 2000000

/* After workers were told that they are on their own: how long until they are. */
#define LEAVE_US 50000

/* ---- a reload ---- */

/* Also for whoever asked for the reload. */
static void log_complaint(void *context, enum complaint_kind kind, const char *line)
{
	FILE *errors = context;

	log_message(kind == COMPLAINT_ERROR ? LEVEL_ERROR : LEVEL_WARNING, "%s", line);
	if (errors && kind == COMPLAINT_ERROR)
		fprintf(errors, "%s%s", ftell(errors) ? "\n" : "", line);
}

void master_refuse_reload(struct master *master, const char *why)
{
	master_fit_privileges(master, NULL);
	log_error("reload refused: the running configuration stays");
	control_reloaded(master->control, why);
	notify_send(&master->notify, "READY=1");
	master_reload_again(master);
}

bool master_is_reloading(const struct master *master)
{
	return master->compiling.pid || master->waiting || master->coming;
}

/* What does not compile changes nothing. It is compiled by another process: until that has ended everything goes on. */
static void master_reload(struct master *master)
{
	char why[FAILURE_MAX];

	if (master_is_ending(master) || master->options->inetd)
		return;
	/* An upgrade reads the file as well. It may have changed since it was read: once more, after this one. */
	if (master->upgrade.step != UPGRADE_NONE || master_is_reloading(master)) {
		master->reload_again = true;
		return;
	}
	notify_send(&master->notify, "RELOADING=1");
	control_reload_begins(master->control);
	int error = compiling_start(&master->compiling, master->options);
	if (error == 0)
		return;
	snprintf(why, sizeof(why), "%s", failure_text(error));
	log_error("%s", why);
	master_refuse_reload(master, why);
}

void master_compiled(struct master *master)
{
	struct policy *policy;
	char *errors = NULL;
	size_t errors_len = 0;
	FILE *to = open_memstream(&errors, &errors_len);

	master->waiting_since = master->compiling.since;
	int error = compiling_take(&master->compiling, &policy, log_complaint, to);
	if (error < 0 && error != -EINVAL)
		log_complaint(to, COMPLAINT_ERROR, failure_text(error));
	if (to && fclose(to) != 0)
		errors_len = 0;
	if (error == 0) {
		master_fit_privileges(master, policy);
		error = master_start_next_logger(master, policy);
	}
	if (error == 0)
		master_logged(master, policy);
	else if (error != -EINPROGRESS)
		master_refuse_reload(master, errors && errors_len ? errors : "the log cannot be opened");
	free(errors);
}

void master_logged(struct master *master, struct policy *policy)
{
	if (master_start_generation(master, policy) < 0)
		master_refuse_reload(master, "the new workers cannot be started");
}

void master_reload_task(struct task *task)
{
	master_reload(container_of(task, struct master, reload));
}

/* ---- the end ---- */

/* What was under way and will not be any more. */
static void master_give_up(struct master *master)
{
	upgrade_cancel(&master->upgrade);
	compiling_cancel(&master->compiling);
	if (master->waiting)
		master_forget_next_logger(master);
	control_ending(master->control);
}

static void master_end(struct master *master, enum master_state state)
{
	master->state = state;
	master->ending_since = time(NULL);
	master_give_up(master);
	exporting_tell(&master->exporting);
}

/* Told for the second time, it does not wait for workers to end by themselves. */
static void master_stop(struct master *master)
{
	bool again = master->state == MASTER_STOPPING;

	master_end(master, MASTER_STOPPING);
	master_close_sockets(master, NULL);
	for (struct generation *generation = master->all; generation; generation = generation->next) {
		if (again)
			generation_kill(generation);
		else
			generation_stop(generation);
	}
	master_sweep(master);
	loop_timer(&master->loop, &master->deadline, master->loop.now_us + KILL_US);
}

static void master_let_drain(struct master *master, uint64_t most_us)
{
	master_close_sockets(master, NULL);
	for (struct generation *generation = master->all; generation; generation = generation->next)
		generation_drain(generation);
	master_sweep(master);
	loop_timer(&master->loop, &master->deadline, master->loop.now_us + most_us);
}

static void master_drain(struct master *master)
{
	if (master_is_ending(master) || !master->serving) {
		master_stop(master);
		return;
	}
	uint64_t most_us = master->serving->policy->drain_timeout_us;
	master_end(master, MASTER_DRAINING);
	notify_send(&master->notify, "STOPPING=1");
	log_notice("ending: no new connections, at most %lu s for those that are open",
		(unsigned long)(most_us / 1000000));
	master_let_drain(master, most_us);
}

/* They serve what there is without a master. It is gone a moment later: whoever starts it again at once finds the ports free. */
static void master_leave(struct master *master)
{
	master_end(master, MASTER_LEAVING);
	notify_send(&master->notify, "STOPPING=1");
	log_notice("ending: open connections go on without a master");
	master_let_drain(master, LEAVE_US);
}

static void master_terminate(struct master *master)
{
	if (master->state == MASTER_LEAVING)
		return;
	if (master->options->leaves_workers && master->serving && !master_is_ending(master))
		master_leave(master);
	else
		master_drain(master);
}

void master_deadline(struct timer *timer)
{
	struct master *master = container_of(timer, struct master, deadline);
	if (master->state == MASTER_LEAVING)
		loop_stop(&master->loop);
	else
		master_stop(master);
}

/* ---- signals ---- */

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
				master->options->tell(master->serving->policy);
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
int master_watch_signals(struct master *master)
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
	if (fd < 0)
		return failure_set(-errno, "cannot receive signals: signalfd");
	int error = loop_watch(&master->loop, &master->signals, fd, EPOLLIN);
	return error < 0 ? failure_set(error, "no event loop: epoll_ctl") : 0;
}

/* ---- the control socket ---- */

static struct status master_status(const struct master *master)
{
	return (struct status){
		.all = master->all,
		.serving = master->serving,
		.coming = master->coming,
		.shared = &master->shared,
		.since = master->since,
		.programs = program_table_count(master->programs) + server_processes_count(&master->servers),
		.reloading_since = master->compiling.pid ? master->compiling.since
			: master->waiting                ? master->waiting_since
							 : 0,
		.ending_since = master->ending_since,
	};
}

void master_publish(void *context, struct master_facts *facts)
{
	const struct status status = master_status(context);
	status_publish(&status, facts);
}

static int control_status(void *context, FILE *to)
{
	const struct status status = master_status(context);
	return status_write(&status, to);
}

static int control_backends(void *context, FILE *to)
{
	const struct status status = master_status(context);
	return status_write_backends(&status, to);
}

static int control_settings(void *context, FILE *to)
{
	const struct master *master = context;
	const struct policy *policy = master->serving ? master->serving->policy : NULL;

	fprintf(to, "{\"settings\": %s}\n", policy && policy->settings ? policy->settings : "null");
	return ferror(to) ? -EIO : 0;
}

static int control_backend(void *context, const struct control_backend *order, char *why, size_t size)
{
	const struct master *master = context;

	if (master->serving)
		return backend_orders_give(master->shared.backends, master->serving, order, why, size);
	snprintf(why, size, "no configuration is in force: try again");
	return -EAGAIN;
}

static int control_bans(void *context, FILE *to)
{
	const struct master *master = context;

	if (master->serving)
		live_orders_write(master->shared.live, master->serving->policy, to);
	return 0;
}

static int control_live(void *context, const struct control_live *order, char *why, size_t size)
{
	const struct master *master = context;

	if (master->serving)
		return live_orders_give(master->shared.live, master->serving->policy, order, why, size);
	snprintf(why, size, "no configuration is in force: try again");
	return -EAGAIN;
}

static unsigned control_report(void *context, const struct message *request, int *files, bool *ret_missed)
{
	struct master *master = context;
	unsigned n = 0;

	for (struct generation *generation = master->all; generation; generation = generation->next)
		n += generation_report(generation, request, files + n, CONTROL_PARTS_MAX - n, ret_missed);
	return n;
}

static void control_drain(void *context)
{
	master_drain(context);
}

static int control_reload(void *context)
{
	struct master *master = context;

	if (master_is_ending(master))
		return -ESHUTDOWN;
	if (master->upgrade.step != UPGRADE_NONE) /* the next image would not know who asked */
		return -EBUSY;
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

	log_notice("log level %s, by the control socket", log_level_names[level]);
	log_set_level((enum log_level)level);
	for (struct generation *generation = master->all; generation; generation = generation->next)
		generation_log_level(generation, level);
}

static int control_reopen(void *context)
{
	return master_reopen_log(context);
}

const struct control_hooks master_control_hooks = {
	.status = control_status,
	.backends = control_backends,
	.settings = control_settings,
	.backend = control_backend,
	.bans = control_bans,
	.live = control_live,
	.report = control_report,
	.drain = control_drain,
	.reload = control_reload,
	.upgrade = control_upgrade,
	.log_level = control_log_level,
	.reopen = control_reopen,
};
