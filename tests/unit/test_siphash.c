/* SipHash-2-4 against vectors of its authors (key 00 01 .. 0f, inputs 00 01 02 ...). */
#include "siphash.h"
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct siphash_key key = { { 0x0706050403020100, 0x0f0e0d0c0b0a0908 } };

static void it_is_what_its_authors_say(void **state)
{
	static const struct {
		size_t len;
		uint64_t hash;
	} vectors[] = {
		{ 0, 0x726fdb47dd0e0e31 },
		{ 1, 0x74f839c593dc67fd },
		{ 7, 0xab0200f58b01d137 },
		{ 8, 0x93f5f5799a932462 },
		{ 15, 0xa129ca6149be45e5 },
		{ 63, 0x958a324ceb064572 },
	};
	uint8_t bytes[64];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		assert_int_equal(siphash(&key, bytes, vectors[i].len), vectors[i].hash);
}

static void two_keys_are_two(void **state)
{
	struct siphash_key one, other;

	assert_int_equal(siphash_key_new(&one), 0);
	assert_int_equal(siphash_key_new(&other), 0);
	assert_int_not_equal(siphash(&one, "flow", 4), siphash(&other, "flow", 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_what_its_authors_say),
		cmocka_unit_test(two_keys_are_two),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
