/* A session that moves to another worker: what it was it is again, in every state, and it counts once; or it stays. */
#include "migrant.h"
#include "migration_world.h"

#include <fcntl.h>

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
	assert_int_equal(migration_send_to(&workers[OLD], file, NEW), -ENOTCONN);
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
	assert_int_equal(migration_send_to(&workers[OLD], next[0], NEW), 0);
	assert_int_equal(recv(next[1], &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(migration_send_to(&workers[OLD], last[0], NEW), 0);
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
		MIGRATION_TEST(a_receiver_that_goes_loses_what_was_on_its_way_alone),
		MIGRATION_TEST(two_move_one_after_the_other_over_channels_of_their_own),
		MIGRATION_TEST(flows_are_awaited_until_the_other_worker_has_none),
		MIGRATION_TEST(a_channel_that_cannot_be_watched_is_closed),
		MIGRATION_TEST(only_the_latest_of_those_that_wait_is_sent_to),
		MIGRATION_TEST(one_that_may_not_move_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
