/* What does not add up in a session from another worker is refused whole. */
#include "limits_transit.h"
#include "migrant.h"
#include "migration_unpack.h"
#include "migration_world.h"
#include "stream_state.h"

#include <fcntl.h>

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

#define MIGRATION_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MIGRATION_TEST(what_no_transport_here_can_take_is_refused),
		MIGRATION_TEST(a_state_that_is_not_of_its_phase_is_refused),
		MIGRATION_TEST(descriptors_that_are_something_else_are_refused),
		MIGRATION_TEST(a_socket_that_lingers_is_refused),
		MIGRATION_TEST(a_pipe_that_does_not_hold_what_is_said_is_refused),
		MIGRATION_TEST(an_undecided_one_of_another_listener_ends),
		MIGRATION_TEST(rubbish_on_the_channel_is_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
