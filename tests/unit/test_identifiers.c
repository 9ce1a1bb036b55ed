/* The `identifiers` of a configuration: modules, whose probes become protocols. */
#include "policy.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// after the four above
#include <cmocka.h>

#define ODD(name) BUILD_ROOT "/tests/modules/odd_" name ".so"
#define XPROTOCOL BUILD_ROOT "/examples/xprotocol.so"

static const char
	head[] = "listen = \"127.0.0.1:4443\";\n",
	services[] =
		"services = ( { name = \"x\"; match = [ \"xecho\", \"xssh\" ]; connect = \"192.0.2.1:22\"; } );\n";

/* As the user who runs the test: nobody else need be able to enter the build directory. */
static const char *user(void)
{
	return geteuid() == 0 ? "user = \"root\";" : "";
}

static int load(struct policy **ret, char *words, size_t size, const char *before, const char *identifiers)
{
	struct complaints complaints = { 0 };
	char text[4096];
	FILE *to = fmemopen(words, size, "w");

	snprintf(
		text, sizeof(text), "%s%s%s\nidentifiers = ( %s );\n%s", user(), before, head, identifiers, services);
	int r = policy_load_text(ret, "test.conf", text, NULL, &complaints);
	complaints_print(&complaints, to);
	fclose(to);
	complaints_fini(&complaints);
	return r;
}

static void assert_refused(const char *before, const char *identifiers, const char *expected)
{
	struct policy *policy = NULL;
	char words[8192] = "";
	int r = load(&policy, words, sizeof(words), before, identifiers);

	if (r == 0 || !strstr(words, expected))
		print_error("got \"%s\", expected \"%s\"\n", words, expected);
	assert_int_equal(r, -EINVAL);
	assert_non_null(strstr(words, expected));
}

static struct policy *accepted(const char *before, const char *identifiers)
{
	struct policy *policy = NULL;
	char words[8192] = "";

	if (load(&policy, words, sizeof(words), before, identifiers) < 0)
		fail_msg("%s", words);
	return policy;
}

static void probes_are_protocols_behind_the_user_s_own(void **state)
{
	struct policy *policy = accepted("protocols = ( { name = \"own\"; string = \"OWN\"; } );\n",
		"{ module = \"" ODD("sound") "\"; names = [ \"late\", \"early\" ]; }, { module = \"" XPROTOCOL
					     "\"; }");
	const char *const expected[] = { "own", "set", "obey", "xecho", "early", "late", "xssh", "read-7-0.5-0" };
	size_t first = policy->n_protocols - 8;

	assert_int_equal(policy->n_modules, 2);
	for (size_t i = 0; i < 8; i++) {
		const struct protocol *protocol = &policy->protocols[first + i];
		assert_string_equal(protocol->name, expected[i]);
		if (i == 0) {
			assert_null(protocol->module);
			continue;
		}
		assert_int_equal(protocol->module->number, first + i);
		assert_null(protocol->module->run);
	}
	policy_free(policy);
}

static void a_module_s_settings_are_its_own(void **state)
{
	struct policy *policy = accepted("",
		"{ module = \"" ODD("sound") "\"; whole = 3; real = 1; yes = true; }, { module = \"" XPROTOCOL
					     "\"; software = [ \"OpenSSH\", \"libssh\" ]; }");

	assert_string_equal(policy->modules[0].probes[2].name, "read-3-1-1");
	assert_int_equal(policy->modules[1].settings[0].n_values, 2);
	assert_string_equal(policy->modules[1].settings[0].values[1].text, "libssh");
	policy_free(policy);
}

static void what_is_wrong_is_said_with_its_line(void **state)
{
	assert_refused("", "{ module = \"" XPROTOCOL "\"; sofware = \"x\"; }",
		"test.conf:3: unknown key `sofware' of module `" XPROTOCOL "'");
	assert_refused("", "{ module = 5; }", "`module' is not a string");
	assert_refused("", "{ module = \"\"; }", "`module' is an empty string, expected the path");
	assert_refused("", "{ module = \"nowhere\"; }", "/lib/usher/modules/nowhere.so': No such file or directory");
	assert_refused("", "{ module = \"/nowhere.so\"; }",
		"test.conf:3: module `/nowhere.so': No such file or directory, expected a shared object");
	assert_refused("", "{ module = \"" ODD("crash") "\"; }", "crashed in its init: Segmentation fault");
	assert_refused("", "{ module = \"" ODD("sound") "\"; whole = \"many\"; }", "`whole' is a string");
	assert_refused("", "{ module = \"" ODD("sound") "\"; names = { a = 1; }; }", "takes no groups");
}

static void names_are_given_once(void **state)
{
	assert_refused("protocols = ( { name = \"xssh\"; string = \"X\"; } );\n", "{ module = \"" XPROTOCOL "\"; }",
		"the name `xssh' of its probe is taken");
	assert_refused("", "{ module = \"" XPROTOCOL "\"; }, { module = \"" XPROTOCOL "\"; }",
		"the name `xecho' of its probe is taken");
	/* Who can do without is told, and does. */
	struct policy *policy = accepted("",
		"{ module = \"" XPROTOCOL
		"\"; }, { module = \"" ODD("sound") "\"; names = [ \"ssh\", \"xecho\", \"z\" ]; }");
	assert_int_equal(policy->modules[1].n_probes, 4);
	assert_string_equal(policy->modules[1].probes[2].name, "z");
	policy_free(policy);
}

static void what_runs_is_told_in_words(void **state)
{
	struct policy *policy = accepted("", "{ module = \"" XPROTOCOL "\"; }");
	char words[256];

	assert_null(policy_module_running(policy, 0, words, sizeof(words)));
	assert_string_equal(
		policy_module_running(policy, policy->modules[0].probes[1].number + 1, words, sizeof(words)),
		"probe xssh of module " XPROTOCOL);
	assert_string_equal(
		policy_module_running(policy, MODULE_IN_INIT, words, sizeof(words)), "init of module " XPROTOCOL);
	assert_non_null(policy_module_running(policy, 1234, words, sizeof(words)));
	assert_non_null(policy_module_running(policy, MODULE_IN_INIT | 1234, words, sizeof(words)));
	policy_free(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probes_are_protocols_behind_the_user_s_own),
		cmocka_unit_test(a_module_s_settings_are_its_own),
		cmocka_unit_test(what_is_wrong_is_said_with_its_line),
		cmocka_unit_test(names_are_given_once),
		cmocka_unit_test(what_runs_is_told_in_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
