/* Hours of the week: text, midnight, the end of the week, and the days on which clocks change. */
#include "access.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW 1780000000 /* 2026-05-28 20:26:40 UTC, a Thursday */

static struct arena *arena;

static int setup(void **state)
{
	setenv("TZ", "UTC", 1);
	arena = arena_new();
	return 0;
}

static int teardown(void **state)
{
	arena_free(arena);
	return 0;
}

static struct schedule *schedule_of(const char *first, ...)
{
	struct schedule *schedule = schedule_new(arena);
	char why[SCHEDULE_WHY_MAX];
	va_list more;

	va_start(more, first);
	for (const char *text = first; text; text = va_arg(more, const char *))
		if (schedule_add(schedule, text, NOW, why) < 0)
			fail_msg("%s", why);
	va_end(more);
	return schedule;
}

/* A moment of UTC: "2026-06-01 07:00:00" (a Monday). */
static bool open_at(const struct schedule *schedule, const char *text)
{
	struct tm tm = { 0 };
	assert_non_null(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
	return schedule_covers(schedule, timegm(&tm));
}

static void office_hours(void **state)
{
	const struct schedule *office = schedule_of("Mon-Fri 07:00-19:00", NULL);

	assert_false(open_at(office, "2026-06-01 06:59:59"));
	assert_true(open_at(office, "2026-06-01 07:00:00"));
	assert_true(open_at(office, "2026-06-05 18:59:59"));
	assert_false(open_at(office, "2026-06-05 19:00:00"));
	assert_false(open_at(office, "2026-06-06 12:00:00")); /* Saturday */
	assert_false(open_at(office, "2026-06-07 12:00:00"));
}

static void across_midnight_and_the_end_of_the_week(void **state)
{
	const struct schedule *night = schedule_of("sat,SUN 10:00-02:00", NULL);

	assert_false(open_at(night, "2026-06-06 01:59:00")); /* that would be Friday's */
	assert_true(open_at(night, "2026-06-06 10:00:00"));
	assert_true(open_at(night, "2026-06-07 01:59:59"));
	assert_false(open_at(night, "2026-06-07 02:00:00"));
	assert_true(open_at(night, "2026-06-07 23:59:59"));
	assert_true(open_at(night, "2026-06-08 01:59:59")); /* Monday, still Sunday's night */
	assert_false(open_at(night, "2026-06-08 02:00:00"));
	assert_false(open_at(night, "2026-06-08 10:00:00"));
}

static void ranges_of_days_go_round(void **state)
{
	const struct schedule *weekend = schedule_of("Fri-Mon 00:00-24:00", NULL);

	assert_true(open_at(weekend, "2026-06-05 00:00:00") && open_at(weekend, "2026-06-08 23:59:59"));
	assert_false(open_at(weekend, "2026-06-09 00:00:00") || open_at(weekend, "2026-06-04 23:59:59"));
}

static void always_and_never(void **state)
{
	const struct schedule *always = schedule_of("daily 00:00-24:00", NULL), *never = schedule_new(arena);

	for (time_t at = NOW; at < NOW + 15 * 86400; at += 1777)
		assert_true(schedule_covers(always, at) && !schedule_covers(never, at));
	assert_true(schedule_covers(always, 0) && schedule_covers(always, -1));
}

static void any_of_several_entries(void **state)
{
	const struct schedule *both = schedule_of("Mon 08:00-12:00", "Mon 13:00-17:00", "Wed 10:00-11:00 UTC", NULL);

	assert_true(open_at(both, "2026-06-01 11:59:59") && open_at(both, "2026-06-01 13:00:00"));
	assert_false(open_at(both, "2026-06-01 12:30:00"));
	assert_true(open_at(both, "2026-06-03 10:30:00"));
}

/* Berlin: UTC+1, from 2027-03-28 01:00 UTC to 2027-10-31 01:00 UTC UTC+2. */
static void clocks_go_forward(void **state)
{
	const struct schedule *berlin = schedule_of("daily 07:00-19:00 Europe/Berlin", NULL);

	assert_false(open_at(berlin, "2027-03-27 05:59:59"));
	assert_true(open_at(berlin, "2027-03-27 06:00:00"));
	assert_false(open_at(berlin, "2027-03-28 04:59:59"));
	assert_true(open_at(berlin, "2027-03-28 05:00:00"));
	assert_true(open_at(berlin, "2027-03-28 16:59:59"));
	assert_false(open_at(berlin, "2027-03-28 17:00:00"));

	/* 02:00 to 03:00 is skipped: what is open then only is not open at all. */
	const struct schedule *skipped = schedule_of("daily 02:00-03:00 Europe/Berlin", NULL);
	for (int minute = 0; minute < 24 * 60; minute++)
		assert_false(schedule_covers(skipped, 1806188400 + minute * 60)); /* 2027-03-28 00:00 in Berlin */
}

static void clocks_go_back(void **state)
{
	/* 02:00 to 03:00 happens twice: from 00:00 and from 01:00 UTC. */
	const struct schedule *twice = schedule_of("daily 02:00-03:00 Europe/Berlin", NULL);

	assert_false(open_at(twice, "2027-10-30 23:59:59"));
	assert_true(open_at(twice, "2027-10-31 00:00:00"));
	assert_true(open_at(twice, "2027-10-31 00:59:59"));
	assert_true(open_at(twice, "2027-10-31 01:00:00"));
	assert_true(open_at(twice, "2027-10-31 01:59:59"));
	assert_false(open_at(twice, "2027-10-31 02:00:00"));
}

/* Every half hour of four years, beside what the C library says. */
static void every_zone_agrees_with_the_c_library(void **state)
{
	static const char *const zones[] = { "Europe/Berlin", "America/New_York", "Asia/Kolkata",
		"Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca", "Pacific/Chatham", "UTC" };

	for (size_t z = 0; z < sizeof(zones) / sizeof(zones[0]); z++) {
		char text[64], why[SCHEDULE_WHY_MAX];
		struct schedule *schedule = schedule_new(arena);
		snprintf(text, sizeof(text), "Tue-Sat 05:30-13:15 %s", zones[z]);
		if (schedule_add(schedule, text, NOW, why) < 0)
			fail_msg("%s", why);
		setenv("TZ", zones[z], 1);
		tzset();
		for (time_t at = NOW - 86400; at < NOW + 1460 * 86400L; at += 1800) {
			struct tm tm;
			localtime_r(&at, &tm);
			int minute = tm.tm_hour * 60 + tm.tm_min;
			bool open = tm.tm_wday >= 2 && tm.tm_wday <= 6 && minute >= 330 && minute < 795;
			if (schedule_covers(schedule, at) != open)
				fail_msg("%s at %ld", zones[z], (long)at);
		}
		setenv("TZ", "UTC", 1);
		tzset();
	}
}

static void without_a_zone_the_machine_s_own_counts(void **state)
{
	setenv("TZ", "America/New_York", 1); /* UTC-4 in June */
	const struct schedule *here = schedule_of("daily 07:00-08:00", NULL);
	setenv("TZ", "UTC", 1);
	assert_true(open_at(here, "2026-06-01 11:30:00"));
	assert_false(open_at(here, "2026-06-01 07:30:00"));
}

static void the_process_keeps_its_own_zone(void **state)
{
	struct tm tm;
	time_t at = NOW;

	setenv("TZ", "Asia/Kolkata", 1);
	schedule_of("daily 07:00-08:00 Europe/Berlin", NULL);
	assert_string_equal(getenv("TZ"), "Asia/Kolkata");
	localtime_r(&at, &tm);
	assert_int_equal(tm.tm_gmtoff, 19800);
	unsetenv("TZ");
	schedule_of("daily 07:00-08:00 Europe/Berlin", NULL);
	assert_null(getenv("TZ"));
}

static void what_is_refused_says_what_was_expected(void **state)
{
	static const struct {
		const char *text, *why;
	} wrong[] = {
		{ "", "expected days and times such as" },
		{ "07:00-19:00", "expected days and times such as" },
		{ "Mon-Fri", "expected days and times such as" },
		{ "Mon-Fri 07:00-19:00 Europe/Berlin please", "expected days and times such as" },
		{ "Mon - Fri 07:00-19:00", "expected days and times such as" },
		{ "Mon-Fry 07:00-19:00", "expected days such as" },
		{ "Mon, 07:00-19:00", "expected days such as" },
		{ "Monday 07:00-19:00", "expected days such as" },
		{ "Mon- 07:00-19:00", "expected days such as" },
		{ "Mon 7:00-19:00", "expected times such as" },
		{ "Mon 07:00-24:01", "expected times such as" },
		{ "Mon 24:00-02:00", "expected times such as" },
		{ "Mon 07:60-19:00", "expected times such as" },
		{ "Mon 07.00-19.00", "expected times such as" },
		{ "Mon 07:00-19:00x", "expected times such as" },
		{ "Mon 07:00-07:00", "expected 00:00-24:00 for a whole day" },
		{ "Mon 07:00-19:00 Europe/Atlantis", "unknown time zone" },
		{ "Mon 07:00-19:00 ../../etc/passwd", "unknown time zone" },
		{ "Mon 07:00-19:00 /etc/localtime", "unknown time zone" },
		{ "Mon 07:00-19:00 Europe", "unknown time zone" },
	};
	struct schedule *schedule = schedule_new(arena);
	char why[SCHEDULE_WHY_MAX];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_true(schedule_add(schedule, wrong[i].text, NOW, why) < 0);
		if (!strstr(why, wrong[i].why))
			fail_msg("`%s': %s", wrong[i].text, why);
	}
	assert_false(schedule_covers(schedule, NOW));
}

/* ---- judging ---- */

static struct address client_of(const char *text)
{
	struct address address;
	assert_int_equal(address_parse(&address, text), 0);
	return address;
}

static void deny_wins_over_allow_and_an_allow_admits_only_what_it_covers(void **state)
{
	struct address_set *allow = address_set_new(), *deny = address_set_new();
	char why[ADDRESS_SET_WHY_MAX];
	struct access access = { .allow = allow, .deny = deny, .hours = schedule_of("Thu 20:00-21:00", NULL) };
	struct address good = client_of("192.0.2.9:1"), bad = client_of("192.0.2.66:1"),
		       other = client_of("198.51.100.1:1"), local = client_of("unix:/x"),
		       six = client_of("[2001:db8::1]:1");

	address_set_insert(allow, "192.0.2.0/24", why);
	address_set_insert(deny, "192.0.2.64/26", why);
	assert_null(access_judge(&access, &good, false, NOW));
	assert_string_equal(access_judge(&access, &bad, false, NOW), "deny");
	assert_string_equal(access_judge(&access, &other, false, NOW), "allow");
	assert_string_equal(access_judge(&access, &six, false, NOW), "allow");
	assert_null(access_judge(&access, &local, false, NOW));
	assert_string_equal(access_judge(&access, &good, false, NOW + 3600), "hours");
	assert_string_equal(access_judge(&access, &local, false, NOW + 3600), "hours");
	assert_string_equal(access_judge(&access, &bad, false, NOW + 3600), "deny");
	access.allow = NULL;
	assert_null(access_judge(&access, &other, false, NOW));
	assert_null(access_judge(NULL, &bad, false, NOW));
	address_set_free(allow);
	address_set_free(deny);
}

static void a_source_is_an_ipv4_address_or_a_64(void **state)
{
	struct address a = client_of("192.0.2.1:1"), b = client_of("192.0.2.1:2"), c = client_of("192.0.2.2:1"),
		       mapped = client_of("[::ffff:192.0.2.1]:1"), six = client_of("[2001:db8:0:1::1]:1"),
		       same = client_of("[2001:db8:0:1:ffff::9]:1"), next = client_of("[2001:db8:0:2::1]:1"),
		       translated = client_of("[64:ff9b::192.0.2.1]:1"),
		       local_use = client_of("[64:ff9b:1::192.0.2.1]:1"), loopback = client_of("[::1]:1"),
		       local = client_of("unix:/x");

	assert_true(access_source(&a) == access_source(&b) && access_source(&a) == access_source(&mapped));
	assert_true(access_source(&a) != access_source(&c));
	assert_true(access_source(&six) == access_source(&same) && access_source(&six) != access_source(&next));
	assert_true(
		access_source(&a) == access_source(&translated) && access_source(&a) != access_source(&local_use));
	assert_true(access_source(&loopback) != 0 && access_source(&local) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(office_hours),
		cmocka_unit_test(across_midnight_and_the_end_of_the_week),
		cmocka_unit_test(ranges_of_days_go_round),
		cmocka_unit_test(always_and_never),
		cmocka_unit_test(any_of_several_entries),
		cmocka_unit_test(clocks_go_forward),
		cmocka_unit_test(clocks_go_back),
		cmocka_unit_test(every_zone_agrees_with_the_c_library),
		cmocka_unit_test(without_a_zone_the_machine_s_own_counts),
		cmocka_unit_test(the_process_keeps_its_own_zone),
		cmocka_unit_test(what_is_refused_says_what_was_expected),
		cmocka_unit_test(deny_wins_over_allow_and_an_allow_admits_only_what_it_covers),
		cmocka_unit_test(a_source_is_an_ipv4_address_or_a_64),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
