/* A relay and its two directions: what moves when, what is kept back, how ends and resets are passed on, and when it is over. */
#include "relay_world.h"

/* ---- bytes ------------------------------------------------------------------------------------------------------------- */

static void bytes_go_both_ways_and_are_counted(void **state)
{
	start_sockets();
	say(client, "question");
	turn(&loop);
	assert_hears(server, "question");
	say(server, "answer");
	say(client, "more");
	turn(&loop);
	assert_hears(server, "more");
	assert_hears(client, "answer");
	assert_int_equal(relay.up.bytes, 12);
	assert_int_equal(relay.down.bytes, 6);
	assert_true(relay_is_running(&relay));
	assert_int_equal(ends_told, 0);
}

static void ready_before(struct watch *watch, uint32_t events)
{
	assert_true(events & EPOLLIN);
}

static void bytes_that_came_before_the_start_are_delivered(void **state)
{
	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	relay.client.in.ready = relay.server.in.ready = ready_before;
	say(client, "early");
	say(server, "banner");
	turn(&loop); /* edges are not repeated */
	relay_start(&relay, EPOLLIN, EPOLLIN | EPOLLOUT);
	assert_hears(server, "early");
	assert_hears(client, "banner");
}

static void a_short_read_needs_no_second_one(void **state)
{
	start_sockets();
	recvs.calls = 0;
	say(client, "short");
	turn(&loop);
	assert_int_equal(recvs.calls, 1);
	say(server, "short");
	turn(&loop);
	assert_int_equal(recvs.calls, 2);
}

static void after_a_full_read_the_source_is_read_again(void **state)
{
	start_sockets();
	relay.up.discard = true;
	n_inline = 0;
	SCRIPT(&recvs, RELAY_BUFFER_SIZE, RELAY_BUFFER_SIZE - 1);
	client_event(EPOLLIN);
	assert_int_equal(recvs.calls, 2);
	assert_int_equal(
		n_inline, 1); /* it reads on without an event: urgent bytes must stay in the stream from now on */
	assert_int_equal(relay.up.streak, 2);
}

static void urgent_bytes_stay_in_the_stream(void **state)
{
	start_sockets();
	n_inline = 0;
	say(client, "ab");
	SCRIPT(&recvs, 1, 1, -EAGAIN);
	client_event(EPOLLIN | EPOLLPRI);
	assert_int_equal(recvs.calls, 3); /* a short read does not mean that it is empty */
	assert_int_equal(n_inline, 1);
	assert_true(relay.up.copy_only);
	assert_false(relay.up.readable);
	client_event(EPOLLIN | EPOLLPRI);
	assert_int_equal(n_inline, 1);
	assert_false(relay.down.urgent);
}

static void tcp_delays_no_byte_after_the_first(void **state)
{
	tcp_pair(&client, &relay.client);
	tcp_pair(&server, &relay.server);
	relay.server.prompt = true;
	start();
	for (int i = 0; i < 3; i++) {
		say(client, "up");
		turn_at_event(&loop);
		assert_hears(server, "up");
	}
	assert_int_equal(n_nodelay, 0);
	say(server, "down");
	turn_at_event(&loop);
	assert_hears(client, "down");
	assert_int_equal(n_nodelay, 0);
	for (int i = 0; i < 3; i++) {
		say(server, "down");
		turn_at_event(&loop);
		assert_hears(client, "down");
	}
	assert_int_equal(n_nodelay, 1);
}

static void a_direction_gives_way_after_a_mebibyte(void **state)
{
	start_sockets();
	relay.up.copy_only = relay.down.copy_only = true;
	endless = true;
	client_event(EPOLLIN);
	assert_int_equal(relay.up.bytes, 1 << 20);
	assert_true(relay.turn.queued);
	turn(&loop);
	assert_int_equal(relay.up.bytes, 2 << 20);
	server_event(EPOLLIN);
	assert_int_equal(relay.up.bytes, 3 << 20);
	assert_int_equal(relay.down.bytes, 1 << 20);
}

static void a_direction_gives_way_after_many_steps(void **state)
{
	start_sockets();
	relay.up.discard = relay.up.told = true;
	endless = true;
	client_event(EPOLLIN);
	assert_int_equal(recvs.calls, 1025);
	assert_true(relay.turn.queued);
	assert_int_equal(relay.up.bytes, 0);
	assert_int_equal(sends.calls, 0);
}

/* ---- kept back ---------------------------------------------------------------------------------------------------------- */

static void what_the_sink_does_not_take_is_kept_back(void **state)
{
	start_sockets();
	SCRIPT(&sends, 3, -EAGAIN, -EINTR, 2);
	say(client, "abcdefg");
	turn_after(&loop, SECOND_US);
	assert_int_equal(relay.up.bytes, 3);
	assert_int_equal(sends.calls, 1);
	assert_non_null(relay.up.pending);

	recvs.calls = 0;
	say(client, "hij");
	turn(&loop);
	assert_int_equal(recvs.calls, 0); /* not read before the rest is gone */
	server_event(EPOLLIN);            /* its own bytes do not say that it takes any */
	assert_int_equal(sends.calls, 1);
	recvs.calls = 0;

	server_event(EPOLLOUT);
	assert_int_equal(sends.calls, 2);
	assert_int_equal(relay.up.bytes, 3);
	assert_int_equal(relay.up.pending_at, 0);
	assert_int_equal(relay.up.pending_len, 4);
	clock_us += SECOND_US;
	loop.now_us = clock_us;
	server_event(EPOLLOUT); /* interrupted, then two, then all the rest and what came meanwhile */
	assert_hears(server, "abcdefghij");
	assert_int_equal(relay.up.bytes, 10);
	assert_int_equal(relay.moved_us, clock_us);
	assert_null(relay.up.pending);
	assert_int_equal(pool->n_spare_buffers, 1);
	assert_int_equal(recvs.calls, 1);
}

static void a_sink_that_takes_nothing_gets_all_later(void **state)
{
	start_sockets();
	SCRIPT(&sends, -EINTR, -EAGAIN);
	say(server, "abc");
	turn(&loop);
	assert_int_equal(sends.calls, 2);
	assert_int_equal(relay.down.bytes, 0);
	client_event(EPOLLOUT);
	assert_hears(client, "abc");
	assert_int_equal(relay.down.bytes, 3);
}

static void without_memory_for_it_the_relay_ends(void **state)
{
	start_sockets();
	SCRIPT(&sends, 1);
	SCRIPT(&mallocs, -1);
	say(client, "ab");
	turn(&loop);
	assert_over(RELAY_NO_MEMORY);
	turn(&loop);
	assert_over(RELAY_NO_MEMORY);
}

static void large_amounts_arrive_whole_at_a_slow_reader(void **state)
{
	static uint8_t sent[1 << 20], got[1 << 20];
	size_t n_sent = 0, n_got = 0;

	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
	start_sockets();
	while (n_got < sizeof(got)) {
		ssize_t n = n_sent < sizeof(sent)
			? __real_send(client, sent + n_sent, sizeof(sent) - n_sent, MSG_DONTWAIT)
			: 0;
		n_sent += n > 0 ? (size_t)n : 0;
		turn(&loop);
		n = __real_recv(
			server, got + n_got, 50000 < sizeof(got) - n_got ? 50000 : sizeof(got) - n_got, MSG_DONTWAIT);
		n_got += n > 0 ? (size_t)n : 0;
	}
	turn(&loop);
	assert_memory_equal(sent, got, sizeof(sent));
	assert_int_equal(relay.up.bytes, sizeof(sent));
}

/* ---- the preface -------------------------------------------------------------------------------------------------------- */

static void a_preface_goes_first_and_is_not_the_clients(void **state)
{
	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	relay_preface(&relay, (const uint8_t *)"unwanted", 8);
	relay_preface(&relay, (const uint8_t *)"head ", 5);
	assert_int_equal(pool->n_spare_buffers, 0); /* the same buffer again */
	SCRIPT(&sends, 3, -EAGAIN);
	say(client, "body");
	relay_start(&relay, EPOLLIN, 0);
	assert_hears(server, "hea");
	assert_int_equal(relay.up.bytes, 0);
	assert_int_equal(relay.up.uncounted, 2);
	server_event(EPOLLOUT);
	assert_hears(server, "d body");
	assert_int_equal(relay.up.bytes, 4);
	assert_null(relay.preface);
	assert_int_equal(relay.preface_len, 0);
	say(client, "more");
	turn(&loop);
	assert_int_equal(relay.up.bytes, 8);
	assert_int_equal(relay.down.uncounted, 0);
}

static void a_preface_can_be_as_large_as_a_buffer(void **state)
{
	static uint8_t large[RELAY_BUFFER_SIZE];

	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	relay_preface(&relay, large, sizeof(large));
	assert_memory_equal(relay.preface, large, sizeof(large));
	relay_preface(&relay, NULL, 0);
	assert_null(relay.preface);
	assert_int_equal(pool->n_spare_buffers, 1);
	start();
	assert_null(relay.up.pending);
}

static void a_preface_without_memory_ends_the_relay(void **state)
{
	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	SCRIPT(&mallocs, -1);
	relay_preface(&relay, (const uint8_t *)"head", 4);
	relay_start(&relay, 0, 0);
	assert_int_equal(ends_told, 0); /* never from within */
	assert_false(relay_is_running(&relay));
	assert_int_equal(loop.timers.count, 0);
	turn(&loop);
	assert_over(RELAY_NO_MEMORY);
}

static void a_clock_without_memory_ends_the_relay(void **state)
{
	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	SCRIPT(&reallocs, -1);
	relay_start(&relay, 0, 0);
	turn(&loop);
	assert_over(RELAY_NO_MEMORY);
}

/* ---- ends --------------------------------------------------------------------------------------------------------------- */

static void each_end_is_passed_on_behind_its_bytes(void **state)
{
	start_sockets();
	say(client, "last");
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_true(send_flags & MSG_MORE); /* both can leave in one packet */
	assert_hears(server, "last");
	assert_hears_end(server);
	assert_int_equal(shutdowns.calls, 2); /* the test's and the relay's */
	turn_after(&loop, SECOND_US);
	say(server, "still here");
	turn(&loop);
	assert_false(send_flags & MSG_MORE);
	assert_true(send_flags & MSG_NOSIGNAL);
	assert_hears(client, "still here");
	assert_int_equal(ends_told, 0);
	clock_us += SECOND_US;
	shutdown(server, SHUT_WR);
	turn(&loop);
	assert_over(RELAY_FINISHED);
	assert_int_equal(relay.moved_us, clock_us);
	assert_hears_end(client);
	assert_int_equal(shutdowns.calls, 4);
	turn_after(&loop, 100 * SECOND_US);
	assert_over(RELAY_FINISHED);
}

static void the_server_may_end_first(void **state)
{
	start_sockets();
	shutdown(server, SHUT_WR);
	turn(&loop);
	assert_hears_end(client);
	say(client, "on and on");
	turn(&loop);
	assert_hears(server, "on and on");
	assert_true(relay_is_running(&relay));
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_over(RELAY_FINISHED);
}

static void an_end_waits_for_what_is_kept_back(void **state)
{
	start_sockets();
	SCRIPT(&sends, 1, -EAGAIN);
	say(client, "abc");
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_hears(server, "a");
	assert_hears_nothing(server);
	server_event(EPOLLOUT); /* still full */
	assert_hears_nothing(server);
	server_event(EPOLLOUT);
	assert_hears(server, "bc");
	assert_hears_end(server);
}

/* It will be closed at once, which tells it; but not where another process holds it as well. */
static void the_last_end_needs_no_half_close_of_a_sole_socket(void **state)
{
	start_sockets();
	relay.client.in.sole = true;
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_int_equal(shutdowns.calls, 2);
	shutdown(server, SHUT_WR);
	turn(&loop);
	assert_over(RELAY_FINISHED);
	assert_int_equal(shutdowns.calls, 3);
}

static void the_first_end_is_told_to_a_sole_socket(void **state)
{
	start_sockets();
	relay.client.in.sole = relay.server.in.sole = true;
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_hears_end(server);
	assert_true(relay_is_running(&relay));
}

static void a_sink_that_is_gone_at_the_end_was_reset(void **state)
{
	start_sockets();
	SCRIPT(&shutdowns, 0, -EPIPE);
	__real_shutdown(client, SHUT_WR);
	SCRIPT(&shutdowns, -EPIPE);
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static void a_sink_that_is_not_connected_any_more_was_told(void **state)
{
	start_sockets();
	SCRIPT(&shutdowns, -ENOTCONN);
	__real_shutdown(client, SHUT_WR);
	turn(&loop);
	assert_true(relay_is_running(&relay));
	assert_true(relay.up.told);
}

/* ---- resets ------------------------------------------------------------------------------------------------------------- */

static void a_source_that_fails_was_reset(void **state)
{
	start_sockets();
	SCRIPT(&recvs, -EINTR, -ECONNRESET);
	client_event(EPOLLIN);
	assert_int_equal(recvs.calls, 2);
	assert_int_equal(ends_told, 0); /* from a task */
	assert_false(relay_is_running(&relay));
	server_event(EPOLLIN); /* nothing moves any more */
	assert_int_equal(recvs.calls, 2);
	turn(&loop);
	assert_over(RELAY_CLIENT_RESET);
}

static void a_server_that_fails_was_reset(void **state)
{
	start_sockets();
	SCRIPT(&recvs, -ECONNRESET);
	server_event(EPOLLIN);
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static void a_source_that_is_empty_is_waited_for(void **state)
{
	start_sockets();
	SCRIPT(&recvs, -EAGAIN);
	client_event(EPOLLIN);
	server_event(EPOLLOUT);
	assert_int_equal(recvs.calls, 1);
	assert_true(relay_is_running(&relay));
}

static void a_sink_that_fails_was_reset(void **state)
{
	start_sockets();
	SCRIPT(&sends, -EPIPE);
	say(client, "a");
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static void a_client_that_takes_no_bytes_was_reset(void **state)
{
	start_sockets();
	SCRIPT(&sends, 1, -EPIPE);
	say(server, "ab");
	turn(&loop);
	assert_true(relay_is_running(&relay));
	client_event(EPOLLOUT);
	turn(&loop);
	assert_over(RELAY_CLIENT_RESET);
}

/* A side that is not read shows its reset by an event alone. */
static void a_reset_is_seen_where_bytes_are_kept_back(void **state)
{
	start_sockets();
	SCRIPT(&sends, 1);
	say(client, "ab");
	turn(&loop);
	client_event(EPOLLERR);
	turn(&loop);
	assert_over(RELAY_CLIENT_RESET);
}

static void a_reset_is_seen_behind_the_end(void **state)
{
	start_sockets();
	shutdown(server, SHUT_WR);
	turn(&loop);
	server_event(EPOLLERR);
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static void an_error_elsewhere_is_found_by_reading(void **state)
{
	start_sockets();
	say(client, "before");
	SCRIPT(&recvs, 6, -ECONNRESET);
	client_event(EPOLLERR | EPOLLRDHUP);
	assert_int_equal(recvs.calls, 2); /* the end was announced: a short read is not the last */
	assert_int_equal(relay.up.bytes, 6);
	assert_false(send_flags & MSG_MORE); /* what came before a reset leaves at once */
	turn(&loop);
	assert_over(RELAY_CLIENT_RESET);
}

static void only_the_first_reason_counts(void **state)
{
	start_sockets();
	relay_finish(&relay, RELAY_SERVER_RESET);
	relay_finish(&relay, RELAY_CLIENT_RESET);
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static int error_of(int fd)
{
	char byte;

	await(fd);
	return __real_recv(fd, &byte, 1, 0) < 0 ? errno : 0;
}

static void resets_are_passed_on_and_ends_are_not_resets(void **state)
{
	static const struct {
		enum relay_end end;
		int error;
	} cases[] = { { RELAY_CLIENT_RESET, ECONNRESET }, { RELAY_SERVER_RESET, ECONNRESET }, { RELAY_FINISHED, 0 },
		{ RELAY_IDLE, 0 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tcp_pair(&client, &relay.client);
		tcp_pair(&server, &relay.server);
		start();
		world_end(cases[i].end);
		assert_int_equal(error_of(client), cases[i].error);
		assert_int_equal(error_of(server), cases[i].error);
		end_close(&client);
		end_close(&server);
	}
	relay.client.in.fd = -1;
}

static void one_that_is_under_way_can_be_closed(void **state)
{
	start_sockets();
	SCRIPT(&sends, 1);
	say(client, "ab");
	turn(&loop);
	relay_finish(&relay, RELAY_IDLE);
	world_end(RELAY_FINISHED);
	turn(&loop);
	assert_int_equal(ends_told, 0);
	assert_int_equal(pool->n_spare_buffers, 1);
}

/* ---- time --------------------------------------------------------------------------------------------------------------- */

static void it_ends_when_nothing_has_moved_for_long(void **state)
{
	start_sockets();
	turn_after(&loop, 3 * SECOND_US);
	say(client, "a");
	turn(&loop);
	turn_after(&loop, IDLE_US - 1);
	assert_true(relay_is_running(&relay));
	turn_after(&loop, 1);
	assert_over(RELAY_IDLE);
}

static void it_is_idle_from_the_start_on(void **state)
{
	start_sockets();
	turn_after(&loop, IDLE_US - 1);
	assert_true(relay_is_running(&relay));
	assert_int_equal(ends_told, 0);
	turn_after(&loop, 1);
	assert_over(RELAY_IDLE);
	assert_int_equal(loop.timers.count, 0);
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(bytes_go_both_ways_and_are_counted),
		UNIT(bytes_that_came_before_the_start_are_delivered),
		UNIT(a_short_read_needs_no_second_one),
		UNIT(after_a_full_read_the_source_is_read_again),
		UNIT(urgent_bytes_stay_in_the_stream),
		UNIT(tcp_delays_no_byte_after_the_first),
		UNIT(a_direction_gives_way_after_a_mebibyte),
		UNIT(a_direction_gives_way_after_many_steps),
		UNIT(what_the_sink_does_not_take_is_kept_back),
		UNIT(a_sink_that_takes_nothing_gets_all_later),
		UNIT(without_memory_for_it_the_relay_ends),
		UNIT(large_amounts_arrive_whole_at_a_slow_reader),
		UNIT(a_preface_goes_first_and_is_not_the_clients),
		UNIT(a_preface_can_be_as_large_as_a_buffer),
		UNIT(a_preface_without_memory_ends_the_relay),
		UNIT(a_clock_without_memory_ends_the_relay),
		UNIT(each_end_is_passed_on_behind_its_bytes),
		UNIT(the_server_may_end_first),
		UNIT(an_end_waits_for_what_is_kept_back),
		UNIT(the_last_end_needs_no_half_close_of_a_sole_socket),
		UNIT(the_first_end_is_told_to_a_sole_socket),
		UNIT(a_sink_that_is_gone_at_the_end_was_reset),
		UNIT(a_sink_that_is_not_connected_any_more_was_told),
		UNIT(a_source_that_fails_was_reset),
		UNIT(a_server_that_fails_was_reset),
		UNIT(a_source_that_is_empty_is_waited_for),
		UNIT(a_sink_that_fails_was_reset),
		UNIT(a_client_that_takes_no_bytes_was_reset),
		UNIT(a_reset_is_seen_where_bytes_are_kept_back),
		UNIT(a_reset_is_seen_behind_the_end),
		UNIT(an_error_elsewhere_is_found_by_reading),
		UNIT(only_the_first_reason_counts),
		UNIT(resets_are_passed_on_and_ends_are_not_resets),
		UNIT(one_that_is_under_way_can_be_closed),
		UNIT(it_ends_when_nothing_has_moved_for_long),
		UNIT(it_is_idle_from_the_start_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
