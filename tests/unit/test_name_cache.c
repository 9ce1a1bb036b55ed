/* Names of clients in shared memory: found as written, old after their time, whole or not at all; strangers' names have one form. */
#include "name_cache.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct name_cache *cache;

static int make(void **state)
{
	cache = mmap(NULL, name_cache_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return cache == MAP_FAILED || name_cache_init(cache) < 0;
}

static int drop(void **state)
{
	return munmap(cache, name_cache_size());
}

static struct address parsed(const char *text)
{
	struct address a;

	assert_int_equal(address_parse(&a, text), 0);
	return a;
}

static void a_name_is_found_as_written_until_its_time_is_over(void **state)
{
	struct address addresses[2] = { parsed("192.0.2.1:0"), parsed("[2001:db8::1]:0") };
	uint32_t now_ms = UINT32_MAX - 500; /* it wraps around meanwhile */
	struct name_cached found;

	assert_false(name_cache_find(cache, "a.test", now_ms, &found));
	name_cache_put(cache, "a.test", addresses, 2, now_ms, 1000);
	name_cache_put(cache, "none.test", NULL, 0, now_ms, 1000);
	assert_true(name_cache_find(cache, "a.test", now_ms + 999, &found));
	assert_true(found.is_current);
	assert_int_equal(found.n, 2);
	assert_true(address_equal(&found.addresses[0], &addresses[0]));
	assert_true(address_equal(&found.addresses[1], &addresses[1]));
	assert_true(name_cache_find(cache, "a.test", now_ms + 1000, &found));
	assert_false(found.is_current);
	assert_true(name_cache_find(cache, "none.test", now_ms, &found));
	assert_int_equal(found.n, 0);
	assert_false(name_cache_find(cache, "a.tes", now_ms, &found));
	assert_false(name_cache_find(cache, "a.test2", now_ms, &found));
}

/* The newest of many more than there is room for are there, and what is there is what was written. */
static void many_names_push_out_the_old_ones(void **state)
{
	struct name_cached found;
	unsigned n_found = 0;
	char name[32], text[32];

	for (unsigned i = 0; i < 50000; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		snprintf(text, sizeof(text), "10.0.%u.%u:0", i / 256 % 256, i % 256);
		struct address address = parsed(text);
		name_cache_put(cache, name, &address, 1, i, 1000000);
		assert_true(name_cache_find(cache, name, i, &found));
	}
	for (unsigned i = 0; i < 50000; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		snprintf(text, sizeof(text), "10.0.%u.%u:0", i / 256 % 256, i % 256);
		struct address address = parsed(text);
		if (!name_cache_find(cache, name, 50000, &found))
			continue;
		n_found++;
		assert_true(address_equal(&found.addresses[0], &address));
	}
	assert_int_equal(n_found, 4096);
}

/* Its addresses say its number, all of them. */
static void write_numbered(uint8_t number)
{
	struct address addresses[NAME_CACHE_ADDRESSES];
	char text[32];

	snprintf(text, sizeof(text), "10.%u.%u.%u:0", number, number, number);
	for (int i = 0; i < NAME_CACHE_ADDRESSES; i++)
		addresses[i] = parsed(text);
	name_cache_put(cache, "a.test", addresses, 1 + number % NAME_CACHE_ADDRESSES, 1000, 1000);
}

static bool read_numbered(void)
{
	struct name_cached found;

	if (!name_cache_find(cache, "a.test", 1000, &found))
		return false;
	const uint8_t *bytes = (const uint8_t *)&found.addresses[0].in.sin_addr;
	assert_int_equal(found.n, 1 + bytes[1] % NAME_CACHE_ADDRESSES);
	for (size_t i = 0; i < found.n; i++)
		assert_memory_equal(&found.addresses[i].in.sin_addr, bytes, 4);
	return true;
}

static void a_writer_that_is_killed_leaves_whole_entries(void **state)
{
	for (int round = 0; round < 20; round++) {
		pid_t child = fork();
		if (child == 0)
			for (uint8_t i = 0;; i++)
				write_numbered(i);
		for (int i = 0; i < 2000; i++)
			read_numbered();
		usleep(100 + 37 * (useconds_t)round);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		read_numbered();
		name_cache_mend(cache);
		read_numbered();
		write_numbered(7);
		assert_true(read_numbered());
	}
}

static void names_have_one_form(void **state)
{
	static const char *const refused[] = { "", ".", "a..b", "192.0.2.1", "[::1]", "a b", "-a.test", "a-.test",
		"a/b", "a%b", "\xc3\xa4.test" };
	char long_name[300], folded[NAME_MAX_LEN + 1];

	assert_true(name_fold("WWW.Example.NET.", folded));
	assert_string_equal(folded, "www.example.net");
	assert_true(name_fold("_x.a-b.test", folded));
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_false(name_fold(refused[i], folded));
	for (size_t i = 0; i < sizeof(long_name) - 1; i++)
		long_name[i] = i % 50 == 49 ? '.' : 'a';
	long_name[254] = '\0';
	assert_false(name_fold(long_name, folded));
	long_name[253] = '\0';
	assert_true(name_fold(long_name, folded));
	assert_int_equal(strlen(folded), 253);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_name_is_found_as_written_until_its_time_is_over, make, drop),
		cmocka_unit_test_setup_teardown(many_names_push_out_the_old_ones, make, drop),
		cmocka_unit_test_setup_teardown(a_writer_that_is_killed_leaves_whole_entries, make, drop),
		cmocka_unit_test(names_have_one_form),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
