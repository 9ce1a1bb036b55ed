/* One image of the master after the other: what the one that leaves says of itself, and what the next makes of it. */
#include "fd.h"
#include "generation_life.h"
#include "hash.h"
#include "identifier_processes.h"
#include "master_parts.h"
#include "message.h"
#include "pidfile.h"
#include "process.h"
#include "program_table.h"
#include "worker_process.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HOLD_US      500000 /* that the answer about an access program may take, behind the time that the program has */
#define HOLD_MOST_US 5000000 /* behind that, after which workers that were not told to go on do so */

static uint64_t hold_us(const struct policy *policy)
{
	return policy->access_timeout_us + HOLD_US;
}

/* Requests name services and identifiers by their places. */
static uint64_t services_digest(const struct policy *policy)
{
	uint64_t digest = policy->n_identifiers;

	for (size_t i = 0; i < policy->n_services; i++)
		digest = hash_byte(
			digest ^ hash_name(policy->services[i].name), (uint8_t)policy->services[i].target.delivery);
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
		if (!worker->pid || worker->channel.fd < 0)
			continue;
		for (const struct child *child = generation->children; child; child = child->next)
			if (child->worker == worker)
				takeover->children[takeover->n_children++] = (struct takeover_child){ child->pid,
					(int)takeover->n_workers, child->identifier, child->number };
		takeover->workers[takeover->n_workers++] = (struct takeover_worker){
			.pid = worker->pid,
			.channel = worker->channel.fd,
			.slot = worker->slot,
			.generation = number,
			.number = worker->number,
			.workers = generation->n_share,
		};
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

static int describe_names(const struct generation *generation, struct takeover *ret)
{
	const struct resolved *resolved = generation->resolved;

	if (!resolved)
		return 0;
	ret->names = calloc(resolved_count(resolved) + 1, sizeof(*ret->names));
	for (size_t i = 0; ret->names && i < resolved_count(resolved); i++) {
		ret->names[i] = strdup(resolved_name(resolved, i));
		if (!ret->names[i])
			return -ENOMEM;
		ret->n_names++;
	}
	ret->names_fd = resolved_fd(resolved);
	return ret->names ? 0 : -ENOMEM;
}

static int master_describe(void *context, struct takeover *ret)
{
	const struct master *master = context;

	*ret = (struct takeover){
		.since = master->since,
		.log_lost = log_untold(),
		.services = services_digest(master->serving->policy),
		.shared_fd = master->shared.page_fd,
		.limits_fd = master->shared.limits_fd,
		.counters_fd = master->shared.counters_fd,
		.affinity_fd = master->shared.affinity_fd,
		.backends_fd = master->shared.backends_fd,
		.live_fd = master->shared.live_fd,
		.resolver = master->serving->resolver,
		.pid_file = master->pid_file ? strdup(master->pid_file) : NULL,
		.resolver_channel = master->serving->resolver_channel,
		.names_fd = -1,
		.metrics = master->exporting.held,
		.exporter = master->exporting.pid,
		.checker = master->checking.pid,
	};
	const char *path = control_leave(master->control, &ret->control_fd, &ret->control_file, &ret->control_client);
	snprintf(ret->control_path, sizeof(ret->control_path), "%s", path ? path : "");
	snprintf(ret->forwarding_table, sizeof(ret->forwarding_table), "%s", master->forwarding.table);
	ret->sockets = calloc(master->sockets.count + 1, sizeof(*ret->sockets));
	ret->programs = calloc(program_table_count(master->programs) + 1, sizeof(*ret->programs));
	ret->servers = calloc(server_processes_count(&master->servers) + 1, sizeof(*ret->servers));
	if (!ret->sockets || !ret->programs || !ret->servers)
		return -ENOMEM;
	for (size_t i = 0; i < master->sockets.count; i++)
		ret->sockets[ret->n_sockets++] = master->sockets.list[i];
	program_table_each(master->programs, describe_program, ret);
	server_processes_leave(&master->servers, ret->servers, &ret->n_servers);
	int error = describe_names(master->serving, ret);
	return error < 0 ? error : master_describe_generations(master, ret);
}

static void master_hold(void *context)
{
	struct master *master = context;

	for (struct generation *generation = master->all; generation; generation = generation->next) {
		generation_hold(generation, hold_us(master->serving->policy) + HOLD_MOST_US);
		/* The next image hears of one resolver alone; workers that retire have the last answers. */
		if (generation != master->serving && generation->resolver > 0)
			generation_kill_resolver(generation);
	}
}

void master_resume(void *context)
{
	struct master *master = context;

	for (struct generation *generation = master->all; generation; generation = generation->next)
		generation_resume(generation);
}

void master_upgrade_failed(void *context, const char *why)
{
	struct master *master = context;

	log_error("upgrade refused: %s", why);
	control_upgraded(master->control, why);
	notify_send(&master->notify, "READY=1");
	master_reload_again(master);
}

const struct upgrade_hooks master_upgrade_hooks = {
	.describe = master_describe,
	.hold = master_hold,
	.resume = master_resume,
	.failed = master_upgrade_failed,
};

/* Not from within: the next image takes the worker's message for read. */
void master_worker_held(struct generation *generation)
{
	struct master *master = generation->context;
	bool held = true;

	for (const struct generation *one = master->all; one; one = one->next)
		held = held && generation_is_held(one);
	if (held)
		loop_defer(&master->loop, &master->all_held);
}

void master_all_held(struct task *task)
{
	upgrade_held(&container_of(task, struct master, all_held)->upgrade);
}

int master_upgrade(struct master *master)
{
	if (master_is_ending(master) || master->options->inetd || !master->serving)
		return -ESHUTDOWN;
	if (master_is_reloading(master) || master->upgrade.step != UPGRADE_NONE)
		return -EBUSY;
	const struct policy *policy = master->serving->policy;
	notify_send(&master->notify, "RELOADING=1");
	upgrade_begin(&master->upgrade, policy->upgrade_timeout_us, hold_us(policy));
	return 0;
}

/* The workers that serve, as a generation of ours; and those that were retiring. */
static int master_adopt_generation(struct master *master, const struct policy *read, unsigned number)
{
	struct policy *policy = policy_share(read);

	if (!policy)
		return -ENOMEM;
	bool is_stale = number > 0 || services_digest(read) != master->takeover->services;
	struct generation *generation = master_new_generation(master, policy);
	if (!generation)
		return -ENOMEM;
	int error = generation_adopt(
		generation, master->takeover, number, is_stale ? GENERATION_STALE : GENERATION_ADOPTED);
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

int master_take_over(struct master *master, const struct policy *policy)
{
	const struct takeover *takeover = master->takeover;
	unsigned last = 0;
	int error = 0;

	master->since = (time_t)takeover->since;
	log_lost_before(takeover->log_lost);
	for (size_t i = 0; error == 0 && i < takeover->n_sockets; i++)
		error = sockets_take(&master->sockets, &takeover->sockets[i]);
	exporting_take(&master->exporting, &takeover->metrics, takeover->exporter);
	checking_take(takeover->checker);
	for (size_t i = 0; error == 0 && i < takeover->n_programs; i++)
		error = program_table_restore(master->programs, takeover->programs[i].pid,
			takeover->programs[i].service, takeover->programs[i].source,
			takeover->programs[i].started_us);
	for (size_t i = 0; error == 0 && i < takeover->n_servers; i++)
		error = server_processes_adopt(&master->servers, &takeover->servers[i]);
	control_adopt(master->control, takeover->control_path, takeover->control_fd, &takeover->control_file,
		takeover->control_client);
	forwarding_adopt(&master->forwarding, takeover->forwarding_table);
	for (size_t i = 0; i < takeover->n_workers; i++)
		last = takeover->workers[i].generation > last ? takeover->workers[i].generation : last;
	for (unsigned number = 0; error == 0 && number <= last; number++)
		error = master_adopt_generation(master, policy, number);
	master_reap(master); /* who ended in between was told to nobody */
	return error;
}

/* The workers of the image before this one go on at once, however long the configuration takes: what they ask for waits in their
 * channels. */
void master_resume_taken(const struct master *master)
{
	const struct message resume = { .kind = MESSAGE_RESUME, .resume = { .by_another = 1 } };

	for (size_t i = 0; i < master->takeover->n_workers;
		i++) /* one that it does not reach goes on in HOLD_MOST_US */
		message_send(master->takeover->workers[i].channel, &resume, NULL, 0);
}

/* In the place of a usher that runs, there is no way back: a configuration that does not compile, for that is what can have
 * changed since the trial, is waited for. Its workers serve, but for programs. */
int master_load_again(struct master *master, struct policy **ret)
{
	const struct timespec second = { .tv_sec = 1 };
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	while (sigtimedwait(&ends, NULL, &second) < 0)
		if (master_load(master, ret) == 0)
			return 0;
	return -EINTR;
}

int master_leave_nothing(struct master *master)
{
	const struct takeover *takeover = master->takeover;

	if (!takeover)
		return 2;
	for (size_t i = 0; i < takeover->n_sockets; i++)
		sockets_take(&master->sockets, &takeover->sockets[i]);
	sockets_close_others(&master->sockets, NULL, 0);
	socket_file_remove(takeover->control_path, &takeover->control_file);
	pidfile_remove(master->pid_file);
	return 0; /* workers end with what they have, as they do when a master is gone */
}

/* The state of the image before this one, where there was one. */
int master_inherit(struct master *master, struct takeover *takeover, int state)
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
	process_rename("master");
	master->takeover = takeover;
	master->pid_file = takeover->pid_file;
	takeover->pid_file = NULL;
	master->shared.page_fd = takeover->shared_fd;
	master->shared.limits_fd = takeover->limits_fd;
	master->shared.backends_fd = takeover->backends_fd;
	master->shared.live_fd = takeover->live_fd;
	master->shared.counters_fd = takeover->counters_fd;
	master->shared.affinity_fd = takeover->affinity_fd;
	return 0;
}
