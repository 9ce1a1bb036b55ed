/* Sessions are found by their ids and by their clients' addresses, as long as they are noted, and where they are in one place. */
#include "affinity.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW UINT64_C(16777000) /* the times that are kept begin anew a few minutes later */

static struct affinity *affinity;
static int fd;

static int setup(void **state)
{
	fd = -1;
	return affinity_new(&affinity, &fd);
}

static int teardown(void **state)
{
	affinity_free(affinity);
	close(fd);
	return 0;
}

static uint64_t key_of(enum affinity_kind kind, const char *text)
{
	return affinity_key(affinity, kind, text, strlen(text));
}

static uint64_t backend_of(const char *text)
{
	struct address address;

	assert_int_equal(address_parse(&address, text), 0);
	return affinity_backend(&address);
}

static struct affinity_place place_of(uint64_t service, const char *backend)
{
	return (struct affinity_place){ service, backend_of(backend), AFFINITY_QUIC };
}

static void note(enum affinity_kind kind, const char *id, struct affinity_place place, uint64_t now_s)
{
	affinity_note(affinity, kind, key_of(kind, id), &place, now_s);
}

static bool found(enum affinity_kind kind, const char *id, uint64_t now_s, struct affinity_place *ret)
{
	return affinity_find(affinity, kind, key_of(kind, id), now_s, ret);
}

static void a_session_is_found_by_its_id_and_by_no_other(void **state)
{
	struct affinity_place place;

	note(AFFINITY_QUIC, "an id", place_of(77, "192.0.2.1:443"), NOW);
	assert_true(found(AFFINITY_QUIC, "an id", NOW, &place));
	assert_int_equal(place.service, 77);
	assert_int_equal(place.kind, AFFINITY_QUIC);
	assert_true(affinity_is_backend(place.backend, backend_of("192.0.2.1:443")));
	assert_false(affinity_is_backend(place.backend, backend_of("192.0.2.1:444")));
	assert_false(affinity_is_backend(place.backend, backend_of("192.0.2.2:443")));
	assert_false(affinity_is_backend(place.backend, backend_of("[2001:db8::1]:443")));
	assert_false(found(AFFINITY_QUIC, "an id ", NOW, &place));
	assert_false(found(AFFINITY_WIREGUARD, "an id", NOW, &place));
	assert_false(found(AFFINITY_ADDRESS, "an id", NOW, &place));
}

static void it_is_found_for_an_hour_after_it_was_noted_last(void **state)
{
	struct affinity_place place;

	note(AFFINITY_QUIC, "a", place_of(1000, "192.0.2.1:443"), NOW);
	note(AFFINITY_QUIC, "b", place_of(1000, "192.0.2.1:443"), NOW);
	note(AFFINITY_QUIC, "a", place_of(1000, "192.0.2.1:443"), NOW + 1800);
	assert_true(found(AFFINITY_QUIC, "b", NOW + AFFINITY_KEPT_S - 1, &place));
	assert_false(found(AFFINITY_QUIC, "b", NOW + AFFINITY_KEPT_S, &place));
	assert_true(found(AFFINITY_QUIC, "a", NOW + AFFINITY_KEPT_S, &place));
	assert_false(found(AFFINITY_QUIC, "a", NOW + 1800 + AFFINITY_KEPT_S, &place));
	/* Another worker has a clock that was read a little earlier. */
	assert_true(found(AFFINITY_QUIC, "a", NOW + 1799, &place));
}

static void an_id_that_two_places_have_leads_to_neither(void **state)
{
	struct affinity_place place;

	note(AFFINITY_OPENVPN, "0", place_of(1000, "192.0.2.1:1194"), NOW);
	note(AFFINITY_OPENVPN, "0", place_of(1000, "192.0.2.2:1194"), NOW + 10);
	assert_false(found(AFFINITY_OPENVPN, "0", NOW + 10, &place));
	note(AFFINITY_OPENVPN, "0", place_of(1000, "192.0.2.1:1194"), NOW + 20);
	assert_false(found(AFFINITY_OPENVPN, "0", NOW + 20, &place));
	note(AFFINITY_OPENVPN, "0", place_of(1000, "192.0.2.2:1194"), NOW + 20 + AFFINITY_KEPT_S);
	assert_true(found(AFFINITY_OPENVPN, "0", NOW + 20 + AFFINITY_KEPT_S, &place));
	assert_true(affinity_is_backend(place.backend, backend_of("192.0.2.2:1194")));
}

static void an_address_leads_to_the_last_place_it_had(void **state)
{
	struct affinity_place place;

	note(AFFINITY_HOST, "c", place_of(1000, "192.0.2.1:1194"), NOW);
	note(AFFINITY_HOST, "c", place_of(2000, "192.0.2.2:1194"), NOW + 10);
	assert_true(found(AFFINITY_HOST, "c", NOW + 10, &place));
	assert_int_equal(place.service, 2000);
}

static void the_newest_stay_where_there_are_more_than_the_table_holds(void **state)
{
	enum { MORE = 2 * AFFINITY_GROUPS * AFFINITY_GROUP, LAST = 1000 };
	const struct affinity_place given = place_of(1000, "192.0.2.1:443");
	struct affinity_place place;
	char id[16];
	unsigned n = 0;

	note(AFFINITY_QUIC, "an id", given, NOW);
	for (unsigned i = 0; i < MORE; i++) {
		snprintf(id, sizeof(id), "%u", i);
		note(AFFINITY_HOST, id, given, NOW + 1); /* addresses displace no ids */
	}
	assert_true(found(AFFINITY_QUIC, "an id", NOW, &place));
	for (unsigned i = 0; i < MORE; i++) {
		snprintf(id, sizeof(id), "%u", i);
		note(AFFINITY_QUIC, id, given, NOW + i / LAST);
	}
	for (unsigned i = MORE - LAST; i < MORE; i++) {
		snprintf(id, sizeof(id), "%u", i);
		n += found(AFFINITY_QUIC, id, NOW + MORE / LAST, &place);
	}
	assert_true(n > LAST * 99 / 100);
}

static void lengths_are_of_ids_that_are_kept(void **state)
{
	assert_int_equal(affinity_lengths(affinity), 0);
	affinity_note_length(affinity, 8);
	affinity_note_length(affinity, 20);
	affinity_note_length(affinity, 8);
	affinity_note_length(affinity, 3);
	affinity_note_length(affinity, 21);
	affinity_note_length(affinity, 64);
	assert_int_equal(affinity_lengths(affinity), 1 << 8 | 1 << 20);
}

static void it_outlives_who_made_it(void **state)
{
	struct affinity_place place;
	struct affinity *again;

	note(AFFINITY_QUIC, "an id", place_of(1000, "192.0.2.1:443"), NOW);
	uint64_t key = key_of(AFFINITY_QUIC, "an id");
	assert_int_equal(affinity_new(&again, &fd), 0);
	assert_int_equal(affinity_key(again, AFFINITY_QUIC, "an id", 5), key);
	assert_true(affinity_find(again, AFFINITY_QUIC, key, NOW, &place));
	affinity_free(again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_session_is_found_by_its_id_and_by_no_other, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_found_for_an_hour_after_it_was_noted_last, setup, teardown),
		cmocka_unit_test_setup_teardown(an_id_that_two_places_have_leads_to_neither, setup, teardown),
		cmocka_unit_test_setup_teardown(an_address_leads_to_the_last_place_it_had, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_newest_stay_where_there_are_more_than_the_table_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(lengths_are_of_ids_that_are_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(it_outlives_who_made_it, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
