/* The quota of control groups, in folders that look like theirs. */
#include "cpus.h"
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char place[] = "/tmp/usher-cpus-XXXXXX", own[64];

static void put(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", place, name);
	for (char *slash = path + strlen(place) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int make(void **state)
{
	strcpy(place + sizeof(place) - 7, "XXXXXX");
	assert_non_null(mkdtemp(place));
	snprintf(own, sizeof(own), "%s/own", place);
	return 0;
}

static int clean(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", place);
	return system(command);
}

static unsigned all(void)
{
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	return (unsigned)CPU_COUNT(&set);
}

static void without_groups_the_processors_count(void **state)
{
	assert_int_equal(cpus_available(own, place), all());
	put("own", "0::/\n");
	assert_int_equal(cpus_available(own, place), all());
}

static void version_2_says_quota_and_period(void **state)
{
	put("own", "0::/pod/one\n");
	put("pod/one/cpu.max", "50000 100000\n");
	assert_int_equal(cpus_available(own, place), 1);
	put("pod/one/cpu.max", "max 100000\n");
	assert_int_equal(cpus_available(own, place), all());
	put("pod/one/cpu.max", "9900000 100000\n"); /* more than there are */
	assert_int_equal(cpus_available(own, place), all());
}

static void a_group_above_limits_too(void **state)
{
	put("own", "0::/pod/one\n");
	put("pod/one/cpu.max", "max 100000\n");
	put("pod/cpu.max", "100000 100000\n");
	assert_int_equal(cpus_available(own, place), 1);
}

static void a_container_sees_its_group_as_the_root(void **state)
{
	put("own", "0::/of/the/host\n");
	put("cpu.max", "10000 100000\n");
	assert_int_equal(cpus_available(own, place), 1);
}

static void version_1_has_a_file_each(void **state)
{
	put("own", "5:memory:/a\n4:cpu,cpuacct:/a\n0::/\n");
	put("cpu,cpuacct/a/cpu.cfs_quota_us", "100000\n");
	put("cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
	put("memory/a/cpu.cfs_quota_us", "1\n");
	assert_int_equal(cpus_available(own, place), 1);
	put("cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n");
	assert_int_equal(cpus_available(own, place), all());
}

static void rubbish_limits_nothing(void **state)
{
	put("own", "0::/a\nx\n::\n9:cpuset:/a\n");
	put("a/cpu.max", "-5 0 nonsense");
	put("cpu.max", "");
	put("cpu/a/cpu.cfs_quota_us", "100000"); /* without a period */
	assert_int_equal(cpus_available(own, place), all());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(without_groups_the_processors_count, make, clean),
		cmocka_unit_test_setup_teardown(version_2_says_quota_and_period, make, clean),
		cmocka_unit_test_setup_teardown(a_group_above_limits_too, make, clean),
		cmocka_unit_test_setup_teardown(a_container_sees_its_group_as_the_root, make, clean),
		cmocka_unit_test_setup_teardown(version_1_has_a_file_each, make, clean),
		cmocka_unit_test_setup_teardown(rubbish_limits_nothing, make, clean),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
