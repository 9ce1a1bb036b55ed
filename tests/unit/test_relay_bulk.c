/* Bulk through a relay: when it is spliced and when it is copied, what pipes and buffers cost, and one that comes from another worker with
 * bytes under way. */
#include "relay_world.h"

/* ---- bulk --------------------------------------------------------------------------------------------------------------- */

static uint8_t block[RELAY_BUFFER_SIZE], heard[RELAY_BUFFER_SIZE];

/* So many bytes from one end to the other. */
static void pass(int from, int to, size_t len)
{
	for (size_t i = 0; i < len; i++)
		block[i] = (uint8_t)(block[i] + i + len);
	assert_int_equal(__real_send(from, block, len, 0), (ssize_t)len);
	turn(&loop);
	size_t n = 0;
	for (ssize_t one; n < len && (one = __real_recv(to, heard + n, len - n, MSG_DONTWAIT)) > 0;)
		n += (size_t)one;
	assert_int_equal(n, len);
	assert_memory_equal(block, heard, len);
}

static void bulk_is_spliced_and_small_amounts_are_copied(void **state)
{
	start_sockets();
	n_inline = 0;
	pass(client, server, RELAY_BUFFER_SIZE / 2 - 1);
	pass(client, server, RELAY_BUFFER_SIZE / 2);
	pass(client, server, 100);
	pass(client, server, RELAY_BUFFER_SIZE / 2);
	pass(client, server, RELAY_BUFFER_SIZE / 2);
	assert_int_equal(splices.calls, 0);
	assert_null(relay.up.pipe);
	assert_int_equal(n_inline, 0);
	pass(client, server, 100);
	assert_non_null(relay.up.pipe);
	assert_null(relay.down.pipe);
	assert_int_equal(n_inline, 1);
	assert_int_equal(splices.calls, 3); /* in, out, nothing more */
	assert_int_equal(relay.up.bytes, 4 * (RELAY_BUFFER_SIZE / 2) - 1 + 200);

	pass(client, server, RELAY_BUFFER_SIZE / 4);
	assert_int_equal(relay.up.streak, 0);
	for (int i = 0; i < 8; i++) {
		assert_non_null(relay.up.pipe);
		pass(client, server, RELAY_BUFFER_SIZE / 4 - 1);
	}
	splices.calls = recvs.calls = 0;
	pass(client, server, 100);
	assert_null(relay.up.pipe);
	assert_int_equal(splices.calls, 0);
	assert_non_null(pool->spare_pipes);
	assert_int_equal(pool->n_pipes, 1);
	pass(client, server, RELAY_BUFFER_SIZE / 2); /* and all over again */
	pass(client, server, RELAY_BUFFER_SIZE / 2);
	pass(client, server, 100);
	assert_non_null(relay.up.pipe);
	assert_null(pool->spare_pipes);
	assert_int_equal(pool->n_pipes, 1);
}

static void bulk_up(void)
{
	start_sockets();
	pass(client, server, RELAY_BUFFER_SIZE / 2);
	pass(client, server, RELAY_BUFFER_SIZE / 2);
}

static void a_pipe_that_the_sink_does_not_empty_is_emptied_later(void **state)
{
	bulk_up();
	SCRIPT(&splices, 10, 1, -EAGAIN, -EINTR);
	say(client, "0123456789");
	turn_after(&loop, SECOND_US);
	assert_int_equal(relay.up.in_pipe, 9);
	assert_int_equal(relay.up.bytes, RELAY_BUFFER_SIZE + 1);
	splices.calls = 0;
	say(client, "abc");
	turn(&loop);
	assert_int_equal(splices.calls, 0); /* only into an empty pipe */
	clock_us += SECOND_US;
	loop.now_us = clock_us;
	server_event(EPOLLOUT);
	assert_hears(server, "0123456789abc");
	assert_int_equal(relay.up.bytes, RELAY_BUFFER_SIZE + 13);
	assert_int_equal(relay.moved_us, clock_us);
}

static void a_reset_is_seen_where_a_pipe_is_full(void **state)
{
	bulk_up();
	SCRIPT(&splices, 10, 4, -EAGAIN);
	say(client, "0123456789");
	turn(&loop);
	client_event(EPOLLERR);
	turn(&loop);
	assert_over(RELAY_CLIENT_RESET);
	world_end(RELAY_CLIENT_RESET);
	assert_null(pool->spare_pipes); /* with bytes in it nobody else has a use for it */
	assert_int_equal(pool->n_pipes, 0);
}

static void a_sink_that_fails_while_splicing_was_reset(void **state)
{
	bulk_up();
	SCRIPT(&splices, 10, -EPIPE);
	say(client, "0123456789");
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static void a_sink_that_takes_no_byte_of_a_pipe_was_reset(void **state)
{
	bulk_up();
	SCRIPT(&splices, 10, 0);
	say(client, "0123456789");
	turn(&loop);
	assert_over(RELAY_SERVER_RESET);
}

static void a_source_that_fails_while_splicing_was_reset(void **state)
{
	bulk_up();
	SCRIPT(&splices, -EINTR, -ECONNRESET);
	client_event(EPOLLIN);
	turn(&loop);
	assert_int_equal(splices.calls, 2);
	assert_over(RELAY_CLIENT_RESET);
}

static void what_cannot_be_spliced_is_copied(void **state)
{
	bulk_up();
	SCRIPT(&splices, -EINVAL);
	pass(client, server, 100);
	assert_true(relay.up.copy_only);
	assert_null(relay.up.pipe);
	assert_non_null(pool->spare_pipes);
	for (int i = 0; i < 3; i++)
		pass(client, server, RELAY_BUFFER_SIZE / 2);
	assert_int_equal(splices.calls, 1);
}

static void an_end_while_splicing_is_passed_on(void **state)
{
	bulk_up();
	pass(client, server, 100);
	assert_non_null(relay.up.pipe);
	shutdown(client, SHUT_WR);
	turn(&loop);
	assert_hears_end(server);
	assert_null(relay.up.pipe);
	assert_non_null(pool->spare_pipes);
}

static void urgent_bytes_end_splicing(void **state)
{
	bulk_up();
	pass(client, server, 100);
	assert_non_null(relay.up.pipe);
	say(client, "x");
	client_event(EPOLLIN | EPOLLPRI);
	assert_null(relay.up.pipe);
	assert_hears(server, "x");
}

static void some_pairs_are_never_spliced(void **state)
{
	start_sockets();
	relay.client.is_unix = true;
	for (int i = 0; i < 4; i++)
		pass(client, server, RELAY_BUFFER_SIZE / 2);
	assert_int_equal(splices.calls, 0);
	for (int i = 0; i < 3; i++)
		pass(server, client, RELAY_BUFFER_SIZE / 2);
	assert_int_not_equal(splices.calls, 0);
}

/* What is read from a UNIX socket may be cut short where descriptors came along. */
static void a_unix_source_is_read_until_it_is_empty_where_it_was_cut(void **state)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec part = { .iov_base = (void *)(uintptr_t) "a", .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};

	start_sockets();
	relay.client.is_unix = true;
	CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(sizeof(int));
	CMSG_FIRSTHDR(&m)->cmsg_level = SOL_SOCKET;
	CMSG_FIRSTHDR(&m)->cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &server, sizeof(int));
	assert_int_equal(sendmsg(client, &m, 0), 1);
	say(client, "bc");
	turn(&loop);
	assert_hears(server, "abc");
}

static void where_there_are_no_more_pipes_bytes_are_copied(void **state)
{
	struct relay_pipe *taken[RELAY_PIPES_MAX];

	for (size_t i = 0; i < RELAY_PIPES_MAX; i++)
		assert_non_null(taken[i] = relay_pool_take_pipe(pool));
	assert_null(relay_pool_take_pipe(pool));
	start_sockets();
	for (int i = 0; i < 4; i++)
		pass(client, server, RELAY_BUFFER_SIZE / 2);
	assert_int_equal(splices.calls, 0);
	assert_null(relay.up.pipe);
	for (size_t i = 0; i < RELAY_PIPES_MAX; i++)
		relay_pool_give_pipe(pool, taken[i], true);
	assert_non_null(taken[0] = relay_pool_take_pipe(pool));
	relay_pool_give_pipe(pool, taken[0], true);
}

/* ---- resumed ------------------------------------------------------------------------------------------------------------ */

static void wire(uint64_t moved_us)
{
	unix_pair(&client, &relay.client);
	unix_pair(&server, &relay.server);
	loop.now_us = clock_us;
	relay.moved_us = moved_us;
	relay.end = RELAY_IDLE; /* whatever it was */
}

static void one_from_another_worker_goes_on(void **state)
{
	wire(clock_us - SECOND_US);
	relay.up = (struct relay_flow){
		.pending = relay_pool_take_buffer(pool), .pending_at = 2, .pending_len = 5, .bytes = 100
	};
	memcpy(relay.up.pending, "xxabc", 5);
	say(server, "there");
	relay_resume(&relay);
	assert_true(relay.up.readable && relay.up.writable && relay.down.readable && relay.down.writable);
	assert_true(relay_is_running(&relay));
	assert_int_equal(n_inline, 2);
	assert_true(relay.turn.queued);
	turn(&loop);
	assert_hears(server, "abc");
	assert_hears(client, "there");
	assert_int_equal(relay.up.bytes, 103);
	turn_after(&loop, IDLE_US - 1);
	assert_int_equal(ends_told, 0);
	turn_after(&loop, 1);
	assert_over(RELAY_IDLE);
}

static void one_that_moved_long_ago_has_the_rest_of_its_time(void **state)
{
	wire(clock_us - SECOND_US);
	relay_resume(&relay);
	turn(&loop);
	turn_after(&loop, IDLE_US - SECOND_US - 1);
	assert_int_equal(ends_told, 0);
	turn_after(&loop, 1);
	assert_over(RELAY_IDLE);
}

static void one_that_lingers_does_so_for_a_while(void **state)
{
	wire(clock_us);
	relay.lingering = true;
	relay.up.discard = relay.up.told = relay.down.told = relay.down.ended = true;
	relay_resume(&relay);
	turn_after(&loop, LINGER_US - 1);
	assert_int_equal(ends_told, 0);
	turn_after(&loop, 1);
	assert_over(RELAY_FINISHED);
}

static void one_that_cannot_be_resumed_ends(void **state)
{
	wire(clock_us);
	SCRIPT(&reallocs, -1);
	relay_resume(&relay);
	assert_int_equal(ends_told, 0);
	turn(&loop);
	assert_over(RELAY_NO_MEMORY);
}

/* ---- the pool ----------------------------------------------------------------------------------------------------------- */

static void sixteen_buffers_are_kept(void **state)
{
	uint8_t *buffers[20];

	for (size_t i = 0; i < 20; i++) {
		assert_non_null(buffers[i] = relay_pool_take_buffer(pool));
		memset(buffers[i], (int)i, RELAY_BUFFER_SIZE);
	}
	for (size_t i = 0; i < 20; i++)
		relay_pool_give_buffer(pool, buffers[i]);
	relay_pool_give_buffer(pool, NULL);
	assert_int_equal(pool->n_spare_buffers, 16);
	mallocs.calls = 0;
	for (size_t i = 0; i < 16; i++)
		assert_non_null(buffers[i] = relay_pool_take_buffer(pool));
	assert_int_equal(mallocs.calls, 0);
	assert_int_equal(pool->n_spare_buffers, 0);
	for (size_t i = 0; i < 16; i++)
		relay_pool_give_buffer(pool, buffers[i]);
}

/* What the kernel gives to who asks for so much. */
static int largest_pipe(void)
{
	int ends[2];

	pipe_pair(ends);
	fcntl(ends[0], F_SETPIPE_SZ, RELAY_PIPE_SIZE);
	int size = fcntl(ends[0], F_GETPIPE_SZ);
	close(ends[0]);
	close(ends[1]);
	return size;
}

static void a_pipe_is_as_large_as_the_kernel_allows(void **state)
{
	int largest = largest_pipe();
	struct relay_pipe *pipe = relay_pool_take_pipe(pool);

	assert_non_null(pipe);
	assert_false(pipe->is_foreign);
	assert_int_equal(fcntl(pipe->in, F_GETPIPE_SZ), largest);
	assert_int_equal(fcntl(pipe->in, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	assert_int_equal(fcntl(pipe->out, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(__real_write(pipe->out, "x", 1), 1);
	assert_hears(pipe->in, "x");
	relay_pool_give_pipe(pool, pipe, true);
	assert_ptr_equal(relay_pool_take_pipe(pool), pipe);
	relay_pool_give_pipe(pool, pipe, false);
	assert_int_equal(pool->n_pipes, 0);
	relay_pool_give_pipe(pool, NULL, true);
}

static void a_pipe_of_another_worker_is_for_one_direction_alone(void **state)
{
	int ends[2];

	pipe_pair(ends);
	struct relay_pipe *pipe = relay_pool_adopt_pipe(pool, ends[0], ends[1]);
	assert_non_null(pipe);
	assert_int_equal(pipe->in, ends[0]);
	assert_int_equal(pipe->out, ends[1]);
	assert_int_equal(pool->n_pipes, 1);
	relay_pool_give_pipe(pool, pipe, true);
	assert_null(pool->spare_pipes);
	assert_int_equal(pool->n_pipes, 0);
}

static void a_pipe_that_cannot_be_had_leaves_nothing_behind(void **state)
{
	SCRIPT(&pipes, -EMFILE);
	assert_null(relay_pool_take_pipe(pool));
	SCRIPT(&mallocs, -1);
	assert_null(relay_pool_take_pipe(pool));
	assert_int_equal(pool->n_pipes, 0);
}

static void a_pool_without_memory_is_none(void **state)
{
	SCRIPT(&mallocs, -1);
	assert_null(relay_pool_new());
	relay_pool_free(NULL);
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(bulk_is_spliced_and_small_amounts_are_copied),
		UNIT(a_pipe_that_the_sink_does_not_empty_is_emptied_later),
		UNIT(a_reset_is_seen_where_a_pipe_is_full),
		UNIT(a_sink_that_fails_while_splicing_was_reset),
		UNIT(a_sink_that_takes_no_byte_of_a_pipe_was_reset),
		UNIT(a_source_that_fails_while_splicing_was_reset),
		UNIT(what_cannot_be_spliced_is_copied),
		UNIT(an_end_while_splicing_is_passed_on),
		UNIT(urgent_bytes_end_splicing),
		UNIT(some_pairs_are_never_spliced),
		UNIT(a_unix_source_is_read_until_it_is_empty_where_it_was_cut),
		UNIT(where_there_are_no_more_pipes_bytes_are_copied),
		UNIT(one_from_another_worker_goes_on),
		UNIT(one_that_moved_long_ago_has_the_rest_of_its_time),
		UNIT(one_that_lingers_does_so_for_a_while),
		UNIT(one_that_cannot_be_resumed_ends),
		UNIT(sixteen_buffers_are_kept),
		UNIT(a_pipe_is_as_large_as_the_kernel_allows),
		UNIT(a_pipe_of_another_worker_is_for_one_direction_alone),
		UNIT(a_pipe_that_cannot_be_had_leaves_nothing_behind),
		UNIT(a_pool_without_memory_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
