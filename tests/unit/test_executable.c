/* Programs found in PATH: which file is taken of several, and which never is. */
#include "executable.h"
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
// after those above
#include <cmocka.h>

static char folder[] = "/tmp/usher-executable-XXXXXX";

static void file_make(const char *name, mode_t mode)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	fclose(file);
	assert_int_equal(chmod(name, mode), 0);
}

/* In the folder: first/prog and second/prog, of which the first may not be run; second/dir, a folder; prog, which may be run. */
static int setup(void **state)
{
	if (!mkdtemp(folder) || chdir(folder) < 0)
		return -1;
	mkdir("first", 0755);
	mkdir("second", 0755);
	mkdir("second/dir", 0755);
	file_make("first/prog", 0644);
	file_make("first/plain", 0644);
	file_make("second/prog", 0755);
	file_make("prog", 0755);
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static void path_set(const char *format)
{
	char folders[512];

	snprintf(folders, sizeof(folders), format, folder, folder);
	setenv("PATH", folders, 1);
}

static void the_first_that_may_be_run_is_taken(void **state)
{
	char path[PATH_MAX], expected[PATH_MAX];

	path_set("/nowhere:%s/first:%s/second");
	assert_int_equal(executable_find("prog", path, sizeof(path)), 0);
	snprintf(expected, sizeof(expected), "%s/second/prog", folder);
	assert_string_equal(path, expected);
	assert_int_equal(executable_find("plain", path, sizeof(path)), -EACCES);
	assert_int_equal(executable_find("dir", path, sizeof(path)), -ENOENT);
	assert_int_equal(executable_find("absent", path, sizeof(path)), -ENOENT);
	assert_int_equal(executable_find("", path, sizeof(path)), -ENOENT);
}

static void folders_that_are_not_absolute_are_passed_over(void **state)
{
	char path[PATH_MAX];

	setenv("PATH", ":.:second::", 1);
	assert_int_equal(executable_find("prog", path, sizeof(path)), -ENOENT);
}

static void without_a_path_the_usual_folders_are_searched(void **state)
{
	char path[PATH_MAX];

	setenv("PATH", "", 1);
	assert_int_equal(executable_find("sh", path, sizeof(path)), 0);
	unsetenv("PATH");
	assert_int_equal(executable_find("sh", path, sizeof(path)), 0);
	assert_int_equal(path[0], '/');
}

static void a_name_with_a_slash_is_that_file(void **state)
{
	char path[PATH_MAX];

	path_set("%s/second:%s/second");
	assert_int_equal(executable_find("./prog", path, sizeof(path)), 0);
	assert_string_equal(path, "./prog");
	assert_int_equal(executable_find("first/prog", path, sizeof(path)), -EACCES);
	assert_int_equal(executable_find("second/dir", path, sizeof(path)), -EISDIR);
	assert_int_equal(executable_find("./absent", path, sizeof(path)), -ENOENT);
	assert_int_equal(executable_check("/dev/null"), -EACCES);
}

static void what_does_not_fit_is_not_cut(void **state)
{
	char path[8];

	path_set("%s/second:%s/second");
	assert_int_equal(executable_find("prog", path, sizeof(path)), -ENAMETOOLONG);
	assert_int_equal(executable_find("./second/prog", path, sizeof(path)), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_that_may_be_run_is_taken),
		cmocka_unit_test(folders_that_are_not_absolute_are_passed_over),
		cmocka_unit_test(without_a_path_the_usual_folders_are_searched),
		cmocka_unit_test(a_name_with_a_slash_is_that_file),
		cmocka_unit_test(what_does_not_fit_is_not_cut),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
