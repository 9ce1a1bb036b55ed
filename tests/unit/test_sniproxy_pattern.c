/* Regular expressions of sniproxy's tables as globs: each covers the same names, or is refused with the reason. */
#include "sniproxy_pattern.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *pattern, const char *globs)
{
	char text[4096] = "";
	struct sniproxy_globs found;
	const char *why = sniproxy_pattern(pattern, &found);

	for (size_t i = 0; i < found.n && !why; i++)
		strcat(strcat(text, i ? " " : ""), found.items[i]);
	if (strcmp(why ? why : text, globs) != 0)
		fail_msg("%s: %s, not %s", pattern, why ? why : text, globs);
	sniproxy_globs_fini(&found);
}

static void expressions_become_globs(void **state)
{
	expect("example.com", "*example?com*");
	expect("^example\\.com$", "example.com");
	expect(".*\\.example\\.com$", "*.example.com");
	expect("^.+\\.example\\.com$", "?*.example.com");
	expect(".*", "*");
	expect("^$", "it is empty");
	expect("^(www\\.)?a\\.test$", "www.a.test a.test");
	expect("^(?:a|b(c|d))x$", "ax bcx bdx");
	expect("^a$|^b", "a b*");
	expect("(^|\\.)a\\.test$", "a.test *.a.test");
	expect("^[a-c][^0-9]\\d.$", "[a-c][!0-9][0-9]?");
	expect("^ab?c$", "abc ac");
}

static void what_globs_do_not_have_is_refused(void **state)
{
	expect("^a+$", "it repeats something else than `.'");
	expect("^[a-z]*$", "it repeats something else than `.'");
	expect("^a{2}$", "it repeats something else than `.'");
	expect("^.*?a$", "*a a");
	expect("a^b", "an anchor is within it");
	expect("^(a", "a `(' has no `)'");
	expect("a)", "a `)' is too many");
	expect("(?=a)", "it looks ahead or behind");
	expect("\\wx", "it has an escape other than `\\.', `\\-' and `\\d'");
	expect("[a", "its set has something else than letters, digits, `-', `_' and `.'");
	expect("a b", "it has a byte that no host name has");
	expect("(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)", "it stands for too many names");
	expect("((((((((((((((((((a))))))))))))))))))", "it is too deep");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expressions_become_globs),
		cmocka_unit_test(what_globs_do_not_have_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
