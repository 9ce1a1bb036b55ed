/* Fragments of packets: any order, twice, torn, too many, ids that come again. */
#include "fragments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define WHOLE 60 /* a UDP header and 52 bytes */

static uint8_t whole[WHOLE];
static struct fragments *fragments;
static struct packet packet;
static uint64_t now_us;

static int setup(void **state)
{
	static const uint8_t head[] = { 0x03, 0xe8, 0, 53, 0, WHOLE, 0, 0 };

	for (size_t i = 0; i < WHOLE; i++)
		whole[i] = i < sizeof(head) ? head[i] : (uint8_t)i;
	fragments = fragments_new();
	now_us = 1;
	return !fragments;
}

static int teardown(void **state)
{
	fragments_free(fragments);
	return 0;
}

static enum packet_kind take_of(uint32_t id, size_t offset, size_t len, bool more)
{
	packet = (struct packet){ .from.address = { 1 },
		.to.address = { 2 },
		.payload = whole + offset % WHOLE,
		.len = len,
		.captured = len };
	packet.fragment.id = id;
	packet.fragment.offset = offset;
	packet.fragment.more = more;
	packet.fragment.protocol = 17;
	return fragments_take(fragments, &packet, now_us);
}

static enum packet_kind take(size_t offset, size_t len)
{
	return take_of(7, offset, len, offset + len < WHOLE);
}

static void expect_whole(enum packet_kind kind)
{
	assert_int_equal(kind, PACKET_UDP);
	assert_int_equal(packet.len, WHOLE - 8);
	assert_int_equal(packet.captured, WHOLE - 8);
	assert_memory_equal(packet.payload, whole + 8, WHOLE - 8);
	assert_int_equal(packet.to.port[1], 53);
	assert_int_equal(packet.from.address[0], 1);
	assert_int_equal(fragments_left(fragments), 0);
}

static void test_in_every_order(void **state)
{
	static const size_t orders[][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 },
		{ 2, 1, 0 } };
	static const size_t at[] = { 0, 16, 40 }, len[] = { 16, 24, 20 };

	for (size_t i = 0; i < 6; i++) {
		for (size_t k = 0; k < 2; k++)
			assert_int_equal(take(at[orders[i][k]], len[orders[i][k]]), PACKET_FRAGMENT);
		expect_whole(take(at[orders[i][2]], len[orders[i][2]]));
	}
}

static void test_of_bytes_that_come_twice_the_first_are_taken(void **state)
{
	uint8_t first[WHOLE];

	assert_int_equal(take(0, 32), PACKET_FRAGMENT);
	assert_int_equal(take(0, 32), PACKET_FRAGMENT);
	memcpy(first, whole, WHOLE);
	memset(whole + 16, 0xff, 16);
	assert_int_equal(take(16, 24), PACKET_FRAGMENT);
	assert_int_equal(take(40, 20), PACKET_UDP);
	assert_memory_equal(packet.payload, first + 8, WHOLE - 8);
}

static void test_what_is_of_no_use_is_left_out(void **state)
{
	assert_int_equal(take(0, 20), PACKET_FRAGMENT); /* not a multiple of 8 */
	assert_int_equal(take(0, 0), PACKET_FRAGMENT);
	assert_int_equal(fragments_left(fragments), 2);
	assert_int_equal(take_of(7, 65528, 8, false), PACKET_FRAGMENT); /* past the end of any packet */
	assert_int_equal(take(40, 20), PACKET_FRAGMENT);
	assert_int_equal(take_of(7, 40, 16, false), PACKET_FRAGMENT); /* another end */
	assert_int_equal(take_of(7, 56, 8, true), PACKET_FRAGMENT);   /* behind the end */
	packet = (struct packet){
		.from.address = { 1 }, .to.address = { 2 }, .payload = whole, .len = 40, .captured = 39
	};
	packet.fragment.id = 7;
	packet.fragment.more = true;
	packet.fragment.protocol = 17;
	assert_int_equal(fragments_take(fragments, &packet, now_us), PACKET_FRAGMENT); /* cut */
	assert_int_equal(take(0, 40), PACKET_UDP);
	assert_int_equal(fragments_left(fragments), 6);
}

static void test_bytes_behind_an_end_that_is_told_late_do_not_count(void **state)
{
	assert_int_equal(take_of(7, 0, 8, true), PACKET_FRAGMENT);
	assert_int_equal(take_of(7, 24, 8, true), PACKET_FRAGMENT);
	assert_int_equal(take_of(7, 16, 8, false), PACKET_FRAGMENT);
	assert_int_not_equal(take_of(7, 8, 8, true), PACKET_FRAGMENT);
}

static void test_ids_come_again_after_a_minute(void **state)
{
	assert_int_equal(take(0, 40), PACKET_FRAGMENT);
	now_us += FRAGMENTS_TIMEOUT_US;
	assert_int_equal(take(40, 20), PACKET_FRAGMENT);
	assert_int_equal(take(0, 40), PACKET_UDP);
	assert_int_equal(fragments_left(fragments), 1);
}

static void test_the_oldest_is_given_up_where_there_are_too_many(void **state)
{
	for (uint32_t id = 0; id <= FRAGMENTS_PACKETS; id++)
		assert_int_equal(take_of(id, 0, 40, true), PACKET_FRAGMENT);
	assert_int_equal(take_of(1, 40, 20, false), PACKET_UDP);
	assert_int_equal(take_of(FRAGMENTS_PACKETS, 40, 20, false), PACKET_UDP);
	assert_int_equal(take_of(0, 40, 20, false), PACKET_FRAGMENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_in_every_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_of_bytes_that_come_twice_the_first_are_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_of_no_use_is_left_out, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_bytes_behind_an_end_that_is_told_late_do_not_count, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ids_come_again_after_a_minute, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_the_oldest_is_given_up_where_there_are_too_many, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
