/* `@include`: what is included, and where each setting is then said to stand. */
#include "policy.h"
#include "reader.h"
#include <errno.h>
#include <fcntl.h>
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

static char folder[] = "/tmp/usher-includes-XXXXXX";

static int folder_make(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int folder_remove(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static const char *place(const char *name)
{
	static char path[96];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void write_file(const char *name, const char *text)
{
	FILE *to = fopen(place(name), "w");

	assert_non_null(to);
	fputs(text, to);
	fclose(to);
}

static struct reader *read_main(const char *text, struct complaints *complaints)
{
	return reader_new(place("main.conf"), true, text, strlen(text), complaints);
}

static void settings_stand_where_they_were_written(void **state)
{
	static const char *const wanted[] = { "line 1", "inner.inc:2", "deep.inc:1", "inner.inc:4", "line 2",
		"line 4" };
	static const char *const names[] = { "a", "b", "c", "d", "e", "f" };
	struct complaints complaints = { 0 };

	write_file("inner.inc", "# first\nb = 2;\n@include \"deep.inc\"\nd = ( { x = 4; } );");
	write_file("deep.inc", "c = 3;");
	struct reader *reader =
		read_main("a = 1;\n \t@include \"inner.inc\" e = 5;\n# @include \"none\"\nf = 6;\n", &complaints);
	assert_non_null(reader);
	const struct setting *root = reader_root(reader);
	assert_int_equal(setting_member_count(root), 6);
	for (size_t i = 0; i < 6; i++) {
		const struct setting *at = setting_member(root, i);
		assert_string_equal(setting_name(at), names[i]);
		assert_string_equal(reader_place(reader, at, NULL), wanted[i]);
	}
	const struct setting *x = setting_member(setting_item(setting_member(root, 3), 0), 0);
	assert_string_equal(reader_place(reader, x, NULL), "inner.inc:4");
	reader_free(reader);
	complaints_fini(&complaints);
}

static void assert_refused(const char *text, const char *file, unsigned line, const char *why)
{
	struct complaints complaints = { 0 };

	assert_null(read_main(text, &complaints));
	assert_true(complaints.errors >= 1);
	assert_string_equal(complaints.list[0].file, file);
	assert_int_equal(complaints.list[0].line, line);
	assert_non_null(strstr(complaints.list[0].text, why));
	complaints_fini(&complaints);
}

static void a_fifo_is_refused_and_not_waited_for(void **state)
{
	char main_file[96];

	strcpy(main_file, place("main.conf"));
	assert_int_equal(mkfifo(place("fifo"), 0600), 0);
	assert_refused(
		"a = 1;\n@include \"fifo\"\n", main_file, 2, "`fifo' cannot be read: it is not a regular file");
}

static void a_file_that_includes_itself_ends(void **state)
{
	write_file("loop.inc", "@include \"loop.inc\"\n@include \"loop.inc\"\n");
	assert_refused("@include \"loop.inc\"\n", "loop.inc", 1, "too deep");
}

static void faults_of_form_name_the_included_file(void **state)
{
	write_file("bad.inc", "a = 1;\nb = = 2;\n");
	assert_refused("x = 1;\n@include \"bad.inc\"\n", "bad.inc", 2, "syntax error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings_stand_where_they_were_written),
		cmocka_unit_test(a_fifo_is_refused_and_not_waited_for),
		cmocka_unit_test(a_file_that_includes_itself_ends),
		cmocka_unit_test(faults_of_form_name_the_included_file),
	};
	return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
