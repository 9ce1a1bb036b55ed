/* Choosing a backend: where clients of each balancer go, what of it changes when a backend goes, what is tried when, how many a backend
 * gets, and who waits. Two workers look at the same memory. */
#include "choose.h"
#include "hash.h"
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND_US 1000000ULL
#define MANY      1000
#define WORKERS   2

static struct backend_table *table;
static struct limits *limits;
static struct backend backends[MANY];
static struct target target;
static struct chooser *choosers[WORKERS];
static uint64_t now_us;
static char changes[256];

static void changed(void *context, const struct chooser *chooser, const struct candidate *candidate, int error)
{
	char text[CHOOSER_TEXT_MAX];

	snprintf(changes + strlen(changes), sizeof(changes) - strlen(changes), "%s %s; ",
		chooser_text(chooser, candidate, text), error ? "down" : "up");
}

static int setup(void **state)
{
	now_us = 1000 * SECOND_US;
	changes[0] = '\0';
	target = (struct target){ .delivery = DELIVERY_CONNECT, .connect.backends = backends };
	assert_int_equal(limits_new(&limits, &(int){ -1 }), 0);
	assert_int_equal(backend_table_new(&table, &(int){ -1 }), 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		limits_begin(limits, i);
		backend_table_begin(table, i);
	}
	return 0;
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < WORKERS; i++) {
		chooser_free(choosers[i]);
		choosers[i] = NULL;
	}
	backend_table_free(table);
	limits_free(limits);
	return 0;
}

static void add(const char *text, unsigned weight)
{
	struct backend *backend = &backends[target.connect.n_backends++];

	*backend = (struct backend){ .text = text, .name = BACKEND_NO_NAME, .weight = (uint16_t)weight };
	assert_int_equal(address_parse(&backend->address, text), 0);
}

static void add_numbered(unsigned from, unsigned n)
{
	static char texts[MANY][32];

	for (unsigned i = from; i < from + n; i++) {
		snprintf(texts[i], sizeof(texts[i]), "10.0.%u.%u:80", i / 256, i % 256);
		add(texts[i], 1);
	}
}

static struct chooser *chooser_of_worker(unsigned worker)
{
	const struct chooser_of of = {
		.service = "web",
		.target = &target,
		.table = table,
		.limits = limits,
		.slot = worker,
		.changed = changed,
	};
	if (!choosers[worker])
		assert_non_null(choosers[worker] = chooser_new(&of));
	return choosers[worker];
}

static void balance_by(enum balance_kind kind)
{
	target.connect.balance = kind;
}

static struct choice choice_at(unsigned worker, uint64_t hash)
{
	return (struct choice){
		.chooser = chooser_of_worker(worker), .hash = balance_mix(hash), .patient_us = SECOND_US
	};
}

/* The number of the one that it gets, counted there. */
static uint32_t choose(struct choice *choice)
{
	assert_int_equal(choose_next(choice, now_us), 0);
	return choice->taken.backend;
}

static uint32_t choose_for(unsigned worker, uint64_t hash)
{
	struct choice choice = choice_at(worker, hash);
	uint32_t backend = choose(&choice);

	choose_leave(&choice, now_us);
	return backend;
}

static void refuse(struct choice *choice)
{
	choose_failed(choice, -ECONNREFUSED, now_us);
}

/* ---- spread ----------------------------------------------------------------------------------------------------------- */

static void the_first_gets_all(void **state)
{
	add_numbered(0, 3);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(choose_for(i % 2, i), 0);
}

static void each_has_its_turn_over_all_workers(void **state)
{
	unsigned got[5] = { 0 };

	balance_by(BALANCE_ROUNDROBIN);
	add_numbered(0, 5);
	for (unsigned i = 0; i < 1000; i++)
		got[choose_for(i * 7 % 3 % 2, i)]++;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(got[i], 200);
}

static void turns_go_by_weight_and_are_spread(void **state)
{
	unsigned got[3] = { 0 }, row = 0, longest = 0;
	uint32_t last = 0;

	balance_by(BALANCE_ROUNDROBIN);
	add("10.0.0.1:80", 7);
	add("10.0.0.2:80", 2);
	add("10.0.0.3:80", 1);
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t backend = choose_for(i % 2, i);
		got[backend]++;
		row = backend == last ? row + 1 : 1;
		longest = row > longest ? row : longest;
		last = backend;
	}
	assert_int_equal(got[0], 700);
	assert_int_equal(got[1], 200);
	assert_int_equal(got[2], 100);
	assert_true(longest <= 5);
}

static void the_least_of_all_workers_is_chosen(void **state)
{
	struct choice kept[300];
	unsigned got[3] = { 0 };

	balance_by(BALANCE_LEAST);
	add("10.0.0.1:80", 1);
	add("10.0.0.2:80", 1);
	add("10.0.0.3:80", 1);
	for (unsigned i = 0; i < 300; i++) {
		kept[i] = choice_at(i % 2, i);
		got[choose(&kept[i])]++;
		for (unsigned k = 0; k < 3; k++) /* exact at every moment, whichever worker counts */
			assert_true(got[k] <= i / 3 + 1);
	}
	/* Where one has lost its connections it gets all until it has as many. */
	for (unsigned i = 0; i < 300; i++)
		if (kept[i].taken.backend == 1)
			choose_leave(&kept[i], now_us);
	for (unsigned i = 0; i < 50; i++) {
		struct choice more = choice_at(i % 2, i);
		assert_int_equal(choose(&more), 1);
	}
}

static void the_least_goes_by_weight(void **state)
{
	unsigned got[2] = { 0 };

	balance_by(BALANCE_LEAST);
	add("10.0.0.1:80", 1);
	add("10.0.0.2:80", 3);
	for (unsigned i = 0; i < 400; i++) {
		struct choice more = choice_at(i % 2, i);
		got[choose(&more)]++;
	}
	assert_int_equal(got[0], 100);
	assert_int_equal(got[1], 300);
}

static void two_choices_keep_the_fullest_near_the_mean(void **state)
{
	unsigned got[100] = { 0 }, most = 0;

	balance_by(BALANCE_RANDOM);
	add_numbered(0, 100);
	for (unsigned i = 0; i < 10000; i++) {
		struct choice more = choice_at(i % 2, i);
		got[choose(&more)]++;
	}
	for (unsigned i = 0; i < 100; i++)
		most = got[i] > most ? got[i] : most;
	assert_in_range(most, 100, 106); /* one choice alone: some 130 */
}

static void a_hash_spreads_and_stays(void **state)
{
	static unsigned got[MANY];
	unsigned most = 0, least = UINT32_MAX;

	balance_by(BALANCE_HASH);
	add_numbered(0, 50);
	for (unsigned i = 0; i < 100000; i++) {
		uint32_t backend = choose_for(0, i);
		got[backend]++;
		if (i % 100 == 0)
			assert_int_equal(choose_for(1, i), backend);
	}
	for (unsigned i = 0; i < 50; i++) {
		most = got[i] > most ? got[i] : most;
		least = got[i] < least ? got[i] : least;
	}
	assert_in_range(most, 2000, 2300);
	assert_in_range(least, 1700, 2000);
}

static void a_hash_goes_by_weight(void **state)
{
	unsigned got[3] = { 0 };

	balance_by(BALANCE_HASH);
	add("10.0.0.1:80", 1);
	add("10.0.0.2:80", 2);
	add("10.0.0.3:80", 5);
	for (unsigned i = 0; i < 80000; i++)
		got[choose_for(0, i)]++;
	assert_in_range(got[0], 9500, 10500);
	assert_in_range(got[1], 19000, 21000);
	assert_in_range(got[2], 49000, 51000);
}

/* ---- disruption ---------------------------------------------------------------------------------------------------------- */

#define CLIENTS 20000

static void machines_with_another_order_choose_alike(void **state)
{
	static uint32_t was[CLIENTS];

	balance_by(BALANCE_HASH);
	add_numbered(0, 20);
	for (unsigned i = 0; i < CLIENTS; i++)
		was[i] = choose_for(0, i);
	for (unsigned i = 0; i < 10; i++) {
		struct backend one = backends[i];
		backends[i] = backends[19 - i];
		backends[19 - i] = one;
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_int_equal(choose_for(1, i), 19 - was[i]);
}

static void one_that_goes_down_moves_only_its_own(void **state)
{
	static uint32_t was[CLIENTS];
	unsigned moved_to[20] = { 0 };

	balance_by(BALANCE_HASH);
	add_numbered(0, 20);
	for (unsigned i = 0; i < CLIENTS; i++)
		was[i] = choose_for(0, i);
	for (unsigned i = 0; i < CLIENTS; i++)
		if (was[i] == 7) {
			struct choice choice = choice_at(0, i);
			choose(&choice);
			refuse(&choice);
			break;
		}
	for (unsigned i = 0; i < CLIENTS; i++) {
		uint32_t now = choose_for(1, i);
		if (was[i] != 7)
			assert_int_equal(now, was[i]);
		else
			moved_to[now]++;
	}
	for (unsigned i = 0; i < 20; i++) /* and to all of the others */
		assert_true(i == 7 ? moved_to[i] == 0 : moved_to[i] > 20);
}

static void one_that_is_taken_out_of_the_file_moves_hardly_more_than_its_own(void **state)
{
	static uint32_t was[CLIENTS];
	unsigned others = 0;

	balance_by(BALANCE_HASH);
	add_numbered(0, 20);
	for (unsigned i = 0; i < CLIENTS; i++)
		was[i] = choose_for(0, i);
	target.connect.n_backends = 19;
	for (unsigned i = 0; i < CLIENTS; i++)
		others += choose_for(1, i) != was[i] && was[i] != 19;
	assert_true(others < CLIENTS / 25); /* Maglev's own: some 2 % */
}

static void one_that_is_drained_moves_only_its_own(void **state)
{
	static uint32_t was[CLIENTS];

	balance_by(BALANCE_HASH);
	add_numbered(0, 20);
	for (unsigned i = 0; i < CLIENTS; i++)
		was[i] = choose_for(0, i);
	uint64_t service = hash_name("web");
	uint32_t place =
		backend_table_find(table, service, backend_key(service, TRANSPORT_STREAM, &backends[3].address));
	backend_order_set(table, place, BACKEND_MODE_DRAIN, 1, 0);
	now_us++;
	for (unsigned i = 0; i < CLIENTS; i++) {
		uint32_t now = choose_for(0, i);
		assert_true(was[i] == 3 ? now != 3 : now == was[i]);
	}
}

static void the_others_share_what_one_that_is_down_had(void **state)
{
	for (int kind = BALANCE_ROUNDROBIN; kind <= BALANCE_RANDOM; kind++) {
		struct choice kept[600];
		unsigned got[4] = { 0 };

		teardown(state);
		setup(state);
		balance_by((enum balance_kind)kind);
		add_numbered(0, 4);
		struct choice choice = choice_at(0, 1);
		uint32_t down = choose(&choice);
		refuse(&choice);
		for (unsigned i = 0; i < 600; i++) {
			kept[i] = choice_at(i % 2, i);
			got[choose(&kept[i])]++;
		}
		for (unsigned i = 0; i < 4; i++)
			if (i == down)
				assert_int_equal(got[i], 0);
			else
				assert_in_range(got[i], 190, 210);
	}
}

/* ---- in which order -------------------------------------------------------------------------------------------------------- */

static void each_is_tried_once_whoever_chooses(void **state)
{
	for (int kind = 0; kind < BALANCES; kind++) {
		unsigned got[8] = { 0 };

		teardown(state);
		setup(state);
		balance_by((enum balance_kind)kind);
		add_numbered(0, 8);
		struct choice choice = choice_at(0, 5);
		for (unsigned i = 0; i < 8; i++) {
			got[choose(&choice)]++;
			refuse(&choice);
		}
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(got[i], 1);
		assert_int_equal(choose_next(&choice, now_us), -EHOSTUNREACH);
		choose_again(&choice);
		assert_int_equal(choose_left(&choice, now_us, 100), 8);
	}
}

static void backups_are_for_when_all_others_are_down_or_full(void **state)
{
	add_numbered(0, 2);
	add("10.1.0.1:80", 1);
	backends[2].backup = true;
	backends[0].max_connections = 1;
	struct choice one = choice_at(0, 1), two = choice_at(0, 2), three = choice_at(0, 3);
	assert_int_equal(choose(&one), 0);
	assert_int_equal(choose(&two), 1);
	refuse(&two);
	assert_int_equal(choose(&two), 2);
	assert_int_equal(choose(&three), 2);
	choose_leave(&one, now_us);
	assert_int_equal(choose_for(0, 4), 0);
}

static void who_is_down_is_tried_last(void **state)
{
	add_numbered(0, 3);
	struct choice one = choice_at(0, 1), two = choice_at(1, 2);
	assert_int_equal(choose(&one), 0);
	refuse(&one);
	assert_string_equal(changes, "10.0.0.0:80 down; ");
	assert_int_equal(choose(&two), 1);
	refuse(&two);
	assert_int_equal(choose(&two), 2);
	refuse(&two);
	assert_int_equal(choose(&two), 0); /* all are down: as if all were up */
	choose_connected(&two, now_us);
	assert_string_equal(changes, "10.0.0.0:80 down; 10.0.0.1:80 down; 10.0.0.2:80 down; 10.0.0.0:80 up; ");
	assert_int_equal(choose_for(0, 3), 0);
}

static void one_client_is_the_trial_and_others_go_elsewhere(void **state)
{
	add_numbered(0, 2);
	struct choice one = choice_at(0, 1), two = choice_at(1, 2), three = choice_at(0, 3);
	choose(&one);
	refuse(&one);
	now_us += SECOND_US;
	assert_int_equal(choose(&two), 0);
	assert_true(two.is_trial);
	assert_int_equal(choose(&three), 1);
	choose_failed(&two, -ETIMEDOUT, now_us + 2 * SECOND_US);
	assert_int_equal(choose(&two), 1);
	assert_int_equal(choose_for(0, 4), 1);
	assert_string_equal(changes, "10.0.0.0:80 down; ");
}

static void a_trial_that_is_given_up_is_made_by_another(void **state)
{
	add_numbered(0, 2);
	struct choice one = choice_at(0, 1), two = choice_at(1, 2);
	choose(&one);
	refuse(&one);
	now_us += SECOND_US;
	assert_int_equal(choose(&two), 0);
	choose_leave(&two, now_us); /* its client has left */
	assert_int_equal(choose_for(0, 3), 1);
	now_us += SECOND_US;
	assert_int_equal(choose_for(0, 3), 0);
}

static void a_worker_that_dies_takes_its_trial_and_its_connections_along(void **state)
{
	add_numbered(0, 2);
	backends[0].max_connections = 1;
	struct choice one = choice_at(0, 1), two = choice_at(1, 2);
	choose(&one);
	refuse(&one);
	now_us += SECOND_US;
	assert_int_equal(choose(&two), 0);
	backend_table_forget(table, 1, now_us);
	assert_int_equal(choose_for(0, 3), 0);
}

static void our_own_errors_say_nothing_of_the_backend(void **state)
{
	static const int errors[] = { -EMFILE, -ENOMEM, -EADDRNOTAVAIL, -EPERM, -EAGAIN, -EDEADLK };

	add_numbered(0, 2);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct choice one = choice_at(0, i);
		assert_int_equal(choose(&one), 0);
		choose_failed(&one, errors[i], now_us);
		assert_int_equal(choose(&one), 1);
		choose_leave(&one, now_us);
	}
	assert_string_equal(changes, "");
}

static void a_moment_is_not_enough_to_call_it_a_hang(void **state)
{
	add_numbered(0, 2);
	struct choice one = choice_at(0, 1);
	choose(&one);
	choose_failed(&one, -ETIMEDOUT, now_us + SECOND_US - 1);
	assert_string_equal(changes, "");
	struct choice two = choice_at(0, 2);
	assert_int_equal(choose(&two), 0);
	choose_failed(&two, -ETIMEDOUT, now_us + SECOND_US);
	assert_string_equal(changes, "10.0.0.0:80 down; ");
}

static void only_backends_of_the_family_are_chosen(void **state)
{
	add("10.0.0.1:80", 1);
	add("[2001:db8::1]:80", 1);
	struct choice one = choice_at(0, 1);
	one.family = AF_INET6;
	assert_int_equal(choose(&one), 1);
	choose_leave(&one, now_us);
	target.connect.n_backends = 1;
	struct choice two = choice_at(1, 1);
	two.family = AF_INET6;
	assert_int_equal(choose_next(&two, now_us), -EAFNOSUPPORT);
}

/* ---- how many ---------------------------------------------------------------------------------------------------------------- */

static unsigned n_called;

static void called(struct choice *choice)
{
	n_called++;
}

static void none_gets_more_than_it_may_over_all_workers(void **state)
{
	struct choice kept[10];

	balance_by(BALANCE_LEAST);
	add_numbered(0, 2);
	backends[0].max_connections = 3;
	backends[1].max_connections = 2;
	for (unsigned i = 0; i < 5; i++) {
		kept[i] = choice_at(i % 2, i);
		choose(&kept[i]);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		struct choice more = choice_at(i, 9);
		assert_int_equal(choose_next(&more, now_us), -EBUSY);
	}
}

static void who_waits_is_called_in_turn(void **state)
{
	add_numbered(0, 1);
	backends[0].max_connections = 1;
	struct choice one = choice_at(0, 1), two = choice_at(0, 2), three = choice_at(0, 3);
	two.called = three.called = called;
	n_called = 0;
	choose(&one);
	assert_int_equal(choose_next(&two, now_us), -EBUSY);
	assert_true(choose_wait(&two));
	assert_int_equal(choose_next(&three, now_us), -EBUSY);
	assert_true(choose_wait(&three));
	assert_true(choose_is_next(&two));
	assert_false(choose_is_next(&three));
	choose_leave(&one, now_us);
	assert_int_equal(n_called, 1);
	assert_int_equal(choose_next(&three, now_us), -EBUSY); /* not its turn, though there is room */
	assert_int_equal(choose(&two), 0);
	assert_true(choose_is_next(&three));
	choose_leave(&three, now_us);
	choose_leave(&two, now_us);
	assert_int_equal(choose_for(0, 4), 0);
}

static void the_line_has_an_end(void **state)
{
	static struct choice waiting[CHOOSE_LINE_MAX];

	add_numbered(0, 1);
	backends[0].max_connections = 1;
	struct choice one = choice_at(0, 1), late = choice_at(0, 2);
	choose(&one);
	for (unsigned i = 0; i < CHOOSE_LINE_MAX; i++) {
		waiting[i] = choice_at(0, i);
		waiting[i].called = called;
		assert_true(choose_wait(&waiting[i]));
	}
	assert_false(choose_wait(&late));
	for (unsigned i = 0; i < CHOOSE_LINE_MAX; i++)
		choose_leave(&waiting[i], now_us);
	assert_true(choose_wait(&late));
	choose_leave(&late, now_us);
	choose_leave(&one, now_us);
}

static void what_is_known_of_a_backend_goes_by_its_address(void **state)
{
	add_numbered(0, 3);
	struct choice one = choice_at(0, 1);
	choose(&one);
	refuse(&one);
	struct backend first = backends[0];
	backends[0] = backends[2];
	backends[2] = first;
	assert_int_equal(choose_for(1, 2), 0); /* under another list: what was the third is up */
	backends[1].weight = 0;
	struct choice two = choice_at(1, 3);
	chooser_free(choosers[1]);
	choosers[1] = NULL;
	two = choice_at(1, 3);
	assert_int_equal(choose(&two), 0);
	refuse(&two);
	assert_int_equal(choose(&two), 2); /* the one that is down is the last */
}

static void a_choice_that_was_made_long_ago_is_known_by_its_key(void **state)
{
	struct choice one = choice_at(0, 1), held;

	add_numbered(0, 2);
	choose(&one);
	uint64_t key = one.taken.key;
	choose_hand_on(&one);
	assert_true(choose_held(&held, choosers[0], key));
	choose_failed(&held, -ECONNREFUSED, now_us);
	assert_string_equal(changes, "10.0.0.0:80 down; ");
	assert_int_equal(backend_table_published(table, one.taken.place), 1); /* whoever counts it still does */
	assert_true(choose_held(&held, choosers[0], key));
	choose_answered(&held, now_us + 3600 * SECOND_US);
	assert_string_equal(changes, "10.0.0.0:80 down; 10.0.0.0:80 up; ");
	assert_int_equal(backend_table_at(table, one.taken.place)->latency_us, 0); /* an hour is none */
	assert_false(choose_held(&held, choosers[0], key + 1));
	backend_table_leave(table, 0, one.taken.place);
}

/* ---- places that are given back ---- */

static void all_bits(uint8_t ret[BACKEND_BITS])
{
	memset(ret, 0xff, BACKEND_BITS);
}

static uint64_t key_of(unsigned number)
{
	struct address address;
	char text[32];

	snprintf(text, sizeof(text), "10.%u.%u.%u:80", number >> 16, number >> 8 & 255, number & 255);
	assert_int_equal(address_parse(&address, text), 0);
	return backend_key(7, TRANSPORT_STREAM, &address);
}

static void a_table_that_is_swept_never_meets_its_end(void **state)
{
	uint8_t idle[BACKEND_BITS];
	uint32_t last = BACKEND_NONE;

	all_bits(idle);
	/* One that stays, and so many others one after the other. */
	uint32_t stays = backend_table_place(table, 0, 7, key_of(0));
	assert_true(backend_table_enter(table, limits, 0, stays, key_of(0), 0));
	for (unsigned i = 1; i < 3 * BACKEND_PLACES; i++) {
		uint32_t place = backend_table_place(table, i % WORKERS, 7, key_of(i));
		assert_int_not_equal(place, BACKEND_NONE);
		assert_int_not_equal(place, stays);
		atomic_store(&backend_table_at(table, place)->failed, i);
		if (i % 100 == 0)
			assert_int_equal(backend_table_sweep(table, limits, idle), 100);
		last = place;
	}
	assert_int_equal(backend_table_find(table, 7, key_of(0)), stays);
	assert_int_equal(backend_table_open(table, limits, stays, key_of(0)), 1);
	assert_true(last < BACKEND_PLACES);
	backend_table_leave(table, 0, stays);
}

static void only_what_is_idle_is_given_back_and_it_begins_anew(void **state)
{
	uint8_t idle[BACKEND_BITS], none[BACKEND_BITS] = { 0 };
	uint32_t place[4];

	all_bits(idle);
	for (unsigned i = 0; i < 4; i++)
		place[i] = backend_table_place(table, 0, 7, key_of(i));
	assert_true(backend_table_enter(table, limits, 1, place[1], key_of(1), 0));
	backend_order_set(table, place[2], BACKEND_MODE_DRAIN, 5, 0);
	atomic_store(&backend_table_at(table, place[0])->total, 9);
	assert_int_equal(backend_table_sweep(table, limits, none), 0);
	idle[place[3] / 8] &= (uint8_t) ~(1U << place[3] % 8);
	uint32_t edition = backend_orders_edition(table);
	assert_int_equal(backend_table_sweep(table, limits, idle), 1);
	assert_int_not_equal(backend_orders_edition(table), edition);
	assert_int_equal(backend_table_find(table, 7, key_of(0)), BACKEND_NONE);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(backend_table_find(table, 7, key_of(i)), place[i]);
	/* Its place goes to another, which has nothing of it; who still believes in it is told. */
	assert_int_equal(backend_table_place(table, 1, 7, key_of(9)), place[0]);
	assert_int_equal(atomic_load(&backend_table_at(table, place[0])->total), 0);
	assert_false(backend_table_enter(table, limits, 0, place[0], key_of(0), 0));
	assert_int_equal(backend_table_published(table, place[0]), 0);
	backend_table_leave(table, 1, place[1]);
}

#define RACERS 300 /* backends that both workers see for the first time at the same moment */

static void *place_all(void *of)
{
	unsigned slot = *(const unsigned *)of;

	for (unsigned i = 1; i <= RACERS; i++)
		while (backend_table_place(table, slot, 7, key_of(i)) == BACKEND_NONE)
			; /* swept at this moment */
	return NULL;
}

/* Or each of them would count for itself. */
static void two_workers_never_take_two_places_for_one_backend(void **state)
{
	static const unsigned slots[WORKERS] = { 0, 1 };
	uint8_t idle[BACKEND_BITS];
	pthread_t threads[WORKERS];

	all_bits(idle);
	for (unsigned round = 0; round < 50; round++) {
		uint32_t old[RACERS];
		for (unsigned i = 0; i < RACERS; i++)
			old[i] = backend_table_place(table, 0, 7, key_of(1000 + i));
		for (unsigned i = 0; i < WORKERS; i++)
			assert_int_equal(
				pthread_create(&threads[i], NULL, place_all, (void *)(uintptr_t)&slots[i]), 0);
		/* While they look for places behind these, one after the other becomes free. */
		for (unsigned i = RACERS; i-- > 0;) {
			uint8_t one[BACKEND_BITS] = { 0 };
			one[old[i] / 8] = (uint8_t)(1U << old[i] % 8);
			while (backend_table_sweep(table, limits, one) == 0)
				;
		}
		for (unsigned i = 0; i < WORKERS; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(backend_table_sweep(table, limits, idle), RACERS);
	}
}

/* It stays in the roster of a worker that has not looked since. */
static void who_chooses_a_backend_whose_place_is_gone_connects_uncounted(void **state)
{
	uint8_t idle[BACKEND_BITS];
	struct choice choice;

	all_bits(idle);
	add("10.0.0.1:80", 1);
	choice = choice_at(0, 1);
	assert_int_equal(choose_next(&choice, now_us), 0);
	choose_leave(&choice, now_us);
	assert_int_equal(backend_table_sweep(table, limits, idle), 1);
	assert_int_equal(choose_next(&choice, now_us), 0); /* in the same turn */
	assert_false(choice.is_counted);
	choose_failed(&choice, -ECONNREFUSED, now_us);
	choose_again(&choice);
	assert_int_equal(choose_next(&choice, ++now_us), 0);
	assert_true(choice.is_counted);
	choose_leave(&choice, now_us);
}

/* The first of two was down and is back since `us`: how many of CLIENTS it gets. */
static unsigned share_of_the_first(uint64_t us)
{
	unsigned n = 0;

	now_us += us;
	for (unsigned i = 0; i < CLIENTS; i++)
		n += choose_for(0, i) == 0;
	now_us -= us;
	return n;
}

static void come_back(unsigned number)
{
	_Atomic uint64_t *health = &backend_table_at(table,
		backend_table_find(table, hash_name("web"),
			backend_key(hash_name("web"), TRANSPORT_STREAM, &backends[number].address)))
					    ->health;

	assert_true(backend_health_failed(health, 0, false, now_us));
	assert_true(backend_health_worked(health, now_us));
}

static void one_that_comes_back_gets_more_and_more(void **state)
{
	for (int kind = 0; kind < BALANCES; kind++) {
		if (kind)
			setup(state);
		target.connect.slow_start_us = 10 * SECOND_US;
		balance_by((enum balance_kind)kind);
		add_numbered(0, 2);
		unsigned all = share_of_the_first(0);
		come_back(0);
		unsigned soon = share_of_the_first(SECOND_US), later = share_of_the_first(9 * SECOND_US);
		assert_true(soon > 0 && soon < all / 5);
		assert_true(later > all / 2 && later <= all);
		assert_true(share_of_the_first(10 * SECOND_US) >= all - all / 10);
		if (kind < BALANCES - 1)
			teardown(state);
	}
}

static void one_that_comes_back_gets_all_where_there_is_no_other(void **state)
{
	target.connect.slow_start_us = 10 * SECOND_US;
	add_numbered(0, 1);
	add("10.1.0.1:80", 1);
	backends[1].backup = true;
	choose_for(0, 1);
	come_back(0);
	assert_int_equal(share_of_the_first(0), CLIENTS);
}

int main(void)
{
#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		UNIT(the_first_gets_all),
		UNIT(each_has_its_turn_over_all_workers),
		UNIT(turns_go_by_weight_and_are_spread),
		UNIT(the_least_of_all_workers_is_chosen),
		UNIT(the_least_goes_by_weight),
		UNIT(two_choices_keep_the_fullest_near_the_mean),
		UNIT(a_hash_spreads_and_stays),
		UNIT(a_hash_goes_by_weight),
		UNIT(machines_with_another_order_choose_alike),
		UNIT(one_that_goes_down_moves_only_its_own),
		UNIT(one_that_is_taken_out_of_the_file_moves_hardly_more_than_its_own),
		UNIT(one_that_is_drained_moves_only_its_own),
		UNIT(the_others_share_what_one_that_is_down_had),
		UNIT(each_is_tried_once_whoever_chooses),
		UNIT(backups_are_for_when_all_others_are_down_or_full),
		UNIT(who_is_down_is_tried_last),
		UNIT(one_client_is_the_trial_and_others_go_elsewhere),
		UNIT(a_trial_that_is_given_up_is_made_by_another),
		UNIT(a_worker_that_dies_takes_its_trial_and_its_connections_along),
		UNIT(our_own_errors_say_nothing_of_the_backend),
		UNIT(a_moment_is_not_enough_to_call_it_a_hang),
		UNIT(only_backends_of_the_family_are_chosen),
		UNIT(none_gets_more_than_it_may_over_all_workers),
		UNIT(who_waits_is_called_in_turn),
		UNIT(the_line_has_an_end),
		UNIT(what_is_known_of_a_backend_goes_by_its_address),
		UNIT(a_choice_that_was_made_long_ago_is_known_by_its_key),
		UNIT(a_table_that_is_swept_never_meets_its_end),
		UNIT(only_what_is_idle_is_given_back_and_it_begins_anew),
		UNIT(two_workers_never_take_two_places_for_one_backend),
		UNIT(who_chooses_a_backend_whose_place_is_gone_connects_uncounted),
		UNIT(one_that_comes_back_gets_more_and_more),
		UNIT(one_that_comes_back_gets_all_where_there_is_no_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
