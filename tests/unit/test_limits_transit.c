/* Connections that move between workers: each counts once, on its way as well, whoever dies meanwhile; and a sum that is taken while many move
 * is never too small. */
#include "counters.h"
#include "hash.h"
#include "limits_transit.h"
#include "shared.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define OLD   3
#define NEW   250
#define THIRD 9

static struct limits *limits;
static uint64_t ssh, listener;
static struct address client;
static const struct access rules = { .max_connections = 100, .per_source = 100 };

struct held {
	struct limits_ticket ticket;
	uint32_t listener_place, undecided_place;
};

static int setup(void **state)
{
	ssh = hash_name("ssh");
	listener = hash_name("0.0.0.0:22");
	address_parse(&client, "192.0.2.1:1000");
	int error = limits_new(&limits, &(int){ -1 });
	for (unsigned i = 0; error == 0 && i < 3; i++)
		limits_begin(limits, (unsigned[]){ OLD, NEW, THIRD }[i]);
	return error;
}

static int teardown(void **state)
{
	limits_free(limits);
	return 0;
}

static void enter(unsigned slot, struct held *held)
{
	limits_enter_all(limits, slot, 0);
	limits_enter_listener(limits, slot, listener, UINT32_MAX, &held->listener_place);
	limits_enter_undecided(limits, slot, (struct limits_source){ 77 }, &held->undecided_place);
	limits_enter_again(
		limits, slot, &rules, ssh, (struct limits_source){ access_source(&client) }, &held->ticket);
}

static void leave(unsigned slot, struct held *held)
{
	limits_leave(limits, slot, &held->ticket);
	limits_leave_undecided(limits, slot, &held->undecided_place);
	limits_leave_listener(limits, slot, &held->listener_place);
	limits_leave_all(limits, slot);
}

static void send_one(unsigned slot, struct held *held)
{
	limits_transit_write(limits, slot,
		&(struct limits_transit){
			.ticket = held->ticket,
			.listener_place = held->listener_place,
			.is_undecided = true,
			.undecided_place = held->undecided_place,
			.counters = { 5, 6 },
		});
	limits_transit_sent(limits, slot);
	leave(slot, held);
}

static void take_one(unsigned slot, unsigned from, struct held *held)
{
	enter(slot, held);
	limits_transit_take(limits, slot, from);
}

/* Of everything there is the same number, as each of the limits finds it. */
static void assert_counted(uint32_t n)
{
	struct limits_ticket ticket;
	uint32_t place;

	assert_int_equal(limits_live_all(limits), n);
	assert_int_equal(limits_undecided(limits), n);
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ 0 }), n);
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ access_source(&client) }), n);
	assert_string_equal(limits_enter_listener(limits, THIRD, listener, n, &place), "max_connections");
	assert_null(limits_enter_listener(limits, THIRD, listener, n + 1, &place));
	limits_leave_listener(limits, THIRD, &place);
	for (int i = 0; i < 2; i++) {
		const struct access just = { .max_connections = i ? n : 0, .per_source = i ? 0 : n };
		if (n)
			assert_non_null(limits_enter(limits, THIRD, &just, ssh,
				(struct limits_source){ access_source(&client) }, 0, &ticket));
	}
	limits_enter_undecided(limits, THIRD, (struct limits_source){ 77 }, &place);
	assert_false(limits_over_undecided_here(limits, THIRD, place, n + 1));
	limits_leave_undecided(limits, THIRD, &place);
}

static uint64_t none(const void *of, uint64_t key)
{
	return 0;
}

static void begin(unsigned from, unsigned to)
{
	limits_transit_expect(limits, to, from);
	limits_transit_begin(limits, from, to);
}

static void a_connection_counts_once_wherever_it_is(void **state)
{
	struct held held[3];

	for (int i = 0; i < 3; i++)
		enter(OLD, &held[i]);
	assert_counted(3);
	begin(OLD, NEW);
	for (int i = 0; i < 3; i++) {
		send_one(OLD, &held[i]);
		assert_counted(3);
	}
	assert_int_equal(limits_transit_count(limits, OLD), 3);
	assert_int_equal(limits_sum_up(limits, 5, none, NULL), 3);
	assert_int_equal(limits_sum_up(limits, 7, none, NULL), 0);
	for (int i = 0; i < 3; i++) {
		take_one(NEW, OLD, &held[i]);
		assert_counted(3);
	}
	assert_int_equal(limits_transit_count(limits, OLD), 0);
	assert_int_equal(limits_sum_up(limits, 5, none, NULL), 0);
	for (int i = 0; i < 3; i++)
		leave(NEW, &held[i]);
	assert_counted(0);
}

static void one_that_counts_under_little_counts_under_that_on_its_way(void **state)
{
	limits_enter_all(limits, OLD, 0);
	begin(OLD, NEW);
	limits_transit_write(limits, OLD,
		&(struct limits_transit){ .ticket = { LIMITS_NONE, LIMITS_NONE }, .listener_place = LIMITS_NONE });
	limits_transit_sent(limits, OLD);
	limits_leave_all(limits, OLD);
	assert_int_equal(limits_live_all(limits), 1);
	assert_int_equal(limits_undecided(limits), 0);
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ 0 }), 0);
}

static void a_receiver_that_dies_takes_nothing_off_until_the_sender_knows(void **state)
{
	struct held held[4];

	begin(OLD, NEW);
	for (int i = 0; i < 4; i++) {
		enter(OLD, &held[i]);
		send_one(OLD, &held[i]);
	}
	take_one(NEW, OLD, &held[0]);
	assert_counted(4);
	limits_forget(limits, NEW);
	assert_counted(3);
	limits_transit_end(limits, OLD);
	assert_counted(0);
}

/* What it had sent is taken later, when the slot may be another worker's. */
static void a_sender_that_dies_leaves_nothing_behind(void **state)
{
	struct held held[2];

	begin(OLD, NEW);
	for (int i = 0; i < 2; i++) {
		enter(OLD, &held[i]);
		send_one(OLD, &held[i]);
	}
	limits_forget(limits, OLD);
	assert_counted(0);
	for (int i = 0; i < 2; i++)
		take_one(NEW, OLD, &held[i]);
	assert_counted(2);
	limits_begin(limits, OLD); /* another worker, to another one, and then to that one */
	begin(OLD, THIRD);
	assert_counted(2);
	begin(OLD, NEW);
	assert_counted(2);
}

static void a_worker_that_was_taken_over_adds_no_more_than_there_are_records(void **state)
{
	begin(OLD, NEW);
	for (unsigned i = 0; i < 100000; i++)
		limits_transit_sent(limits, OLD);
	assert_int_equal(limits_live_all(limits), LIMITS_TRANSIT_MAX);
	limits_transit_begin(limits, OLD, UINT32_MAX); /* a slot that does not exist */
	limits_transit_sent(limits, OLD);
	assert_true(limits_live_all(limits) <= 1);
}

/* ---- at once ---------------------------------------------------------------------------------------------------------------- */

enum { AT_ONCE = 20, MOVES = 200000 };

/* There and back. */
static void move_for_a_while(_Atomic int *done)
{
	struct held held[AT_ONCE];

	for (int i = 0; i < AT_ONCE; i++)
		enter(OLD, &held[i]);
	atomic_store(done, 1);
	for (unsigned round = 0; round < MOVES / AT_ONCE; round++) {
		unsigned from = round % 2 ? NEW : OLD, to = round % 2 ? OLD : NEW;
		begin(from, to);
		for (int i = 0; i < AT_ONCE + 2; i++) {
			if (i < AT_ONCE)
				send_one(from, &held[i]);
			if (i >= 2)
				take_one(to, from, &held[i - 2]);
		}
	}
	atomic_store(done, 2);
}

static void a_sum_is_never_too_small_while_connections_move(void **state)
{
	_Atomic int *done = mmap(NULL, sizeof(*done), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned sums = 0;

	pid_t pid = fork();
	if (pid == 0) {
		move_for_a_while(done);
		_exit(0);
	}
	while (atomic_load(done) == 0)
		;
	while (atomic_load(done) == 1) {
		uint64_t all = limits_live_all(limits),
			 service = limits_live(limits, ssh, (struct limits_source){ 0 });
		assert_true(all >= AT_ONCE && service >= AT_ONCE);
		sums++;
	}
	waitpid(pid, NULL, 0);
	print_message("%u sums while %d moved\n", sums, MOVES);
	munmap((void *)done, sizeof(*done));
}

static void what_is_open_is_summed_with_what_is_on_its_way(void **state)
{
	struct shared shared = NO_SHARED;
	struct counted counted;

	assert_int_equal(shared_open(&shared), 0);
	shared_begin(&shared, OLD);
	struct counter *counter = counter_get(shared.counters, OLD, COUNTER_SERVICE, "ssh");
	counter_open(counter);
	limits_transit_begin(shared.limits, OLD, NEW);
	limits_transit_write(shared.limits, OLD,
		&(struct limits_transit){ .ticket = { LIMITS_NONE, LIMITS_NONE },
			.listener_place = LIMITS_NONE,
			.counters = { counter_own_key(NULL), counter_own_key(counter) } });
	limits_transit_sent(shared.limits, OLD);
	counter_close(counter);
	shared_sum(&shared, COUNTER_SERVICE, "ssh", &counted);
	assert_int_equal(counted.open, 1);
	assert_int_equal(counted.total, 1);
	shared_sum(&shared, COUNTER_LISTENER, "ssh", &counted);
	assert_int_equal(counted.open, 0);
	shared_close(&shared);
}

#define TRANSIT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TRANSIT_TEST(a_connection_counts_once_wherever_it_is),
		TRANSIT_TEST(one_that_counts_under_little_counts_under_that_on_its_way),
		TRANSIT_TEST(a_receiver_that_dies_takes_nothing_off_until_the_sender_knows),
		TRANSIT_TEST(a_sender_that_dies_leaves_nothing_behind),
		TRANSIT_TEST(a_worker_that_was_taken_over_adds_no_more_than_there_are_records),
		TRANSIT_TEST(a_sum_is_never_too_small_while_connections_move),
		TRANSIT_TEST(what_is_open_is_summed_with_what_is_on_its_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
