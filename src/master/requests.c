/* What a worker asks of the master: programs, channels to receivers, sockets that may speak from any address. Trusts nothing of a
 * request but what is checked here against the worker's own policy; a worker that asks for something else is ended. Owns
 * nothing: what it starts goes to the tables of programs, identifiers and questions. */
#include "requests.h"
#include "ask.h"
#include "fd.h"
#include "generation.h"
#include "identifier_processes.h"
#include "ipc.h"
#include "log.h"
#include "message.h"
#include "program.h"
#include "program_table.h"
#include "receiver_connect.h"
#include "socket_pool.h"
#include "transparent.h"
#include "worker_process.h"
#include <errno.h>
#include <string.h>

/* The program that is asked for, and the service whose it is (NULL: none); NULL: the policy has none there. */
static const struct program *request_program(
	const struct policy *policy, const struct message *request, const struct service **ret_service)
{
	*ret_service = NULL;
	if (request->program == PROGRAM_IDENTIFIER)
		return request->index < policy->n_identifiers ? &policy->identifiers[request->index].program : NULL;
	if (request->index >= policy->n_services)
		return NULL;
	const struct service *service = *ret_service = &policy->services[request->index];
	if (request->program == PROGRAM_ACCESS)
		return service->asks;
	return request->program == PROGRAM_SERVICE && service->target.delivery == DELIVERY_EXEC
		? &service->target.exec
		: NULL;
}

/* A service's program, within its limits. */
static int service_start(struct generation *generation, const struct service *service, const struct message *request,
	int client, struct message *answer, int fds[2])
{
	uint64_t now_us = clock_monotonic_us();
	bool greeted = false;
	pid_t pid = 0;

	const char *limit =
		program_table_admit(generation->programs, service->name, service->access, &request->client, now_us);
	if (limit) {
		strncpy(answer->refused, limit, sizeof(answer->refused) - 1);
		return -EACCES;
	}
	int error = program_start(&service->target.exec, service->name, request, client, fds, &pid, &greeted);
	answer->greeted = greeted;
	if (error < 0)
		return error;
	log_debug("connection %lu: %s is process %d", (unsigned long)request->connection,
		service->target.exec.argv[0], pid);
	program_table_add(generation->programs, pid, service->name, &request->client, 0, now_us);
	return 0;
}

static int identifier_start(
	struct worker_process *worker, const struct program *program, const struct message *request, int fds[2])
{
	pid_t pid = 0;

	/* Ours asks for no more than half as many; what was killed may take a moment to be gone. */
	if (children_of(worker, request->index) >= 2 * IDENTIFIER_RUNS_MAX)
		return -EAGAIN;
	int error = program_start(program, NULL, request, -1, fds, &pid, NULL);
	return error < 0 ? error : child_add(worker, pid, request);
}

static int receiver_open(const struct policy *policy, const struct message *request, int fds[2])
{
	fds[0] = receiver_connect(&policy->services[request->index].target.handover.address);
	return fds[0] < 0 ? fds[0] : 0;
}

/* Of a worker's own policy, or it is not to be believed. */
static bool request_is_sound(const struct policy *policy, const struct message *request)
{
	const struct service *service;

	if (request->program == PROGRAM_RECEIVER)
		return request->index < policy->n_services &&
			policy->services[request->index].target.delivery == DELIVERY_HANDOVER;
	return request_program(policy, request, &service) != NULL;
}

/* Every request has its answer: they are told apart by their order. */
bool request_spawn(struct worker_process *worker, const struct message *request, int client, int error)
{
	struct generation *generation = worker->generation;
	struct message answer = { .kind = MESSAGE_SPAWNED, .connection = request->connection, .error = error };
	const struct service *service;
	const struct program *program = request_program(generation->policy, request, &service);
	int fds[2] = { -1, -1 };

	if (generation->is_stale) {
		error = answer.error = -ESTALE;
	} else if (!request_is_sound(generation->policy, request)) {
		return false;
	}
	if (error == 0 && request->program == PROGRAM_RECEIVER)
		answer.error = receiver_open(generation->policy, request, fds);
	else if (error == 0 && request->program == PROGRAM_IDENTIFIER)
		answer.error = identifier_start(worker, program, request, fds);
	else if (error == 0 && service && request->program == PROGRAM_ACCESS)
		answer.error = asks_begin(generation->asks, program, service->name, request,
			generation->policy->access_timeout_us, worker, request->serial);
	else if (error == 0 && service)
		answer.error = service_start(generation, service, request, client, &answer, fds);
	ipc_send(worker->channel.fd, &answer, sizeof(answer), fds, answer.error ? 0 : (fds[0] >= 0) + (fds[1] >= 0));
	fd_close(fds[0]);
	fd_close(fds[1]);
	return true;
}

void request_decided(struct asks *asks, void *asker, uint64_t serial, bool admitted)
{
	const struct message answer = { .kind = MESSAGE_ANSWER, .serial = serial, .error = admitted ? 0 : -EACCES };
	worker_process_tell(asker, &answer);
}

/* As many as a worker counts on (socket_pool.c). */
bool request_supply(struct worker_process *worker, const struct message *request)
{
	struct message answer = { .kind = MESSAGE_SOCKETS, .index = request->index };
	int fds[SOCKET_POOL_SUPPLY];
	size_t n = 0;

	if (worker->generation->is_stale) {
		answer.error = -ESTALE;
	} else if (!worker->generation->policy->transparent ||
		(request->index != AF_INET && request->index != AF_INET6)) {
		return false;
	}
	for (int fd; n < SOCKET_POOL_SUPPLY && answer.error == 0;) {
		fd = transparent_open(worker->generation->policy, (sa_family_t)request->index);
		if (fd >= 0)
			fds[n++] = fd;
		else if (n == 0)
			answer.error = fd;
		else
			break;
	}
	ipc_send(worker->channel.fd, &answer, sizeof(answer), fds, n);
	while (n > 0)
		fd_close(fds[--n]);
	return true;
}
