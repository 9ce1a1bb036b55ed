/* A dial that comes from the client's address: which port, and with which socket. */
#include "dial_world.h"

/* ---- from the client's address ------------------------------------------------------------------------------------------- */

static struct address from;

static int pool_socket(void)
{
	int fd = __real_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

static void supply(size_t n)
{
	int fds[4];

	for (size_t i = 0; i < n; i++)
		fds[i] = pool_socket();
	socket_pool_supply(pool, AF_INET, fds, n, 0);
}

static void come_from(const char *text)
{
	assert_int_equal(address_parse(&from, text), 0);
	dial.from = &from;
}

static void assert_bound(size_t n, const char *last)
{
	char text[ADDRESS_TEXT_MAX];

	assert_int_equal(n_bound, n);
	assert_string_equal(address_format(&bound[n - 1], text), last);
}

static void it_comes_from_the_address_and_the_port_of_the_client(void **state)
{
	supply(1);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	assert_bound(1, "198.51.100.7:4000");
	assert_int_equal(option_value(SOL_SOCKET, SO_REUSEADDR), 1);
	assert_int_equal(option_value(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), -1);
	assert_tried(1, "192.0.2.1:80");
	assert_false(watched.sole); /* the master has it too, for a moment */
	assert_int_equal(sockets.calls, 0);
}

static void a_mapped_address_is_the_other_one(void **state)
{
	supply(1);
	come_from("[::ffff:198.51.100.7]:4000");
	add_address("[::ffff:192.0.2.1]:80");
	start();
	assert_bound(1, "198.51.100.7:4000");
	assert_int_equal(tried[0].sa.sa_family, AF_INET);
}

static void a_port_that_is_taken_is_another_one(void **state)
{
	static const int errors[] = { EADDRINUSE, EACCES };

	for (int i = 0; i < 2; i++) {
		n_bound = n_options = 0;
		forget_backends();
		supply(1);
		SCRIPT(&binds, -errors[i], 0);
		come_from("198.51.100.7:80");
		add_address("192.0.2.1:80");
		start();
		assert_bound(2, "198.51.100.7:0");
		assert_int_equal(option_value(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), 1);
		assert_under_way();
		dial_cancel(&dial);
	}
}

static void an_address_that_is_not_for_us_is_told(void **state)
{
	supply(1);
	SCRIPT(&binds, -EADDRNOTAVAIL);
	come_from("198.51.100.7:80");
	add_address("192.0.2.1:80");
	start();
	assert_failed(-EPERM);
	assert_int_equal(n_bound, 1);
	assert_int_equal(n_tried, 0);
}

static void an_error_behind_the_first_is_told(void **state)
{
	supply(1);
	SCRIPT(&binds, -EADDRINUSE, -ENOBUFS);
	come_from("198.51.100.7:80");
	add_address("192.0.2.1:80");
	start();
	assert_failed(-ENOBUFS);
}

/* From that port to that server there is a connection already. */
static void a_pair_that_is_taken_is_tried_with_another_port(void **state)
{
	supply(2);
	SCRIPT(&connects, -EADDRNOTAVAIL, -EINPROGRESS);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	assert_int_equal(n_tried, 2);
	assert_bound(2, "198.51.100.7:0");
	assert_under_way();
}

static void without_any_port_the_next_backend_is_tried(void **state)
{
	supply(3);
	SCRIPT(&connects, -EADDRNOTAVAIL, -EADDRNOTAVAIL, -EINPROGRESS);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	start();
	assert_tried(3, "192.0.2.2:80");
	assert_bound(3, "198.51.100.7:4000"); /* there the port may be free */
}

static void without_an_address_of_the_client_there_is_no_other_port(void **state)
{
	SCRIPT(&connects, -EADDRNOTAVAIL);
	add_address("192.0.2.1:80");
	start();
	assert_failed(-EADDRNOTAVAIL);
	assert_int_equal(n_tried, 1);
}

static void a_socket_is_waited_for(void **state)
{
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	start();
	assert_int_equal(n_tried, 0);
	assert_int_not_equal(pool_asked, 0);
	turn_after(&loop, SECOND_US);
	supply(1);
	assert_tried(1, "192.0.2.1:80");
	assert_under_way();
	dial_ready(&dial, EPOLLOUT);
	assert_connected(EPOLLOUT);
}

static void a_connection_with_a_socket_that_came_may_be_made_at_once(void **state)
{
	SCRIPT(&connects, 0);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	supply(1);
	assert_connected(EPOLLOUT);
}

static void a_socket_may_have_any_number(void **state)
{
	int in = dup(0), made = pool_socket();

	assert_int_equal(dup2(made, 0), 0);
	fcntl(0, F_SETFD, FD_CLOEXEC);
	close(made);
	socket_pool_supply(pool, AF_INET, &(int){ 0 }, 1, 0);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	assert_tried(1, "192.0.2.1:80");
	dial_cancel(&dial);
	if (in >= 0)
		dup2(in, 0);
	close(in);
}

static void a_socket_that_does_not_come_in_time_is_not_waited_for(void **state)
{
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	turn_after(&loop, DUE_US);
	assert_failed(-ETIMEDOUT);
	supply(1); /* for somebody else */
	assert_int_equal(n_tried, 0);
}

static void a_socket_that_cannot_be_had_is_told(void **state)
{
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	socket_pool_supply(pool, AF_INET, NULL, 0, -EMFILE);
	assert_failed(-EMFILE);
}

static void a_socket_that_fails_moves_on(void **state)
{
	SCRIPT(&connects, -ECONNREFUSED, -EINPROGRESS);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	add_address("192.0.2.2:80");
	start();
	supply(2);
	assert_tried(2, "192.0.2.2:80");
	assert_under_way();
}

static void a_socket_for_a_name_that_has_fewer_addresses_now_is_closed(void **state)
{
	answer(0, "192.0.2.1:1", "192.0.2.2:1");
	come_from("198.51.100.7:4000");
	add_name(0);
	start();
	supply(1);
	socket_error = ECONNREFUSED;
	dial_ready(&dial, EPOLLERR);
	assert_int_equal(n_tried, 1); /* waits for another socket */
	answer(0, "192.0.2.1:1", NULL);
	loop.now_us = ++clock_us; /* names are looked at once in a turn */
	supply(1);
	assert_int_equal(n_tried, 1);
	assert_under_way();
	assert_int_equal(dial.error, -EHOSTUNREACH);
}

static void a_cancelled_dial_takes_no_socket(void **state)
{
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	start();
	dial_cancel(&dial);
	supply(1);
	assert_int_equal(n_tried, 0);
	assert_under_way();
}

static void only_backends_of_the_clients_family_are_tried(void **state)
{
	come_from("198.51.100.7:4000");
	add_address("[2001:db8::1]:80");
	add_address("unix:/run/server");
	start();
	assert_failed(-EAFNOSUPPORT);
	assert_int_equal(n_tried, 0);
}

static void another_error_says_more_than_the_family(void **state)
{
	supply(1);
	SCRIPT(&connects, -ECONNREFUSED);
	come_from("198.51.100.7:4000");
	add_address("192.0.2.1:80");
	add_address("[2001:db8::1]:80");
	start();
	assert_failed(-ECONNREFUSED);
}

static void a_client_of_a_unix_socket_has_no_address_to_come_from(void **state)
{
	come_from("unix:/run/client");
	add_address("unix:/run/server");
	start();
	assert_failed(-EAFNOSUPPORT);
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(it_comes_from_the_address_and_the_port_of_the_client),
		UNIT(a_mapped_address_is_the_other_one),
		UNIT(a_port_that_is_taken_is_another_one),
		UNIT(an_address_that_is_not_for_us_is_told),
		UNIT(an_error_behind_the_first_is_told),
		UNIT(a_pair_that_is_taken_is_tried_with_another_port),
		UNIT(without_any_port_the_next_backend_is_tried),
		UNIT(without_an_address_of_the_client_there_is_no_other_port),
		UNIT(a_socket_is_waited_for),
		UNIT(a_connection_with_a_socket_that_came_may_be_made_at_once),
		UNIT(a_socket_may_have_any_number),
		UNIT(a_socket_that_does_not_come_in_time_is_not_waited_for),
		UNIT(a_socket_that_cannot_be_had_is_told),
		UNIT(a_socket_that_fails_moves_on),
		UNIT(a_socket_for_a_name_that_has_fewer_addresses_now_is_closed),
		UNIT(a_cancelled_dial_takes_no_socket),
		UNIT(only_backends_of_the_clients_family_are_tried),
		UNIT(another_error_says_more_than_the_family),
		UNIT(a_client_of_a_unix_socket_has_no_address_to_come_from),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
