/* Who may come in by address and time, and the source that a client counts for. */
#include "access.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct arena *arena;

static int setup(void **state)
{
	arena = arena_new();
	return 0;
}

static int teardown(void **state)
{
	arena_free(arena);
	return 0;
}

static const struct address_set *set_of(const char *text)
{
	struct address_set *set = address_set_new();
	char why[ADDRESS_SET_WHY_MAX];

	assert_int_equal(address_set_insert(set, text, why), 0);
	const struct address_set *kept = address_set_keep(set, arena);
	address_set_free(set);
	return kept;
}

static struct address address_of(const char *text)
{
	struct address address;

	assert_int_equal(address_parse(&address, text), 0);
	return address;
}

static const char *judge(const struct access *access, const char *client, time_t now)
{
	struct address address = address_of(client);
	const char *rule = access_judge(access, &address, false, now);

	return rule ? rule : "in";
}

static void without_rules_everybody_may_come_in(void **state)
{
	const struct access access = { 0 };

	assert_string_equal(judge(NULL, "192.0.2.1:1", 0), "in");
	assert_string_equal(judge(&access, "192.0.2.1:1", 0), "in");
}

static void deny_wins_over_allow(void **state)
{
	const struct access allowed = { .allow = set_of("192.0.2.0/24") }, denied = { .deny = set_of("192.0.2.7") };
	const struct access both = { .allow = allowed.allow, .deny = denied.deny };

	assert_string_equal(judge(&allowed, "192.0.2.1:1", 0), "in");
	assert_string_equal(judge(&allowed, "192.0.3.1:1", 0), "allow");
	assert_string_equal(judge(&allowed, "[2001:db8::1]:1", 0), "allow");
	assert_string_equal(judge(&denied, "192.0.2.7:1", 0), "deny");
	assert_string_equal(judge(&denied, "192.0.2.8:1", 0), "in");
	assert_string_equal(judge(&both, "192.0.2.7:1", 0), "deny");
	assert_string_equal(judge(&both, "192.0.2.8:1", 0), "in");
	assert_string_equal(judge(&both, "192.0.3.8:1", 0), "allow");
}

static void hours_come_last_and_are_for_all(void **state)
{
	struct schedule *hours = schedule_new(arena);
	char why[SCHEDULE_WHY_MAX];

	assert_int_equal(schedule_add(hours, "daily 07:00-19:00 UTC", 0, why), 0);
	const struct access access = { .hours = hours, .deny = set_of("192.0.2.7"), .allow = set_of("192.0.2.0/24") };
	assert_string_equal(judge(&access, "192.0.2.1:1", 12 * 3600), "in");
	assert_string_equal(judge(&access, "192.0.2.1:1", 20 * 3600), "hours");
	assert_string_equal(judge(&access, "192.0.2.7:1", 20 * 3600), "deny");
	assert_string_equal(judge(&access, "unix:/run/client", 12 * 3600), "in"); /* it has no address */
	assert_string_equal(judge(&access, "unix:/run/client", 20 * 3600), "hours");
}

static uint64_t source(const char *text)
{
	struct address address = address_of(text);
	return access_source(&address);
}

static void an_address_of_ipv4_is_a_source_however_it_is_written(void **state)
{
	assert_int_equal(source("10.20.30.40:1"), 0xffff0a141e28ULL);
	assert_int_equal(source("192.0.2.1:65535"), source("192.0.2.1:1"));
	assert_int_equal(source("[::ffff:192.0.2.1]:1"), source("192.0.2.1:1"));
	assert_int_equal(source("[64:ff9b::192.0.2.1]:1"), source("192.0.2.1:1"));
	assert_int_not_equal(source("192.0.2.2:1"), source("192.0.2.1:1"));
	assert_int_not_equal(source("0.0.0.0:1"), 0);
}

static void a_network_of_ipv6_is_a_source(void **state)
{
	assert_int_equal(source("[2001:db8:1:2::3]:1"), 0x20010db800010002ULL);
	assert_int_equal(source("[2001:db8:1:2:ffff::9]:1"), source("[2001:db8:1:2::3]:1"));
	assert_int_not_equal(source("[2001:db8:1:3::3]:1"), source("[2001:db8:1:2::3]:1"));
	assert_int_equal(source("[::1]:1"), 1);
	/* Beside the translated ones. */
	assert_int_equal(source("[64:ff9b:0:1::1]:1"), 0x0064ff9b00000001ULL);
	assert_int_equal(source("[64:ff9b:0:0:1::1]:1"), 0x0064ff9b00000000ULL);
	assert_int_equal(source("[64:ff9b::1:0:0]:1"), 0x0064ff9b00000000ULL);
}

static void a_client_of_a_unix_socket_has_no_source(void **state)
{
	const struct address none = { 0 };

	assert_int_equal(source("unix:/run/client"), 0);
	assert_int_equal(access_source(&none), 0);
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(without_rules_everybody_may_come_in),
		UNIT(deny_wins_over_allow),
		UNIT(hours_come_last_and_are_for_all),
		UNIT(an_address_of_ipv4_is_a_source_however_it_is_written),
		UNIT(a_network_of_ipv6_is_a_source),
		UNIT(a_client_of_a_unix_socket_has_no_source),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
