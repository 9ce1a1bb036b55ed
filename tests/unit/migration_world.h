/* Two workers, and a stream that moves from one to the other over a real channel, with descriptors of the test's own. */
#pragma once
#include "account.h"
#include "fd.h"
#include "former.h"
#include "hash.h"
#include "ipc.h"
#include "relay_pool.h"
#include "shed.h"
#include "stream.h"
#include "two_workers.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HERE     "127.0.0.1:4443"
#define LOCAL_IP "192.0.2.7:1000"

static const char config[] =
	"listen = ( { address = \"" HERE "\"; max_connections = 50; } ); keep_evidence = 16;\n"
	"services = ( { name = \"go\"; match = \"ssh\"; connect = \"127.0.0.1:9\"; max_connections = 50;\n"
	"               per_source = 50; idle_timeout = 77; } );\n";

static const struct transport *const transports[TRANSPORT_COUNT] = { [TRANSPORT_STREAM] = &stream_transport };
static unsigned n_flows_moved; /* calls */

static inline void flows_moved(struct context *context)
{
	n_flows_moved++;
}

static inline int setup(void **state)
{
	two_workers_policy(config);
	for (unsigned i = 0; i < WORKERS; i++) {
		worker_open(&workers[i], i, transports);
		workers[i].relay_pool = relay_pool_new();
		workers[i].flows_moved = flows_moved;
	}
	return 0;
}

static inline int teardown(void **state)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		worker_end_sessions(&workers[i]);
		relay_pool_free(workers[i].relay_pool);
		worker_close(&workers[i]);
	}
	two_workers_end();
	return 0;
}

/* ---- sessions --------------------------------------------------------------------------------------------------------------- */

struct ends {
	int client, server; /* those that the test has */
};

static inline void pair(int *ret_here, int *ret_there)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	*ret_here = ends[0];
	*ret_there = ends[1];
}

/* Until it takes no more; how many bytes. */
static inline size_t fill(int fd)
{
	static const char zeros[4096];
	size_t sum = 0;

	for (ssize_t n; (n = send(fd, zeros, sizeof(zeros), MSG_DONTWAIT)) > 0;)
		sum += (size_t)n;
	return sum;
}

static inline void count_in(struct session *session)
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

static inline struct stream *stream_begin(enum session_phase phase, struct ends *ends)
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

static inline void keep_in_buffer(struct stream *stream, struct relay_flow *flow, const char *text)
{
	flow->pending = relay_pool_take_buffer(stream->relay.pool);
	flow->pending_len = (uint32_t)strlen(text) + 1;
	flow->pending_at = 1; /* one is delivered already */
	memcpy(flow->pending + 1, text, strlen(text));
}

static inline void keep_in_pipe(struct stream *stream, struct relay_flow *flow, const char *text)
{
	flow->pipe = relay_pool_take_pipe(stream->relay.pool);
	flow->in_pipe = (uint32_t)strlen(text);
	assert_int_equal(write(flow->pipe->out, text, flow->in_pipe), flow->in_pipe);
}

static inline void assert_counted(unsigned n, unsigned undecided)
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

static inline void channel_open(void)
{
	int ends[2];

	assert_int_equal(ipc_pair(ends), 0);
	assert_int_equal(migration_send_to(&workers[OLD], ends[0], NEW), 0);
	migration_receive_begin(&workers[NEW], ends[1], OLD);
}

/* All of it: sent, on its way, taken. */
static inline struct stream *move(unsigned undecided)
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

static inline void assert_reads(int fd, const char *text)
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

static inline void skip_bytes(int fd, size_t len)
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
