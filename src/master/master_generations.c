/* The master's generations: one comes, takes over when it is ready, and those before it retire. */
#include "backend_orders.h"
#include "capacity.h"
#include "failure.h"
#include "generation_life.h"
#include "master_parts.h"
#include "pidfile.h"
#include "privileges.h"
#include "process.h"
#include "sandbox.h"
#include "transparent.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL_AGAIN_US 1000000

static void master_end_if_over(struct master *master)
{
	if (!master->all && (master_is_ending(master) || !master->coming) && forwarding_end(&master->forwarding))
		loop_stop(&master->loop);
}

/* What the policies that live need, and `coming`, which is not among them yet (NULL: none), and no more. */
void master_fit_privileges(struct master *master, const struct policy *coming)
{
	uint64_t needed = coming ? privileges_needed(coming) : 0;

	if (master_is_ending(master) || !master->serving) /* from start to end whatever it was given */
		return;
	for (const struct generation *generation = master->all; generation; generation = generation->next)
		needed |= generation->privileges;
	if (needed == master->privileges)
		return;
	int error = privileges_put_in_force(needed);
	if (error < 0)
		log_error("cannot limit the privileges of the master: %s", strerrordesc_np(-error));
	master->privileges = needed;
}

/* Lets go of generations of which no process is left; also of one that had none when it was told to end. */
void master_sweep(struct master *master)
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

/* Whatever was opened for the generation that did not come. */
static void master_forget_coming(struct master *master)
{
	master->coming = NULL;
	master_forget_next_logger(master);
	sockets_forget_fresh(&master->sockets);
}

/* After a reload: it may have moved, or somebody may have removed it. */
static void master_rewrite_pid_file(struct master *master, const struct policy *policy)
{
	const char *path = master->options->inetd ? NULL : policy->pid_file;
	bool has_moved = master->pid_file && (!path || strcmp(master->pid_file, path) != 0);
	long holder;

	char *copy = path ? strdup(path) : NULL;
	int error = path && !copy ? -ENOMEM : path ? pidfile_write(path, &holder) : 0;
	if (error < 0) { /* the one before stays */
		log_error("cannot write the pid file %s: %s", path, strerrordesc_np(-error));
		free(copy);
		return;
	}
	if (has_moved)
		pidfile_remove(master->pid_file);
	free(master->pid_file);
	master->pid_file = copy;
}

void master_reload_again(struct master *master)
{
	if (master->reload_again)
		loop_defer(&master->loop, &master->reload);
	master->reload_again = false;
}

/* Without it usher serves all the same, and tries again: an usher that drains beside this one has it until it ends. */
static void master_control_listen(struct master *master, const struct policy *policy)
{
	int error = master->options->inetd ? 0 : control_listen(master->control, policy);

	if (error == 0 && master->control_missing)
		log_notice("control socket %s: served now", policy->control);
	else if (error == -EADDRINUSE && !master->control_missing)
		log_error("control socket %s: another usher answers there", policy->control);
	else if (error < 0 && !master->control_missing)
		log_error("control socket %s: %s", policy->control, strerrordesc_np(-error));
	master->control_missing = error < 0;
	if (error < 0)
		loop_timer(&master->loop, &master->control_again, master->loop.now_us + CONTROL_AGAIN_US);
}

void master_control_again(struct timer *timer)
{
	struct master *master = container_of(timer, struct master, control_again);

	if (master->serving && !master_is_ending(master))
		master_control_listen(master, master->serving->policy);
}

static void master_reported(struct generation *generation, uint64_t number, int error)
{
	const struct master *master = generation->context;
	control_reported(master->control, number, error);
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

void master_close_sockets(struct master *master, const struct generation *but)
{
	listener_guard_end(&master->guard);
	sockets_close_others(&master->sockets, but ? but->listening : NULL, but ? but->n_listening : 0);
	if (but && listener_guard_begin(&master->guard, &master->sockets) < 0)
		log_error("listening sockets are not watched: out of memory");
}

static void master_follow_forwarding(struct master *master, const struct policy *policy)
{
	int error = sockets_show_marks(&master->sockets, policy);

	if (error < 0 && error != -EPERM)
		log_error("flows cannot be given to the kernel: it has no SO_RCVMARK, expected Linux 5.19 or later");
	else
		forwarding_follow(&master->forwarding, policy);
}

static void master_generation_ready(struct generation *generation)
{
	struct master *master = generation->context;
	struct generation *before = master->serving;

	master->serving = generation;
	master->coming = NULL;
	sockets_set_options(&master->sockets, generation->policy);
	sockets_log_groups(generation->policy, generation->listening, generation->n_listening);
	master_take_next_logger(master);
	log_setup(master->logger.pipe_fd, &generation->log);
	if (master->reopen_when_ready)
		master_reopen_log(master);
	for (struct generation *old = master->all; old; old = old->next)
		if (old != generation)
			generation_migrate(old, generation);
	generation_receive(generation);
	master_sweep(master);
	if (!master->options->inetd)
		master_close_sockets(master, generation);
	if (before)
		master_rewrite_pid_file(master, generation->policy);
	backend_orders_keep(master->shared.backends, generation->policy);
	backend_upkeep_follow(&master->upkeep);
	server_processes_follow(&master->servers, generation->policy);
	transparent_check(generation->policy);
	master_follow_forwarding(master, generation->policy);
	master->control_missing = false; /* to be told of this policy's */
	master_control_listen(master, generation->policy);
	if (!master->options->inetd) {
		exporting_follow(&master->exporting, generation);
		checking_follow(&master->checking, generation);
	}
	watching_start(&master->watching);
	log_notice("serving: %u workers, %zu listeners, %zu services", generation->n_workers,
		generation->policy->n_listeners, generation->policy->n_services);
	master_tell_capacity(generation->policy);
	master_fit_privileges(master, NULL);
	if (master->privileges != master->privileges_told)
		privileges_log(generation->policy);
	master->privileges_told = master->privileges;
	notify_send(&master->notify, "READY=1");
	control_reloaded(master->control, NULL);
	control_upgraded(master->control, NULL);
	master_reload_again(master);
	if (before)
		return;
	if (sandbox_missing())
		log_notice("sandbox: %s", sandbox_missing());
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
		master_resume(master);
		control_reloaded(master->control, "the new workers do not start: the old ones go on");
		control_upgraded(master->control, "the new workers do not start: the old ones go on");
		notify_send(&master->notify, "READY=1");
		master_reload_again(master);
	} else {
		master->status = 1;
		master->state = MASTER_STOPPING;
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

/* Takes over the policy. NULL: no memory. */
struct generation *master_new_generation(struct master *master, struct policy *policy)
{
	const struct logger *logger = master->next_logger.pipe_fd >= 0 ? &master->next_logger : &master->logger;

	return generation_new(&(struct generation){
		.loop = &master->loop,
		.shared = &master->shared,
		.policy = policy,
		.privileges = privileges_needed(policy),
		.log_fd = logger->pipe_fd,
		.log = logger_settings(logger, policy),
		.connection = master->connection,
		.leaves_workers = master->options->leaves_workers,
		.forwarding = &master->forwarding,
		.programs = master->programs,
		.servers = &master->servers,
		.asks = &master->asks,
		.slots = master->slots,
		.context = master,
		.ready = master_generation_ready,
		.failed = master_generation_failed,
		.reported = master_reported,
		.held = master_worker_held,
		.burial = { .run = generation_bury },
	});
}

/* Takes over the policy. */
int master_start_generation(struct master *master, struct policy *policy)
{
	struct generation *generation = master_new_generation(master, policy);
	int error = generation ? 0 : -ENOMEM;

	if (error == 0 && !master->options->inetd)
		error = sockets_open(&master->sockets, policy, &generation->listening, &generation->n_listening,
			master_complain, master);
	if (error == 0 && !master->serving)
		sockets_set_options(&master->sockets, policy); /* those that were handed over */
	if (error < 0) {
		generation_free(generation);
		master_forget_coming(master);
		return error;
	}
	generation->next = master->all;
	master->all = generation;
	master->coming = generation;
	error = generation_start(generation, master->serving);
	if (error < 0) {
		log_error("cannot start the workers: %s", failure_text(error));
		master_forget_coming(master);
		if (generation_over(generation)) {
			master->all = generation->next;
			generation_free(generation);
		}
	}
	return error;
}
