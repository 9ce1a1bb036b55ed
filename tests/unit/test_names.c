/* The table of names against name_matches(), and name_matches() against what it says. */
#include "names.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed = 11;

static uint32_t draw(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(seed >> 33) % below;
}

static bool matches(const char *pattern, const char *name)
{
	return name_matches(pattern, (const uint8_t *)name, strlen(name));
}

static void keep(void *context, const uint32_t *numbers, size_t count)
{
	char *text = context;

	for (size_t i = 0; i < count; i++)
		sprintf(text + strlen(text), "%u ", numbers[i]);
	strcat(text, "| ");
}

static const char *lookup(const struct names *names, const char *name)
{
	static char text[1000];

	text[0] = 0;
	names_lookup(names, (const uint8_t *)name, strlen(name), keep, text);
	return text;
}

static void what_a_pattern_covers(void **state)
{
	assert_true(matches("a.example", "A.Example"));
	assert_true(matches("A.EXAMPLE", "a.example"));
	assert_false(matches("a.example", "a.example.org"));
	assert_false(matches("a.example", "b.a.example"));
	assert_true(matches("*.example", "a.example"));
	assert_true(matches("*.Example", "a.b.EXAMPLE"));
	assert_false(matches("*.example", "example"));
	assert_false(matches("*.example", ".example"));
	assert_false(matches("*.example", "aexample"));
	assert_false(matches("*.example", "a.example.org"));
	assert_false(matches("*.", "a."));
	assert_false(matches("a", ""));
}

static void the_exact_name_then_the_longest_suffix(void **state)
{
	struct names *names = names_new();

	assert_int_equal(names_insert(names, "*.org", 1), 0);
	assert_int_equal(names_insert(names, "*.example.org", 2), 0);
	assert_int_equal(names_insert(names, "www.Example.org", 3), 0);
	assert_int_equal(names_insert(names, "*.EXAMPLE.org", 4), 0);
	assert_int_equal(names_insert(names, "*.example.org", 4), 0);
	assert_int_equal(names_insert(names, "example.org", 5), 0);
	assert_string_equal(lookup(names, "WWW.example.ORG"), "3 | 2 4 | 1 | ");
	assert_string_equal(lookup(names, "a.b.example.org"), "2 4 | 1 | ");
	assert_string_equal(lookup(names, "example.org"), "5 | 1 | ");
	assert_string_equal(lookup(names, ".org"), "");
	assert_string_equal(lookup(names, "org"), "");
	assert_string_equal(lookup(names, ""), "");
	names_free(names);
	names_free(NULL);
}

static void names_that_are_none(void **state)
{
	static const char *const bad[] = { "", "*", "*.", "a*", "*a.example", "a.*.example", "**.example",
		"*.*.example" };
	struct names *names = names_new();
	char name[300];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(names_insert(names, bad[i], 0), -EINVAL);
	memset(name, 'a', sizeof(name));
	name[256] = 0;
	assert_int_equal(names_insert(names, name, 0), -EINVAL);
	assert_string_equal(lookup(names, name), "");
	name[255] = 0;
	assert_int_equal(names_insert(names, name, 7), 0);
	assert_string_equal(lookup(names, name), "7 | ");
	memset(name, '.', 255);
	assert_string_equal(lookup(names, name), "");
	names_free(names);
}

static void name_draw(char *dst, bool may_be_wildcard)
{
	size_t n = draw(6) + 1;

	dst[0] = 0;
	if (may_be_wildcard && draw(3) == 0)
		strcpy(dst, "*.");
	for (size_t i = 0; i < n; i++)
		strncat(dst, &"abA.."[draw(5)], 1);
}

struct hits {
	bool hit[200];
};

static void mark(void *context, const uint32_t *numbers, size_t count)
{
	struct hits *hits = context;

	for (size_t i = 0; i < count; i++)
		hits->hit[numbers[i]] = true;
}

static void the_table_finds_what_the_patterns_cover(void **state)
{
	static char patterns[200][16];

	for (int round = 0; round < 200; round++) {
		struct names *names = names_new();
		uint32_t n = draw(200) + 1;
		for (uint32_t i = 0; i < n; i++) {
			name_draw(patterns[i], true);
			assert_int_equal(names_insert(names, patterns[i], i), 0);
		}
		for (int k = 0; k < 200; k++) {
			struct hits hits = { 0 };
			char name[16];
			name_draw(name, false);
			names_lookup(names, (const uint8_t *)name, strlen(name), mark, &hits);
			for (uint32_t i = 0; i < n; i++)
				if (hits.hit[i] != matches(patterns[i], name))
					fail_msg("%s in %s: %d", name, patterns[i], hits.hit[i]);
		}
		names_free(names);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_pattern_covers),
		cmocka_unit_test(the_exact_name_then_the_longest_suffix),
		cmocka_unit_test(names_that_are_none),
		cmocka_unit_test(the_table_finds_what_the_patterns_cover),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
