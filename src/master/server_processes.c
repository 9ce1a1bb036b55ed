/* Servers on demand. The master starts them as it starts programs, looks once a second whether they are used, and ends them: SIGTERM, after
 * KILL_AFTER_US SIGKILL. Refuses to start one for a while that ended by itself soon after its start. Owns what it knows of each; a server whose
 * service is gone is forgotten when it has ended. */
#include "server_processes.h"
#include "back_off.h"
#include "hash.h"
#include "kill_as.h"
#include "log.h"
#include "program.h"
#include "takeover.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_US           1000000
#define KILL_AFTER_US     10000000
#define SOON_US           10000000 /* after its start: it did not work */
#define BACK_OFF_FIRST_US 1000000
#define BACK_OFF_MOST_US  60000000

struct server {
	struct server *next;
	char service[64];
	uint64_t digest; /* of what is run, and as whom */
	uint64_t stop_after_us;
	uid_t uid;
	pid_t pid; /* 0: it does not run */
	uint64_t started_us, used_us;
	uint64_t total;    /* sessions of the service, when it was looked at last */
	uint64_t kill_us;  /* it was told to end, and has until then; 0: it was not */
	bool is_gone;      /* its service is */
	unsigned deaths;   /* soon after its start, in a row */
	uint64_t until_us; /* it is not started again before */
};

static struct server *server_find(const struct server_processes *servers, const char *service)
{
	struct server *server = servers->first;

	while (server && strcmp(server->service, service) != 0)
		server = server->next;
	return server;
}

static struct server *server_add(struct server_processes *servers, const char *service)
{
	struct server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	snprintf(server->service, sizeof(server->service), "%s", service);
	server->next = servers->first;
	servers->first = server;
	return server;
}

static bool is_on_demand(const struct service *service)
{
	return service->target.delivery == DELIVERY_CONNECT && service->target.connect.start;
}

/* JSON's numbers have a sign. */
static uint64_t program_digest(const struct program *program)
{
	uint64_t digest = program->own_identity ? (uint64_t)program->uid << 32 | program->gid : 0;

	for (size_t i = 0; program->argv[i]; i++)
		digest = hash_mix(digest ^ hash_name(program->argv[i]), HASH_GOLDEN);
	return digest >> 1;
}

/* ---- used, or not ---- */

static void server_end(struct server *server, uint64_t now_us)
{
	if (server->kill_us)
		return;
	kill_as(server->pid, server->uid, SIGTERM);
	server->kill_us = now_us + KILL_AFTER_US;
}

static void server_look(const struct server_processes *servers, struct server *server, uint64_t now_us)
{
	struct counted counted;

	if (server->kill_us) {
		if (now_us >= server->kill_us)
			kill_as(server->pid, server->uid, SIGKILL);
		return;
	}
	shared_sum(servers->shared, COUNTER_SERVICE, server->service, &counted);
	if (counted.open || counted.total != server->total)
		server->used_us = now_us;
	server->total = counted.total;
	if (now_us - server->used_us < server->stop_after_us)
		return;
	log_notice("service %s: nobody has used its server, process %d, for %g s: it is ended", server->service,
		server->pid, (double)server->stop_after_us / 1e6);
	server_end(server, now_us);
}

static void servers_look(struct timer *timer)
{
	struct server_processes *servers = container_of(timer, struct server_processes, look);
	uint64_t now_us = servers->loop->now_us;
	bool some = false;

	for (struct server *server = servers->first; server; server = server->next) {
		if (!server->pid)
			continue;
		some = true;
		server_look(servers, server, now_us);
	}
	if (some)
		loop_timer(servers->loop, timer, now_us + LOOK_US);
}

static void server_runs(struct server_processes *servers, struct server *server, pid_t pid)
{
	server->pid = pid;
	server->kill_us = 0;
	server->used_us = servers->loop->now_us;
	if (!timer_is_running(&servers->look))
		loop_timer(servers->loop, &servers->look, servers->loop->now_us + LOOK_US);
}

/* ---- from start to end ---- */

/* How long it is not started again. */
static uint64_t server_failed(struct server *server, uint64_t now_us)
{
	uint64_t wait_us = back_off_us(BACK_OFF_FIRST_US, BACK_OFF_MOST_US, server->deaths++);

	server->until_us = now_us + wait_us;
	return wait_us / 1000;
}

int server_processes_start(struct server_processes *servers, const struct service *service)
{
	const struct program *program = service->target.connect.start;
	struct server *server = server_find(servers, service->name);
	uint64_t now_us = servers->loop->now_us;
	pid_t pid;

	if (!server && !(server = server_add(servers, service->name)))
		return -ENOMEM;
	if (server->pid)
		return server->kill_us ? -EAGAIN : 0;
	if (now_us < server->until_us)
		return -EBUSY;
	int error = program_start_server(program, service->name, &pid);
	if (error < 0) {
		log_warning("service %s: %s cannot be started: %s; not tried again for %lu ms", service->name,
			program->argv[0], strerrordesc_np(-error), (unsigned long)server_failed(server, now_us));
		return error;
	}
	server->digest = program_digest(program);
	server->uid = program->own_identity ? program->uid : geteuid();
	server->stop_after_us = service->target.connect.stop_after_us;
	server->started_us = now_us;
	server_runs(servers, server, pid);
	log_notice("service %s: its server is started: %s, process %d", service->name, program->argv[0], pid);
	return 0;
}

bool server_processes_run(const struct server_processes *servers, const struct service *service)
{
	const struct server *server = server_find(servers, service->name);

	return server && server->pid && !server->kill_us;
}

static void server_forget(struct server_processes *servers, struct server *server)
{
	struct server **link = &servers->first;

	while (*link != server)
		link = &(*link)->next;
	*link = server->next;
	free(server);
}

bool server_processes_reap(struct server_processes *servers, pid_t pid, int status)
{
	struct server *server = servers->first;
	uint64_t now_us = servers->loop->now_us;

	while (server && server->pid != pid)
		server = server->next;
	if (!server)
		return false;
	server->pid = 0;
	if (server->kill_us) {
		log_notice("service %s: its server, process %d, has ended", server->service, pid);
	} else if (now_us - server->started_us < SOON_US) {
		log_warning(
			"service %s: its server, process %d, ended by itself (status 0x%x); not started for %lu ms",
			server->service, pid, (unsigned)status, (unsigned long)server_failed(server, now_us));
	} else {
		server->deaths = 0;
		log_warning("service %s: its server, process %d, ended by itself (status 0x%x)", server->service, pid,
			(unsigned)status);
	}
	if (server->is_gone)
		server_forget(servers, server);
	return true;
}

/* ---- other policies, other images ---- */

static const struct service *service_of(const struct policy *policy, const struct server *server)
{
	for (size_t i = 0; i < policy->n_services; i++)
		if (strcmp(policy->services[i].name, server->service) == 0 && is_on_demand(&policy->services[i]))
			return &policy->services[i];
	return NULL;
}

void server_processes_follow(struct server_processes *servers, const struct policy *policy)
{
	for (struct server *server = servers->first, *next; server; server = next) {
		next = server->next;
		const struct service *service = service_of(policy, server);
		server->is_gone = !service;
		if (service)
			server->stop_after_us = service->target.connect.stop_after_us;
		bool is_other = service && server->digest != program_digest(service->target.connect.start);
		if (is_other)
			server->deaths = 0, server->until_us = 0;
		if (server->pid && (!service || is_other))
			server_end(server, servers->loop->now_us);
		else if (!service)
			server_forget(servers, server);
	}
}

size_t server_processes_count(const struct server_processes *servers)
{
	size_t n = 0;

	for (const struct server *server = servers->first; server; server = server->next)
		n += server->pid != 0;
	return n;
}

void server_processes_leave(const struct server_processes *servers, struct takeover_server *ret, size_t *ret_n)
{
	*ret_n = 0;
	for (const struct server *server = servers->first; server; server = server->next) {
		if (!server->pid)
			continue;
		struct takeover_server *one = &ret[(*ret_n)++];
		*one = (struct takeover_server){
			.pid = server->pid,
			.uid = server->uid,
			.digest = server->digest,
			.started_us = server->started_us,
			.stop_after_us = server->stop_after_us,
		};
		memcpy(one->service, server->service, sizeof(one->service));
	}
}

int server_processes_adopt(struct server_processes *servers, const struct takeover_server *from)
{
	struct server *server = server_add(servers, from->service);

	if (!server)
		return -ENOMEM;
	server->uid = from->uid;
	server->digest = from->digest;
	server->started_us = from->started_us;
	server->stop_after_us = from->stop_after_us;
	server_runs(servers, server, from->pid);
	return 0;
}

void server_processes_init(struct server_processes *servers, struct loop *loop, const struct shared *shared)
{
	*servers = (struct server_processes){ .loop = loop, .shared = shared, .look = { .fired = servers_look } };
}

void server_processes_fini(struct server_processes *servers)
{
	loop_timer_stop(servers->loop, &servers->look);
	for (struct server *server = servers->first, *next; server; server = next) {
		next = server->next;
		if (server->pid && !server->kill_us)
			kill_as(server->pid, server->uid, SIGTERM);
		free(server);
	}
	servers->first = NULL;
}
