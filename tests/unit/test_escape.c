/* Escaping, as properties over every byte, many random strings and every size of buffer: the result is
 * printable, can be undone, is cut at a whole escape, and nothing is written past the buffer. */
#include "escape.h"
#include "json_strict.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

typedef size_t escape_function(char *dst, size_t size, const void *src, size_t len);

static int digit(char c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* Undoes either form. Fails the test at anything that is no whole escape. */
static size_t undo(unsigned char *dst, const char *src, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; n++) {
		assert_in_range((unsigned char)src[i], 0x20, 0x7e);
		if (src[i] != '\\') {
			assert_int_not_equal(src[i], '"');
			dst[n] = (unsigned char)src[i++];
			continue;
		}
		assert_true(i + 2 <= len);
		size_t digits = src[i + 1] == 'x' ? 2 : src[i + 1] == 'u' ? 4 : 0;
		if (digits == 0) {
			assert_true(src[i + 1] == '"' || src[i + 1] == '\\');
			dst[n] = (unsigned char)src[i + 1];
			i += 2;
			continue;
		}
		assert_true(i + 2 + digits <= len);
		dst[n] = (unsigned char)(digit(src[i + digits]) << 4 | digit(src[i + 1 + digits]));
		i += 2 + digits;
	}
	return n;
}

static void check(escape_function *escape, const unsigned char *src, size_t len, size_t size)
{
	unsigned char back[256];
	char dst[2048];

	memset(dst, 0x5a, sizeof(dst));
	size_t used = escape(dst, size, src, len);
	for (size_t i = size; i < sizeof(dst); i++)
		assert_int_equal(dst[i], 0x5a);
	if (size == 0) {
		assert_int_equal(used, 0);
		return;
	}
	assert_true(used < size);
	assert_int_equal(dst[used], '\0');
	assert_int_equal(strlen(dst), used);
	size_t n = undo(back, dst, used);
	assert_true(n <= len);
	assert_memory_equal(back, src, n);
	/* It only stopped early where the next escape could not fit. */
	if (n < len)
		assert_true(size - used <= 6);
	if (size > 6 * len)
		assert_int_equal(n, len);
}

static void every_byte_and_every_size(void **state)
{
	static escape_function *const forms[] = { escape_text, escape_json };

	for (size_t form = 0; form < 2; form++)
		for (unsigned c = 0; c < 256; c++)
			for (size_t size = 0; size < 24; size++) {
				unsigned char src[3] = { (unsigned char)c, 'a', (unsigned char)c };
				check(forms[form], src, 3, size);
			}
}

static void random_strings(void **state)
{
	unsigned char src[256];

	srandom(443);
	for (int i = 0; i < 20000; i++) {
		size_t len = (size_t)random() % sizeof(src);
		for (size_t k = 0; k < len; k++)
			src[k] = (unsigned char)(i % 3 ? random() : "\"\\\n\t a\x7f\xc3"[random() % 8]);
		check(i % 2 ? escape_text : escape_json, src, len, (size_t)random() % 1800);
	}
}

static void json_strings_are_json(void **state)
{
	unsigned char src[256];
	char text[2048] = "\"";

	for (unsigned c = 0; c < 256; c++)
		src[c] = (unsigned char)c;
	size_t used = escape_json(text + 1, sizeof(text) - 2, src, sizeof(src));
	strcpy(text + 1 + used, "\"");
	assert_true(json_is_strict(text, used + 2));
}

static void strings_of_any_length_are_written_whole(void **state)
{
	unsigned char src[3000];
	char *text = NULL;
	size_t len = 0;

	for (size_t n = 0; n < sizeof(src); n += 1 + n / 7) {
		memset(src, n % 2 ? 'a' : '\n', n);
		FILE *to = open_memstream(&text, &len);
		escape_json_write(to, src, n);
		fclose(to);
		assert_int_equal(len, 2 + n * (n % 2 ? 1 : 6));
		assert_true(json_is_strict(text, len));
		free(text);
	}
	FILE *to = open_memstream(&text, &len);
	putc('1', to);
	escape_json_member(to, "a", "b\n");
	escape_json_member(to, "c", NULL);
	fclose(to);
	assert_string_equal(text, "1, \"a\": \"b\\u000a\", \"c\": null");
	free(text);
}

static void what_is_not_printable_is_replaced(void **state)
{
	for (int c = 0; c < 256; c++)
		assert_int_equal(escape_printable((char)c), c >= ' ' && c < 0x7f ? c : '?');
}

static void the_forms_are_as_agreed(void **state)
{
	char dst[64];

	escape_text(dst, sizeof(dst), "a\"b\\c\n\x1f\x7f\xff~ ", 11);
	assert_string_equal(dst, "a\\x22b\\x5cc\\x0a\\x1f\\x7f\\xff~ ");
	escape_json(dst, sizeof(dst), "a\"b\\c\n\x1f\x7f\xff~ ", 11);
	assert_string_equal(dst, "a\\\"b\\\\c\\u000a\\u001f\\u007f\\u00ff~ ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_and_every_size),
		cmocka_unit_test(random_strings),
		cmocka_unit_test(json_strings_are_json),
		cmocka_unit_test(strings_of_any_length_are_written_whole),
		cmocka_unit_test(what_is_not_printable_is_replaced),
		cmocka_unit_test(the_forms_are_as_agreed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
