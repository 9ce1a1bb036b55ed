/* A relay to a program: by pipes, and by a terminal. */
#include "relay_world.h"

/* ---- programs ----------------------------------------------------------------------------------------------------------- */

static void a_program_gets_and_gives_bytes_by_its_pipes(void **state)
{
	start_program();
	say(client, "in");
	turn(&loop);
	assert_hears(server, "in");
	say(server_out, "out");
	turn(&loop);
	assert_hears(client, "out");
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_hears_end(server);
	assert_int_equal(relay.server.out.fd, -1);
	say(server_out, "last");
	end_close(&server_out);
	turn(&loop);
	assert_hears(client, "last");
	assert_hears_end(client);
	assert_over(RELAY_FINISHED);
	assert_int_equal(shutdowns.calls, 2); /* a pipe is closed */
	assert_int_equal(n_nodelay, 1);       /* the client's */
}

static void a_pipe_that_is_full_is_written_to_when_its_end_says_so(void **state)
{
	start_program();
	SCRIPT(&writes, -EAGAIN);
	say(client, "in");
	turn(&loop);
	assert_int_equal(writes.calls, 1);
	server_event(EPOLLOUT); /* of the pipe that is read */
	assert_int_equal(writes.calls, 1);
	relay.server.out.ready(&relay.server.out, EPOLLOUT);
	assert_hears(server, "in");
}

/* What it wrote before is still to be delivered, and what the client sends is dropped. */
static void a_program_that_reads_no_more_is_no_reset(void **state)
{
	start_program();
	end_close(&server);
	turn(&loop);
	assert_true(relay.up.discard);
	say(client, "for nobody");
	turn(&loop);
	assert_true(relay_is_running(&relay));
	assert_int_equal(relay.up.bytes, 0);
	say(server_out, "result");
	turn(&loop);
	assert_hears(client, "result");
	end_close(&server_out);
	turn(&loop);
	assert_hears_end(client);
	assert_true(relay.lingering);
	assert_int_equal(ends_told, 0);
	turn_after(&loop, LINGER_US / 2);
	say(client, "still");
	turn(&loop);
	turn_after(&loop, LINGER_US / 2 - 1);
	assert_int_equal(ends_told, 0);
	turn_after(&loop, 1);
	assert_over(RELAY_FINISHED);
}

static void a_client_that_ends_is_not_lingered_for(void **state)
{
	start_program();
	end_close(&server);
	end_close(&server_out);
	turn(&loop);
	assert_true(relay.lingering);
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_over(RELAY_FINISHED);
}

static void a_write_to_a_program_that_is_gone_is_no_reset(void **state)
{
	start_program();
	SCRIPT(&writes, -EPIPE);
	say(client, "a");
	turn(&loop);
	assert_true(relay_is_running(&relay));
	assert_true(relay.up.discard);
	assert_true(relay.up.told);
}

static void what_was_kept_back_for_a_program_that_is_gone_is_dropped(void **state)
{
	start_program();
	SCRIPT(&writes, 1);
	say(client, "ab");
	turn(&loop);
	assert_non_null(relay.up.pending);
	end_close(&server);
	turn(&loop);
	assert_null(relay.up.pending);
	assert_int_equal(pool->n_spare_buffers, 1);
	assert_true(relay_is_running(&relay));
}

static void output_of_a_program_that_cannot_be_read_has_ended(void **state)
{
	start_program();
	SCRIPT(&reads, -EIO);
	server_event(EPOLLIN);
	assert_hears_end(client);
	assert_false(relay.up.discard); /* it may still read */
	assert_true(relay_is_running(&relay));
}

static void pipes_are_never_spliced(void **state)
{
	static const uint8_t block[RELAY_BUFFER_SIZE / 2];

	start_program();
	for (int i = 0; i < 4; i++) {
		SCRIPT(&writes, sizeof(block));
		assert_int_equal(__real_send(client, block, sizeof(block), 0), sizeof(block));
		turn(&loop);
	}
	assert_int_equal(splices.calls, 0);
	assert_null(relay.up.pipe);
	assert_int_equal(relay.up.bytes, 2 * RELAY_BUFFER_SIZE);
}

static void an_error_at_a_pipe_that_waits_for_the_client_is_no_reset(void **state)
{
	start_program();
	SCRIPT(&sends, 1);
	say(server_out, "ab");
	turn(&loop);
	end_close(&server_out);
	turn(&loop);
	server_event(EPOLLERR);
	assert_true(relay_is_running(&relay));
	client_event(EPOLLOUT);
	assert_hears(client, "ab");
	assert_hears_end(client);
}

/* ---- terminals ---------------------------------------------------------------------------------------------------------- */

static void a_terminal_in_line_mode_hears_of_the_end_twice(void **state)
{
	start_terminal(true);
	say(client, "line\nmiddle");
	turn(&loop);
	assert_hears(server, "line\n");
	SCRIPT(&writes, 2);
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_int_equal(writes.calls, 1);
	assert_true(relay.up.told);
	assert_true(relay_is_running(&relay));
}

static void the_end_in_the_middle_of_a_line_is_heard(void **state)
{
	start_terminal(true);
	say(client, "middle");
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_hears(server, "middle");
	assert_hears_end(server);
	assert_int_equal(shutdowns.calls, 1);
}

static void a_raw_terminal_gets_no_byte_for_the_end(void **state)
{
	start_terminal(false);
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_int_equal(writes.calls, 0);
	assert_true(relay.up.told);
	assert_true(relay_is_running(&relay));
}

/* A terminal passes bytes on in its own time. */
static void turn_until_heard(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (int i = 0; i < 60000 && poll(&p, 1, 1) == 0; i++)
		turn(&loop);
}

static void a_terminal_that_everybody_has_left_has_ended(void **state)
{
	start_terminal(false);
	say(server, "bye");
	turn_until_heard(client);
	assert_hears(client, "bye");
	end_close(&server);
	turn_until_heard(client);
	assert_hears_end(client);
	assert_true(relay.up.discard);
	assert_true(relay.lingering);
	turn_after(&loop, LINGER_US);
	assert_over(RELAY_FINISHED);
}

static void urgent_bytes_are_the_business_of_sockets(void **state)
{
	start_terminal(false);
	n_inline = 0;
	server_event(EPOLLPRI);
	assert_false(relay.down.urgent);
	assert_int_equal(n_inline, 0);
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(a_program_gets_and_gives_bytes_by_its_pipes),
		UNIT(a_pipe_that_is_full_is_written_to_when_its_end_says_so),
		UNIT(a_program_that_reads_no_more_is_no_reset),
		UNIT(a_client_that_ends_is_not_lingered_for),
		UNIT(a_write_to_a_program_that_is_gone_is_no_reset),
		UNIT(what_was_kept_back_for_a_program_that_is_gone_is_dropped),
		UNIT(output_of_a_program_that_cannot_be_read_has_ended),
		UNIT(pipes_are_never_spliced),
		UNIT(an_error_at_a_pipe_that_waits_for_the_client_is_no_reset),
		UNIT(a_terminal_in_line_mode_hears_of_the_end_twice),
		UNIT(the_end_in_the_middle_of_a_line_is_heard),
		UNIT(a_raw_terminal_gets_no_byte_for_the_end),
		UNIT(a_terminal_that_everybody_has_left_has_ended),
		UNIT(urgent_bytes_are_the_business_of_sockets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
