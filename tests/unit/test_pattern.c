/* Patterns on a stream. The reference is the pattern's own answer to whole windows: over a small alphabet
 * every window is tried, and what is said of each prefix must hold for all windows that begin with it. */
#include "pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct pattern *compile(const char *regex, size_t within)
{
	char error[200];
	struct pattern *pattern = pattern_regex_new(NULL, regex, within, error, sizeof(error));

	if (!pattern)
		fail_msg("%s: %s", regex, error);
	return pattern;
}

static enum verdict match(const struct pattern *pattern, const void *bytes, size_t len)
{
	uint8_t *copy = malloc(len + (len == 0));

	if (len > 0)
		memcpy(copy, bytes, len);
	enum verdict verdict = pattern_match(pattern, &(struct evidence){ copy, len });
	free(copy);
	return verdict;
}

static void what_people_write(void **state)
{
	static const struct {
		const char *regex;
		size_t within;
		const char *bytes;
		enum verdict verdict;
	} cases[] = {
		{ "^HELLO v[0-9]+ ", 64, "HELLO v", VERDICT_MORE },
		{ "^HELLO v[0-9]+ ", 64, "HELLO v12", VERDICT_MORE },
		{ "^HELLO v[0-9]+ ", 64, "HELLO v12 ", VERDICT_YES },
		{ "^HELLO v[0-9]+ ", 64, "HELLO v ", VERDICT_NO },
		{ "^HELLO v[0-9]+ ", 9, "HELLO v12 ", VERDICT_NO },
		{ "^HELLO v[0-9]+ ", 10, "HELLO v12 more", VERDICT_YES },
		{ "^GET .*", 1024, "GET ", VERDICT_YES },
		{ "^(GET|POST) .+", 1024, "POST /", VERDICT_YES },
		{ "(?i)^get .*", 1024, "GeT x", VERDICT_YES },
		{ "^[0-9]+", 1024, "1", VERDICT_YES },
		{ "^ab?", 1024, "a", VERDICT_YES },
		{ "^a{2,4}", 1024, "aa", VERDICT_YES },
		{ "jabber", 1024, "<stream xmlns='jab", VERDICT_MORE },
		{ "jabber", 1024, "<stream xmlns='jabber", VERDICT_YES },
		{ "jabber", 8, "<stream xmlns='jabber", VERDICT_NO },
		{ "^\\x00[\\x0D-\\xFF]\\x38", 1024, "\1", VERDICT_NO },
		{ "a.c", 1024, "a\nc", VERDICT_YES },
		/* the end of the bytes is not the end of the window */
		{ "^abc$", 1024, "abc", VERDICT_MORE },
		{ "^abc$", 3, "abcd", VERDICT_YES },
		{ "^abc\\z", 1024, "abc", VERDICT_MORE },
		{ "^abc$", 1024, "abc\n", VERDICT_MORE },
		{ "^abc$", 1024, "abcd", VERDICT_NO },
		{ "(?m)^abc$", 1024, "abc\n", VERDICT_YES },
		{ "^abc\\b", 1024, "abc", VERDICT_MORE },
		{ "^abc\\b", 1024, "abc ", VERDICT_YES },
		{ "^abc(?!d)", 1024, "abc", VERDICT_MORE },
		{ "^abc(?!d)", 1024, "abcx", VERDICT_YES },
		{ "^abc(?!d)", 1024, "abcd", VERDICT_NO },
		{ "^abc(?=d)", 1024, "abc", VERDICT_MORE },
		{ "^.*(?<=b)c", 4, "abc", VERDICT_MORE },
		{ "^.*?(?<=b)c", 4, "abc", VERDICT_YES },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pattern *pattern = compile(cases[i].regex, cases[i].within);
		enum verdict verdict = match(pattern, cases[i].bytes, strlen(cases[i].bytes));
		if (verdict != cases[i].verdict)
			fail_msg("%s within %zu on %s: %d", cases[i].regex, cases[i].within, cases[i].bytes, verdict);
		assert_int_equal(match(pattern, NULL, 0), VERDICT_MORE);
		pattern_free(pattern);
	}
}

#define WINDOW  5
#define LETTERS "ab\n"

/* Walks all windows; returns whether all, none or some (MORE) of those below this prefix match. */
static enum verdict walk(const struct pattern *pattern, const char *regex, char *text, size_t len)
{
	enum verdict said = match(pattern, text, len), truth = VERDICT_MORE;

	if (len == WINDOW) {
		assert_int_not_equal(said, VERDICT_MORE);
		return said;
	}
	for (size_t i = 0; i < strlen(LETTERS); i++) {
		text[len] = LETTERS[i];
		enum verdict below = walk(pattern, regex, text, len + 1);
		if (said != VERDICT_MORE && below != said)
			fail_msg("%s: said %d of %.*s, but %d below", regex, said, (int)len, text, below);
		truth = i == 0 || truth == below ? below : VERDICT_MORE;
	}
	return said == VERDICT_MORE ? truth : said;
}

static void what_is_said_of_a_prefix_holds_for_every_window(void **state)
{
	static const char *const regexes[] = { "^a", "a", "^ab", "ab", "^a*", "^a*b", "^a+$", "a$", "$", "^$", "^.*$",
		"\\z", "\\Z", "a\\Z", "^a\\b", "\\b", "\\B", "b\\B", "^a*+b?", "^(?>a+)(?<!aaa)", "^(?>a|ab)b",
		"^a++(?!b)", "^(?=a*b)a", "^(?!a*b)", "(?!a)", "^(?=.{3})", "^.{3}", "^.{2,}?b", "(?m)^b", "(?m)a$",
		"(?m)$", "(?s-m)^b", "^(a|ab)(b|$)", "^(a+)+b", "(a)(\\1)", "^(a*)\\1b", "^(?:a|b)+\\n", "[^a]",
		"^[^a]*$", "a{2}", "^a{0,2}$", "(?<=a)b", "(?<!a)b", "^(?<=a)", "a|$", "^(?:$|a)", "^a?$|b", "\\Ka",
		"a\\Kb", "\\Ab", "\\Ga", "\\R", "\\R$", "^\\N+$", "(*COMMIT)ab", "a(*SKIP)b", "a(*PRUNE)b|b",
		"^(?(?=a)ab|b)", "^(a)?(?(1)b|a)", "^(?R)?a", "(?U)a+b", "a+?", "a*?b", "^a*?$", "", "^", "(?:)",
		"()", "a*", "(?i)A", "^(?|a|b)a", "\\Qa\\E", "[a-b]{5}", "^.{5}$", "^.{6}", "(*ANYCRLF)a$",
		"(*CRLF)a$", "(*ANY)^a$", "^a.*b", ".*b", "^.*b$", "(?:a|aa)+$", "\\ba", "a\\b\\n", "^(?:a*)*$",
		"(?<=^a)b", "(?<=\\n)$", "x*", "[ab]++$", "(a?)*?b$", "\\X", "\\h|b" };

	for (size_t i = 0; i < sizeof(regexes) / sizeof(regexes[0]); i++) {
		struct pattern *pattern = compile(regexes[i], WINDOW);
		char text[WINDOW];
		walk(pattern, regexes[i], text, 0);
		pattern_free(pattern);
	}
}

/* Random patterns over a few letters, assertions, repetitions. */
static void random_patterns_hold_too(void **state)
{
	static const char *const pieces[] = { "a", "b", "\\n", ".", "a*", "b+", "a?", "a*?", "b++", "(?:ab|a)",
		"(a|b)", "$", "^", "\\b", "\\B", "(?=a)", "(?!b)", "(?<=a)", "(?<!b)", "|", "(?>a*)", "[^a]", "\\z",
		"\\Z", ".*", ".+", "a{2}" };
	uint64_t seed = 5;

	for (int round = 0; round < 1500; round++) {
		char regex[200] = "", error[200], text[WINDOW];
		for (int n = 0; n < 5; n++) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
			strcat(regex, pieces[(seed >> 33) % (sizeof(pieces) / sizeof(pieces[0]))]);
			if (seed >> 62 == 0)
				break;
		}
		struct pattern *pattern = pattern_regex_new(NULL, regex, WINDOW, error, sizeof(error));
		if (!pattern)
			continue;
		walk(pattern, regex, text, 0);
		pattern_free(pattern);
	}
}

static void when_the_search_is_over_what_was_not_found_is_not_there(void **state)
{
	static const struct {
		const char *regex, *bytes;
		enum verdict verdict;
	} cases[] = {
		{ "jabber", "hello", VERDICT_NO },
		{ "jabber", "hello jab", VERDICT_NO },
		{ "jabber", "hello jabber", VERDICT_YES },
		{ "r$", "hello jabber",
			VERDICT_YES }, /* the end of the bytes is the end, as for who waits no longer */
		{ "^foo|bar", "hello", VERDICT_NO },
		/* What is tied to the beginning is no search. */
		{ "^hello.*x", "hello", VERDICT_MORE },
		{ "^hello$", "hello", VERDICT_YES },
		{ "^hello$", "hell", VERDICT_MORE },
		{ "^hello$", "hello!", VERDICT_NO },
		{ "^hello world", "hello", VERDICT_MORE },
		{ "^hello world", "hallo", VERDICT_NO },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pattern *pattern = compile(cases[i].regex, 1024);
		struct evidence evidence = { .bytes = (const uint8_t *)cases[i].bytes,
			.len = strlen(cases[i].bytes) };
		evidence.search_over = true;
		if (pattern_match(pattern, &evidence) != cases[i].verdict)
			fail_msg("%s on \"%s\"", cases[i].regex, cases[i].bytes);
		pattern_free(pattern);
	}
}

static void hostile_bytes_hit_a_limit(void **state)
{
	static const char *const regexes[] = { "^(a+)+b", "^(a|aa)+$", "(a*)*b", "^(?:(?:a?){20}){20}b",
		"(?:.*a){12}b" };
	static uint8_t bytes[EVIDENCE_MAX];

	memset(bytes, 'a', sizeof(bytes));
	for (size_t i = 0; i < sizeof(regexes) / sizeof(regexes[0]); i++) {
		struct pattern *pattern = compile(regexes[i], EVIDENCE_MAX);
		enum verdict old = VERDICT_MORE;
		struct timespec begin, end;
		for (size_t len = 1; len <= EVIDENCE_MAX; len *= 2) {
			clock_gettime(CLOCK_MONOTONIC, &begin);
			enum verdict verdict = match(pattern, bytes, len);
			clock_gettime(CLOCK_MONOTONIC, &end);
			int64_t ms = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
			if (ms > 200)
				fail_msg("%s: %d ms for %zu bytes", regexes[i], (int)ms, len);
			assert_true(old == VERDICT_MORE || verdict == old);
			old = verdict;
		}
		assert_int_equal(old, VERDICT_NO);
		pattern_free(pattern);
	}
}

static void errors_say_where_and_what(void **state)
{
	char error[200];

	assert_null(pattern_regex_new(NULL, "^(abc", 64, error, sizeof(error)));
	assert_string_equal(error, "at offset 5: missing closing parenthesis");
	assert_null(pattern_regex_new(NULL, "(*UTF)a", 64, error, sizeof(error)));
	assert_null(pattern_regex_new(NULL, "a[", 64, error, 5));
	assert_string_equal(error, "at o");
	pattern_free(NULL);
}

/* ---- the other kinds ---- */

static enum verdict of(const struct pattern *pattern, const char *bytes, size_t len)
{
	return pattern_match(pattern, &(struct evidence){ .bytes = (const uint8_t *)bytes, .len = len });
}

static struct pattern *text(const char *bytes, size_t within)
{
	return pattern_text_new(NULL, (const uint8_t *)bytes, strlen(bytes), within);
}

static struct pattern *field(const char *bytes, const char *mask, size_t len, size_t at)
{
	return pattern_field_new(NULL, (const uint8_t *)bytes, (const uint8_t *)mask, len, at);
}

static void a_text_is_found_anywhere_within(void **state)
{
	struct pattern *pattern = text("bc", 5);

	assert_int_equal(of(pattern, "bcx", 1), VERDICT_MORE);
	assert_int_equal(of(pattern, "bcx", 2), VERDICT_YES);
	assert_int_equal(of(pattern, "aaabc", 4), VERDICT_MORE);
	assert_int_equal(of(pattern, "aaabc", 5), VERDICT_YES);
	assert_int_equal(of(pattern, "aaaabc", 5), VERDICT_NO);
	assert_int_equal(of(pattern, "aaaabc", 6), VERDICT_NO);
	pattern_free(pattern);
}

static void a_field_is_compared_in_the_bits_of_its_mask(void **state)
{
	struct pattern *all = field("\x12\0", NULL, 2, 1), *some = field("\x10\xff", "\xf0\x01", 2, 1);

	assert_int_equal(of(all, "?", 1), VERDICT_MORE);
	assert_int_equal(of(all, "?\x12", 2), VERDICT_MORE);
	assert_int_equal(of(all, "?\x12\0", 3), VERDICT_YES);
	assert_int_equal(of(all, "?\x13", 2), VERDICT_NO);
	assert_int_equal(of(all, "?\x12x!", 4), VERDICT_NO);
	assert_int_equal(of(some, "?\x1f\x03", 3), VERDICT_YES);
	assert_int_equal(of(some, "?\x1f\x02", 3), VERDICT_NO);
	assert_int_equal(of(some, "?\x2f", 2), VERDICT_NO);
	pattern_free(all);
	pattern_free(some);
}

static void any_and_all_are_three_valued(void **state)
{
	struct pattern *one[] = { text("a", 4), field("x", NULL, 1, 2) };
	struct pattern *two[] = { text("a", 4), field("x", NULL, 1, 2) };
	struct pattern *any = pattern_any_new(NULL, one, 2), *all = pattern_all_new(NULL, two, 2);

	assert_int_equal(of(any, "b", 1), VERDICT_MORE);
	assert_int_equal(of(any, "ba", 2), VERDICT_YES);
	assert_int_equal(of(any, "bbx", 3), VERDICT_YES);
	assert_int_equal(of(any, "bbbb", 4), VERDICT_NO);
	assert_int_equal(of(all, "ba", 2), VERDICT_MORE);
	assert_int_equal(of(all, "bax", 3), VERDICT_YES);
	assert_int_equal(of(all, "bab", 3), VERDICT_NO);
	assert_int_equal(of(all, "bbx", 3), VERDICT_MORE);
	assert_int_equal(of(all, "bbxb", 4), VERDICT_NO);
	pattern_free(any);
	pattern_free(all);
	struct pattern *broken[] = { text("a", 4), NULL };
	assert_null(pattern_all_new(NULL, broken, 2));
	pattern_free(NULL);
}

static void random_ones_never_take_an_answer_back(void **state)
{
	for (int round = 0; round < 3000; round++) {
		char bytes[4][3], stream[12];
		for (int i = 0; i < 12; i++) {
			bytes[i / 3][i % 3] = (char)('a' + rand() % 2);
			stream[i] = (char)('a' + rand() % 2);
		}
		struct pattern *inner[] = { pattern_text_new(NULL, (uint8_t *)bytes[0], 3, 3 + (size_t)rand() % 9),
			field(bytes[1], "\1\0\1", 3, (size_t)rand() % 9) };
		struct pattern *outer[] = { rand() % 2 ? pattern_any_new(NULL, inner, 2)
						       : pattern_all_new(NULL, inner, 2),
			field(bytes[2], NULL, 2, (size_t)rand() % 9) };
		struct pattern *pattern =
			rand() % 2 ? pattern_any_new(NULL, outer, 2) : pattern_all_new(NULL, outer, 2);
		enum verdict before = VERDICT_MORE;
		for (size_t len = 1; len <= sizeof(stream); len++) {
			enum verdict verdict = of(pattern, stream, len);
			if (before != VERDICT_MORE)
				assert_int_equal(verdict, before);
			before = verdict;
		}
		assert_int_not_equal(before, VERDICT_MORE);
		pattern_free(pattern);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_people_write),
		cmocka_unit_test(what_is_said_of_a_prefix_holds_for_every_window),
		cmocka_unit_test(random_patterns_hold_too),
		cmocka_unit_test(when_the_search_is_over_what_was_not_found_is_not_there),
		cmocka_unit_test(hostile_bytes_hit_a_limit),
		cmocka_unit_test(errors_say_where_and_what),
		cmocka_unit_test(a_text_is_found_anywhere_within),
		cmocka_unit_test(a_field_is_compared_in_the_bits_of_its_mask),
		cmocka_unit_test(any_and_all_are_three_valued),
		cmocka_unit_test(random_ones_never_take_an_answer_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
