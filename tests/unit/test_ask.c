/* Access programs as the master runs them: every one is answered once, in time, and none is left. */
#include "ask.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_US 2000000

static struct loop loop;
static struct asks asks;
static int asker, n_answers;
static bool last_admitted;
static uint64_t last_number;
static struct timer tick;

static void answered(struct asks *of, void *who, uint64_t number, bool admitted)
{
	assert_ptr_equal(of, &asks);
	assert_ptr_equal(who, &asker);
	n_answers++;
	last_number = number;
	last_admitted = admitted;
	if (asks.count <= 1)
		loop_stop(&loop);
}

/* Instead of SIGCHLD: whoever ended is reaped every few milliseconds. */
static void reap(struct timer *timer)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		assert_true(asks_reap(&asks, pid, status));
	loop_timer(&loop, timer, loop.now_us + 5000);
}

static int setup(void **state)
{
	loop_init(&loop);
	asks = (struct asks){ .loop = &loop, .answered = answered };
	tick = (struct timer){ .fired = reap };
	n_answers = 0;
	return loop_timer(&loop, &tick, 0);
}

static int teardown(void **state)
{
	asks_fini(&asks);
	while (waitpid(-1, NULL, 0) > 0)
		;
	loop_fini(&loop);
	return 0;
}

static bool for_flows;

static int begin_for(const char *script, uint64_t number, const char *service, const char *client)
{
	char shell[] = "/bin/sh", option[] = "-c", *argv[] = { shell, option, (char *)script, NULL };
	const struct program program = { .argv = argv, .stdio = STDIO_SOCKET };
	struct message_spawn request = { .program = PROGRAM_ACCESS, .is_datagram = for_flows };

	address_parse(&request.client, client);
	address_parse(&request.local, "198.51.100.1:443");
	strcpy(request.protocol, "ssh");
	return asks_begin(&asks, &program, service, &request, TIMEOUT_US, &asker, number);
}

static int begin(const char *script, uint64_t number)
{
	return begin_for(script, number, "shell", "192.0.2.7:1234");
}

static bool verdict(const char *script)
{
	int before = n_answers;

	loop.stopping = false;
	assert_int_equal(begin(script, 42), 0);
	loop_run(&loop);
	assert_int_equal(n_answers, before + 1);
	assert_int_equal(last_number, 42);
	return last_admitted;
}

static void the_exit_status_is_the_answer(void **state)
{
	assert_true(verdict("exit 0"));
	assert_false(verdict("exit 1"));
	assert_false(verdict("exit 127"));
	assert_false(verdict("kill -9 $$"));
	assert_false(verdict("kill -TERM $$"));
}

static void it_is_told_the_facts(void **state)
{
	assert_true(
		verdict("test $REMOTE_ADDR:$REMOTE_PORT = 192.0.2.7:1234 -a $TCPREMOTEIP = 192.0.2.7 "
			"-a $TCPLOCALPORT = 443 -a $USHER_SERVICE = shell -a $USHER_PROTOCOL = ssh -a $PROTO = TCP"));
}

static void it_has_nothing_to_read_and_nowhere_to_write(void **state)
{
	assert_true(verdict("for fd in 0 1 2; do test $(readlink /proc/$$/fd/$fd) = /dev/null || exit 1; done; "
			    "test $(ls /proc/$$/fd | wc -l) -le 4 && ! read line"));
}

static void one_that_does_not_answer_in_time_is_refused_and_killed(void **state)
{
	uint64_t from_us = clock_monotonic_us();

	assert_false(verdict("sleep 60"));
	uint64_t took_us = clock_monotonic_us() - from_us;
	assert_true(took_us >= TIMEOUT_US);
	for (int i = 0; i < 12000 && asks.count; i++) {
		usleep(5000);
		reap(&tick);
	}
	assert_int_equal(asks.count, 0);
	assert_int_equal(n_answers, 1);
}

static void a_program_that_is_not_there_is_an_error_and_no_answer(void **state)
{
	char path[] = "/nonexistent/program", *argv[] = { path, NULL };
	const struct program program = { .argv = argv, .stdio = STDIO_SOCKET };
	const struct message_spawn request = { .program = PROGRAM_ACCESS };

	assert_int_equal(asks_begin(&asks, &program, "shell", &request, TIMEOUT_US, &asker, 1), -ENOENT);
	assert_int_equal(asks.count, 0);
}

static void nobody_is_told_for_an_asker_that_is_gone(void **state)
{
	assert_int_equal(begin("sleep 60", 1), 0);
	assert_int_equal(begin("sleep 60", 2), 0);
	asks_forget(&asks, &asker);
	for (int i = 0; i < 12000 && asks.count; i++) {
		usleep(5000);
		reap(&tick);
	}
	assert_int_equal(asks.count, 0);
	assert_int_equal(n_answers, 0);
}

/* From as many sources, none of which has too many. */
static unsigned begin_until_refused(const char *service, unsigned most)
{
	unsigned n = 0;
	char client[64];

	do
		snprintf(client, sizeof(client), "192.0.2.%u:1234", 1 + n % 200);
	while (begin_for("exit 0", n, service, client) == 0 && ++n < most);
	return n;
}

static void wait_for_all(void)
{
	while (asks.count) {
		usleep(5000);
		reap(&tick);
	}
}

static void many_at_once_and_not_too_many(void **state)
{
	assert_int_equal(begin_until_refused("one", ASKS_MAX), ASKS_OF_A_SERVICE);
	assert_int_equal(begin_until_refused("two", ASKS_MAX), ASKS_OF_A_SERVICE);
	assert_int_equal(asks.count, ASKS_MAX);
	wait_for_all();
	assert_int_equal(n_answers, ASKS_MAX);
}

static void every_service_has_some_of_its_own(void **state)
{
	assert_int_equal(begin_until_refused("one", ASKS_MAX), ASKS_OF_A_SERVICE);
	assert_int_equal(begin_until_refused("two", ASKS_MAX), ASKS_OF_A_SERVICE);
	assert_int_equal(begin_until_refused("three", ASKS_MAX), ASKS_KEPT);
	assert_int_equal(begin_until_refused("four", ASKS_MAX), ASKS_KEPT);
	wait_for_all();
}

static void a_source_has_its_share_of_a_service(void **state)
{
	for (unsigned i = 0; i < ASKS_OF_A_SOURCE; i++)
		assert_int_equal(begin_for("exit 0", i, "one", "192.0.2.1:1"), 0);
	assert_int_equal(begin_for("exit 0", 1, "one", "192.0.2.1:2"), -EAGAIN);
	assert_int_equal(begin_for("exit 0", 2, "one", "192.0.2.2:1"), 0);
	assert_int_equal(begin_for("exit 0", 3, "two", "192.0.2.1:1"), 0);
	for_flows = true; /* whose address anybody can forge */
	assert_int_equal(begin_for("exit 0", 4, "one", "192.0.2.1:3"), 0);
	for_flows = false;
	wait_for_all();
}

#define ASK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ASK_TEST(the_exit_status_is_the_answer),
		ASK_TEST(it_is_told_the_facts),
		ASK_TEST(it_has_nothing_to_read_and_nowhere_to_write),
		ASK_TEST(one_that_does_not_answer_in_time_is_refused_and_killed),
		ASK_TEST(a_program_that_is_not_there_is_an_error_and_no_answer),
		ASK_TEST(nobody_is_told_for_an_asker_that_is_gone),
		ASK_TEST(many_at_once_and_not_too_many),
		ASK_TEST(every_service_has_some_of_its_own),
		ASK_TEST(a_source_has_its_share_of_a_service),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
