/* The event loop: what is held, what is watched, and whose events are whose. */
#include "loop.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct end {
	struct watch watch;
	int other; /* of the pair */
	unsigned called;
	uint32_t events;
};

static struct loop loop;
static struct task stop;

static void stop_run(struct task *task)
{
	loop_stop(&loop);
}

/* One turn: whatever is ready is delivered once. */
static void turn(void)
{
	loop.stopping = false;
	stop.run = stop_run;
	loop_defer(&loop, &stop);
	assert_int_equal(loop_run(&loop), 0);
}

static void count(struct watch *watch, uint32_t events)
{
	struct end *end = container_of(watch, struct end, watch);
	end->called++;
	end->events = events;
}

/* Returns the near end of a pair, which something can be read from. */
static int readable_pair(struct end *end)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	*end = (struct end){ .watch = { .fd = -1, .ready = count }, .other = fds[1] };
	assert_int_equal(write(fds[1], "x", 1), 1);
	return fds[0];
}

static void end_close(struct end *end)
{
	close(loop_unwatch(&loop, &end->watch));
	close(end->other);
}

static int setup(void **state)
{
	return loop_init(&loop);
}

static int teardown(void **state)
{
	loop_fini(&loop);
	return 0;
}

static void what_is_held_is_not_watched_until_it_is_asked_for(void **state)
{
	struct end end;

	int fd = readable_pair(&end);
	loop_hold(&end.watch, fd);
	assert_int_equal(end.watch.fd, fd);
	turn();
	assert_int_equal(end.called, 0);
	assert_int_equal(loop_watch_held(&loop, &end.watch, EPOLLIN | EPOLLET), 0);
	assert_int_equal(loop_watch_held(&loop, &end.watch, EPOLLIN | EPOLLET), 0); /* once more is no error */
	turn();
	turn();
	assert_int_equal(end.called, 1);
	assert_int_equal(end.events, EPOLLIN);
	end_close(&end);
}

static void what_is_held_is_given_back(void **state)
{
	struct end end;
	int fd = readable_pair(&end);

	loop_hold(&end.watch, fd);
	assert_int_equal(loop_unwatch(&loop, &end.watch), fd);
	assert_int_equal(end.watch.fd, -1);
	assert_int_equal(loop_unwatch(&loop, &end.watch), -1);
	close(fd);
	loop_hold(&end.watch, fd);
	assert_int_equal(loop_watch_held(&loop, &end.watch, EPOLLIN), -EBADF);
	assert_int_equal(end.watch.fd, fd);
	assert_int_equal(loop_watch(&loop, &end.watch, fd, EPOLLIN), -EBADF);
	assert_int_equal(end.watch.fd, -1);
	close(end.other);
}

/* In the middle of a turn: the one before it gives it another descriptor, where nothing is to be read. */
static struct end first, second;
static int quiet[2];

static void replace_second(struct watch *watch, uint32_t events)
{
	count(watch, events);
	close(loop_unwatch(&loop, &second.watch));
	assert_int_equal(loop_watch(&loop, &second.watch, quiet[0], EPOLLIN | EPOLLET), 0);
}

static void events_of_the_descriptor_before_are_nobodys(void **state)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, quiet), 0);
	int fds[] = { readable_pair(&first), readable_pair(&second) };
	first.watch.ready = replace_second;
	assert_int_equal(loop_watch(&loop, &first.watch, fds[0], EPOLLIN | EPOLLET), 0);
	assert_int_equal(loop_watch(&loop, &second.watch, fds[1], EPOLLIN | EPOLLET), 0);
	turn();
	assert_int_equal(first.called, 1);
	assert_int_equal(second.called, 0);
	assert_int_equal(write(quiet[1], "y", 1), 1);
	turn();
	assert_int_equal(second.called, 1);
	end_close(&first);
	end_close(&second);
	close(quiet[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_held_is_not_watched_until_it_is_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_held_is_given_back, setup, teardown),
		cmocka_unit_test_setup_teardown(events_of_the_descriptor_before_are_nobodys, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
