/* Memory that a child fills and its parent takes over at the same addresses: pointers hold, nobody who had it can write to it any more,
 * and what one process changes of its own stays with it. */
#include "arena.h"
#include "region.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
// after those above
#include <cmocka.h>

struct item {
	struct item *next;
	const char *text;
};

static int run(struct region *region, void (*child)(struct region *region))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		child(region);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define ITEMS 100000

static void fill(struct region *region)
{
	struct item **first = region_grow(region, sizeof(struct item *));
	struct arena *arena = arena_in(region);

	for (int i = 0; i < ITEMS; i++) {
		struct item *item = arena_alloc(arena, sizeof(*item));
		*item = (struct item){ *first, arena_printf(arena, "item %d", i) };
		*first = item;
	}
	/* One piece larger than all blocks. */
	memset(arena_alloc(arena, 5 << 20), 7, 5 << 20);
	_exit(region_finish(region) < 0);
}

static void what_a_child_filled_is_there_with_its_pointers(void **state)
{
	struct region *region = region_new();
	char text[32];
	int n = ITEMS;

	assert_non_null(region);
	assert_null(region_start(region));
	assert_int_equal(run(region, fill), 0);
	assert_int_equal(region_take(region), 0);
	assert_int_equal(region_fd(region), -1);
	for (const struct item *item = *(struct item **)region_start(region); item; item = item->next) {
		snprintf(text, sizeof(text), "item %d", --n);
		assert_string_equal(item->text, text);
	}
	assert_int_equal(n, 0);
	struct region *other = region_share(region);
	region_free(region);
	assert_non_null(*(struct item **)region_start(other));
	region_free(other);
}

static void change(struct region *region)
{
	if (region_own(region) < 0)
		_exit(1);
	*(struct item **)region_start(region) = NULL;
}

static void changes_are_of_the_process_that_makes_them(void **state)
{
	struct region *region = region_new();

	assert_int_equal(run(region, fill), 0);
	assert_int_equal(region_take(region), 0);
	assert_int_equal(run(region, change), 0);
	assert_non_null(*(struct item **)region_start(region));
	region_free(region);
}

static void end_early(struct region *region)
{
	region_grow(region, 1);
}

static void a_child_that_did_not_finish_leaves_nothing(void **state)
{
	struct region *region = region_new();

	assert_int_equal(run(region, end_early), 0);
	assert_int_equal(region_take(region), -EBUSY);
	region_free(region);
	region_free(NULL);
}

/* A process that is forked meanwhile, as one that runs a module is. */
static void write_beside(struct region *region, char *byte, bool parts, const int ends[2])
{
	if (parts && region_part(region) < 0)
		_exit(1);
	*byte = 'b';
	if (write(ends[1], "", 1) != 1)
		_exit(1);
	pause(); /* until it is killed */
}

static void fill_beside_another(struct region *region, bool parts, int expected)
{
	int ends[2];
	char *byte = region_grow(region, 1);

	*byte = 'a';
	if (pipe(ends) < 0)
		_exit(10);
	pid_t pid = fork();
	if (pid == 0)
		write_beside(region, byte, parts, ends);
	close(ends[1]);
	if (read(ends[0], &(char){ 0 }, 1) != 1)
		_exit(11);
	*byte = 'c';
	int error = region_finish(region);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	_exit(error == expected ? 0 : 12);
}

static void fill_beside_a_writer(struct region *region)
{
	fill_beside_another(region, false, -EBUSY);
}

static void fill_beside_one_that_parted(struct region *region)
{
	fill_beside_another(region, true, 0);
}

static void whoever_could_still_write_keeps_it_from_being_used(void **state)
{
	struct region *region = region_new();

	assert_int_equal(run(region, fill_beside_a_writer), 0);
	assert_int_equal(region_take(region), -EBUSY);
	region_free(region);
}

static void who_has_parted_changes_a_copy(void **state)
{
	struct region *region = region_new();

	assert_int_equal(run(region, fill_beside_one_that_parted), 0);
	assert_int_equal(region_take(region), 0);
	assert_int_equal(*(char *)region_start(region), 'c');
	region_free(region);
}

static void grow_too_far(struct region *region)
{
	_exit(region_grow(region, (size_t)1 << 46) || region_grow(region, SIZE_MAX));
}

static void there_is_an_end_to_it(void **state)
{
	struct region *region = region_new();

	assert_int_equal(run(region, grow_too_far), 0);
	region_free(region);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_child_filled_is_there_with_its_pointers),
		cmocka_unit_test(changes_are_of_the_process_that_makes_them),
		cmocka_unit_test(a_child_that_did_not_finish_leaves_nothing),
		cmocka_unit_test(whoever_could_still_write_keeps_it_from_being_used),
		cmocka_unit_test(who_has_parted_changes_a_copy),
		cmocka_unit_test(there_is_an_end_to_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
