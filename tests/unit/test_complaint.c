/* Complaints: kept, counted, printed in order of file and line, harmless to a terminal; and the slips of the
 * pen that suggestions are made from. */
#include "complaint.h"
#include "nearest.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// after the four above
#include <cmocka.h>

static char *printed(const struct complaints *complaints)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	assert_non_null(to);
	complaints_print(complaints, to);
	fclose(to);
	return text;
}

static void an_empty_list_prints_nothing(void **state)
{
	struct complaints complaints = { 0 };
	char *text = printed(&complaints);

	assert_string_equal(text, "");
	free(text);
	complaints_fini(&complaints);
}

static void complaints_are_in_order_of_file_and_line(void **state)
{
	struct complaints complaints = { 0 };

	complaint_add(&complaints, COMPLAINT_ERROR, "b.conf", 2, "second of %s", "b");
	complaint_add(&complaints, COMPLAINT_WARNING, "a.conf", 10, "ten");
	complaint_add(&complaints, COMPLAINT_ERROR, "a.conf", 9, "nine, found first");
	complaint_add(&complaints, COMPLAINT_ERROR, "a.conf", 9, "nine, found next");
	complaint_add(&complaints, COMPLAINT_ERROR, "a.conf", 0, "the file");
	complaint_add(&complaints, COMPLAINT_ERROR, NULL, 0, "all of it");
	assert_int_equal(complaints.count, 6);
	assert_int_equal(complaints.errors, 5);

	char *text = printed(&complaints);
	assert_string_equal(text,
		"all of it\n"
		"a.conf: the file\n"
		"a.conf:9: nine, found first\n"
		"a.conf:9: nine, found next\n"
		"a.conf:10: warning: ten\n"
		"b.conf:2: second of b\n");
	free(text);
	complaints_fini(&complaints);
	assert_int_equal(complaints.count, 0);
}

static void what_a_configuration_quotes_cannot_upset_a_terminal(void **state)
{
	struct complaints complaints = { 0 };

	complaint_add(&complaints, COMPLAINT_ERROR, "x", 1, "`%s'", "a\033[2Jb\nc\177d\tß");
	assert_string_equal(complaints.list[0].text, "`a?[2Jb?c?d?ß'");
	complaints_fini(&complaints);
}

static void many_complaints_all_get_in(void **state)
{
	struct complaints complaints = { 0 };

	for (unsigned i = 1; i <= 5000; i++)
		complaint_add(
			&complaints, i % 2 ? COMPLAINT_ERROR : COMPLAINT_WARNING, "f", 5001 - i, "number %u", i);
	assert_int_equal(complaints.count, 5000);
	assert_int_equal(complaints.errors, 2500);
	assert_string_equal(complaints.list[4999].text, "number 5000");

	char *text = printed(&complaints);
	assert_memory_equal(text, "f:1: warning: number 5000\nf:2: number 4999\n", 43);
	free(text);
	complaints_fini(&complaints);
}

static void slips_of_the_pen_are_near(void **state)
{
	assert_int_equal(nearest_distance("connect", "connect"), 0);
	assert_int_equal(nearest_distance("decide-timeout", "decide_timeout"), 0);
	assert_int_equal(nearest_distance("Listen", "listen"), 0);
	assert_int_equal(nearest_distance("conect", "connect"), 1);
	assert_int_equal(nearest_distance("usre", "user"), 1); /* neighbours swapped */
	assert_int_equal(nearest_distance("listeners", "listen"), NEAREST_NONE);
	assert_int_equal(nearest_distance("listner", "listen"), 2);
	assert_int_equal(nearest_distance("tls", "ssh"), NEAREST_NONE);
	assert_int_equal(nearest_distance("", ""), 0);
	assert_int_equal(nearest_distance("", "a"), NEAREST_NONE);

	char lengthy[100];
	memset(lengthy, 'a', sizeof(lengthy) - 1);
	lengthy[sizeof(lengthy) - 1] = 0;
	assert_int_equal(nearest_distance(lengthy, lengthy), NEAREST_NONE);
	lengthy[63] = 0;
	assert_int_equal(nearest_distance(lengthy, lengthy), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_list_prints_nothing),
		cmocka_unit_test(complaints_are_in_order_of_file_and_line),
		cmocka_unit_test(what_a_configuration_quotes_cannot_upset_a_terminal),
		cmocka_unit_test(many_complaints_all_get_in),
		cmocka_unit_test(slips_of_the_pen_are_near),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
