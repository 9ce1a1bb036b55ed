/* Two workers in one process, and a session that moves from one to the other over a real channel, with descriptors of the test's own: what it was
 * it is again, in every state; it counts once; and what does not add up is refused whole. */
#include "account.h"
#include "capacity.h"
#include "complaint.h"
#include "evidence.h"
#include "evidence_kept.h"
#include "fd.h"
#include "former.h"
#include "hash.h"
#include "ipc.h"
#include "limits_transit.h"
#include "migrant.h"
#include "migration_receive.h"
#include "migration_send.h"
#include "migration_unpack.h"
#include "relay_pool.h"
#include "shed.h"
#include "stream.h"
#include "stream_state.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { OLD, NEW, WORKERS };

#define HERE     "127.0.0.1:4443"
#define LOCAL_IP "192.0.2.7:1000"

static const char config[] =
	"listen = ( { address = \"" HERE "\"; max_connections = 50; } ); keep_evidence = 16;\n"
	"services = ( { name = \"go\"; match = \"ssh\"; connect = \"127.0.0.1:9\"; max_connections = 50;\n"
	"               per_source = 50; idle_timeout = 77; } );\n";

static const struct transport *const transports[TRANSPORT_COUNT] = { [TRANSPORT_STREAM] = &stream_transport };
static struct policy *policy;
static struct shared shared;
static struct context workers[WORKERS];

/* ---- two workers ------------------------------------------------------------------------------------------------------------ */

static void nothing(struct context *context)
{
}

static unsigned n_flows_moved; /* calls */

static void flows_moved(struct context *context)
{
	n_flows_moved++;
}

static void movable(struct context *context)
{
	migration_send_wake(context->sender);
}

static void worker_begin(struct context *context, unsigned slot)
{
	*context = (struct context){
		.policy = policy,
		.shared = &shared,
		.slot = slot,
		.transports = transports,
		.undecided = undecided_registry_new(),
		.evidence = evidence_kept_new(),
		.service_counters = calloc(policy->n_services, sizeof(struct counter *)),
		.service_measures = calloc(policy->n_services, sizeof(struct measures *)),
		.findings = calloc(1, sizeof(*context->findings)),
		.peeked = malloc(EVIDENCE_MAX),
		.relay_pool = relay_pool_new(),
		.starved = nothing,
		.session_gone = nothing,
		.flows_moved = flows_moved,
		.flows_over = nothing,
		.session_movable = movable,
	};
	capacity_from(policy, 1024, &context->capacity);
	assert_int_equal(loop_init(&context->loop), 0);
	shared_begin(&shared, slot);
}

struct turn {
	struct task task;
	struct loop *loop;
};

static void turn_over(struct task *task)
{
	loop_stop(container_of(task, struct turn, task)->loop);
}

/* One turn, in which it does not sleep. */
static void worker_turn(struct context *context)
{
	struct turn turn = { .task = { .run = turn_over }, .loop = &context->loop };

	loop_defer(&context->loop, &turn.task);
	assert_int_equal(loop_run(&context->loop), 0);
	context->loop.stopping = false;
}

static void worker_end(struct context *context)
{
	migration_send_free(context->sender);
	migration_receive_end_all(context);
	session_free_spare(&context->spare_streams);
	undecided_registry_free(context->undecided);
	evidence_kept_free(context->evidence);
	free(context->service_counters);
	free(context->service_measures);
	free(context->findings);
	free(context->peeked);
	relay_pool_free(context->relay_pool);
	string_pool_fini(&context->strings);
	loop_fini(&context->loop);
}

static int setup(void **state)
{
	struct complaints complaints = { 0 };

	policy_load_text(&policy, "test.conf", config, NULL, &complaints);
	complaints_print(&complaints, stderr);
	complaints_fini(&complaints);
	assert_non_null(policy);
	shared = NO_SHARED;
	assert_int_equal(shared_open(&shared), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		worker_begin(&workers[i], i);
	return 0;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		for (struct session *one; (one = session_first(&workers[i])) && one->phase != PHASE_ENDED;) {
			stream_transport.stop(one, END_SHUTDOWN);
			worker_turn(&workers[i]);
		}
		assert_int_equal(workers[i].n_sessions, 0);
		worker_end(&workers[i]);
	}
	assert_int_equal(limits_live_all(shared.limits), 0);
	assert_int_equal(limits_undecided(shared.limits), 0);
	shared_close(&shared);
	policy_free(policy);
	return 0;
}

/* ---- sessions --------------------------------------------------------------------------------------------------------------- */

struct ends {
	int client, server; /* those that the test has */
};

static void pair(int *ret_here, int *ret_there)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	*ret_here = ends[0];
	*ret_there = ends[1];
}

/* Until it takes no more; how many bytes. */
static size_t fill(int fd)
{
	static const char zeros[4096];
	size_t sum = 0;

	for (ssize_t n; (n = send(fd, zeros, sizeof(zeros), MSG_DONTWAIT)) > 0;)
		sum += (size_t)n;
	return sum;
}

static void count_in(struct session *session)
{
	struct context *context = session->context;
	const struct service *service = session_service_here(session);

	limits_enter_all(shared.limits, context->slot, 0);
	limits_enter_listener(shared.limits, context->slot, hash_name(HERE), UINT32_MAX, &session->listener_place);
	if (service)
		limits_enter_again(shared.limits, context->slot, service->access, hash_name(service->name),
			session_source(session), &session->ticket);
	account_arrived(session);
	if (session_is_undecided(session))
		shed_count(session);
}

static struct stream *stream_begin(enum session_phase phase, struct ends *ends)
{
	static const char *const texts[SESSION_TEXTS] = {
		[TEXT_LISTENER] = HERE,
		[TEXT_SERVICE] = "go",
		[TEXT_PROTOCOL] = "ssh",
		[TEXT_BACKEND] = "127.0.0.1:9",
		[TEXT_SNI] = "shop.example",
	};
	struct context *context = &workers[OLD];
	struct stream *stream = stream_arrive(context, phase);
	int fd;

	assert_non_null(stream);
	struct session *session = &stream->session;
	session->id = 4711;
	session->accepted_us = context->loop.now_us - 5;
	session->listener = HERE;
	address_parse(&session->client, LOCAL_IP);
	pair(&fd, &ends->client);
	assert_int_equal(loop_watch(&context->loop, &stream->relay.client.in, fd, 0), 0);
	ends->server = -1;
	stream->was_silent = true;
	if (phase == PHASE_RELAYING) {
		session->former = former_new(texts, DELIVERY_CONNECT, LEVEL_DEBUG);
		session->listener = session->former->text[TEXT_LISTENER];
		session->sni = session->former->text[TEXT_SNI];
		session->decided_us = session->accepted_us + 3;
		evidence_keep(session, (const uint8_t *)"SSH-2.0-x", 9);
		stream->relay.moved_us = context->loop.now_us;
		pair(&fd, &ends->server);
		assert_int_equal(loop_watch(&context->loop, &stream->relay.server.in, fd, 0), 0);
	}
	count_in(session);
	return stream;
}

static void keep_in_buffer(struct stream *stream, struct relay_flow *flow, const char *text)
{
	flow->pending = relay_pool_take_buffer(stream->relay.pool);
	flow->pending_len = (uint32_t)strlen(text) + 1;
	flow->pending_at = 1; /* one is delivered already */
	memcpy(flow->pending + 1, text, strlen(text));
}

static void keep_in_pipe(struct stream *stream, struct relay_flow *flow, const char *text)
{
	flow->pipe = relay_pool_take_pipe(stream->relay.pool);
	flow->in_pipe = (uint32_t)strlen(text);
	assert_int_equal(write(flow->pipe->out, text, flow->in_pipe), flow->in_pipe);
}

static void assert_counted(unsigned n, unsigned undecided)
{
	struct counted listener, service;
	struct address client;

	address_parse(&client, LOCAL_IP);
	shared_sum(&shared, COUNTER_LISTENER, HERE, &listener);
	shared_sum(&shared, COUNTER_SERVICE, "go", &service);
	assert_int_equal(limits_live_all(shared.limits), n);
	assert_int_equal(limits_undecided(shared.limits), undecided);
	assert_int_equal(listener.open, n);
	assert_int_equal(service.open, n - undecided);
	assert_int_equal(limits_live(shared.limits, hash_name("go"), (struct limits_source){ 0 }), n - undecided);
	assert_int_equal(
		limits_live(shared.limits, hash_name("go"), (struct limits_source){ access_source(&client) }),
		n - undecided);
}

static void channel_open(void)
{
	int ends[2];

	assert_int_equal(ipc_pair(ends), 0);
	assert_int_equal(migration_send_begin(&workers[OLD], ends[0], NEW), 0);
	migration_receive_begin(&workers[NEW], ends[1], OLD);
}

/* All of it: sent, on its way, taken. */
static struct stream *move(unsigned undecided)
{
	channel_open();
	assert_counted(1, undecided);
	worker_turn(&workers[OLD]); /* hears the hello, and sends */
	worker_turn(&workers[OLD]);
	assert_int_equal(workers[OLD].n_sessions, 0);
	assert_true(migration_send_is_under_way(workers[OLD].sender));
	assert_counted(1, undecided);
	worker_turn(&workers[NEW]);
	assert_int_equal(workers[NEW].n_sessions, 1);
	assert_false(migration_send_is_under_way(workers[OLD].sender));
	assert_counted(1, undecided);
	return stream_of(session_first(&workers[NEW]));
}

static void assert_reads(int fd, const char *text)
{
	char buffer[64] = "";
	size_t len = strlen(text), at = 0;

	while (at < len) {
		ssize_t n = recv(fd, buffer + at, len - at, 0);
		if (n < 0 && errno == EAGAIN) {
			worker_turn(&workers[NEW]);
			continue;
		}
		assert_true(n > 0);
		at += (size_t)n;
	}
	assert_string_equal(buffer, text);
}

static void skip_bytes(int fd, size_t len)
{
	char buffer[4096];

	while (len > 0) {
		ssize_t n = recv(fd, buffer, len < sizeof(buffer) ? len : sizeof(buffer), 0);
		if (n < 0 && errno == EAGAIN) {
			worker_turn(&workers[NEW]);
			continue;
		}
		assert_true(n > 0);
		len -= (size_t)n;
	}
}

/* ---- moved ------------------------------------------------------------------------------------------------------------------- */

static void one_that_is_undecided_is_undecided_again(void **state)
{
	struct ends ends;
	uint64_t accepted_us = stream_begin(PHASE_DECIDING, &ends)->session.accepted_us;

	struct stream *stream = move(1);
	assert_int_equal(stream->session.phase, PHASE_DECIDING);
	assert_int_equal(stream->session.id, 4711);
	assert_int_equal(stream->session.accepted_us, accepted_us);
	assert_string_equal(stream->session.listener, HERE);
	assert_int_equal(stream->session.service, SERVICE_NONE);
	assert_null(stream->session.former);
	assert_true(stream->was_silent);
	struct address client;
	address_parse(&client, LOCAL_IP);
	assert_true(address_equal(&stream->session.client, &client));
	close(ends.client);
}

static void one_that_waits_for_a_proxy_waits_for_it_again(void **state)
{
	struct ends ends;

	stream_begin(PHASE_PROXIED, &ends);
	struct stream *stream = move(1);
	assert_int_equal(stream->session.phase, PHASE_PROXIED);
	assert_null(stream->session.proxied);
	close(ends.client);
}

static void one_whose_proxy_has_spoken_keeps_what_it_said(void **state)
{
	static const uint8_t header[] = "PROXY UNKNOWN\r\n";
	struct ends ends;
	struct stream *stream = stream_begin(PHASE_DECIDING, &ends);
	struct proxied *proxied = malloc(sizeof(*proxied) + sizeof(header));

	*proxied = (struct proxied){ .len = sizeof(header) };
	memcpy(proxied->header, header, sizeof(header));
	address_parse(&proxied->peer, "127.0.0.1:5");
	address_parse(&proxied->destination, "192.0.2.1:443");
	stream->session.proxied = proxied;
	const struct address peer = proxied->peer, destination = proxied->destination;

	stream = move(1);
	assert_non_null(stream->session.proxied);
	assert_true(address_equal(&stream->session.proxied->peer, &peer));
	assert_true(address_equal(&stream->session.proxied->destination, &destination));
	assert_int_equal(stream->session.proxied->len, sizeof(header));
	assert_memory_equal(stream->session.proxied->header, header, sizeof(header));
	close(ends.client);
}

static void one_that_is_relayed_goes_on_both_ways(void **state)
{
	struct ends ends;
	struct stream *stream = stream_begin(PHASE_RELAYING, &ends);
	uint64_t decided_us = stream->session.decided_us;

	stream->relay.up.bytes = 100;
	stream->relay.down.bytes = 200;
	stream = move(0);
	const struct session *session = &stream->session;
	assert_int_equal(session->phase, PHASE_RELAYING);
	assert_int_equal(session->decided_us, decided_us);
	assert_string_equal(session_service_name(session), "go");
	assert_string_equal(session_protocol(session), "ssh");
	assert_string_equal(session_backend(session), "127.0.0.1:9");
	assert_string_equal(session->sni, "shop.example");
	assert_null(session->host);
	assert_int_equal(session_delivery(session), DELIVERY_CONNECT);
	assert_int_equal(stream->relay.idle_us, 77000000); /* of the service of that name */
	uint32_t kept_len;
	assert_memory_equal(evidence_kept_bytes(session, &kept_len), "SSH-2.0-x", 9);
	assert_int_equal(kept_len, 9);
	assert_int_equal(send(ends.client, "up", 2, 0), 2);
	assert_reads(ends.server, "up");
	assert_int_equal(send(ends.server, "down", 4, 0), 4);
	assert_reads(ends.client, "down");
	assert_int_equal(stream->relay.up.bytes, 102);
	assert_int_equal(stream->relay.down.bytes, 204);
	close(ends.client);
	close(ends.server);
}

static void times_that_have_not_come_yet_are_not_believed(void **state)
{
	struct ends ends;
	struct stream *stream = stream_begin(PHASE_RELAYING, &ends);

	stream->session.accepted_us = stream->session.decided_us = stream->relay.moved_us = UINT64_MAX - 5;
	stream = move(0);
	uint64_t now_us = workers[NEW].loop.now_us;
	assert_true(stream->session.accepted_us <= now_us && stream->session.decided_us <= now_us);
	assert_true(stream->relay.moved_us <= now_us);
	close(ends.client);
	close(ends.server);
}

static void bytes_that_were_kept_arrive_once_and_in_order(void **state)
{
	struct ends ends;
	struct stream *stream = stream_begin(PHASE_RELAYING, &ends);
	size_t full_up = fill(stream->relay.server.in.fd), full_down = fill(stream->relay.client.in.fd);

	keep_in_buffer(stream, &stream->relay.up, "in a buffer");
	keep_in_pipe(stream, &stream->relay.down, "in a pipe");
	stream = move(0);
	assert_int_equal(send(ends.client, " and more", 9, 0), 9);
	skip_bytes(ends.server, full_up);
	assert_reads(ends.server, "in a buffer and more");
	skip_bytes(ends.client, full_down);
	assert_reads(ends.client, "in a pipe");
	assert_int_equal(stream->relay.up.bytes, 20);
	assert_int_equal(stream->relay.down.bytes, 9);
	close(ends.client);
	close(ends.server);
}

static void a_half_closed_one_stays_half_closed(void **state)
{
	struct ends ends;
	struct stream *stream = stream_begin(PHASE_RELAYING, &ends);

	stream->relay.up.ended = stream->relay.up.told = true;
	shutdown(stream->relay.server.in.fd, SHUT_WR);
	stream = move(0);
	assert_true(stream->relay.up.ended && stream->relay.up.told && !stream->relay.down.ended);
	assert_int_equal(recv(ends.server, (char[1]){ 0 }, 1, 0), 0);
	assert_int_equal(send(ends.server, "down", 4, 0), 4);
	assert_reads(ends.client, "down");
	close(ends.client);
	close(ends.server);
}

static void one_on_a_programs_pipes_goes_on_with_both(void **state)
{
	struct ends ends;
	struct stream *stream = stream_begin(PHASE_RELAYING, &ends);
	struct relay *relay = &stream->relay;
	int output[2], input[2];

	assert_int_equal(pipe2(output, O_CLOEXEC | O_NONBLOCK) | pipe2(input, O_CLOEXEC | O_NONBLOCK), 0);
	close(loop_unwatch(&workers[OLD].loop, &relay->server.in));
	close(ends.server);
	relay->server.kind = SIDE_PIPES;
	assert_int_equal(loop_watch(&workers[OLD].loop, &relay->server.in, output[0], 0), 0);
	assert_int_equal(loop_watch(&workers[OLD].loop, &relay->server.out, input[1], 0), 0);
	stream = move(0);
	assert_int_equal(stream->relay.server.kind, SIDE_PIPES);
	assert_int_equal(write(output[1], "said", 4), 4);
	assert_reads(ends.client, "said");
	assert_int_equal(send(ends.client, "heard", 5, 0), 5);
	char heard[6] = "";
	while (read(input[0], heard, 5) != 5)
		worker_turn(&workers[NEW]);
	assert_string_equal(heard, "heard");
	close(output[1]);
	close(input[0]);
	close(ends.client);
}

/* ---- refused ------------------------------------------------------------------------------------------------------------------ */

/* A session of the old worker, as the new one gets it. */
struct packed {
	struct stream *stream;
	struct ends ends;
	struct migrant head;
	struct migrant_parts parts;
	struct migration_state state;
	uint64_t bytes[4096];
};

static void pack(struct packed *packed, enum session_phase phase, bool keeps)
{
	packed->stream = stream_begin(phase, &packed->ends);
	if (keeps) {
		fill(packed->stream->relay.server.in.fd);
		keep_in_pipe(packed->stream, &packed->stream->relay.up, "in a pipe");
	}
	packed->state = (struct migration_state){ .bytes = (uint8_t *)packed->bytes, .len = sizeof(packed->bytes) };
	assert_int_equal(stream_migration.pack(&packed->stream->session, &packed->state), 0);
	packed->head = (struct migrant){
		.transport = TRANSPORT_STREAM,
		.phase = phase == PHASE_RELAYING ? MIGRANT_RELAYING : MIGRANT_DECIDING,
		.client = packed->stream->session.client,
	};
	packed->parts = (struct migrant_parts){ .head = &packed->head,
		.text = { [TEXT_LISTENER] = HERE, [TEXT_SERVICE] = "go" } };
}

static void pack_end(struct packed *packed)
{
	stream_transport.stop(&packed->stream->session, END_SHUTDOWN);
	worker_turn(&workers[OLD]);
	close(packed->ends.client);
	if (packed->ends.server >= 0)
		close(packed->ends.server);
}

/* Nothing of it is in the new worker, and its descriptors are still the caller's. */
static void assert_refused(struct packed *packed)
{
	int error = 0;

	assert_null(migration_unpack(&workers[NEW], &packed->parts, &packed->state, &error));
	assert_int_equal(workers[NEW].n_sessions, 0);
	assert_int_equal(limits_live_all(shared.limits), 1);
	for (size_t i = 0; i < packed->state.n_fds; i++)
		assert_true(packed->state.fds[i] >= 0);
}

static void what_no_transport_here_can_take_is_refused(void **state)
{
	struct packed packed;

	pack(&packed, PHASE_RELAYING, false);
	packed.head.transport = TRANSPORT_DATAGRAM;
	assert_refused(&packed);
	struct transport stays = stream_transport;
	stays.migration = NULL;
	const struct transport *const other[TRANSPORT_COUNT] = { [TRANSPORT_STREAM] = &stays };
	workers[NEW].transports = other;
	packed.head.transport = TRANSPORT_STREAM;
	assert_refused(&packed);
	workers[NEW].transports = transports;
	pack_end(&packed);
}

static void a_state_that_is_not_of_its_phase_is_refused(void **state)
{
	struct packed packed;

	pack(&packed, PHASE_RELAYING, false);
	packed.head.phase = MIGRANT_DECIDING;
	assert_refused(&packed);
	packed.head.phase = MIGRANT_RELAYING;
	packed.state.len--;
	assert_refused(&packed);
	packed.state.len++;
	packed.state.n_fds--;
	assert_refused(&packed);
	pack_end(&packed);
	pack(&packed, PHASE_DECIDING, false);
	packed.head.phase = MIGRANT_RELAYING;
	assert_refused(&packed);
	pack_end(&packed);
}

static void descriptors_that_are_something_else_are_refused(void **state)
{
	struct packed packed;
	int pipes[2], listener = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	pack(&packed, PHASE_RELAYING, false);
	for (size_t i = 0; i < packed.state.n_fds; i++) {
		int right = packed.state.fds[i];
		packed.state.fds[i] = pipes[0];
		assert_refused(&packed);
		packed.state.fds[i] = listener; /* of datagrams */
		assert_refused(&packed);
		packed.state.fds[i] = right;
	}
	struct stream_state *head = (struct stream_state *)packed.state.bytes;
	head->server_kind = SIDE_PIPES;
	assert_refused(&packed);
	head->server_kind = SIDE_TERMINAL;
	assert_refused(&packed);
	pack_end(&packed);
	close(pipes[0]);
	close(pipes[1]);
	close(listener);
}

/* Whoever closed it would wait for its peer. */
static void a_socket_that_lingers_is_refused(void **state)
{
	const struct linger linger = { 1, 10 };
	struct packed packed;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	pack(&packed, PHASE_DECIDING, false);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	int right = packed.state.fds[0];
	packed.state.fds[0] = fd;
	assert_refused(&packed);
	packed.state.fds[0] = right;
	pack_end(&packed);
	close(fd);
}

static void a_pipe_that_does_not_hold_what_is_said_is_refused(void **state)
{
	struct packed packed;

	pack(&packed, PHASE_RELAYING, true);
	struct stream_state *head = (struct stream_state *)packed.state.bytes;
	assert_int_equal(packed.state.n_fds, 4);
	head->up.in_pipe++;
	assert_refused(&packed);
	head->up.in_pipe -= 2;
	assert_refused(&packed);
	head->up.in_pipe++;
	int right = packed.state.fds[3];
	packed.state.fds[3] = packed.state.fds[0]; /* the end that is written */
	assert_refused(&packed);
	packed.state.fds[3] = right;
	right = packed.state.fds[2];
	packed.state.fds[2] = packed.state.fds[0]; /* the end that is read */
	assert_refused(&packed);
	packed.state.fds[2] = right;
	pack_end(&packed);
}

/* The old worker was told which listeners there are. */
static void an_undecided_one_of_another_listener_ends(void **state)
{
	struct packed packed;
	int error = 0;

	pack(&packed, PHASE_DECIDING, false);
	packed.parts.text[TEXT_LISTENER] = "127.0.0.1:1";
	packed.state.fds[0] = dup(packed.state.fds[0]);
	struct session *session = migration_unpack(&workers[NEW], &packed.parts, &packed.state, &error);
	assert_non_null(session);
	assert_int_equal(error, -ENOENT);
	session->transport->migration->go_on(session, error);
	worker_turn(&workers[NEW]);
	assert_int_equal(workers[NEW].n_sessions, 0);
	close(packed.state.fds[0]);
	pack_end(&packed);
}

/* What is no message of ours is taken off the channel, is nothing, and counts nowhere. */
static void rubbish_on_the_channel_is_nothing(void **state)
{
	static const char rubbish[600] = "rubbish";
	int ends[2];

	assert_int_equal(ipc_pair(ends), 0);
	migration_receive_begin(&workers[NEW], ends[1], OLD);
	limits_transit_begin(shared.limits, OLD, NEW);
	limits_transit_write(shared.limits, OLD,
		&(struct limits_transit){ .ticket = { LIMITS_NONE, LIMITS_NONE }, .listener_place = LIMITS_NONE });
	limits_transit_sent(shared.limits, OLD);
	assert_int_equal(limits_live_all(shared.limits), 1);
	assert_int_equal(ipc_send(ends[0], rubbish, sizeof(rubbish), NULL, 0), 0);
	worker_turn(&workers[NEW]);
	assert_int_equal(workers[NEW].n_sessions, 0);
	assert_int_equal(limits_live_all(shared.limits), 0);
	close(ends[0]);
	worker_turn(&workers[NEW]);
	assert_null(workers[NEW].receiver);
	assert_int_equal(limits_transit_count(shared.limits, OLD), 0); /* the end is none that came */
}

/* ---- not moved ------------------------------------------------------------------------------------------------------------------ */

static void a_receiver_that_goes_loses_what_was_on_its_way_alone(void **state)
{
	struct ends ends;

	stream_begin(PHASE_RELAYING, &ends);
	channel_open();
	worker_turn(&workers[OLD]);
	worker_turn(&workers[OLD]);
	assert_counted(1, 0);
	migration_receive_end_all(&workers[NEW]);
	worker_turn(&workers[OLD]);
	assert_counted(0, 0);
	assert_false(migration_send_is_under_way(workers[OLD].sender));
	assert_int_equal(recv(ends.client, (char[1]){ 0 }, 1, 0), 0);
	close(ends.client);
	close(ends.server);
}

static void two_move_one_after_the_other_over_channels_of_their_own(void **state)
{
	struct ends ends;

	for (int i = 0; i < 2; i++) {
		stream_begin(PHASE_RELAYING, &ends);
		move(0);
		stream_transport.stop(session_first(&workers[NEW]), END_SHUTDOWN);
		worker_turn(&workers[NEW]);
		assert_counted(0, 0);
		close(ends.client);
		close(ends.server);
	}
}

static void flows_are_awaited_until_the_other_worker_has_none(void **state)
{
	const struct migrant_flows_moved moved = { MIGRANT_FORMAT };
	int ends[2];

	assert_int_equal(ipc_pair(ends), 0);
	migration_receive_begin(&workers[NEW], ends[1], OLD);
	assert_true(migration_receive_awaits_flows(&workers[NEW]));
	n_flows_moved = 0;
	assert_int_equal(ipc_send(ends[0], &moved, sizeof(moved), NULL, 0), 0);
	worker_turn(&workers[NEW]);
	assert_false(migration_receive_awaits_flows(&workers[NEW]));
	assert_int_equal(n_flows_moved, 1);
	close(ends[0]);
	worker_turn(&workers[NEW]);
	assert_null(workers[NEW].receiver);
}

static void a_channel_that_cannot_be_watched_is_closed(void **state)
{
	int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

	assert_true(file >= 0);
	assert_int_equal(migration_send_begin(&workers[OLD], file, NEW), -EPERM);
	assert_int_equal(fcntl(file, F_GETFD), -1);
	file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	migration_receive_begin(&workers[NEW], file, OLD);
	assert_int_equal(fcntl(file, F_GETFD), -1);
	assert_null(workers[NEW].receiver);
	worker_turn(&workers[NEW]);
}

/* While something is on its way to one generation the next one waits, unless that retires as well. */
static void only_the_latest_of_those_that_wait_is_sent_to(void **state)
{
	struct ends ends;
	int next[2], last[2];
	char byte;

	stream_begin(PHASE_RELAYING, &ends);
	channel_open();
	worker_turn(&workers[OLD]);
	worker_turn(&workers[OLD]);
	assert_true(migration_send_is_under_way(workers[OLD].sender));
	assert_int_equal(ipc_pair(next), 0);
	assert_int_equal(ipc_pair(last), 0);
	assert_int_equal(migration_send_begin(&workers[OLD], next[0], NEW), 0);
	assert_int_equal(recv(next[1], &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(migration_send_begin(&workers[OLD], last[0], NEW), 0);
	assert_int_equal(recv(next[1], &byte, 1, MSG_DONTWAIT), 0);
	assert_int_equal(recv(last[1], &byte, 1, MSG_DONTWAIT), -1);
	worker_turn(&workers[NEW]);
	close(next[1]);
	close(last[1]);
	close(ends.client);
	close(ends.server);
}

static void one_that_may_not_move_stays(void **state)
{
	struct ends ends;
	struct stream *stream = stream_begin(PHASE_RELAYING, &ends);

	stream->session.stays = true;
	channel_open();
	worker_turn(&workers[OLD]);
	worker_turn(&workers[OLD]);
	assert_int_equal(workers[OLD].n_sessions, 1);
	stream->session.stays = false;
	stream->relay.end = RELAY_FINISHED; /* its end is on its way to the log */
	movable(&workers[OLD]);
	worker_turn(&workers[OLD]);
	assert_int_equal(workers[OLD].n_sessions, 1);
	assert_counted(1, 0);
	close(ends.client);
	close(ends.server);
}

#define MIGRATION_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MIGRATION_TEST(one_that_is_undecided_is_undecided_again),
		MIGRATION_TEST(one_that_waits_for_a_proxy_waits_for_it_again),
		MIGRATION_TEST(one_whose_proxy_has_spoken_keeps_what_it_said),
		MIGRATION_TEST(one_that_is_relayed_goes_on_both_ways),
		MIGRATION_TEST(times_that_have_not_come_yet_are_not_believed),
		MIGRATION_TEST(bytes_that_were_kept_arrive_once_and_in_order),
		MIGRATION_TEST(a_half_closed_one_stays_half_closed),
		MIGRATION_TEST(one_on_a_programs_pipes_goes_on_with_both),
		MIGRATION_TEST(what_no_transport_here_can_take_is_refused),
		MIGRATION_TEST(a_state_that_is_not_of_its_phase_is_refused),
		MIGRATION_TEST(descriptors_that_are_something_else_are_refused),
		MIGRATION_TEST(a_socket_that_lingers_is_refused),
		MIGRATION_TEST(a_pipe_that_does_not_hold_what_is_said_is_refused),
		MIGRATION_TEST(an_undecided_one_of_another_listener_ends),
		MIGRATION_TEST(rubbish_on_the_channel_is_nothing),
		MIGRATION_TEST(a_receiver_that_goes_loses_what_was_on_its_way_alone),
		MIGRATION_TEST(two_move_one_after_the_other_over_channels_of_their_own),
		MIGRATION_TEST(flows_are_awaited_until_the_other_worker_has_none),
		MIGRATION_TEST(a_channel_that_cannot_be_watched_is_closed),
		MIGRATION_TEST(only_the_latest_of_those_that_wait_is_sent_to),
		MIGRATION_TEST(one_that_may_not_move_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
