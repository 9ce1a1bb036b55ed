/* The tables of `usher top': rates, order, filter, what fits on the terminal, and answers of the control socket. */
#include "top_table.h"
#include "top_views.h"
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { NAME, OPEN, RATE, BYTES, COLUMNS };
static const struct top_column columns[COLUMNS] = {
	[NAME] = { "NAME", TOP_TEXT, .is_key = true },
	[OPEN] = { "OPEN", TOP_COUNT, 7 },
	[RATE] = { "B/s", TOP_BYTE_RATE, 10, .of = BYTES, .rank = 1 },
	[BYTES] = { "BYTES", TOP_BYTES, 10, .rank = 2 },
};

static struct top_row row(const char *name, double open, double bytes)
{
	struct top_row ret = { 0 };
	ret.cells[NAME].text = name;
	ret.cells[OPEN].number = open;
	ret.cells[BYTES].number = bytes;
	return ret;
}

static struct top_table table(struct top_row *rows, size_t n, uint64_t at_us)
{
	return (struct top_table){
		.columns = columns, .n_columns = COLUMNS, .rows = rows, .n_rows = n, .at_us = at_us
	};
}

static void test_a_rate_is_the_growth_each_second_of_the_row_with_the_same_key(void **state)
{
	struct top_row before[] = { row("b", 0, 1000), row("a", 0, 50), row("gone", 0, 7) };
	struct top_row now[] = { row("a", 0, 250), row("new", 0, 900), row("b", 0, 1001) };
	struct top_table then = table(before, 3, 1000000), table_now = table(now, 3, 3000000);

	assert_int_equal(top_table_rates(&table_now, &then), 0);
	assert_float_equal(now[0].cells[RATE].number, 100, 0.001);
	assert_float_equal(now[1].cells[RATE].number, 0, 0);
	assert_float_equal(now[2].cells[RATE].number, 0.5, 0.001);
}

static void test_a_number_that_became_smaller_has_no_rate_and_no_time_has_none(void **state)
{
	struct top_row before[] = { row("a", 0, 1000) }, now[] = { row("a", 0, 10) };
	struct top_table then = table(before, 1, 5), table_now = table(now, 1, 6), same = table(now, 1, 5);

	assert_int_equal(top_table_rates(&table_now, &then), 0);
	assert_float_equal(now[0].cells[RATE].number, 0, 0);
	now[0].cells[BYTES].number = 2000;
	assert_int_equal(top_table_rates(&same, &then), 0);
	assert_float_equal(now[0].cells[RATE].number, 0, 0);
}

static void order_is(const struct top_table *of, struct top_order order, const char *filter, const char *expected)
{
	char seen[128] = "";
	size_t n = 99;
	size_t *places = top_table_shown(of, order, filter, &n);

	assert_non_null(places);
	for (size_t i = 0; i < n; i++) {
		const char *text = of->rows[places[i]].cells[NAME].text;
		strcat(strcat(seen, text ? text : "-"), " ");
	}
	assert_string_equal(seen, expected);
	free(places);
}

static void test_rows_are_in_order_numbers_from_the_largest_and_equal_ones_as_they_came(void **state)
{
	struct top_row rows[] = { row("beta", 1, 0), row("alpha", 5, 0), row(NULL, 1, 0), row("gamma", 9, 0) };
	const struct top_table of = table(rows, 4, 0);

	order_is(&of, (struct top_order){ OPEN, false }, "", "gamma alpha beta - ");
	order_is(&of, (struct top_order){ OPEN, true }, "", "beta - alpha gamma ");
	order_is(&of, (struct top_order){ NAME, false }, "", "- alpha beta gamma ");
	order_is(&of, (struct top_order){ NAME, true }, "", "gamma beta alpha - ");
	order_is(&of, (struct top_order){ NAME, false }, "ET", "beta ");
	order_is(&of, (struct top_order){ NAME, false }, "x", "");
	assert_int_equal(top_table_find(&of, &rows[3]), 3);
	struct top_row other = row("delta", 9, 0);
	assert_int_equal(top_table_find(&of, &other), SIZE_MAX);
}

static void test_columns_go_where_the_terminal_is_narrow(void **state)
{
	unsigned widths[TOP_COLUMNS_MAX];

	top_columns_fit(columns, COLUMNS, 80, widths);
	assert_int_equal(widths[NAME] + widths[OPEN] + widths[RATE] + widths[BYTES] + 3, 80);
	top_columns_fit(columns, COLUMNS, 50, widths);
	assert_int_equal(widths[BYTES], 0);
	assert_int_equal(widths[NAME] + widths[OPEN] + widths[RATE] + 2, 50);
	top_columns_fit(columns, COLUMNS, 30, widths);
	assert_int_equal(widths[RATE], 0);
	assert_int_equal(widths[NAME] + widths[OPEN] + 1, 30);
	top_columns_fit(columns, COLUMNS, 1, widths);
	assert_int_equal(widths[NAME], 1);
}

static void test_a_cell_is_printable(void **state)
{
	char text[TOP_CELL_MAX], longest[200];

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_string_equal(
		top_cell_text(&columns[NAME], &(struct top_cell){ .text = "a\x1b[2J\n" }, text), "a?[2J?");
	assert_string_equal(top_cell_text(&columns[NAME], &(struct top_cell){ 0 }, text), "-");
	assert_int_equal(
		strlen(top_cell_text(&columns[NAME], &(struct top_cell){ .text = longest }, text)), TOP_CELL_MAX - 1);
	assert_string_equal(top_cell_text(&columns[BYTES], &(struct top_cell){ .number = 1536 }, text), "1.5 KiB");
	assert_string_equal(
		top_cell_text(&columns[OPEN], &(struct top_cell){ .number = 1e15 }, text), "1000000000000000");
}

static void test_answers_are_read_whatever_they_are(void **state)
{
	char error[TOP_MESSAGE_MAX];
	char good[] = "{\"id\": 7, \"client\": \"a\", \"bytes_up\": 5}\n{\"error\": \"some\"}\n{\"id\": \"no\", "
		      "\"client\": 5}\n";
	char bad[] = "{\"id\": 7}\nno JSON\n", empty[] = "", other[] = "[1]\n{\"services\": 7, \"state\": []}\n";
	struct top_totals totals;
	struct top_table table;

	json_t *lines = top_answer_read(good, error);
	assert_int_equal(json_array_size(lines), 2);
	assert_string_equal(error, "some");
	assert_int_equal(top_sessions_read(&table, lines, 1), 0);
	assert_int_equal(table.n_rows, 2);
	assert_float_equal(table.rows[0].cells[0].number, 7, 0);
	assert_null(table.rows[1].cells[1].text);
	top_table_fini(&table);
	assert_int_equal(table.n_rows, 0);

	assert_null(top_answer_read(bad, error));
	lines = top_answer_read(empty, error);
	assert_int_equal(json_array_size(lines), 0);
	json_decref(lines);
	lines = top_answer_read(other, error);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(top_services_read(&table, &totals, json_incref(json_array_get(lines, i)), 1), 0);
		assert_int_equal(table.n_rows, 0);
		top_table_fini(&table);
	}
	json_decref(lines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_rate_is_the_growth_each_second_of_the_row_with_the_same_key),
		cmocka_unit_test(test_a_number_that_became_smaller_has_no_rate_and_no_time_has_none),
		cmocka_unit_test(test_rows_are_in_order_numbers_from_the_largest_and_equal_ones_as_they_came),
		cmocka_unit_test(test_columns_go_where_the_terminal_is_narrow),
		cmocka_unit_test(test_a_cell_is_printable),
		cmocka_unit_test(test_answers_are_read_whatever_they_are),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
