/* A dial: which address is tried when, for how long, and what the caller hears. */
#include "dial_world.h"

/* ---- one address --------------------------------------------------------------------------------------------------------- */

static void a_connection_that_is_made_is_told(void **state)
{
	add_address("192.0.2.1:80");
	start();
	assert_tried(1, "192.0.2.1:80");
	assert_under_way();
	dial_ready(&dial, EPOLLIN | EPOLLRDHUP);
	assert_under_way();
	dial_ready(&dial, EPOLLOUT | EPOLLIN);
	assert_connected(EPOLLOUT | EPOLLIN);
	assert_int_equal(n_asked_for_error, 0);
	assert_true(watched.sole);
	assert_int_equal(dial.backend, 0);
	assert_false(dial_is_unix(&dial));
}

static void a_connection_that_is_made_at_once_is_told_at_once(void **state)
{
	SCRIPT(&connects, 0);
	add_address("unix:/run/server");
	start();
	assert_connected(EPOLLOUT);
	assert_true(dial_is_unix(&dial));
}

static void an_error_is_looked_for_before_it_counts_as_made(void **state)
{
	add_address("192.0.2.1:80");
	start();
	dial_ready(&dial, EPOLLHUP);
	assert_under_way();
	assert_int_equal(n_asked_for_error, 1);
	dial_ready(&dial, EPOLLERR);
	assert_under_way();
	dial_ready(&dial, EPOLLHUP | EPOLLOUT);
	assert_connected(EPOLLHUP | EPOLLOUT);
	assert_int_equal(n_asked_for_error, 3);
}

static void a_refusal_is_told(void **state)
{
	add_address("192.0.2.1:80");
	start();
	socket_error = ECONNREFUSED;
	dial_ready(&dial, EPOLLERR | EPOLLOUT);
	assert_failed(-ECONNREFUSED);
}

static void one_that_leads_back_to_ourselves_is_none(void **state)
{
	ours = true;
	SCRIPT(&connects, 0);
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	start();
	assert_tried(2, "192.0.2.2:80");
	dial_ready(&dial, EPOLLOUT);
	assert_failed(-EDEADLK);
}

static void without_a_descriptor_it_fails(void **state)
{
	SCRIPT(&sockets, -EMFILE);
	add_address("192.0.2.1:80");
	start();
	assert_failed(-EMFILE);
	assert_int_equal(n_tried, 0);
}

static void a_socket_that_cannot_be_watched_is_closed(void **state)
{
	SCRIPT(&adds, -ENOSPC, -ENOMEM);
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	start();
	assert_failed(-ENOMEM);
}

static void a_dial_that_is_cancelled_says_nothing(void **state)
{
	add_address("192.0.2.1:80");
	start();
	dial_cancel(&dial);
	assert_int_equal(watched.fd, -1);
	assert_int_equal(loop.timers.count, 0);
	dial_cancel(&dial);
	turn_after(&loop, 2 * DUE_US);
	assert_under_way();
}

/* ---- options of its socket ----------------------------------------------------------------------------------------------- */

static void dial_with(int keepalive_s, const char *text)
{
	n_options = 0;
	forget_backends();
	dial.keepalive_s = keepalive_s;
	add_address(text);
	start();
	dial_cancel(&dial);
}

static void keepalive_is_as_it_was_asked_for(void **state)
{
	dial_with(0, "192.0.2.1:80");
	assert_int_equal(n_options, 1);
	assert_int_equal(option_value(SOL_SOCKET, SO_KEEPALIVE), 0);
	dial_with(KEEPALIVE_SYSTEM, "127.0.0.1:80");
	assert_int_equal(n_options, 1);
	assert_int_equal(option_value(SOL_SOCKET, SO_KEEPALIVE), 1);
	dial_with(1, "192.0.2.1:80");
	assert_int_equal(n_options, 4);
	assert_int_equal(option_value(SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option_value(IPPROTO_TCP, TCP_KEEPIDLE), 1);
	assert_int_equal(option_value(IPPROTO_TCP, TCP_KEEPINTVL), 1);
	assert_int_equal(option_value(IPPROTO_TCP, TCP_KEEPCNT), 5);
	dial_with(76, "192.0.2.1:80");
	assert_int_equal(option_value(IPPROTO_TCP, TCP_KEEPIDLE), 76);
	assert_int_equal(option_value(IPPROTO_TCP, TCP_KEEPINTVL), 75);
	dial_with(74, "192.0.2.1:80");
	assert_int_equal(option_value(IPPROTO_TCP, TCP_KEEPINTVL), 74);
	dial_with(74, "unix:/run/server");
	assert_int_equal(n_options, 0);
}

static void a_peer_on_this_machine_does_not_vanish(void **state)
{
	dial.patience_ms = 5000;
	dial_with(KEEPALIVE_AFAR, "127.0.0.1:80");
	assert_int_equal(n_options, 0);
	dial_with(KEEPALIVE_AFAR, "192.0.2.1:80");
	assert_int_equal(n_options, 2);
	assert_int_equal(option_value(SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option_value(IPPROTO_TCP, TCP_USER_TIMEOUT), 5000);
	dial_with(60, "127.0.0.1:80");
	assert_int_equal(option_value(IPPROTO_TCP, TCP_USER_TIMEOUT), 5000);
	dial_with(60, "unix:/run/server");
	assert_int_equal(n_options, 0);
	dial.patience_ms = 0;
	dial_with(60, "192.0.2.1:80");
	assert_int_equal(option_value(IPPROTO_TCP, TCP_USER_TIMEOUT), -1);
}

static void the_last_ack_comes_with_the_bytes_that_are_there(void **state)
{
	dial.talks = true;
	dial_with(KEEPALIVE_AFAR, "127.0.0.1:80");
	assert_int_equal(n_options, 1);
	assert_int_equal(option_value(IPPROTO_TCP, TCP_QUICKACK), 0);
	dial_with(KEEPALIVE_AFAR, "unix:/run/server");
	assert_int_equal(n_options, 0);
}

/* ---- one after the other ------------------------------------------------------------------------------------------------- */

static void backends_are_tried_in_order(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED, -EINPROGRESS, -ENETUNREACH, -EINPROGRESS);
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	add_address("192.0.2.3:80");
	add_address("192.0.2.4:80");
	start();
	assert_tried(2, "192.0.2.2:80");
	socket_error = ETIMEDOUT;
	dial_ready(&dial, EPOLLERR);
	assert_tried(4, "192.0.2.4:80");
	assert_under_way();
	socket_error = 0;
	dial_ready(&dial, EPOLLOUT);
	assert_connected(EPOLLOUT);
	assert_int_equal(dial.backend, 3);
}

static void the_last_error_is_told(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED, -ENETUNREACH);
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	start();
	assert_failed(-ENETUNREACH);
}

static void each_address_has_an_equal_share_of_the_time(void **state)
{
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	add_address("192.0.2.3:80");
	start();
	turn_after(&loop, DUE_US / 3 - 1);
	assert_int_equal(n_tried, 1);
	turn_after(&loop, 1);
	assert_tried(2, "192.0.2.2:80");
	socket_error = ECONNREFUSED;
	turn_after(&loop, SECOND_US);
	dial_ready(&dial, EPOLLERR);
	assert_tried(3, "192.0.2.3:80"); /* it has all that is left */
	turn_after(&loop, DUE_US - DUE_US / 3 - SECOND_US - 1);
	assert_under_way();
	turn_after(&loop, 1);
	assert_failed(-ETIMEDOUT);
}

static void behind_the_deadline_there_is_no_time(void **state)
{
	dial.due_us = clock_us - 1;
	add_address("192.0.2.1:80");
	start();
	assert_under_way();
	turn_after(&loop, 0);
	assert_failed(-ETIMEDOUT);
}

/* A UNIX socket says EAGAIN where its backlog is full. */
static void a_backlog_that_is_full_is_tried_again_soon(void **state)
{
	SCRIPT(&connects, -EAGAIN, -ECONNREFUSED, -EAGAIN, -ECONNREFUSED, 0);
	add_address("unix:/run/server");
	add_address("192.0.2.1:80");
	start();
	assert_int_equal(n_tried, 2);
	turn_after(&loop, 20 * MILLI_US - 1);
	assert_int_equal(n_tried, 2);
	turn_after(&loop, 1);
	assert_int_equal(n_tried, 4);
	assert_under_way();
	turn_after(&loop, 20 * MILLI_US);
	assert_connected(EPOLLOUT);
	assert_int_equal(dial.backend, 0);
}

static void what_was_full_once_is_not_tried_for_ever(void **state)
{
	SCRIPT(&connects, -EAGAIN, -ECONNREFUSED);
	add_address("unix:/run/server");
	start();
	turn_after(&loop, 20 * MILLI_US);
	assert_failed(-ECONNREFUSED);
}

static void without_memory_for_a_pause_it_fails(void **state)
{
	SCRIPT(&connects, -EAGAIN);
	SCRIPT(&reallocs, -1);
	add_address("unix:/run/server");
	start();
	assert_failed(-EAGAIN);
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(a_connection_that_is_made_is_told),
		UNIT(a_connection_that_is_made_at_once_is_told_at_once),
		UNIT(an_error_is_looked_for_before_it_counts_as_made),
		UNIT(a_refusal_is_told),
		UNIT(one_that_leads_back_to_ourselves_is_none),
		UNIT(without_a_descriptor_it_fails),
		UNIT(a_socket_that_cannot_be_watched_is_closed),
		UNIT(a_dial_that_is_cancelled_says_nothing),
		UNIT(keepalive_is_as_it_was_asked_for),
		UNIT(a_peer_on_this_machine_does_not_vanish),
		UNIT(the_last_ack_comes_with_the_bytes_that_are_there),
		UNIT(backends_are_tried_in_order),
		UNIT(the_last_error_is_told),
		UNIT(each_address_has_an_equal_share_of_the_time),
		UNIT(behind_the_deadline_there_is_no_time),
		UNIT(a_backlog_that_is_full_is_tried_again_soon),
		UNIT(what_was_full_once_is_not_tried_for_ever),
		UNIT(without_memory_for_a_pause_it_fails),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
