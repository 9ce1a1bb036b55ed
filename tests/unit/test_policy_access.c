/* Access as the policy compiles it: what each key becomes, and lists in files. */
#include "policy.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char list_path[] = "/tmp/usher-test-access-XXXXXX";

static void list_write(const char *text)
{
	FILE *to = fopen(list_path, "w");
	assert_non_null(to);
	fputs(text, to);
	fclose(to);
}

/* The one service of a configuration with these keys; the policy is the caller's. */
static struct policy *policy_of(const char *keys, struct complaints *complaints)
{
	char text[2048];
	struct policy *policy = NULL;

	snprintf(text, sizeof(text),
		"listen = \"127.0.0.1:7000\";\nservices = ( { name = \"a\"; match = \"ssh\"; %s } );", keys);
	policy_load_text(&policy, "test.conf", text, NULL, complaints);
	return policy;
}

static struct policy *sound(const char *keys)
{
	struct complaints complaints = { 0 };
	struct policy *policy = policy_of(keys, &complaints);

	complaints_print(&complaints, stderr);
	assert_non_null(policy);
	complaints_fini(&complaints);
	return policy;
}

static const char *judged(const struct policy *policy, const char *client)
{
	struct address address;
	assert_int_equal(address_parse(&address, client), 0);
	return access_judge(policy->services[0].access, &address, false, 1780000000);
}

static void nothing_said_is_nothing_restricted(void **state)
{
	struct policy *policy = sound("connect = \"192.0.2.1:22\";");
	assert_null(policy->services[0].access);
	assert_null(policy->services[0].asks);
	policy_free(policy);
}

static void a_program_has_limits_of_its_own(void **state)
{
	struct policy *policy = sound("exec = \"/bin/true\";");
	const struct access *access = policy->services[0].access;

	assert_true(access->program && access->max_startups == 100 && access->max_startups_per_source == 32);
	assert_true(!access->allow && !access->deny && !access->hours && !access->rate.burst);
	policy_free(policy);

	policy = sound("exec = \"/bin/true\"; max_startups = 0; max_startups_per_source = 3; per_source = 2;");
	access = policy->services[0].access;
	assert_true(access->max_startups == 0 && access->max_startups_per_source == 3 && access->per_source == 2);
	policy_free(policy);
}

static void every_key(void **state)
{
	struct policy *policy =
		sound("connect = \"192.0.2.1:22\"; allow = [ \"10.0.0.0/8\", \"2001:db8::/32\" ]; "
		      "deny = \"10.6.0.0/16\"; hours = \"daily 00:00-24:00\"; rate = \"30/minute\"; "
		      "per_source = 4; max_connections = 9; refuse = \"reset\"; access = [ \"/bin/true\", \"x\" ];");
	const struct access *access = policy->services[0].access;

	assert_null(judged(policy, "10.1.2.3:1"));
	assert_null(judged(policy, "[::ffff:10.1.2.3]:1"));
	assert_null(judged(policy, "[2001:db8::1]:1"));
	assert_string_equal(judged(policy, "10.6.2.3:1"), "deny");
	assert_string_equal(judged(policy, "11.1.2.3:1"), "allow");
	assert_true(access->rate.burst == 30 && access->rate.each_us == 2000000);
	assert_true(access->per_source == 4 && access->max_connections == 9 && access->reset && !access->program);
	assert_string_equal(policy->services[0].asks->argv[0], "/bin/true");
	assert_string_equal(policy->services[0].asks->argv[1], "x");
	policy_free(policy);
}

static void a_list_in_a_file(void **state)
{
	char keys[256];

	snprintf(keys, sizeof(keys), "connect = \"192.0.2.1:22\"; allow = [ \"198.51.100.1\", \"file:%s\" ];",
		list_path);
	list_write("# ours\n\n10.0.0.0/8 # all of them\r\n\t192.0.2.7  \n2001:db8::/32");
	struct policy *policy = sound(keys);
	assert_null(judged(policy, "10.1.2.3:1"));
	assert_null(judged(policy, "192.0.2.7:1"));
	assert_null(judged(policy, "198.51.100.1:1"));
	assert_null(judged(policy, "[2001:db8::1]:1"));
	assert_string_equal(judged(policy, "192.0.2.8:1"), "allow");
	assert_int_equal(address_set_count(policy->services[0].access->allow), 4);
	policy_free(policy);

	/* As a reload reads it again. */
	list_write("192.0.2.8\n");
	policy = sound(keys);
	assert_null(judged(policy, "192.0.2.8:1"));
	assert_string_equal(judged(policy, "192.0.2.7:1"), "allow");
	policy_free(policy);
}

static void errors_in_a_file_bear_its_name_and_line(void **state)
{
	struct complaints complaints = { 0 };
	char keys[256];

	snprintf(keys, sizeof(keys), "connect = \"192.0.2.1:22\"; deny = \"file:%s\";", list_path);
	list_write("10.0.0.0/8\n# fine\n10.0.0.1/8\n\nname.example\n");
	assert_null(policy_of(keys, &complaints));
	assert_int_equal(complaints.errors, 2);
	assert_string_equal(complaints.list[0].file, list_path);
	assert_int_equal(complaints.list[0].line, 3);
	assert_non_null(strstr(complaints.list[0].text, "expected 10.0.0.0/8"));
	assert_int_equal(complaints.list[1].line, 5);
	complaints_fini(&complaints);
}

static void a_file_full_of_errors_is_left_after_a_few(void **state)
{
	struct complaints complaints = { 0 };
	char keys[256];
	FILE *to = fopen(list_path, "w");

	for (int i = 0; i < 10000; i++)
		fputs("rubbish\n", to);
	fclose(to);
	snprintf(keys, sizeof(keys), "connect = \"192.0.2.1:22\"; deny = \"file:%s\";", list_path);
	assert_null(policy_of(keys, &complaints));
	assert_int_equal(complaints.errors, 21);
	complaints_fini(&complaints);
}

static void an_empty_file_denies_nobody_but_cannot_allow_anybody(void **state)
{
	struct complaints complaints = { 0 };
	char keys[256];

	list_write("# nobody yet\n");
	snprintf(keys, sizeof(keys), "connect = \"192.0.2.1:22\"; deny = \"file:%s\";", list_path);
	struct policy *policy = sound(keys);
	assert_null(judged(policy, "192.0.2.8:1"));
	policy_free(policy);

	snprintf(keys, sizeof(keys), "connect = \"192.0.2.1:22\"; allow = \"file:%s\";", list_path);
	assert_null(policy_of(keys, &complaints));
	assert_non_null(strstr(complaints.list[0].text, "`allow' is empty and refuses every client"));
	complaints_fini(&complaints);
}

static void thousands_of_entries(void **state)
{
	char keys[256];
	FILE *to = fopen(list_path, "w");

	for (unsigned i = 0; i < 20000; i++)
		fprintf(to, "10.%u.%u.0/25\n", i / 256, i % 256);
	fclose(to);
	snprintf(keys, sizeof(keys), "connect = \"192.0.2.1:22\"; deny = \"file:%s\";", list_path);
	struct policy *policy = sound(keys);
	assert_string_equal(judged(policy, "10.1.2.3:1"), "deny");
	assert_null(judged(policy, "10.1.2.200:1"));
	policy_free(policy);
}

static void the_routing_table_tells_the_rules(void **state)
{
	struct policy *policy = sound("connect = \"192.0.2.1:22\"; allow = \"10.0.0.0/8\"; deny = \"10.6.0.0/16\"; "
				      "hours = \"Mon-Fri 07:00-19:00 UTC\"; rate = \"30/minute\"; per_source = 4; "
				      "max_connections = 9; refuse = \"reset\"; access = \"/bin/true\";");
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	policy_print(policy, to);
	fclose(to);
	assert_non_null(strstr(text,
		"Access\n"
		"  a            not from 10.6.0.0/16\n"
		"               only from 10.0.0.0/8\n"
		"               Mon-Fri 07:00-19:00 UTC\n"
		"               at most 9 connections\n"
		"               at most 4 connections of one source\n"
		"               at most 30/minute from one source\n"
		"               if /bin/true admits it\n"
		"               else a reset\n"));
	free(text);
	policy_free(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_said_is_nothing_restricted),
		cmocka_unit_test(a_program_has_limits_of_its_own),
		cmocka_unit_test(every_key),
		cmocka_unit_test(a_list_in_a_file),
		cmocka_unit_test(errors_in_a_file_bear_its_name_and_line),
		cmocka_unit_test(a_file_full_of_errors_is_left_after_a_few),
		cmocka_unit_test(an_empty_file_denies_nobody_but_cannot_allow_anybody),
		cmocka_unit_test(thousands_of_entries),
		cmocka_unit_test(the_routing_table_tells_the_rules),
	};
	int fd = mkstemp(list_path);

	if (fd < 0)
		return 1;
	close(fd);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(list_path);
	return failed;
}
