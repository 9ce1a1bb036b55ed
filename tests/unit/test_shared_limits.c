/* Limits over processes: what they admit, that what is counted is given back, whole processes that die, and full tables. */
#include "hash.h"
#include "shared_limits.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SECOND 1000000ULL

static struct limits *limits;
static uint64_t ssh, web;

static int setup(void **state)
{
	ssh = hash_name("ssh");
	web = hash_name("web");
	return limits_new(&limits, &(int){ -1 });
}

static int teardown(void **state)
{
	limits_free(limits);
	return 0;
}

static struct address source(uint32_t number)
{
	struct address address = { .len = sizeof(address.in) };
	address.in.sin_family = AF_INET;
	address.in.sin_addr.s_addr = htonl(0x0a000000 + number);
	address.in.sin_port = htons(1234);
	return address;
}

static const char *enter(unsigned slot, const struct access *access, uint64_t service, uint32_t number,
	uint64_t now_us, struct limits_ticket *ticket)
{
	struct address client = source(number);
	limits_begin(limits, slot);
	return limits_enter(
		limits, slot, access, service, (struct limits_source){ access_source(&client) }, now_us, ticket);
}

static void a_source_has_so_many_over_all_workers(void **state)
{
	const struct access access = { .per_source = 2 };
	struct limits_ticket a, b, c, d;

	assert_null(enter(0, &access, ssh, 1, 0, &a));
	assert_null(enter(3, &access, ssh, 1, 0, &b));
	assert_string_equal(enter(1, &access, ssh, 1, 0, &c), "per_source");
	assert_null(enter(1, &access, ssh, 2, 0, &c)); /* another source */
	assert_null(enter(1, &access, web, 1, 0, &d)); /* another service */
	struct address client = source(1);
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ access_source(&client) }), 2);
	limits_leave(limits, 3, &b);
	assert_null(enter(1, &access, ssh, 1, 0, &b));
}

static void a_service_has_so_many_over_all_workers(void **state)
{
	const struct access access = { .max_connections = 3 };
	struct limits_ticket tickets[4];
	struct address local;

	limits_begin(limits, 7);
	address_parse(&local, "unix:/x");
	for (uint32_t i = 0; i < 2; i++)
		assert_null(enter(i, &access, ssh, i, 0, &tickets[i]));
	assert_null(limits_enter(limits, 2, &access, ssh, (struct limits_source){ access_source(&local) }, 0,
		&tickets[2])); /* of a UNIX socket: counts as well */
	assert_string_equal(enter(0, &access, ssh, 9, 0, &tickets[3]), "max_connections");
	assert_null(enter(0, &access, web, 9, 0, &tickets[3]));
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ 0 }), 3);
	limits_leave(limits, 1, &tickets[1]);
	assert_null(enter(0, &access, ssh, 9, 0, &tickets[1]));
}

static void who_is_refused_by_one_limit_is_counted_under_none(void **state)
{
	const struct access access = { .max_connections = 10, .per_source = 1 };
	struct limits_ticket kept, ticket;

	assert_null(enter(0, &access, ssh, 1, 0, &kept));
	for (int i = 0; i < 100; i++)
		assert_string_equal(enter(0, &access, ssh, 1, 0, &ticket), "per_source");
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ 0 }), 1);
	limits_leave(limits, 0, &ticket); /* harmless: it holds nothing */
	limits_leave(limits, 0, &kept);
	limits_leave(limits, 0, &kept);
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ 0 }), 0);
}

static void a_rate_lets_a_burst_in_and_then_one_at_a_time(void **state)
{
	const struct access access = { .rate = { 10, 6 * SECOND } }; /* 10 a minute */
	struct limits_ticket ticket;
	uint64_t now_us = 1000 * SECOND;

	for (unsigned i = 0; i < 10; i++)
		assert_null(enter(i % 4, &access, ssh, 1, now_us, &ticket));
	assert_string_equal(enter(2, &access, ssh, 1, now_us, &ticket), "rate");
	assert_null(enter(2, &access, ssh, 2, now_us, &ticket));
	assert_string_equal(enter(2, &access, ssh, 1, now_us + 6 * SECOND - 1, &ticket), "rate");
	assert_null(enter(2, &access, ssh, 1, now_us + 6 * SECOND, &ticket));
	assert_string_equal(enter(3, &access, ssh, 1, now_us + 6 * SECOND, &ticket), "rate");
	for (unsigned i = 0; i < 10; i++)
		assert_null(enter(i % 4, &access, ssh, 1, now_us + 100 * SECOND, &ticket));
	assert_string_equal(enter(0, &access, ssh, 1, now_us + 100 * SECOND, &ticket), "rate");
	/* A new rate after a reload begins afresh. */
	const struct access other = { .rate = { 5, SECOND } };
	assert_null(enter(0, &other, ssh, 1, now_us + 100 * SECOND, &ticket));
}

static void a_refusal_by_another_limit_costs_nothing_of_the_rate(void **state)
{
	const struct access access = { .per_source = 1, .rate = { 2, 10 * SECOND } };
	struct limits_ticket kept, ticket;

	assert_null(enter(0, &access, ssh, 1, SECOND, &kept));
	for (int i = 0; i < 5; i++)
		assert_string_equal(enter(0, &access, ssh, 1, SECOND, &ticket), "per_source");
	limits_leave(limits, 0, &kept);
	assert_null(enter(0, &access, ssh, 1, SECOND, &kept));
	limits_leave(limits, 0, &kept);
	assert_string_equal(enter(0, &access, ssh, 1, SECOND, &kept), "rate");
}

static void the_connections_of_programs_are_counted_by_the_master(void **state)
{
	const struct access access = {
		.per_source = 1, .max_connections = 1, .program = true, .rate = { 3, SECOND }
	};
	struct limits_ticket ticket;

	for (int i = 0; i < 3; i++)
		assert_null(enter(0, &access, ssh, 1, SECOND, &ticket));
	assert_string_equal(enter(0, &access, ssh, 1, SECOND, &ticket), "rate");
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ 0 }), 0);
}

static void without_rules_nothing_is_counted(void **state)
{
	const struct access access = { 0 };
	struct limits_ticket ticket;

	assert_null(enter(0, NULL, ssh, 1, 0, &ticket));
	assert_true(ticket.service == LIMITS_NONE && ticket.source == LIMITS_NONE);
	assert_null(enter(0, &access, ssh, 1, 0, &ticket));
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ 0 }), 0);
}

static void connections_in_all(void **state)
{
	limits_begin(limits, 200);
	for (unsigned i = 0; i < 5; i++)
		assert_null(limits_enter_all(limits, i, 5));
	assert_string_equal(limits_enter_all(limits, 0, 5), "max_connections");
	assert_int_equal(limits_live_all(limits), 5);
	limits_leave_all(limits, 4);
	assert_null(limits_enter_all(limits, 200, 5));
	assert_null(limits_enter_all(limits, 200, 0)); /* no limit */
	assert_int_equal(limits_live_all(limits), 6);
}

static void what_a_dead_worker_held_is_forgotten(void **state)
{
	const struct access access = { .max_connections = 3, .per_source = 3 };
	struct limits_ticket ticket;

	assert_null(enter(0, &access, ssh, 1, 0, &ticket));
	assert_null(limits_enter_all(limits, 0, 0));
	pid_t pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 2; i++) {
			enter(1, &access, ssh, 1, 0, &ticket);
			limits_enter_all(limits, 1, 0);
		}
		raise(SIGKILL);
	}
	waitpid(pid, NULL, 0);
	assert_string_equal(enter(0, &access, ssh, 2, 0, &ticket), "max_connections");
	assert_int_equal(limits_live_all(limits), 3);
	limits_forget(limits, 1);
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ 0 }), 1);
	assert_int_equal(limits_live_all(limits), 1);
	assert_null(enter(1, &access, ssh, 1, 0, &ticket));
	assert_null(enter(1, &access, ssh, 1, 0, &ticket));
	assert_string_equal(enter(1, &access, ssh, 1, 0, &ticket), "max_connections");
}

static void a_full_table_refuses_the_sources_that_it_does_not_know(void **state)
{
	const struct access access = { .per_source = 5 };
	struct limits_ticket ticket, *tickets = calloc(LIMITS_ENTRIES, sizeof(*tickets));
	uint32_t in = 0, number = 0;

	for (; number < LIMITS_ENTRIES * 2; number++) {
		const char *refused = enter(0, &access, ssh, number, 0, &ticket);
		if (!refused && in < LIMITS_ENTRIES)
			tickets[in++] = ticket;
		else
			assert_string_equal(refused, "sources");
	}
	print_message("%u of %u places were filled\n", in, LIMITS_ENTRIES);
	assert_true(in > LIMITS_ENTRIES / 10 * 9 && in <= LIMITS_ENTRIES);
	struct address unknown = source(number);
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ access_source(&unknown) }), 0);
	assert_null(enter(0, &access, ssh, 0, 0, &ticket));      /* one that is known */
	assert_null(enter(1, &access, ssh, number, 0, &ticket)); /* another worker's table */
	for (uint32_t i = 0; i < in; i++)
		limits_leave(limits, 0, &tickets[i]);
	for (uint32_t i = 0; i < LIMITS_ENTRIES / 2; i++)
		assert_null(enter(0, &access, ssh, LIMITS_ENTRIES * 3 + i, 0, &ticket));
	free(tickets);
}

/* A client with a /48 of IPv6, and one who came before it and has used up what it may. */
static void a_full_table_of_rates_forgets_who_has_used_least_and_lets_new_sources_in(void **state)
{
	const struct access access = { .rate = { 3, 60 * SECOND } };
	struct limits_ticket ticket;
	const uint32_t known = 1u << 31;
	unsigned forgotten = 0;

	for (uint32_t n = 0; n < 64; n++)
		for (int i = 0; i < 3; i++)
			assert_null(enter(0, &access, ssh, known + n, SECOND, &ticket));
	for (uint32_t i = 0; i < LIMITS_RATES * 2; i++)
		assert_null(enter(0, &access, ssh, i, SECOND + 1, &ticket));
	for (uint32_t n = 0; n < 64; n++)
		forgotten += enter(0, &access, ssh, known + n, SECOND + 2, &ticket) == NULL;
	assert_int_equal(forgotten, 0);
}

/* ---- several processes at once -------------------------------------------------------------------------------------------- */

struct shared {
	_Atomic int inside[64]; /* by source, as counted from outside */
	_Atomic int most, broken, admitted;
};

/* Comes and goes; looks whether more are inside than may be. */
static void hammer(unsigned slot, struct shared *shared, const struct access *access)
{
	struct limits_ticket tickets[32];
	uint32_t sources[32];
	unsigned seed = slot, held = 0;

	for (int i = 0; i < 60000; i++) {
		bool in = held < 32 && rand_r(&seed) % 2;
		if (in) {
			uint32_t number = (uint32_t)rand_r(&seed) % 64;
			if (enter(slot, access, ssh, number, 0, &tickets[held]))
				continue;
			int now = atomic_fetch_add(&shared->inside[number], 1) + 1;
			if (now > (int)access->per_source)
				atomic_fetch_add(&shared->broken, 1);
			atomic_fetch_add(&shared->admitted, 1);
			sources[held++] = number;
		} else if (held) {
			unsigned which = (unsigned)rand_r(&seed) % held;
			atomic_fetch_sub(&shared->inside[sources[which]], 1);
			limits_leave(limits, slot, &tickets[which]);
			tickets[which] = tickets[--held];
			sources[which] = sources[held];
		}
	}
	while (held) {
		atomic_fetch_sub(&shared->inside[sources[--held]], 1);
		limits_leave(limits, slot, &tickets[held]);
	}
}

static void many_processes_never_get_more_in_than_may_be(void **state)
{
	const struct access access = { .per_source = 3, .max_connections = 100 };
	struct shared *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[6];

	for (unsigned i = 0; i < 6; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			hammer(i, shared, &access);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < 6; i++) {
		int status = 0;
		waitpid(pids[i], &status, 0);
		assert_int_equal(status, 0);
	}
	print_message("%d admitted\n", shared->admitted);
	assert_int_equal(shared->broken, 0);
	assert_true(shared->admitted > 10000);
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ 0 }), 0);
	for (uint32_t i = 0; i < 64; i++) {
		struct address client = source(i);
		assert_int_equal(limits_live(limits, ssh, (struct limits_source){ access_source(&client) }), 0);
	}
	munmap(shared, sizeof(*shared));
}

static void many_processes_share_one_rate(void **state)
{
	const struct access access = { .rate = { 1000, 3600 * SECOND } };
	struct shared *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (unsigned i = 0; i < 4; i++) {
		if (fork())
			continue;
		struct limits_ticket ticket;
		for (int k = 0; k < 2000; k++)
			if (!enter(i, &access, ssh, 1, SECOND, &ticket))
				atomic_fetch_add(&shared->admitted, 1);
		_exit(0);
	}
	while (wait(NULL) > 0)
		;
	assert_int_equal(shared->admitted, 1000);
	munmap(shared, sizeof(*shared));
}

static void connections_of_one_listener(void **state)
{
	uint64_t here = hash_name("0.0.0.0:443"), there = hash_name("[::]:443");
	const struct access access = { .max_connections = 1 };
	struct limits_ticket ticket;
	uint32_t places[4];

	limits_begin(limits, 7);
	assert_null(limits_enter_listener(limits, 0, here, 2, &places[0]));
	assert_null(limits_enter_listener(limits, 5, here, 2, &places[1]));
	assert_string_equal(limits_enter_listener(limits, 1, here, 2, &places[2]), "max_connections");
	assert_int_equal(places[2], LIMITS_NONE);
	limits_leave_listener(limits, 1, &places[2]); /* harmless: it holds nothing */
	assert_null(limits_enter_listener(limits, 1, there, 1, &places[3]));
	/* A service of the same name is another thing. */
	assert_null(enter(1, &access, there, 1, 0, &ticket));
	limits_leave_listener(limits, 5, &places[1]);
	limits_leave_listener(limits, 5, &places[1]);
	assert_null(limits_enter_listener(limits, 1, here, 2, &places[2]));
	limits_forget(limits, 0);
	assert_null(limits_enter_listener(limits, 1, here, 2, &places[0]));
	assert_string_equal(limits_enter_listener(limits, 0, here, 2, &places[1]), "max_connections");
}

static void what_comes_from_another_worker_is_counted_whatever_the_limits(void **state)
{
	const struct access access = { .max_connections = 1, .per_source = 1 },
			    program = { .max_connections = 1, .program = true };
	struct limits_ticket first, again, none;
	struct address client = source(1), local;

	address_parse(&local, "unix:/x");
	assert_null(enter(0, &access, ssh, 1, 0, &first));
	limits_enter_again(limits, 0, &access, ssh, (struct limits_source){ access_source(&client) }, &again);
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ 0 }), 2);
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ access_source(&client) }), 2);
	limits_leave(limits, 0, &first);
	assert_string_equal(enter(0, &access, ssh, 1, 0, &first), "max_connections");
	limits_leave(limits, 0, &again);
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ 0 }), 0);
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ access_source(&client) }), 0);
	limits_enter_again(limits, 0, NULL, ssh, (struct limits_source){ access_source(&client) }, &none);
	assert_true(none.service == LIMITS_NONE && none.source == LIMITS_NONE);
	limits_enter_again(limits, 0, &program, ssh, (struct limits_source){ access_source(&client) }, &none);
	assert_true(none.service == LIMITS_NONE && none.source == LIMITS_NONE);
	limits_enter_again(limits, 0, &access, ssh, (struct limits_source){ access_source(&local) }, &none);
	assert_int_equal(none.source, LIMITS_NONE);
	assert_int_equal(limits_live(limits, ssh, (struct limits_source){ 0 }), 1);
	limits_leave(limits, 0, &none);
}

/* What it writes there is what all see; the others' slots it cannot write. */
static void a_worker_sees_all_and_writes_its_own(void **state)
{
	const struct access access = { .per_source = 2, .rate = { 10, SECOND } };
	struct limits_ticket ticket;
	struct limits *own, *view;
	int fd = -1, status;

	assert_int_equal(limits_new(&own, &fd), 0);
	limits_begin(own, 1);
	assert_int_equal(limits_view(fd, 1, &view), 0);
	struct address client = source(1);
	assert_null(limits_enter(
		view, 1, &access, ssh, (struct limits_source){ access_source(&client) }, SECOND, &ticket));
	assert_null(limits_enter(
		own, 0, &access, ssh, (struct limits_source){ access_source(&client) }, SECOND, &ticket));
	assert_int_equal(limits_live(own, ssh, (struct limits_source){ access_source(&client) }), 2);
	assert_int_equal(limits_live(view, ssh, (struct limits_source){ access_source(&client) }), 2);
	assert_string_equal(limits_enter(view, 1, &access, ssh, (struct limits_source){ access_source(&client) },
				    SECOND, &ticket),
		"per_source");
	pid_t pid = fork();
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		limits_enter_all(view, 0, 0);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	assert_int_equal(limits_view(-1, 0, &view), -EBADF);
	munmap(view, limits_size());
	limits_free(own);
	assert_int_equal(msync(own, 4096, MS_ASYNC), -1); /* it is not mapped any more */
	assert_int_equal(errno, ENOMEM);
	limits_free(NULL);
	/* Another image of the master maps the same. */
	assert_int_equal(limits_new(&own, &fd), 0);
	assert_int_equal(limits_live(own, ssh, (struct limits_source){ access_source(&client) }), 2);
	limits_free(own);
	close(fd);
}

static void a_slot_counts_for_no_more_than_a_process_can_have(void **state)
{
	struct limits *small;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		const struct rlimit limit = { 100, 100 };
		setrlimit(RLIMIT_NOFILE, &limit);
		if (limits_new(&small, &(int){ -1 }) < 0)
			_exit(1);
		for (int i = 0; i < 100; i++)
			limits_enter_all(small, 0, 0);
		if (limits_live_all(small) != 0)
			_exit(2); /* no slot was begun */
		limits_begin(small, 0);
		if (limits_live_all(small) != 100)
			_exit(3);
		limits_enter_all(small, 0, 0);
		_exit(limits_live_all(small) == 100 ? 0 : 4);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

static void slots_that_are_begun_again_stay(void **state)
{
	limits_begin(limits, 5);
	limits_begin(limits, 2);
	limits_enter_all(limits, 5, 0);
	assert_int_equal(limits_live_all(limits), 1);
	limits_begin(limits, LIMITS_SLOTS_MAX - 1);
	limits_enter_all(limits, LIMITS_SLOTS_MAX - 1, 0);
	assert_int_equal(limits_live_all(limits), 2);
}

static void what_it_costs(void **state)
{
	enum { ROUNDS = 200000 };
	const struct access access = { .per_source = 5, .max_connections = 1000, .rate = { 1000000, 1 } };
	struct limits_ticket ticket;
	struct timespec from, to;

	enter(7, &access, ssh, 1, 0, &ticket); /* eight slots to sum over */
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		assert_null(enter(i % 8, &access, ssh, i % 1000, SECOND + i, &ticket));
		limits_leave(limits, i % 8, &ticket);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	print_message("three limits, eight workers: %.0f ns a connection\n",
		((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / ROUNDS);
}

#define LIMITS_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void undecided_ones_count_in_all_and_of_their_source(void **state)
{
	uint32_t places[4];

	limits_begin(limits, 1);
	for (unsigned i = 0; i < 4; i++)
		limits_enter_undecided(limits, i % 2, (struct limits_source){ i == 3 ? 0 : 77 }, &places[i]);
	assert_int_equal(limits_undecided(limits), 4);
	assert_false(limits_over_undecided(limits, 0, 4));
	assert_true(limits_over_undecided(limits, 0, 3));
	assert_false(limits_over_undecided(limits, 0, 0)); /* no limit */
	assert_false(limits_over_undecided_here(limits, 0, places[0], 3));
	assert_true(limits_over_undecided_here(limits, 0, places[0], 2));
	assert_false(limits_over_undecided_here(limits, 0, places[0], 0));
	assert_false(limits_over_undecided_here(limits, 1, places[3], 1)); /* it has no source */
	limits_leave_undecided(limits, 0, &places[0]);
	assert_int_equal(places[0], LIMITS_NONE);
	assert_int_equal(limits_undecided(limits), 3);
	assert_false(limits_over_undecided_here(limits, 1, places[1], 2));
	assert_true(limits_over_undecided_here(limits, 1, places[1], 1));
	limits_leave_undecided(limits, 0, &places[2]);
	assert_false(limits_over_undecided_here(limits, 1, places[1], 1));
	assert_int_equal(limits_undecided(limits), 2);
	limits_forget(limits, 1);
	assert_int_equal(limits_undecided(limits), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIMITS_TEST(a_source_has_so_many_over_all_workers),
		LIMITS_TEST(a_service_has_so_many_over_all_workers),
		LIMITS_TEST(who_is_refused_by_one_limit_is_counted_under_none),
		LIMITS_TEST(a_rate_lets_a_burst_in_and_then_one_at_a_time),
		LIMITS_TEST(a_refusal_by_another_limit_costs_nothing_of_the_rate),
		LIMITS_TEST(the_connections_of_programs_are_counted_by_the_master),
		LIMITS_TEST(without_rules_nothing_is_counted),
		LIMITS_TEST(connections_in_all),
		LIMITS_TEST(connections_of_one_listener),
		LIMITS_TEST(what_a_dead_worker_held_is_forgotten),
		LIMITS_TEST(a_full_table_refuses_the_sources_that_it_does_not_know),
		LIMITS_TEST(a_full_table_of_rates_forgets_who_has_used_least_and_lets_new_sources_in),
		LIMITS_TEST(many_processes_never_get_more_in_than_may_be),
		LIMITS_TEST(many_processes_share_one_rate),
		LIMITS_TEST(what_comes_from_another_worker_is_counted_whatever_the_limits),
		LIMITS_TEST(a_worker_sees_all_and_writes_its_own),
		LIMITS_TEST(a_slot_counts_for_no_more_than_a_process_can_have),
		LIMITS_TEST(slots_that_are_begun_again_stay),
		LIMITS_TEST(what_it_costs),
		cmocka_unit_test_setup_teardown(undecided_ones_count_in_all_and_of_their_source, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
