/* What people see of the control socket's answers. A worker that was taken over has a part in them. */
#include "control_show.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What is shown; to be freed. */
static char *shown(const char *word, const char *answer, bool json, int status)
{
	char *text = NULL, *copy = strdup(answer);
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	assert_int_equal(control_show(word, copy, json, to), status);
	fclose(to);
	free(copy);
	return text;
}

static void what_a_worker_says_cannot_reach_the_terminal(void **state)
{
	char *text = shown("sessions",
		"{\"id\": 7, \"client\": \"\\u001b[2J\", \"service\": \"a\\nb\", \"protocol\": \"\\u00e9\"}\n", false,
		0);

	assert_null(strchr(text, '\033'));
	assert_non_null(strstr(text, "?[2J"));
	assert_non_null(strstr(text, "a?b"));
	free(text);
}

static void a_line_that_is_not_ours_is_left_out_of_json_too(void **state)
{
	char *text = shown("sessions",
		"{\"id\": 1}\n\033[2J\n{\"id\": 2, \"client\": \"\xc3\xa9\"}\n[1\n{\"id\": 3}\n", true, 1);

	assert_string_equal(text, "{\"id\": 1}\n{\"id\": 3}\n");
	free(text);
}

static void numbers_of_any_size_are_shown(void **state)
{
	free(shown("status",
		"{\"since\": -9223372036854775808, \"pid\": 9223372036854775807, \"services\": [{\"bytes_up\": "
		"-1}]}\n",
		false, 0));
	free(shown("sessions", "{\"id\": 1, \"age_s\": 1e308}\n", false, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_worker_says_cannot_reach_the_terminal),
		cmocka_unit_test(a_line_that_is_not_ours_is_left_out_of_json_too),
		cmocka_unit_test(numbers_of_any_size_are_shown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
