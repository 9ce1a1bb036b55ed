/* The policy of usher-access: what its keys become, which rule counts, and what is wrong with those that are wrong. */
#include "access_policy.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int load(struct access_policy **ret, const char *text, struct complaints *complaints)
{
	*complaints = (struct complaints){ 0 };
	return access_policy_load_text(ret, "test.conf", text, strlen(text), complaints);
}

static struct access_policy *sound(const char *text)
{
	struct access_policy *policy = NULL;
	struct complaints complaints;
	int error = load(&policy, text, &complaints);

	complaints_print(&complaints, stderr);
	complaints_fini(&complaints);
	assert_int_equal(error, 0);
	return policy;
}

/* So many errors, the first of which says this. */
static void assert_wrong(const char *text, size_t errors, const char *what)
{
	struct access_policy *policy = (struct access_policy *)&errors; /* not to be touched */
	struct complaints complaints;
	char said[4096] = "";
	FILE *to = fmemopen(said, sizeof(said), "w");

	assert_int_equal(load(&policy, text, &complaints), -EINVAL);
	assert_ptr_equal(policy, &errors);
	complaints_print(&complaints, to);
	fclose(to);
	if (!strstr(said, what))
		fail_msg("`%s' is not in: %s", what, said);
	assert_int_equal(complaints.errors, errors);
	complaints_fini(&complaints);
}

static void the_first_rule_that_names_the_protocol_counts(void **state)
{
	struct access_policy *policy =
		sound("rules = ( { protocol = \"ssh\"; allow = \"192.0.2.0/24\"; },\n"
		      "          { protocol = [ \"tls\", \"http\" ]; refuse = \"reset\"; rate = \"10/minute\"; },\n"
		      "          { protocol = \"ssh\"; }, { protocol = \"*\"; deny = \"0.0.0.0/0\"; } );");

	assert_int_equal(policy->n_rules, 4);
	assert_ptr_equal(access_policy_find(policy, "ssh"), &policy->rules[0]);
	assert_ptr_equal(access_policy_find(policy, "tls"), &policy->rules[1]);
	assert_ptr_equal(access_policy_find(policy, "http"), &policy->rules[1]);
	assert_ptr_equal(access_policy_find(policy, "xmpp"), &policy->rules[3]);
	assert_int_equal(policy->rules[1].n_protocols, 2);
	assert_string_equal(policy->rules[1].protocols[0], "tls");
	assert_string_equal(policy->rules[1].protocols[1], "http");
	assert_non_null(policy->rules[0].access.allow);
	assert_null(policy->rules[0].access.deny);
	assert_false(policy->rules[0].access.reset);
	assert_true(policy->rules[1].access.reset);
	assert_int_equal(policy->rules[1].access.rate.burst, 10);
	assert_int_equal(policy->rules[1].access.rate.each_us, 6000000);
	assert_non_null(policy->rules[3].access.deny);
	assert_string_equal(policy->state, "/run/usher-access.rates");
	access_policy_free(policy);
}

static void without_a_rule_for_all_some_have_none(void **state)
{
	struct access_policy *policy = sound("rules = ( { protocol = \"ssh\"; } ); state = \"/var/lib/rates\";");

	assert_null(access_policy_find(policy, "tls"));
	assert_string_equal(policy->state, "/var/lib/rates");
	access_policy_free(policy);
	access_policy_free(NULL);
}

static void a_policy_with_any_error_is_none(void **state)
{
	assert_wrong("", 1, "no `rules'");
	assert_wrong("rules = ( { allow = \"192.0.2.0/24\"; } );", 1, "test.conf:1: rule without `protocol'");
	assert_wrong(
		"rules = ( { protocol = \"ssh\"; } );\nstate = \"rates\";", 1, "test.conf:2: `state' is \"rates\"");
	assert_wrong("rules = ( { protocol = \"ssh\"; alow = \"192.0.2.0/24\"; }, { protocol = 1; } );", 2, "alow");
	assert_wrong("rules = ( { protocol = \"ssh\"; allow = \"nobody\"; } );", 1, "nobody");
	assert_wrong("rules = ( { protocol = \"ssh\"; refuse = \"politely\"; } );", 1, "refuse");
	assert_wrong("rules = ( {", 1, "test.conf:1");
}

/* Errors of before are not this policy's. */
static void only_its_own_errors_count(void **state)
{
	static const char text[] = "rules = ( { protocol = \"ssh\"; } );";
	struct complaints complaints;
	struct access_policy *policy;

	assert_int_equal(load(&policy, "", &complaints), -EINVAL);
	assert_int_equal(access_policy_load_text(&policy, "test.conf", text, strlen(text), &complaints), 0);
	access_policy_free(policy);
	complaints_fini(&complaints);
}

static void file_write(const char *path, const char *text)
{
	FILE *to = fopen(path, "w");

	assert_non_null(to);
	fputs(text, to);
	fclose(to);
}

/* And what it includes, from beside it. */
static void a_policy_is_read_from_a_file(void **state)
{
	char directory[] = "/tmp/usher-test-XXXXXX", path[64], beside[64];
	struct complaints complaints = { 0 };
	struct access_policy *policy;

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/policy", directory);
	snprintf(beside, sizeof(beside), "%s/rules", directory);
	file_write(path, "@include \"rules\"\n");
	file_write(beside, "rules = ( { protocol = \"ssh\"; } );\n");
	assert_int_equal(access_policy_load(&policy, path, &complaints), 0);
	assert_int_equal(policy->n_rules, 1);
	access_policy_free(policy);
	unlink(path);
	unlink(beside);
	assert_int_equal(rmdir(directory), 0);
	assert_int_equal(access_policy_load(&policy, path, &complaints), -EINVAL);
	assert_int_equal(complaints.errors, 1);
	complaints_fini(&complaints);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_rule_that_names_the_protocol_counts),
		cmocka_unit_test(without_a_rule_for_all_some_have_none),
		cmocka_unit_test(a_policy_with_any_error_is_none),
		cmocka_unit_test(only_its_own_errors_count),
		cmocka_unit_test(a_policy_is_read_from_a_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
