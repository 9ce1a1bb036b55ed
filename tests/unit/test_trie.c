/* The trie against a plain search through all literals. */
#include "trie.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed = 7;

static uint32_t draw(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(seed >> 33) % below;
}

struct text {
	uint8_t bytes[16];
	size_t len;
	uint32_t rank;
};

static void text_draw(struct text *text, uint32_t letters)
{
	text->len = draw(sizeof(text->bytes)) + 1;
	for (size_t i = 0; i < text->len; i++)
		text->bytes[i] = (uint8_t)(draw(letters) * 37);
}

static void plain_match(const struct text *texts, size_t n, const struct text *bytes, struct trie_match *ret)
{
	ret->yes = ret->more = TRIE_NONE;
	for (size_t i = 0; i < n; i++) {
		size_t common = texts[i].len < bytes->len ? texts[i].len : bytes->len;
		uint32_t *best = texts[i].len <= bytes->len ? &ret->yes : &ret->more;
		if (memcmp(texts[i].bytes, bytes->bytes, common) == 0 && texts[i].rank < *best)
			*best = texts[i].rank;
	}
}

static void same_as_a_plain_search(void **state)
{
	static struct text texts[400];

	for (int round = 0; round < 1500; round++) {
		struct trie *trie = trie_new(NULL);
		size_t n = draw(draw(8) == 0 ? 400 : 60) + 1;
		uint32_t letters = draw(3) == 0 ? 256 : draw(3) + 1;
		for (size_t i = 0; i < n; i++) {
			text_draw(&texts[i], letters);
			texts[i].rank = draw(100);
			assert_int_equal(trie_insert(trie, texts[i].bytes, texts[i].len, texts[i].rank), 0);
		}
		if (draw(3) > 0)
			assert_int_equal(trie_index(trie), 0);
		for (int k = 0; k < 100; k++) {
			struct trie_match plain, match;
			struct text bytes = texts[draw((uint32_t)n)];
			if (draw(2) == 0)
				text_draw(&bytes, letters);
			bytes.len = draw((uint32_t)bytes.len + 1);
			plain_match(texts, n, &bytes, &plain);
			trie_match(trie, bytes.bytes, bytes.len, &match);
			assert_int_equal(match.yes, plain.yes);
			assert_int_equal(match.more, plain.more);
		}
		trie_free(trie);
	}
}

/* Many literals, longer than the index, and a few that end before it. */
static void an_index_hides_nothing(void **state)
{
	struct trie *trie = trie_new(NULL);
	struct trie_match match;
	char text[40];

	for (uint32_t i = 0; i < 3000; i++) {
		int len = snprintf(text, sizeof(text), "HELLO %08x and more", i * UINT32_C(2654435761));
		assert_int_equal(trie_insert(trie, text, (size_t)len, i + 10), 0);
	}
	assert_int_equal(trie_index(trie), 0);
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 3000; i++) {
			int len = snprintf(text, sizeof(text), "HELLO %08x and more", i * UINT32_C(2654435761));
			trie_match(trie, (const uint8_t *)text, (size_t)len, &match);
			assert_int_equal(match.yes, i == 77 && round == 1 ? 1 : i + 10);
			assert_int_equal(match.more, TRIE_NONE);
			trie_match(trie, (const uint8_t *)text, 17, &match);
			assert_int_equal(match.yes, i == 77 && round == 1 ? 1 : TRIE_NONE);
			assert_int_equal(match.more, i + 10);
			text[16] = '#';
			trie_match(trie, (const uint8_t *)text, (size_t)len, &match);
			assert_int_equal(match.more, TRIE_NONE);
		}
		snprintf(text, sizeof(text), "HELLO %08x", 77 * UINT32_C(2654435761));
		assert_int_equal(trie_insert(trie, text, 14, 1), 0);
		assert_int_equal(trie_index(trie), 0);
	}
	trie_free(trie);
}

static void keep(void *context, uint32_t rank)
{
	char *text = context;

	sprintf(text + strlen(text), "%u ", rank);
}

static void a_walk_finds_the_shortest_first(void **state)
{
	struct trie *trie = trie_new(NULL);
	char found[64] = "";

	trie_insert(trie, "GET /", 5, 4);
	trie_insert(trie, "G", 1, 9);
	trie_insert(trie, "GET", 3, 2);
	trie_insert(trie, "GET", 3, 3);
	trie_insert(trie, "POST", 4, 1);
	trie_insert(trie, "GET /long", 9, 7);
	trie_insert(trie, "GET /longer", 11, 5);
	assert_int_equal(trie_walk(trie, (const uint8_t *)"GET /lo", 7, keep, found), 5);
	assert_string_equal(found, "9 2 4 ");
	trie_free(trie);
}

static void nothing_in_it(void **state)
{
	struct trie *trie = trie_new(NULL);
	struct trie_match match;

	trie_match(trie, (const uint8_t *)"x", 1, &match);
	assert_int_equal(match.yes, TRIE_NONE);
	assert_int_equal(match.more, TRIE_NONE);
	trie_insert(trie, "x", 1, 3);
	trie_match(trie, NULL, 0, &match);
	assert_int_equal(match.yes, TRIE_NONE);
	assert_int_equal(match.more, 3);
	trie_free(trie);
	trie_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_as_a_plain_search),
		cmocka_unit_test(an_index_hides_nothing),
		cmocka_unit_test(a_walk_finds_the_shortest_first),
		cmocka_unit_test(nothing_in_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
