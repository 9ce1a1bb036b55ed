/* Sets of prefixes: what text is accepted, and that the trie answers as a walk over a plain list does. */
#include "address_set.h"
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct address address_of(const char *text)
{
	struct address address = { 0 };

	if (inet_pton(AF_INET, text, &address.in.sin_addr) == 1) {
		address.in.sin_family = AF_INET;
		address.len = sizeof(address.in);
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &address.in6.sin6_addr), 1);
		address.in6.sin6_family = AF_INET6;
		address.len = sizeof(address.in6);
	}
	return address;
}

static struct address_set *set_of(const char *first, ...)
{
	struct address_set *set = address_set_new();
	char why[ADDRESS_SET_WHY_MAX];
	va_list more;

	va_start(more, first);
	for (const char *text = first; text; text = va_arg(more, const char *))
		assert_int_equal(address_set_insert(set, text, why), 0);
	va_end(more);
	return set;
}

static bool has(const struct address_set *set, const char *text)
{
	struct address address = address_of(text);
	return address_set_contains(set, &address);
}

static void what_is_covered_and_what_is_not(void **state)
{
	struct address_set *set = set_of("192.0.2.0/24", "198.51.100.7", "10.0.0.0/9", "2001:db8::/32", "::1", NULL);

	assert_true(has(set, "192.0.2.0") && has(set, "192.0.2.255"));
	assert_false(has(set, "192.0.1.255") || has(set, "192.0.3.0"));
	assert_true(has(set, "198.51.100.7"));
	assert_false(has(set, "198.51.100.6") || has(set, "198.51.100.8"));
	assert_true(has(set, "10.127.255.255"));
	assert_false(has(set, "10.128.0.0"));
	assert_true(has(set, "2001:db8:ffff::1") && has(set, "::1"));
	assert_false(has(set, "2001:db9::") || has(set, "::2") || has(set, "::"));
	assert_int_equal(address_set_count(set), 5);
	address_set_free(set);
}

static void an_empty_set_has_nothing_and_all_bits_are_everything(void **state)
{
	struct address_set *none = address_set_new();
	struct address_set *four = set_of("0.0.0.0/0", NULL), *six = set_of("::/0", NULL);

	assert_false(has(none, "0.0.0.0") || has(none, "::"));
	assert_true(has(four, "0.0.0.0") && has(four, "255.255.255.255"));
	assert_false(has(four, "::1"));
	assert_true(has(six, "::1") && has(six, "ffff::"));
	assert_false(has(six, "192.0.2.1"));
	address_set_free(none);
	address_set_free(four);
	address_set_free(six);
}

static void a_mapped_address_is_the_ipv4_address(void **state)
{
	struct address_set *plain = set_of("192.0.2.0/24", NULL), *mapped = set_of("::ffff:192.0.2.0/120", NULL);
	struct address_set *all = set_of("::ffff:0:0/96", NULL), *six = set_of("::/0", NULL);

	assert_true(has(plain, "::ffff:192.0.2.9") && has(mapped, "192.0.2.9") && has(mapped, "::ffff:192.0.2.9"));
	assert_false(has(mapped, "192.0.3.9") || has(plain, "::ffff:192.0.3.9"));
	assert_true(has(all, "203.0.113.1"));
	assert_false(has(six, "::ffff:203.0.113.1"));
	address_set_free(plain);
	address_set_free(mapped);
	address_set_free(all);
	address_set_free(six);
}

static void a_wider_prefix_takes_in_what_is_there(void **state)
{
	struct address_set *set = set_of("192.0.2.1", "192.0.2.128/25", "192.0.2.0/24", "192.0.2.77", NULL);

	assert_true(has(set, "192.0.2.2") && has(set, "192.0.2.77") && has(set, "192.0.2.200"));
	assert_false(has(set, "192.0.3.1"));
	address_set_free(set);
}

static void no_address_is_in_no_set(void **state)
{
	struct address_set *set = set_of("0.0.0.0/0", "::/0", NULL);
	struct address none = { 0 }, path;

	address_parse(&path, "unix:/run/x");
	assert_false(address_set_contains(set, &none));
	assert_false(address_set_contains(set, &path));
	address_set_free(set);
}

static bool has_from(const struct address_set *set, const char *host, uint32_t zone)
{
	struct address address;
	char text[64];

	snprintf(text, sizeof(text), "[%s]:1", host);
	assert_int_equal(address_parse(&address, text), 0);
	address.in6.sin6_scope_id = zone;
	return address_set_contains(set, &address);
}

static void an_address_with_a_zone_is_of_one_interface(void **state)
{
	struct address_set *set = set_of("fe80::1%lo", "fe80::2", "fe80::%7/10", NULL);

	assert_true(has_from(set, "fe80::1", 1));
	assert_false(has_from(set, "fe80::1", 2) || has_from(set, "fe80::1", 0) || has_from(set, "fe80::3", 1));
	assert_true(has_from(set, "fe80::2", 1) && has_from(set, "fe80::2", 2) && has_from(set, "fe80::2", 0));
	assert_true(has_from(set, "fe80::1", 7) && has_from(set, "fe80::ffff:ffff:ffff:ffff", 7));
	/* The zone is not part of what a client may choose. */
	assert_false(has_from(set, "fe80:0:0:1::1", 2) || has_from(set, "fe80:0:0:7::1", 2) ||
		has_from(set, "::7:0:0:0:1", 7));
	address_set_free(set);
}

static void a_kept_set_answers_alike(void **state)
{
	struct arena *arena = arena_new();
	struct address_set *set = set_of("192.0.2.0/24", "2001:db8::/32", NULL);
	const struct address_set *kept = address_set_keep(set, arena);

	address_set_free(set);
	assert_true(has(kept, "192.0.2.1") && has(kept, "2001:db8::1"));
	assert_false(has(kept, "192.0.1.1"));
	assert_int_equal(address_set_count(kept), 2);
	arena_free(arena);
}

static void what_is_refused_is_told_with_what_was_probably_meant(void **state)
{
	static const struct {
		const char *text, *why;
	} wrong[] = {
		{ "192.0.2.1/24",
			"bits set behind the first 24, expected 192.0.2.0/24 for the whole network or 192.0.2.1 "
			"for" },
		{ "2001:db8::1/32",
			"expected 2001:db8::/32 for the whole network or 2001:db8::1 for the one address" },
		{ "1.2.3.4/0", "expected 0.0.0.0/0" },
		{ "192.0.2.1:80", "without a port" },
		{ "[2001:db8::1]", "without brackets" },
		{ "fe80::1%none-such-0", "names an interface that is not there" },
		{ "2001:db8::1%lo", "or a link-local one such as fe80::1%eth0" },
		{ "fe80::1%", "or a link-local one such as fe80::1%eth0" },
		{ "192.0.2.1%lo", "or a link-local one such as fe80::1%eth0" },
		{ "10/8", "four numbers" },
		{ "256.1.1.1", "four numbers" },
		{ "shop.example", "names are not looked up" },
		{ "", "is no address" },
		{ "/24", "is no address" },
		{ "192.0.2.0/", "number of bits from 0 to 32" },
		{ "192.0.2.0/33", "number of bits from 0 to 32" },
		{ "192.0.2.0/255.255.255.0", "number of bits from 0 to 32" },
		{ "192.0.2.0/+24", "number of bits from 0 to 32" },
		{ "192.0.2.0/-1", "number of bits from 0 to 32" },
		{ "192.0.2.0/ 24", "number of bits from 0 to 32" },
		{ "2001:db8::/129", "number of bits from 0 to 128" },
		{ "192.0.2.0 ", "is no address" },
		{ "0192.0.2.1", "is no address" },
		{ "2001:db8::2001:db8:2001:db8:2001:db8:2001:db8:2001:db8:2001:db8:2001:db8", "is no address" },
	};
	struct address_set *set = address_set_new();
	char why[ADDRESS_SET_WHY_MAX];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_true(address_set_insert(set, wrong[i].text, why) < 0);
		if (!strstr(why, wrong[i].why))
			fail_msg("`%s': %s", wrong[i].text, why);
	}
	assert_int_equal(address_set_count(set), 0);
	address_set_free(set);
}

/* ---- beside a plain list ---- */

struct plain {
	uint8_t bytes[16];
	unsigned bits, width;
};

static bool plain_covers(const struct plain *plain, const struct plain *address)
{
	if (plain->width != address->width)
		return false;
	for (unsigned bit = 0; bit < plain->bits; bit++)
		if ((plain->bytes[bit / 8] ^ address->bytes[bit / 8]) >> (7 - bit % 8) & 1)
			return false;
	return true;
}

/* Few different bytes, so that prefixes nest and neighbour. */
static struct plain plain_random(unsigned *seed, bool prefix)
{
	static const uint8_t few[] = { 0, 1, 0x7f, 0x80, 0xff, 0x55 };
	struct plain plain = { .width = rand_r(seed) % 2 ? 32 : 128 };

	for (unsigned i = 0; i < plain.width / 8; i++)
		plain.bytes[i] = rand_r(seed) % 8 ? few[rand_r(seed) % sizeof(few)] : (uint8_t)rand_r(seed);
	plain.bits = plain.width;
	if (prefix) {
		plain.bits = (unsigned)rand_r(seed) % (plain.width + 1);
		if (rand_r(seed) % 4 && plain.bits < plain.width / 4)
			plain.bits += plain.width / 4; /* else all is covered soon */
		for (unsigned bit = plain.bits; bit < plain.width; bit++)
			plain.bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	}
	/* What is mapped is IPv4: not what this is about. */
	if (plain.width == 128)
		plain.bytes[0] |= 0x20;
	if (prefix && plain.width == 128 && plain.bits < 3)
		plain.bits = 3;
	return plain;
}

static void plain_text(const struct plain *plain, char *ret, size_t size)
{
	char host[INET6_ADDRSTRLEN];

	inet_ntop(plain->width == 32 ? AF_INET : AF_INET6, plain->bytes, host, sizeof(host));
	snprintf(ret, size, "%s/%u", host, plain->bits);
}

static struct address plain_address(const struct plain *plain)
{
	struct address address = { 0 };

	if (plain->width == 32) {
		address.in.sin_family = AF_INET;
		address.len = sizeof(address.in);
		memcpy(&address.in.sin_addr, plain->bytes, 4);
	} else {
		address.in6.sin6_family = AF_INET6;
		address.len = sizeof(address.in6);
		memcpy(&address.in6.sin6_addr, plain->bytes, 16);
	}
	return address;
}

static void it_answers_as_a_list_does(void **state)
{
	unsigned yes = 0, no = 0;

	for (unsigned round = 1; round <= 60; round++) {
		unsigned seed = round, n = 1 + round * round / 8;
		struct plain *list = calloc(n, sizeof(*list));
		struct address_set *set = address_set_new();
		char text[64], why[ADDRESS_SET_WHY_MAX];

		for (unsigned i = 0; i < n; i++) {
			list[i] = plain_random(&seed, true);
			plain_text(&list[i], text, sizeof(text));
			assert_int_equal(address_set_insert(set, text, why), 0);
		}
		for (unsigned i = 0; i < 1000; i++) {
			struct plain asked = plain_random(&seed, false);
			if (i % 3 == 0) { /* from inside or the edge of one that is there */
				const struct plain *near = &list[(unsigned)rand_r(&seed) % n];
				asked = *near;
				asked.bits = asked.width;
				unsigned flip = near->bits + (unsigned)rand_r(&seed) % 3;
				if (flip > 3 && flip <= asked.width)
					asked.bytes[(flip - 1) / 8] ^= (uint8_t)(0x80 >> (flip - 1) % 8);
			}
			struct address address = plain_address(&asked);
			bool expected = false;
			for (unsigned k = 0; k < n; k++)
				expected = expected || plain_covers(&list[k], &asked);
			assert_int_equal(address_set_contains(set, &address), expected);
			*(expected ? &yes : &no) += 1;
		}
		address_set_free(set);
		free(list);
	}
	assert_true(yes > 5000 && no > 5000);
}

/* A look-up costs what the address is long, not what there is in the set. */
static void ten_thousand_entries_cost_little_more_than_ten(void **state)
{
	enum { LOOKUPS = 200000 };

	for (unsigned n = 10; n <= 10000; n = n == 10 ? 1000 : n * 10) {
		struct address_set *set = address_set_new();
		unsigned seed = 7, found = 0;
		char text[64], why[ADDRESS_SET_WHY_MAX];
		struct timespec from, to;

		for (unsigned i = 0; i < n; i++) {
			struct plain plain = { .bits = 24, .width = 32 };
			for (int b = 0; b < 3; b++)
				plain.bytes[b] = (uint8_t)rand_r(&seed);
			plain_text(&plain, text, sizeof(text));
			assert_int_equal(address_set_insert(set, text, why), 0);
		}
		struct address address = address_of("0.0.0.0");
		clock_gettime(CLOCK_MONOTONIC, &from);
		for (unsigned i = 0; i < LOOKUPS; i++) {
			address.in.sin_addr.s_addr = (uint32_t)rand_r(&seed) * 2654435761U;
			found += address_set_contains(set, &address);
		}
		clock_gettime(CLOCK_MONOTONIC, &to);
		print_message("%5u entries: %.0f ns a look-up (%u found)\n", n,
			((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / LOOKUPS,
			found);
		address_set_free(set);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_covered_and_what_is_not),
		cmocka_unit_test(an_empty_set_has_nothing_and_all_bits_are_everything),
		cmocka_unit_test(a_mapped_address_is_the_ipv4_address),
		cmocka_unit_test(a_wider_prefix_takes_in_what_is_there),
		cmocka_unit_test(no_address_is_in_no_set),
		cmocka_unit_test(an_address_with_a_zone_is_of_one_interface),
		cmocka_unit_test(a_kept_set_answers_alike),
		cmocka_unit_test(what_is_refused_is_told_with_what_was_probably_meant),
		cmocka_unit_test(it_answers_as_a_list_does),
		cmocka_unit_test(ten_thousand_entries_cost_little_more_than_ten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
