/* Hexadecimal digits, every byte and every character. */
#include "hex.h"
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// after those above
#include <cmocka.h>

static void every_character_has_its_value_or_none(void **state)
{
	for (int c = 0; c < 256; c++) {
		char text[2] = { (char)c };
		int expected = c < 128 && isxdigit(c) ? (int)strtol(text, NULL, 16) : -1;
		assert_int_equal(hex_value((char)c), expected);
	}
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(hex_value(hex_digit(i + 16)), i);
}

static void bytes_are_read_as_they_were_written(void **state)
{
	uint8_t bytes[256], again[256];
	char text[2 * sizeof(bytes) + 1];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	hex_write(text, bytes, sizeof(bytes));
	assert_memory_equal(text, "000102030405060708090a0b0c0d0e0f10", 34);
	assert_int_equal(strlen(text), 2 * sizeof(bytes));
	assert_int_equal(hex_read(text, again, sizeof(again)), 0);
	assert_memory_equal(bytes, again, sizeof(bytes));
	hex_write(text, bytes, 0);
	assert_string_equal(text, "");
	assert_int_equal(hex_read("", again, 0), 0);
	assert_int_equal(hex_read("aF", again, 1), 0);
	assert_int_equal(again[0], 0xaf);
}

static void anything_else_is_refused(void **state)
{
	static const char *const texts[] = { "", "0", "000", "0000", "0g", "g0", " 1", "1 ", "0x", "-1" };
	uint8_t byte;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(hex_read(texts[i], &byte, 1), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_character_has_its_value_or_none),
		cmocka_unit_test(bytes_are_read_as_they_were_written),
		cmocka_unit_test(anything_else_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
