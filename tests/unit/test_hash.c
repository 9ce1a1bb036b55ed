/* Hashes: the values that other images of usher have in shared memory, and how well tables are filled by them. */
#include "hash.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
// after those above
#include <cmocka.h>

/* From the tables of the authors of FNV. */
static void names_have_the_hash_of_fnv_1a(void **state)
{
	assert_true(hash_name("") == UINT64_C(0xcbf29ce484222325));
	assert_true(hash_name("a") == UINT64_C(0xaf63dc4c8601ec8c));
	assert_true(hash_name("foobar") == UINT64_C(0x85944171f73967e8));
	assert_true(hash_bytes("foobar", 6) == hash_name("foobar"));
	assert_true(hash_bytes("\0", 1) == hash_byte(HASH_START, 0));
	assert_true(hash_byte(hash_byte(HASH_START, 'h'), 0xc3) == hash_name("h\xc3"));
}

static void the_halves_of_a_product_are_folded(void **state)
{
	assert_true(hash_mix(0, HASH_GOLDEN) == 0);
	assert_true(hash_mix(7, 3) == 21);
	assert_true(hash_mix(UINT64_MAX, UINT64_MAX) == (UINT64_C(1) ^ (UINT64_MAX - 1)));
	assert_true(hash_mix(UINT64_C(1) << 63, 6) == 3);
	assert_true(hash_mix(HASH_GOLDEN, 443) == hash_mix(443, HASH_GOLDEN));
}

/* Addresses of one network differ in few bits: 4,096 of them take at least as many of 4,096 places as chance would let them. */
static void neighbours_do_not_meet(void **state)
{
	static unsigned char used[4096];
	unsigned n_used = 0;

	for (uint64_t i = 0; i < 4096; i++) {
		uint64_t place =
			hash_mix((UINT64_C(0x20010db8) << 32 | i << 8) ^ HASH_GOLDEN, 0x123456789abcdef1) % 4096;
		n_used += !used[place];
		used[place] = 1;
	}
	assert_in_range(n_used, 2400, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_have_the_hash_of_fnv_1a),
		cmocka_unit_test(the_halves_of_a_product_are_folded),
		cmocka_unit_test(neighbours_do_not_meet),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
