/* The shared table: an answer is seen whole or not at all, stays until there is a better one, survives its
 * writer, and cannot be changed by who gave the write access up. */
#include "resolved.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define WRITES 200000

static const char *const names[] = { "one.test", "two.test", "three.test" };

static struct resolved_address parsed(const char *text)
{
	struct resolved_address a = { .weight = 1 };

	assert_int_equal(address_parse(&a.address, text), 0);
	return a;
}

static void an_answer_is_read_as_written(void **state)
{
	struct resolved_address written[3] = { parsed("192.0.2.1:0"), parsed("[2001:db8::1]:0"),
		parsed("192.0.2.3:9") };
	struct resolved_address read[RESOLVED_ADDRESSES_MAX];
	struct resolved *table;
	char text[ADDRESS_TEXT_MAX];

	written[1].address.in6.sin6_scope_id = 7;
	written[2].weight = 7;
	written[2].rank = 2;
	assert_int_equal(resolved_new(&table, names, 3), 0);
	for (size_t name = 0; name < 3; name++)
		assert_int_equal(resolved_read(table, name, 80, read), 0);
	resolved_write(table, 1, written, 3);
	assert_int_equal(resolved_read(table, 0, 80, read), 0);
	assert_int_equal(resolved_read(table, 2, 80, read), 0);
	assert_int_equal(resolved_read(table, 1, 443, read), 3);
	assert_string_equal(address_format(&read[0].address, text), "192.0.2.1:443");
	assert_string_equal(address_format(&read[1].address, text), "[2001:db8::1]:443");
	assert_int_equal(read[1].address.in6.sin6_scope_id, 7);
	assert_string_equal(address_format(&read[2].address, text), "192.0.2.3:9"); /* SRV said so */
	assert_int_equal(read[2].weight, 7);
	assert_int_equal(read[2].rank, 2);
	resolved_free(table);
	resolved_free(NULL);
}

static void an_empty_answer_keeps_the_last_good_one(void **state)
{
	struct resolved_address good = parsed("192.0.2.1:9"), path = parsed("unix:/x"), read[RESOLVED_ADDRESSES_MAX];
	struct resolved *table;

	assert_int_equal(resolved_new(&table, names, 1), 0);
	resolved_write(table, 0, &good, 1);
	resolved_write(table, 0, NULL, 0);
	resolved_write(table, 0, &path, 1); /* no IP address: as good as none */
	assert_int_equal(resolved_read(table, 0, 9, read), 1);
	assert_true(address_equal(&read[0].address, &good.address));
	resolved_free(table);
}

static void a_name_can_be_withdrawn(void **state)
{
	struct resolved_address good = parsed("192.0.2.1:9"), read[RESOLVED_ADDRESSES_MAX];
	struct resolved_state looked;
	struct resolved *table;

	assert_int_equal(resolved_new(&table, names, 1), 0);
	resolved_write(table, 0, &good, 1);
	resolved_withdraw(table, 0);
	resolved_look(table, 0, &looked);
	assert_int_equal(looked.version, 2);
	assert_int_equal(resolved_read(table, 0, 9, read), 0);
	resolved_write(table, 0, &good, 1);
	assert_int_equal(resolved_read(table, 0, 9, read), 1);
	resolved_free(table);
}

static void more_addresses_than_there_is_room_for_are_cut(void **state)
{
	struct resolved_address many[RESOLVED_ADDRESSES_MAX + 4], read[RESOLVED_ADDRESSES_MAX];
	struct resolved *table;

	for (size_t i = 0; i < RESOLVED_ADDRESSES_MAX + 4; i++)
		many[i] = parsed("192.0.2.1:9");
	assert_int_equal(resolved_new(&table, names, 1), 0);
	resolved_write(table, 0, many, RESOLVED_ADDRESSES_MAX + 4);
	assert_int_equal(resolved_read(table, 0, 9, read), RESOLVED_ADDRESSES_MAX);
	resolved_free(table);
	assert_int_equal(resolved_new(&table, names, 0), 0);
	resolved_free(table);
}

/* Answer number i has 1 + i % RESOLVED_ADDRESSES_MAX addresses, each of which is i. */
static void write_numbered(struct resolved *table, uint32_t i)
{
	struct resolved_address addresses[RESOLVED_ADDRESSES_MAX];
	size_t n = 1 + i % RESOLVED_ADDRESSES_MAX;

	for (size_t k = 0; k < n; k++) {
		addresses[k] = (struct resolved_address){ .address.len = sizeof(addresses[k].address.in6) };
		addresses[k].address.in6.sin6_family = AF_INET6;
		for (int word = 0; word < 4; word++)
			addresses[k].address.in6.sin6_addr.s6_addr32[word] = htonl(i);
	}
	resolved_write(table, 0, addresses, n);
}

/* The number of the answer, 0 for none; ends the process with 9 at a torn one. */
static uint32_t read_numbered(const struct resolved *table)
{
	struct resolved_address addresses[RESOLVED_ADDRESSES_MAX];
	size_t n = resolved_read(table, 0, 1, addresses);

	if (n == 0)
		return 0;
	uint32_t i = ntohl(addresses[0].address.in6.sin6_addr.s6_addr32[0]);
	if (n != 1 + i % RESOLVED_ADDRESSES_MAX)
		_exit(9);
	for (size_t k = 0; k < n; k++)
		for (int word = 0; word < 4; word++)
			if (addresses[k].address.in6.sin6_family != AF_INET6 ||
				ntohl(addresses[k].address.in6.sin6_addr.s6_addr32[word]) != i)
				_exit(9);
	return i;
}

struct reading {
	const struct resolved *table;
	uint64_t reads, seen, none;
};

/* Reads until the last answer is there: never torn, never backwards. */
static void *read_until_last(void *arg)
{
	struct reading *reading = arg;
	uint32_t last = 0;

	while (last < WRITES) {
		uint32_t i = read_numbered(reading->table);
		reading->reads++;
		if (i == 0) {
			reading->none++;
			continue;
		}
		if (i < last)
			_exit(8);
		reading->seen += i != last;
		last = i;
	}
	return NULL;
}

static void readers_never_see_a_torn_answer(void **state)
{
	struct reading readings[2] = { 0 };
	struct resolved *table;
	pthread_t threads[2];
	int status;

	assert_int_equal(resolved_new(&table, names, 1), 0);
	write_numbered(table, 1);
	pid_t child = fork();
	if (child == 0) {
		struct reading reading = { .table = table };
		if (resolved_read_only(table) < 0)
			_exit(7);
		read_until_last(&reading);
		_exit(0);
	}
	for (int i = 0; i < 2; i++) {
		readings[i].table = table;
		assert_int_equal(pthread_create(&threads[i], NULL, read_until_last, &readings[i]), 0);
	}
	for (uint32_t i = 2; i <= WRITES; i++)
		write_numbered(table, i);
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		print_message("%llu reads, %llu answers seen, %llu times none\n",
			(unsigned long long)readings[i].reads, (unsigned long long)readings[i].seen,
			(unsigned long long)readings[i].none);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	resolved_free(table);
}

static void a_writer_that_is_killed_leaves_the_last_answer(void **state)
{
	for (int round = 0; round < 20; round++) {
		struct resolved *table;
		assert_int_equal(resolved_new(&table, names, 1), 0);
		write_numbered(table, 1);
		pid_t child = fork();
		if (child == 0)
			for (uint32_t i = 2;; i++)
				write_numbered(table, i);
		usleep(500 + 137 * (useconds_t)round);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		uint32_t last = read_numbered(table);
		assert_true(last >= 1);
		write_numbered(table, last + 1); /* and its successor goes on */
		assert_int_equal(read_numbered(table), last + 1);
		resolved_free(table);
	}
}

static void ignore_the_end(int signal_number)
{
	_exit(signal_number == SIGSEGV ? 3 : 4);
}

/* What a worker could try that somebody else has taken over. Returns the exit status. */
static int try_to_write(struct resolved *table)
{
	char line[512];
	unsigned long start, end;
	bool found = false;
	FILE *maps = fopen("/proc/self/maps", "r");

	while (fgets(line, sizeof(line), maps)) {
		if (!strstr(line, "usher: resolved"))
			continue;
		found = true;
		if (!strstr(line, " r--s ") || sscanf(line, "%lx-%lx", &start, &end) != 2)
			return 5;
		if (mprotect((void *)start, end - start, PROT_READ | PROT_WRITE) == 0)
			return 6;
	}
	fclose(maps);
	if (!found)
		return 7;
	signal(SIGSEGV, ignore_the_end);
	write_numbered(table, 5);
	return 0;
}

static void who_gave_the_write_access_up_never_gets_it_back(void **state)
{
	struct resolved *table;
	int status;

	assert_int_equal(resolved_new(&table, names, 1), 0);
	write_numbered(table, 1);
	pid_t child = fork();
	if (child == 0) {
		if (resolved_read_only(table) < 0 || read_numbered(table) != 1)
			_exit(8);
		_exit(try_to_write(table));
	}
	waitpid(child, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
	write_numbered(table, 2); /* the writer still can */
	assert_int_equal(read_numbered(table), 2);
	resolved_free(table);
}

static void the_descriptor_itself_cannot_be_written(void **state)
{
	DIR *dir = opendir("/proc/self/fd");
	struct resolved *table;
	char target[128], name[300];
	int fd = -1;

	assert_int_equal(resolved_new(&table, names, 1), 0);
	for (struct dirent *entry; (entry = readdir(dir));) {
		snprintf(name, sizeof(name), "/proc/self/fd/%s", entry->d_name);
		ssize_t len = readlink(name, target, sizeof(target) - 1);
		target[len > 0 ? len : 0] = '\0';
		if (strstr(target, "usher: resolved"))
			fd = atoi(entry->d_name);
	}
	closedir(dir);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_ptr_equal(mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	resolved_free(table);
}

static void a_table_is_inherited_by_name(void **state)
{
	static const char *const other[] = { "three.test", "new.test", "one.test" };
	struct resolved_address first = parsed("192.0.2.1:0"), third = parsed("192.0.2.3:0"),
				read[RESOLVED_ADDRESSES_MAX];
	struct resolved *before, *table, *adopted;
	char text[ADDRESS_TEXT_MAX];

	assert_int_equal(resolved_new(&before, names, 3), 0);
	resolved_write(before, 0, &first, 1);
	resolved_write(before, 2, &third, 1);
	/* As another image of the process has it. */
	assert_int_equal(resolved_adopt(&adopted, dup(resolved_fd(before)), names, 2), -EPROTO);
	int fd = dup(resolved_fd(before));
	assert_int_equal(resolved_adopt(&adopted, fd, names, 3), 0);
	assert_int_equal(resolved_fd(adopted), fd);
	assert_int_equal(resolved_new(&table, other, 3), 0);
	assert_int_equal(resolved_inherit(table, adopted), 0);
	assert_int_equal(resolved_read(table, 0, 80, read), 1);
	assert_string_equal(address_format(&read[0].address, text), "192.0.2.3:80");
	assert_int_equal(resolved_read(table, 1, 80, read), 0);
	assert_int_equal(resolved_read(table, 2, 80, read), 1);
	assert_string_equal(address_format(&read[0].address, text), "192.0.2.1:80");
	resolved_free(before);
	resolved_free(adopted);
	resolved_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_is_inherited_by_name),
		cmocka_unit_test(an_answer_is_read_as_written),
		cmocka_unit_test(an_empty_answer_keeps_the_last_good_one),
		cmocka_unit_test(a_name_can_be_withdrawn),
		cmocka_unit_test(more_addresses_than_there_is_room_for_are_cut),
		cmocka_unit_test(readers_never_see_a_torn_answer),
		cmocka_unit_test(a_writer_that_is_killed_leaves_the_last_answer),
		cmocka_unit_test(who_gave_the_write_access_up_never_gets_it_back),
		cmocka_unit_test(the_descriptor_itself_cannot_be_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
