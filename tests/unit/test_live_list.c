/* Whom the operator has banned, and for whom a service is open: found as long as it is said, by any prefix, and by nobody else. */
#include "live_list.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW UINT64_C(1000000)
#define SSH UINT64_C(77)

static struct live_list *list;
static int fd;

static int setup(void **state)
{
	fd = -1;
	return live_list_new(&list, &fd);
}

static int teardown(void **state)
{
	live_list_free(list);
	close(fd);
	return 0;
}

static struct live_source source_of(const char *text)
{
	struct live_source source;

	assert_int_equal(live_source_parse(&source, text), 0);
	return source;
}

static int put(uint64_t service, const char *text, uint64_t until_us)
{
	struct live_source source = source_of(text);

	return live_list_put(list, service, &source, until_us, NOW);
}

static bool take_back(uint64_t service, const char *text)
{
	struct live_source source = source_of(text);

	return live_list_remove(list, service, &source, NOW);
}

static bool has(uint64_t service, const char *text, uint64_t now_us)
{
	struct address address;

	assert_int_equal(address_parse(&address, text), 0);
	return live_list_has(list, service, &address, now_us);
}

static size_t count(uint64_t now_us)
{
	struct live_entry entry;
	size_t n = 0;

	for (size_t at = 0; live_list_next(list, &at, now_us, &entry);)
		n++;
	return n;
}

static void an_address_or_a_prefix_is_understood_and_nothing_else(void **state)
{
	static const char *const good[] = { "192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", "2001:db8::7", "2001:db8::/32",
		"::/0" };
	static const char *const bad[] = { "", "192.0.2", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/",
		"192.0.2.0/ 24", "192.0.2.0/-1", "192.0.2.0/24x", "2001:db8::1/32", "::/129", "ssh", "192.0.2.7:22",
		"[::1]", "192.0.2.0/4294967320", "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb" };
	char text[LIVE_SOURCE_MAX];
	struct live_source source;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		source = source_of(good[i]);
		assert_string_equal(live_source_format(&source, text), good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(live_source_parse(&source, bad[i]), -EINVAL);
}

static void an_address_is_on_it_until_its_time_is_over(void **state)
{
	assert_false(has(LIVE_BAN, "192.0.2.7:1", NOW));
	assert_int_equal(put(LIVE_BAN, "192.0.2.7", NOW + 10), 0);
	assert_true(has(LIVE_BAN, "192.0.2.7:1", NOW + 9));
	assert_true(has(LIVE_BAN, "[::ffff:192.0.2.7]:1", NOW));
	assert_false(has(LIVE_BAN, "192.0.2.8:1", NOW));
	assert_false(has(SSH, "192.0.2.7:1", NOW));
	assert_false(has(LIVE_BAN, "192.0.2.7:1", NOW + 10));
	assert_false(has(LIVE_BAN, "unix:/tmp/x", NOW));
}

static void a_prefix_is_that_of_each_of_its_addresses(void **state)
{
	assert_int_equal(put(LIVE_BAN, "198.51.100.0/22", LIVE_LIST_EVER), 0);
	assert_int_equal(put(LIVE_BAN, "2001:db8:1::/64", LIVE_LIST_EVER), 0);
	assert_true(has(LIVE_BAN, "198.51.103.255:1", NOW));
	assert_false(has(LIVE_BAN, "198.51.104.0:1", NOW));
	assert_true(has(LIVE_BAN, "[2001:db8:1::ffff]:1", NOW));
	assert_false(has(LIVE_BAN, "[2001:db8:1:1::]:1", NOW));
	assert_int_equal(put(LIVE_BAN, "0.0.0.0/0", LIVE_LIST_EVER), 0);
	assert_true(has(LIVE_BAN, "10.0.0.1:1", NOW));
	assert_false(has(LIVE_BAN, "[2001:db8::1]:1", NOW)); /* that is IPv6 */
}

static void what_is_said_last_counts(void **state)
{
	assert_int_equal(put(SSH, "192.0.2.7", NOW + 10), 0);
	assert_int_equal(put(SSH, "192.0.2.7", NOW + 100), 0);
	assert_int_equal(count(NOW), 1);
	assert_true(has(SSH, "192.0.2.7:1", NOW + 50));
	assert_true(take_back(SSH, "192.0.2.7"));
	assert_false(take_back(SSH, "192.0.2.7"));
	assert_false(has(SSH, "192.0.2.7:1", NOW));
	assert_int_equal(count(NOW), 0);
}

static void it_is_bounded_and_what_is_over_makes_room(void **state)
{
	char text[32];

	for (unsigned i = 0; i < LIVE_LIST_MAX; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		assert_int_equal(put(LIVE_BAN, text, NOW + 10), 0);
	}
	assert_int_equal(count(NOW), LIVE_LIST_MAX);
	assert_int_equal(put(LIVE_BAN, "192.0.2.7", NOW + 10), -ENOSPC);
	assert_int_equal(put(LIVE_BAN, "10.0.0.1", NOW + 1000), 0); /* is there already */
	struct live_source source = source_of("192.0.2.7");
	assert_int_equal(live_list_put(list, LIVE_BAN, &source, NOW + 2000, NOW + 100), 0);
	assert_true(has(LIVE_BAN, "192.0.2.7:1", NOW + 100));
	assert_true(has(LIVE_BAN, "10.0.0.1:1", NOW + 100));
	assert_int_equal(count(NOW + 100), 2);
}

static void a_reader_sees_it_and_the_next_image_has_it(void **state)
{
	struct live_list *view, *next;
	struct address address;

	assert_int_equal(live_list_view(fd, &view), 0);
	assert_int_equal(live_list_new(&next, &fd), 0);
	assert_int_equal(put(LIVE_BAN, "192.0.2.7", LIVE_LIST_EVER), 0);
	assert_int_equal(address_parse(&address, "192.0.2.7:1"), 0);
	assert_true(live_list_has(view, LIVE_BAN, &address, NOW));
	assert_true(live_list_has(next, LIVE_BAN, &address, NOW));
	live_list_free(view);
	live_list_free(next);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_address_or_a_prefix_is_understood_and_nothing_else),
		TEST(an_address_is_on_it_until_its_time_is_over),
		TEST(a_prefix_is_that_of_each_of_its_addresses),
		TEST(what_is_said_last_counts),
		TEST(it_is_bounded_and_what_is_over_makes_room),
		TEST(a_reader_sees_it_and_the_next_image_has_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
