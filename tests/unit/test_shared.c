/* Memory that workers share, as one sees it that was taken over: what it can write, and that nobody minds what it wrote. */
#include "counters.h"
#include "fd.h"
#include "shared.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct shared shared;

static int setup(void **state)
{
	shared = NO_SHARED;
	if (shared_open(&shared) < 0)
		return -1;
	shared_begin(&shared, 0);
	shared_begin(&shared, 1);
	return 0;
}

static int teardown(void **state)
{
	shared_close(&shared);
	return 0;
}

/* How a child ends that does this: its exit status, or -signal. */
static int end_of(void (*child)(void *argument), void *argument)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		child(argument);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* As a worker does it: what it is not to write it cannot make writable, for its descriptors are closed by then. */
static struct shared view(unsigned slot)
{
	struct shared own;

	if (shared_view(&shared, slot, &own) < 0)
		_exit(2);
	close(shared.page_fd);
	close(shared.limits_fd);
	close(shared.counters_fd);
	close(shared.affinity_fd);
	return own;
}

static void count_a_connection(void *argument)
{
	struct shared own = view(1);

	limits_enter_all(own.limits, 1, 0);
	counter_open(counter_get(own.counters, 1, COUNTER_SERVICE, "web"));
	atomic_store(&own.page->slots[1].running, 7);
	atomic_fetch_add(&own.page->next_connection, 1);
}

static void a_worker_counts_in_its_own_slot(void **state)
{
	struct counted counted;
	uint64_t next = atomic_load(&shared.page->next_connection);

	assert_int_equal(end_of(count_a_connection, NULL), 0);
	assert_int_equal(limits_live_all(shared.limits), 1);
	counters_sum(shared.counters, COUNTER_SERVICE, "web", &counted);
	assert_int_equal(counted.open, 1);
	assert_int_equal(atomic_load(&shared.page->slots[1].running), 7);
	assert_int_equal(atomic_load(&shared.page->next_connection), next + 1);
	shared_forget(&shared, 1);
	assert_int_equal(limits_live_all(shared.limits), 0);
	assert_int_equal(atomic_load(&shared.page->slots[1].running), 0);
}

/* ---- what it cannot write ---- */

static void count_for_another(void *argument)
{
	struct shared own = view(1);
	limits_enter_all(own.limits, 0, 0);
}

static void count_for_another_after_mprotect(void *argument)
{
	struct shared own = view(1);

	if (mprotect(own.limits, limits_size(), PROT_READ | PROT_WRITE) == 0 ||
		mprotect(own.counters, counters_size(), PROT_READ | PROT_WRITE) == 0 ||
		mprotect(own.affinity, affinity_size(), PROT_READ | PROT_WRITE) == 0 ||
		mprotect(own.page, sizeof(*own.page), PROT_READ | PROT_WRITE) == 0 || errno != EACCES)
		_exit(3);
	limits_enter_all(own.limits, 0, 0);
}

static void say_how_many_slots_there_are(void *argument)
{
	struct shared own = view(1);
	limits_begin(own.limits, 200);
}

static void say_how_many_counters_there_are(void *argument)
{
	struct shared own = view(1);
	counters_begin(own.counters, 200);
}

static void choose_the_secret_of_ids(void *argument)
{
	struct shared own = view(1);
	memset(own.affinity, 0, 1);
}

static void name_the_call_of_another(void *argument)
{
	struct shared own = view(1);
	atomic_store(&own.page->slots[0].refused, 1);
}

static void number_connections_as_a_resolver(void *argument)
{
	struct shared own = view(SHARED_RESOLVER);

	atomic_store(&own.page->slots[SHARED_RESOLVER].refused, 1);
	if (own.limits || own.counters)
		_exit(3);
	atomic_store(&own.page->next_connection, 1);
}

static void nothing_else_can_be_written(void **state)
{
	assert_int_equal(end_of(count_for_another, NULL), -SIGSEGV);
	assert_int_equal(end_of(count_for_another_after_mprotect, NULL), -SIGSEGV);
	assert_int_equal(end_of(say_how_many_slots_there_are, NULL), -SIGSEGV);
	assert_int_equal(end_of(say_how_many_counters_there_are, NULL), -SIGSEGV);
	assert_int_equal(end_of(choose_the_secret_of_ids, NULL), -SIGSEGV);
	assert_int_equal(end_of(name_the_call_of_another, NULL), -SIGSEGV);
	assert_int_equal(end_of(number_connections_as_a_resolver, NULL), -SIGSEGV);
	assert_int_equal(limits_live_all(shared.limits), 0);
}

static void use_what_was_inherited(void *argument)
{
	limits_enter_all(shared.limits, 0, 0);
}

static void children_inherit_none_of_it(void **state)
{
	assert_int_equal(end_of(use_what_was_inherited, NULL), -SIGSEGV);
}

static void nobody_can_change_its_size(void **state)
{
	assert_int_equal(ftruncate(shared.limits_fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(shared.counters_fd, 1 << 30), -1);
	assert_int_equal(errno, EPERM);
}

/* ---- what it writes ---- */

static void who_claims_to_have_all_connections_is_believed_as_many_as_a_process_can_have(void **state)
{
	const uint32_t most = 1u << 30;

	for (unsigned i = 0; i < 3; i++)
		limits_enter_all(shared.limits, 0, 0);
	for (unsigned i = 0; i < 5; i++)
		limits_leave_all(shared.limits, 1); /* four thousand million connections */
	assert_true(limits_live_all(shared.limits) > 3);
	assert_true(limits_live_all(shared.limits) <= 3ull + most);
}

static void overwrite(void *memory, size_t size, unsigned kind)
{
	uint8_t *bytes = memory;

	if (kind < 256)
		memset(bytes, (int)kind, size);
	else
		for (size_t i = 0; i < size; i += 4096)
			if (getrandom(bytes + i, size - i < 4096 ? size - i : 4096, 0) < 0)
				abort();
}

/* All of it, more than a worker could. */
static void whatever_is_written_readers_come_to_an_end(void **state)
{
	static const unsigned kinds[] = { 0xff, 0x80, 0x7f, 0x01, 256, 256 };
	const struct access access = { .max_connections = 3, .per_source = 3, .rate = { 3, 1000000 } };
	struct address client = { .len = sizeof(client.in), .in = { .sin_family = AF_INET, .sin_addr = { 1 } } };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct limits_ticket ticket;
		struct counted counted;
		uint32_t place;

		overwrite(shared.limits, limits_size(), kinds[i]);
		overwrite(shared.counters, counters_size(), kinds[i]);
		limits_live_all(shared.limits);
		limits_undecided(shared.limits);
		limits_live(shared.limits, 1, (struct limits_source){ access_source(&client) });
		if (!limits_enter(shared.limits, 0, &access, 1, (struct limits_source){ access_source(&client) },
			    1000000, &ticket))
			limits_leave(shared.limits, 0, &ticket);
		limits_enter_undecided(shared.limits, 0, (struct limits_source){ 77 }, &place);
		limits_over_undecided(shared.limits, 0, 5);
		limits_over_undecided_here(shared.limits, 0, place, 5);
		limits_leave_undecided(shared.limits, 0, &place);
		counter_add(&counter_get(shared.counters, 0, COUNTER_SERVICE, "web")->total, 1);
		counters_sum(shared.counters, COUNTER_SERVICE, "web", &counted);
		shared_forget(&shared, 0);
	}
}

#define SHARED_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void memory_begins_where_declarations_promise(void **state)
{
	for (size_t i = 1; i <= 8; i++) {
		size_t size = i % 2 ? i * SHARED_PART : i * SHARED_PART + 100;
		void *memory, *view;
		int fd = -1;

		assert_int_equal(shared_memory_map(&fd, size, &memory), 0);
		assert_int_equal(shared_memory_view(fd, size, NULL, 0, &view), 0);
		assert_int_equal((uintptr_t)memory % SHARED_PART, 0);
		assert_int_equal((uintptr_t)view % SHARED_PART, 0);
		((char *)memory)[size - 1] = 7;
		assert_int_equal(((char *)view)[size - 1], 7);
		munmap(view, size);
		munmap(memory, size);
		fd_close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHARED_TEST(a_worker_counts_in_its_own_slot),
		SHARED_TEST(nothing_else_can_be_written),
		SHARED_TEST(children_inherit_none_of_it),
		SHARED_TEST(nobody_can_change_its_size),
		SHARED_TEST(who_claims_to_have_all_connections_is_believed_as_many_as_a_process_can_have),
		cmocka_unit_test(memory_begins_where_declarations_promise),
		SHARED_TEST(whatever_is_written_readers_come_to_an_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
