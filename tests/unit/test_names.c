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
	return name_matches(NAME_HOST, pattern, (const uint8_t *)name, strlen(name));
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
	assert_false(matches("a", ""));
}

static bool text_matches(const char *pattern, const char *text)
{
	return name_matches(NAME_TEXT, pattern, (const uint8_t *)text, strlen(text));
}

static void what_a_glob_covers(void **state)
{
	assert_true(matches("*", "a.example"));
	assert_false(matches("?", ""));
	assert_true(matches("a.*.example", "A.b.c.example"));
	assert_false(matches("a.*.example", "a.example"));
	assert_true(matches("*a*b*c", "xxaxxbxxbc"));
	assert_false(matches("*a*b*c", "xxaxxbxxcb"));
	assert_true(matches("**x", "x"));
	assert_true(matches("db[0-9].example", "DB7.example"));
	assert_true(matches("[A-C]x", "bx"));
	assert_false(matches("db[!0-9].example", "db7.example"));
	assert_true(matches("[]-]x", "]x"));
	assert_true(matches("[2001:db8::1]", "[2001:DB8::1]"));
	assert_false(matches("[2001:db8::1]", "2"));

	assert_true(text_matches("/api/*", "/api/"));
	assert_true(text_matches("/api/*", "/api/v1/x"));
	assert_false(text_matches("/api/*", "/API/v1"));
	assert_false(text_matches("/api/*", "/api"));
	assert_true(text_matches("\\*", "*"));
	assert_false(text_matches("\\*", "x"));
	assert_true(text_matches("*.php", "/a/b.php"));
	assert_true(text_matches("?[b-d]?", "acz"));
	assert_false(text_matches("?[b-d]?", "aaz"));
}

static void the_exact_name_then_the_longest_suffix(void **state)
{
	struct names *names = names_new(NULL, NAME_HOST);

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
	static const char *const bad[] = { "", "*.", "[a", "a[!]", "a\\", "[]" };
	struct names *names = names_new(NULL, NAME_HOST);
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

static void text_draw(char *dst, bool may_be_glob)
{
	static const char *const parts[] = { "a", "b", "/", "A", "*", "?", "[ab]", "[!a]", "\\a" };
	size_t n = draw(5) + 1;

	dst[0] = 0;
	for (size_t i = 0; i < n; i++)
		strcat(dst, parts[draw(may_be_glob ? 9 : 4)]);
	if (may_be_glob && draw(3) == 0)
		strcat(dst, "*");
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
		struct names *names = names_new(NULL, NAME_HOST);
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

static void a_table_of_texts_finds_what_globs_cover(void **state)
{
	static char patterns[100][40];

	for (int round = 0; round < 300; round++) {
		struct names *names = names_new(NULL, NAME_TEXT);
		uint32_t n = draw(100) + 1;
		for (uint32_t i = 0; i < n; i++) {
			text_draw(patterns[i], true);
			assert_int_equal(names_insert(names, patterns[i], i), 0);
		}
		for (int k = 0; k < 100; k++) {
			struct hits hits = { 0 };
			char text[40];
			text_draw(text, false);
			names_lookup(names, (const uint8_t *)text, strlen(text), mark, &hits);
			for (uint32_t i = 0; i < n; i++)
				if (hits.hit[i] != text_matches(patterns[i], text))
					fail_msg("%s in %s: %d", text, patterns[i], hits.hit[i]);
		}
		names_free(names);
	}
}

static void a_long_value_has_its_prefixes_and_globs(void **state)
{
	struct names *names = names_new(NULL, NAME_TEXT);
	char text[1001];

	memset(text, 'x', 1000);
	memcpy(text, "/shop/", 6);
	text[1000] = 0;
	assert_int_equal(names_insert(names, "/shop/*", 1), 0);
	assert_int_equal(names_insert(names, "*x", 2), 0);
	assert_int_equal(names_insert(names, "/sho", 3), 0);
	assert_string_equal(lookup(names, text), "1 | 2 | ");
	names_free(names);
}

static void a_long_host_has_its_suffixes(void **state)
{
	struct names *names = names_new(NULL, NAME_HOST);
	char tail[256], host[401];

	memset(host, 'x', 400);
	memcpy(host + 392, ".Example", 9);
	memcpy(tail, host + 400 - 255, 256);
	assert_int_equal(names_insert(names, "*.example", 1), 0);
	assert_int_equal(names_insert(names, tail, 2), 0);
	assert_string_equal(lookup(names, host), "1 | ");
	assert_string_equal(lookup(names, tail), "2 | 1 | ");
	assert_true(matches("*.example", host));
	names_free(names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_pattern_covers),
		cmocka_unit_test(what_a_glob_covers),
		cmocka_unit_test(a_table_of_texts_finds_what_globs_cover),
		cmocka_unit_test(a_long_value_has_its_prefixes_and_globs),
		cmocka_unit_test(a_long_host_has_its_suffixes),
		cmocka_unit_test(the_exact_name_then_the_longest_suffix),
		cmocka_unit_test(names_that_are_none),
		cmocka_unit_test(the_table_finds_what_the_patterns_cover),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
