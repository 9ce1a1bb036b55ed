/* `@include`: what is included, and where each setting is then said to stand. */
#include "policy.h"
#include "reader.h"
#include "sources.h"
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
	return reader_new(place("main.conf"), true, text, strlen(text), NULL, complaints);
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

static void a_pattern_includes_what_matches_by_name(void **state)
{
	static const char *const wanted[] = { "line 1", "d[1]/10-b.conf:1", "d[1]/9-a.conf:2", "line 4" };
	struct complaints complaints = { 0 };

	assert_int_equal(mkdir(place("d[1]"), 0700), 0);
	write_file("d[1]/9-a.conf", "\nc = 3;\n");
	write_file("d[1]/10-b.conf", "b = 2;");
	write_file("d[1]/.hidden.conf", "hidden = 1;");
	write_file("d[1]/20-old.conf~", "old = 1;");
	struct reader *reader =
		read_main("a = 1;\n@include \"d[[]1]/*.conf\"\n@include \"d[[]1]/*.none\"\nd = 4;\n", &complaints);
	assert_non_null(reader);
	const struct setting *root = reader_root(reader);
	assert_int_equal(setting_member_count(root), 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(reader_place(reader, setting_member(root, i), NULL), wanted[i]);
	reader_free(reader);
	complaints_fini(&complaints);
}

static void a_folder_is_no_pattern(void **state)
{
	struct complaints complaints = { 0 };

	assert_int_equal(mkdir(place("[x]*"), 0700), 0);
	assert_int_equal(mkdir(place("[x]*/d"), 0700), 0);
	write_file("[x]*/d/1.conf", "a = 1;\nb = 2;");
	struct reader *reader =
		reader_new(place("[x]*/main.conf"), true, "@include \"d/*.conf\"\n", 19, NULL, &complaints);
	assert_non_null(reader);
	assert_string_equal(reader_place(reader, setting_member(reader_root(reader), 1), NULL), "d/1.conf:2");
	reader_free(reader);
	complaints_fini(&complaints);
}

static void elements_of_a_list_stand_in_files_of_their_own(void **state)
{
	struct complaints complaints = { 0 };

	assert_int_equal(mkdir(place("s"), 0700), 0);
	write_file("s/1.conf", "{ name = \"one\"; },\n");
	write_file("s/2.conf", "{ name = \"two\"; },\n");
	struct reader *reader = read_main("services = (\n@include \"s/*.conf\"\n);\n", &complaints);
	assert_non_null(reader);
	const struct setting *services = setting_member(reader_root(reader), 0);
	assert_int_equal(setting_count(services), 2);
	assert_string_equal(reader_place(reader, setting_item(services, 1), NULL), "s/2.conf:1");
	reader_free(reader);
	complaints_fini(&complaints);
}

static void faults_of_a_pattern_name_the_file(void **state)
{
	char main_file[96];

	strcpy(main_file, place("main.conf"));
	assert_int_equal(mkdir(place("p"), 0700), 0);
	write_file("p/1.conf", "a = 1;\nb = = 2;\n");
	assert_refused("x = 1;\n@include \"p/*.conf\"\n", "p/1.conf", 2, "syntax error");
	write_file("p/1.conf", "a = 1;\n@include \"p/?.conf\"\n");
	assert_refused("x = 1;\n@include \"p/*.conf\"\n", "p/1.conf", 2, "too deep");
	assert_int_equal(mkdir(place("p/0.conf"), 0700), 0);
	assert_refused("x = 1;\n@include \"p/*.conf\"\n", main_file, 2, "`p/0.conf' cannot be read: Is a directory");
}

static void assert_source(const struct source *source, const char *name, bool is_pattern)
{
	assert_string_equal(source->path, place(name));
	assert_int_equal(source->is_pattern, is_pattern);
}

static void sources_are_all_files_also_where_one_is_wrong(void **state)
{
	struct sources sources;

	assert_int_equal(mkdir(place("all"), 0700), 0);
	write_file("all/2.conf", "b = ( { allow = [ \"10.0.0.0/8\", \"file:/lists/one\" ]; } );\n");
	write_file("all.conf", "a = \"file:/lists/two\";\n@include \"all/*.conf\"\n");
	sources_read(place("all.conf"), &sources);
	assert_int_equal(sources.n, 5);
	assert_source(&sources.list[0], "all.conf", false);
	assert_source(&sources.list[1], "all/*.conf", true);
	assert_source(&sources.list[2], "all/2.conf", false);
	assert_string_equal(sources.list[3].path, "/lists/two");
	assert_string_equal(sources.list[4].path, "/lists/one");
	sources_free(&sources);

	write_file("all.conf", "@include \"all/2.conf\"\n@include \"missing\"\n");
	sources_read(place("all.conf"), &sources);
	assert_int_equal(sources.n, 3);
	assert_source(&sources.list[2], "missing", false);
	sources_free(&sources);
	sources_read(place("nothing"), &sources);
	assert_int_equal(sources.n, 1);
	sources_free(&sources);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings_stand_where_they_were_written),
		cmocka_unit_test(a_fifo_is_refused_and_not_waited_for),
		cmocka_unit_test(a_file_that_includes_itself_ends),
		cmocka_unit_test(faults_of_form_name_the_included_file),
		cmocka_unit_test(a_pattern_includes_what_matches_by_name),
		cmocka_unit_test(a_folder_is_no_pattern),
		cmocka_unit_test(elements_of_a_list_stand_in_files_of_their_own),
		cmocka_unit_test(faults_of_a_pattern_name_the_file),
		cmocka_unit_test(sources_are_all_files_also_where_one_is_wrong),
	};
	return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
