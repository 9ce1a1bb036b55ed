/* What a worker asks of the master: programs, channels to receivers, sockets that may speak from any address. Trusts nothing of a
 * request but what is checked here against the worker's own policy; a worker that asks for something else is ended. Owns
 * nothing: what it starts goes to the tables of programs, identifiers and questions. */
#include "requests.h"
#include "ask.h"
#include "client_socket.h"
#include "fd.h"
#include "forwarding.h"
#include "forwarding_rules.h"
#include "forwarding_socket.h"
#include "generation.h"
#include "identifier_processes.h"
#include "log.h"
#include "message.h"
#include "program.h"
#include "program_table.h"
#include "receiver_connect.h"
#include "resolver.h"
#include "server_processes.h"
#include "socket_pool.h"
#include "transparent.h"
#include "worker_process.h"
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

static const struct service *policy_service(const struct policy *policy, uint32_t place)
{
	return place < policy->n_services ? &policy->services[place] : NULL;
}

/* A service's program, within its limits. */
static int service_start(struct generation *generation, const struct service *service,
	const struct message_spawn *request, int client, struct message_answer *answer, int fds[2])
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

/* Whatever is made was made for nothing where the worker cannot be told: descriptors are closed, and the worker's request ends at
 * its deadline. */
static bool request_answer(struct worker_process *worker, const struct message *request, struct message_answer answer,
	int *fds, size_t n)
{
	int error = worker_process_tell(worker,
		&(struct message){ .kind = MESSAGE_ANSWER, .number = request->number, .answer = answer }, fds, n);

	if (error < 0 && error != -EPIPE)
		log_warning("worker %d cannot be told what came of its request: %s", worker->pid,
			strerrordesc_np(-error));
	while (n > 0)
		fd_close(fds[--n]);
	return true;
}

static bool request_fail(struct worker_process *worker, const struct message *request, int error)
{
	return request_answer(worker, request, (struct message_answer){ .error = error }, NULL, 0);
}

bool request_spawn(struct worker_process *worker, const struct message *request, const struct ipc_fds *beside)
{
	struct generation *generation = worker->generation;
	const struct message_spawn *spawn = &request->spawn;
	const struct service *service = policy_service(generation->policy, spawn->service);
	bool is_access = spawn->program == PROGRAM_ACCESS;
	struct message_answer answer = { 0 };
	int fds[2] = { -1, -1 };

	if (generation->kind == GENERATION_STALE)
		return request_fail(worker, request, -ESTALE);
	if (!service || (is_access ? !service->asks : service->target.delivery != DELIVERY_EXEC))
		return false;
	if (beside->lost)
		answer.error = -EMFILE;
	else if (is_access)
		answer.error = asks_begin(generation->asks, service->asks, service->name, spawn,
			generation->policy->access_timeout_us, worker, request->number);
	else
		answer.error = service_start(generation, service, spawn, beside->fd[0], &answer, fds);
	return request_answer(worker, request, answer, fds, answer.error ? 0 : (fds[0] >= 0) + (fds[1] >= 0));
}

bool request_identify(struct worker_process *worker, const struct message *request)
{
	struct generation *generation = worker->generation;
	uint32_t place = request->identify.identifier;
	int fds[2] = { -1, -1 };
	pid_t pid = 0;

	if (generation->kind == GENERATION_STALE)
		return request_fail(worker, request, -ESTALE);
	if (place >= generation->policy->n_identifiers)
		return false;
	/* Ours asks for no more than half as many; what was killed may take a moment to be gone. */
	if (children_of(worker, place) >= 2 * IDENTIFIER_RUNS_MAX)
		return request_fail(worker, request, -EAGAIN);
	int error = program_start(&generation->policy->identifiers[place].program, NULL, &(struct message_spawn){ 0 },
		-1, fds, &pid, NULL);
	if (error < 0)
		return request_fail(worker, request, error);
	error = child_add(worker, pid, place, request->number);
	if (error == 0)
		return request_answer(worker, request, (struct message_answer){ 0 }, fds, 2);
	fd_close(fds[0]);
	fd_close(fds[1]);
	return request_fail(worker, request, error);
}

bool request_connect(struct worker_process *worker, const struct message *request)
{
	const struct generation *generation = worker->generation;
	const struct service *service = policy_service(generation->policy, request->connect.service);

	if (generation->kind == GENERATION_STALE)
		return request_fail(worker, request, -ESTALE);
	if (!service || service->target.delivery != DELIVERY_HANDOVER)
		return false;
	int fd = receiver_connect(&service->target.handover.address);
	return fd < 0 ? request_fail(worker, request, fd)
		      : request_answer(worker, request, (struct message_answer){ 0 }, &fd, 1);
}

/* Under a policy that is not in force any more nothing is started. */
bool request_start(struct worker_process *worker, const struct message *request)
{
	const struct generation *generation = worker->generation;
	const struct service *service = policy_service(generation->policy, request->start.service);

	if (generation->kind == GENERATION_STALE)
		return request_fail(worker, request, -ESTALE);
	if (!service || service->target.delivery != DELIVERY_CONNECT || !service->target.connect.start)
		return false;
	if (generation_retires(generation))
		return request_fail(
			worker, request, server_processes_run(generation->servers, service) ? 0 : -ESTALE);
	return request_fail(worker, request, server_processes_start(generation->servers, service));
}

/* As many as a worker counts on (socket_pool.c). */
bool request_sockets(struct worker_process *worker, const struct message *request)
{
	const struct generation *generation = worker->generation;
	const struct policy *policy = generation->policy;
	int fds[SOCKET_POOL_SUPPLY], fd = 0, type = (int)request->want_sockets.type;
	size_t n = 0;

	if (generation->kind == GENERATION_STALE)
		return request_fail(worker, request, -ESTALE);
	if (!policy->transparent || (type == SOCK_DGRAM && !policy_has_transport(policy, TRANSPORT_DATAGRAM)))
		return false;
	while (n < SOCKET_POOL_SUPPLY &&
		(fd = transparent_open(policy, (sa_family_t)request->want_sockets.family, type)) >= 0)
		fds[n++] = fd;
	return n == 0 ? request_fail(worker, request, fd)
		      : request_answer(worker, request, (struct message_answer){ 0 }, fds, n);
}

static bool policy_hands_over(const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_services; i++)
		if (policy->services[i].target.delivery == DELIVERY_HANDOVER)
			return true;
	return false;
}

bool request_client(struct worker_process *worker, const struct message *request)
{
	const struct generation *generation = worker->generation;

	if (generation->kind == GENERATION_STALE)
		return request_fail(worker, request, -ESTALE);
	if (!policy_hands_over(generation->policy) ||
		!client_socket_is_for(generation->policy, &request->want_client))
		return false;
	int fd = client_socket_open(generation->policy, &request->want_client);
	return fd < 0 ? request_fail(worker, request, fd)
		      : request_answer(worker, request, (struct message_answer){ 0 }, &fd, 1);
}

/* Is this an address that a client can have sent a flow of the listener to? */
static bool listener_is_asked(const struct listener_policy *listener, const struct address *local)
{
	struct address any = *local;

	if (any.sa.sa_family == AF_INET)
		any.in.sin_addr.s_addr = 0;
	else
		any.in6.sin6_addr = in6addr_any;
	return address_equal(local, &listener->address) || address_equal(&any, &listener->address);
}

static bool forward_is_sound(const struct policy *policy, const struct message_forward *asked)
{
	const struct service *service = policy_service(policy, asked->service);

	return service && service_is_forwarded(service) && asked->listener < policy->n_listeners &&
		policy->listeners[asked->listener].forwards && address_is_ip(&asked->client) &&
		address_is_ip(&asked->local) && asked->client.sa.sa_family == asked->local.sa.sa_family &&
		address_port(&asked->client) != 0 &&
		listener_is_asked(&policy->listeners[asked->listener], &asked->local);
}

bool request_forward(struct worker_process *worker, const struct message *request)
{
	const struct generation *generation = worker->generation;
	const struct message_forward *asked = &request->forward;

	if (generation->kind == GENERATION_STALE)
		return request_fail(worker, request, -ESTALE);
	if (!forward_is_sound(generation->policy, asked))
		return false;
	if (asked->is_missing)
		forwarding_renew(generation->forwarding, generation->policy, clock_monotonic_us());
	if (generation->forwarding->error < 0)
		return request_fail(worker, request, generation->forwarding->error);
	const struct backend *backend =
		forwarding_backend(&generation->policy->services[asked->service], asked->client.sa.sa_family);
	int fd = backend ? forwarding_socket(&asked->client, &asked->local, backend->mark) : -EAFNOSUPPORT;
	return fd < 0 ? request_fail(worker, request, fd)
		      : request_answer(worker, request, (struct message_answer){ 0 }, &fd, 1);
}

bool request_name(const struct worker_process *worker, const struct message *request)
{
	const struct generation *generation = worker->generation;
	uint32_t name = request->ask_anew.name;

	if (!generation->resolved || name >= resolved_count(generation->resolved))
		return generation->kind == GENERATION_STALE;
	if (generation->resolver_channel >= 0)
		resolver_ask_anew(generation->resolver_channel, name);
	return true;
}

bool request_find_name(const struct worker_process *worker, const struct message *request)
{
	const struct generation *generation = worker->generation;

	if (!generation->resolved || !generation->policy->names_of_clients)
		return generation->kind == GENERATION_STALE;
	if (generation->resolver_channel >= 0)
		resolver_find(generation->resolver_channel, request->find_name.name, request->find_name.source);
	return true;
}

void request_decided(struct asks *asks, void *asker, uint64_t number, bool admitted)
{
	const struct message verdict = {
		.kind = MESSAGE_VERDICT, .number = number, .verdict = { .admits = admitted }
	};
	worker_process_tell(asker, &verdict, NULL, 0); /* where it is lost, the worker refuses at its deadline */
}
