/* Numbers in configuration text mean the same with every version of libconfig, and a mode is the digits that were written. */
#include "numbers.h"
#include "policy.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// after the four above
#include <cmocka.h>

#define SERVICES "services = ( { name = \"all\"; match = \"ssh\"; connect = \"192.0.2.1:22\"; } );"

static void words_are_told_apart(void **state)
{
	static const struct {
		const char *word;
		enum number form;
		bool too_large;
	} cases[] = {
		{ "0", NUMBER_DECIMAL, false },
		{ "0660", NUMBER_DECIMAL, false },
		{ "08", NUMBER_DECIMAL, false },
		{ "10L", NUMBER_DECIMAL, false },
		{ "10LL", NUMBER_DECIMAL, false },
		{ "10LLL", NUMBER_NONE, false },
		{ "2147483647", NUMBER_DECIMAL, false },
		{ "0000000000000000000000000000000000000002147483647", NUMBER_DECIMAL, false },
		{ "2147483648", NUMBER_DECIMAL, true },
		{ "2147483648L", NUMBER_DECIMAL, false },
		{ "9223372036854775808L", NUMBER_DECIMAL, true },
		{ "99999999999999999999999999999999999999999999", NUMBER_DECIMAL, true },
		{ "0x1f", NUMBER_HEX, false },
		{ "0X1FL", NUMBER_HEX, false },
		{ "0x7fffffff", NUMBER_HEX, false },
		{ "0x80000000", NUMBER_HEX, true },
		{ "0x80000000L", NUMBER_HEX, true },
		{ "0x", NUMBER_NONE, false },
		{ "0x1g", NUMBER_NONE, false },
		{ "0b11", NUMBER_NONE, false },
		{ "0o660", NUMBER_NONE, false },
		{ "0q660", NUMBER_NONE, false },
		{ "10s", NUMBER_NONE, false },
		{ "1.5", NUMBER_REAL, false },
		{ "1.", NUMBER_REAL, false },
		{ "1e3", NUMBER_REAL, false },
		{ "1.5e", NUMBER_REAL, false }, /* what is behind its sign is another word */
		{ "1.5L", NUMBER_NONE, false },
		{ "192.0.2.1", NUMBER_NONE, false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].word);
		if (number_form(cases[i].word, len) != cases[i].form ||
			number_is_too_large(cases[i].word, len) != cases[i].too_large)
			fail_msg("%s", cases[i].word);
	}
}

static void leading_zeros_become_blanks_and_signs_stay_before_the_digits(void **state)
{
	static const struct {
		const char *before, *after;
	} cases[] = {
		{ "=0660;", "= 660;" },
		{ "=000;", "=  0;" },
		{ "=0;", "=0;" },
		{ "=100;", "=100;" },
		{ "=-0010;", "=  -10;" },
		{ "=+00L;", "= +0L;" },
		{ "=00.5;", "=00.5;" },
		{ "=0x0010;", "=0x0010;" },
		{ "=0660", "= 660" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[32];
		snprintf(text, sizeof(text), "%s", cases[i].before);
		char *word = text + strspn(text, "=+-");
		number_strip_zeros(text, word, strcspn(word, ";"));
		assert_string_equal(text, cases[i].after);
	}
}

static void this_libconfig_reads_what_it_is_given(void **state)
{
	assert_null(numbers_fault());
}

/* NULL: refused, and the only complaint is *ret_complaint, the caller's. */
static struct policy *load(const char *text, char **ret_complaint)
{
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;

	policy_load_text(&policy, "test.conf", text, NULL, &complaints);
	assert_int_equal(policy == NULL, complaints.errors > 0);
	if (!policy)
		assert_int_equal(complaints.count, 1);
	*ret_complaint = policy ? NULL : strdup(complaints.list[0].text);
	complaints_fini(&complaints);
	return policy;
}

static void a_mode_is_the_digits_that_were_written(void **state)
{
	static const struct {
		const char *text;
		int mode; /* -1: refused */
	} cases[] = {
		{ "0660", 0660 },
		{ "660", 0660 },
		{ "00660", 0660 },
		{ "0660L", 0660 },
		{ "\"0660\"", 0660 },
		{ "\"660\"", 0660 },
		{ "0600", 0600 },
		{ "0700", 0700 },
		{ "0007", 0007 },
		{ "07", 0007 },
		{ "0", 0 },
		{ "0000", 0 },
		{ "0777", 0777 },
		/* What another base would make of it opens the socket to everybody, or is a mode all the same. */
		{ "0x1b0", -1 },
		{ "0x1b6", -1 },
		{ "0x660", -1 },
		{ "0b110110000", -1 },
		{ "0o660", -1 },
		{ "0O660", -1 },
		{ "0q660", -1 },
		{ "432", 0432 },
		{ "08", -1 },
		{ "0680", -1 },
		{ "0690", -1 },
		{ "01777", -1 },
		{ "1777", -1 },
		{ "-0660", -1 },
		{ "-660", -1 },
		{ "660.0", -1 },
		{ "6.6e2", -1 },
		{ "true", -1 },
		{ "\"\"", -1 },
		{ "\"0o660\"", -1 },
		{ "\"0x1b0\"", -1 },
		{ "\" 0660\"", -1 },
		{ "\"0660 \"", -1 },
		{ "\"+660\"", -1 },
		{ "\"u=rw\"", -1 },
		{ "4294967296L", -1 },
	};

	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		const char *mode = cases[i / 2].text;
		char text[512], *complaint;
		if (i % 2)
			snprintf(text, sizeof(text), "listen = { address = \"unix:/tmp/a\"; mode = %s; }; %s", mode,
				SERVICES);
		else
			snprintf(text, sizeof(text),
				"listen = \"127.0.0.1:4443\"; control = { path = \"/tmp/c\"; mode = %s; }; %s", mode,
				SERVICES);
		struct policy *policy = load(text, &complaint);
		int found = !policy ? -1 : i % 2 ? (int)policy->listeners[0].mode : (int)policy->control_mode;
		if (found != cases[i / 2].mode)
			fail_msg("mode = %s became %o (%s)", mode, (unsigned)found, complaint ? complaint : "");
		free(complaint);
		policy_free(policy);
	}
}

static void other_numbers_are_decimal_with_and_without_zeros(void **state)
{
	static const struct {
		const char *text;
		int workers; /* -1: refused */
	} cases[] = { { "10", 10 }, { "010", 10 }, { "00010", 10 }, { "+010", 10 }, { "08", 8 }, { "010L", 10 },
		{ "0x10", 16 }, { "0x010", 16 }, { "010.0", -1 }, { "-010", -1 }, { "0b10", -1 }, { "0o10", -1 },
		{ "0", -1 }, { "0xffffffff", -1 }, { "0x100000001L", -1 }, { "4294967298", -1 },
		{ "4294967298L", -1 }, { "18446744073709551618L", -1 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512];
		struct complaints complaints = { 0 };
		struct policy *policy = NULL;
		snprintf(
			text, sizeof(text), "listen = \"127.0.0.1:4443\"; workers = %s; %s", cases[i].text, SERVICES);
		policy_load_text(&policy, "test.conf", text, NULL, &complaints);
		int found = policy ? (int)policy->workers : -1;
		if (found != cases[i].workers)
			fail_msg("workers = %s became %d", cases[i].text, found);
		complaints_fini(&complaints);
		policy_free(policy);
	}
}

static void seconds_are_decimal_in_every_form(void **state)
{
	static const struct {
		const char *text;
		uint64_t us;
	} cases[] = { { "010", 10000000 }, { "10", 10000000 }, { "010.5", 10500000 }, { "0.25", 250000 },
		{ ".5", 500000 }, { "5.", 5000000 }, { "1e1", 10000000 }, { "1.5E+1", 15000000 },
		{ "25e-1", 2500000 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512], *complaint;
		snprintf(text, sizeof(text), "listen = \"127.0.0.1:4443\"; connect_timeout = %s; %s", cases[i].text,
			SERVICES);
		struct policy *policy = load(text, &complaint);
		if (!policy || policy->connect_timeout_us != cases[i].us)
			fail_msg("connect_timeout = %s: %s", cases[i].text, complaint ? complaint : "another time");
		policy_free(policy);
	}
}

static void what_is_no_number_is_named(void **state)
{
	char *complaint;

	assert_null(load("listen = \"127.0.0.1:4443\"; workers = 0o10; " SERVICES, &complaint));
	assert_string_equal(
		complaint, "`0o10' is no number, expected one such as 10 or 1.5, or a string in double quotes");
	free(complaint);
	assert_null(load("listen = { address = \"unix:/tmp/a\"; mode = 0x1b0; }; " SERVICES, &complaint));
	assert_string_equal(complaint, "`mode' is 0x1b0, expected permission bits such as 0660");
	free(complaint);
}

static void a_comma_behind_the_last_of_a_list_is_taken(void **state)
{
	static const char *const lists[] = { "[ \"127.0.0.1:1\", \"127.0.0.1:2\", ]",
		"( \"127.0.0.1:1\", \"127.0.0.1:2\"\n,\n)",
		"( \"127.0.0.1:1\", { address = \"127.0.0.1:2\", } /* , */ , # ,\n )" };
	static const char *const wrong[] = { "[ , ]", "( , )", "[ \"127.0.0.1:1\",, ]", "( \"127.0.0.1:1\", , )",
		"[ \"127.0.0.1:1\",, \"127.0.0.1:2\" ]" };
	char text[512], *complaint;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		snprintf(text, sizeof(text), "listen = %s; %s", lists[i], SERVICES);
		struct policy *policy = load(text, &complaint);
		if (!policy)
			fail_msg("%s: %s", lists[i], complaint);
		assert_int_equal(policy->n_listeners, 2);
		policy_free(policy);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(text, sizeof(text), "listen = %s; %s", wrong[i], SERVICES);
		if (load(text, &complaint))
			fail_msg("%s was taken", wrong[i]);
		free(complaint);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_told_apart),
		cmocka_unit_test(leading_zeros_become_blanks_and_signs_stay_before_the_digits),
		cmocka_unit_test(this_libconfig_reads_what_it_is_given),
		cmocka_unit_test(a_mode_is_the_digits_that_were_written),
		cmocka_unit_test(other_numbers_are_decimal_with_and_without_zeros),
		cmocka_unit_test(seconds_are_decimal_in_every_form),
		cmocka_unit_test(what_is_no_number_is_named),
		cmocka_unit_test(a_comma_behind_the_last_of_a_list_is_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
