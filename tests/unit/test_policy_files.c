/* Configurations in files: each under data/policy says itself, behind the faulty line, what usher must
 * complain of, and nothing else may be complained of. Then the examples, the default configuration and the
 * manual: they load, and every key of the tables is in them. */
#include "keys.h"
#include "policy.h"
#include <errno.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// after the four above
#include <cmocka.h>

/* libconfig 1.5 loses the string that it was reading where it meets a syntax error. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig";
}

#define DATA     SOURCE_ROOT "/tests/unit/data/policy/"
#define MANUAL   SOURCE_ROOT "/man/usher.conf.5"
#define DEFAULTS SOURCE_ROOT "/etc/usher.conf"
#define EXAMPLES SOURCE_ROOT "/examples/*.conf"

static char *file_read(const char *path)
{
	char *text = NULL;
	size_t size = 0;
	FILE *from = fopen(path, "re");

	if (!from)
		fail_msg("cannot open %s", path);
	if (getdelim(&text, &size, EOF, from) < 0)
		fail_msg("cannot read %s", path);
	fclose(from);
	return text;
}

/* Takes the complaint that was wanted out of the list (its kind becomes impossible). */
static bool complaint_take(struct complaints *complaints, enum complaint_kind kind, const char *file, unsigned line,
	const char *wanted, size_t len)
{
	for (size_t i = 0; i < complaints->count; i++) {
		struct complaint *complaint = &complaints->list[i];
		if (complaint->kind != kind || complaint->line != line || strcmp(complaint->file, file) != 0 ||
			!memmem(complaint->text, strlen(complaint->text), wanted, len))
			continue;
		complaint->kind = (enum complaint_kind) - 1;
		return true;
	}
	return false;
}

static const struct {
	const char *word;
	enum complaint_kind kind;
	int line; /* relative to that of the word */
} marks[] = {
	{ "# expect: ", COMPLAINT_ERROR, 0 },
	{ "# warn: ", COMPLAINT_WARNING, 0 },
	{ "# expect-next: ", COMPLAINT_ERROR, 1 },
	{ "# expect-file: ", COMPLAINT_ERROR, -1 },
};

/* How many of the line's wishes were not met. */
static unsigned line_check(
	struct complaints *complaints, const char *path, const char *text, size_t len, unsigned line)
{
	unsigned missing = 0;

	for (size_t m = 0; m < sizeof(marks) / sizeof(marks[0]); m++) {
		size_t word = strlen(marks[m].word);
		const char *at = text, *end = text + len;
		while ((at = memmem(at, (size_t)(end - at), marks[m].word, word))) {
			at += word;
			const char *next = memmem(at, (size_t)(end - at), " # ", 3);
			size_t n = (size_t)((next ? next : end) - at);
			unsigned where = marks[m].line < 0 ? 0 : line + (unsigned)marks[m].line;
			if (complaint_take(complaints, marks[m].kind, path, where, at, n))
				continue;
			print_error("%s:%u: nobody complained: %.*s\n", path, where, (int)n, at);
			missing++;
		}
	}
	return missing;
}

static unsigned file_check(const char *path)
{
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;
	int error = policy_load(&policy, path, NULL, &complaints);
	char *text = file_read(path);
	unsigned faults = 0, line = 1;

	if ((error != 0) != (complaints.errors > 0) || (error != 0) != (policy == NULL)) {
		print_error("%s: result %d with %zu errors\n", path, error, complaints.errors);
		faults++;
	}
	for (const char *at = text; *at; line++) {
		size_t len = strcspn(at, "\n");
		faults += line_check(&complaints, path, at, len, line);
		at += len + (at[len] == '\n');
	}
	for (size_t i = 0; i < complaints.count; i++) {
		if ((int)complaints.list[i].kind == -1)
			continue;
		if (geteuid() != 0 && strstr(complaints.list[i].text, "to become another needs root"))
			continue;
		print_error("%s:%u: unexpected: %s\n", path, complaints.list[i].line, complaints.list[i].text);
		faults++;
	}
	free(text);
	policy_free(policy);
	complaints_fini(&complaints);
	return faults;
}

static unsigned files_check(const char *pattern, size_t at_least)
{
	glob_t found;
	unsigned faults = 0;

	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	assert_true(found.gl_pathc >= at_least);
	for (size_t i = 0; i < found.gl_pathc; i++)
		if (!strstr(found.gl_pathv[i], "include-bad.conf"))
			faults += file_check(found.gl_pathv[i]);
	globfree(&found);
	return faults;
}

static void every_fault_of_a_file_is_reported_with_its_line(void **state)
{
	assert_int_equal(files_check(DATA "*.conf", 15), 0);
}

static void examples_load_without_a_complaint(void **state)
{
	assert_int_equal(files_check(EXAMPLES, 6), 0);
}

static void the_default_configuration_listens_on_loopback_only(void **state)
{
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;

	assert_int_equal(policy_load(&policy, DEFAULTS, NULL, &complaints), 0);
	assert_int_equal(complaints.count, 0);
	assert_true(policy->n_listeners >= 1);
	for (size_t i = 0; i < policy->n_listeners; i++)
		assert_true(strncmp(policy->listeners[i].text, "127.", 4) == 0 ||
			strncmp(policy->listeners[i].text, "[::1]:", 6) == 0);
	policy_free(policy);
	complaints_fini(&complaints);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
	static const char *const paths[] = { DATA "no-such-file.conf", DATA };

	for (size_t i = 0; i < 2; i++) {
		struct complaints complaints = { 0 };
		struct policy *policy = NULL;
		assert_int_equal(policy_load(&policy, paths[i], NULL, &complaints), -EINVAL);
		assert_null(policy);
		assert_int_equal(complaints.errors, 1);
		assert_string_equal(complaints.list[0].file, paths[i]);
		assert_non_null(strstr(complaints.list[0].text, "cannot be read: "));
		complaints_fini(&complaints);
	}
}

static void faults_of_an_included_file_bear_its_name(void **state)
{
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;

	assert_int_equal(policy_load(&policy, DATA "include-bad.conf", NULL, &complaints), -EINVAL);
	assert_int_equal(complaints.errors, 3);
	for (size_t i = 0; i < complaints.count; i++) {
		assert_string_equal(complaints.list[i].file, "parts/bad.inc");
		assert_int_equal(complaints.list[i].line, 3);
	}
	assert_non_null(strstr(complaints.list[1].text, "there twice, first on line 2"));
	complaints_fini(&complaints);
}

/* Is the key there as a word that is given a value, be it in a comment? */
static bool text_sets(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *at = text; (at = strstr(at, key)); at += len) {
		const char *after = at + len + strspn(at + len, " ");
		if ((at == text || strchr(" \t\n{(;", at[-1])) && *after == '=')
			return true;
	}
	return false;
}

static size_t text_count(const char *text, const char *word)
{
	size_t count = 0;
	for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
		count++;
	return count;
}

/* In how many sections is there a key of this name? The manual has an entry for each. */
static size_t sections_with(const char *key)
{
	size_t count = 0;
	for (size_t s = 0; s < SECTION_COUNT; s++)
		for (size_t k = 0; k < sections[s].n_keys; k++)
			count += strcmp(sections[s].keys[k].name, key) == 0;
	return count;
}

static char *examples_read(void)
{
	glob_t found;
	char *all = strdup("");

	assert_int_equal(glob(EXAMPLES, 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		char *text = file_read(found.gl_pathv[i]), *joined = NULL;
		assert_true(asprintf(&joined, "%s\n%s", all, text) > 0);
		free(text);
		free(all);
		all = joined;
	}
	globfree(&found);
	return all;
}

static void every_key_is_in_the_manual_the_defaults_and_an_example(void **state)
{
	char *manual = file_read(MANUAL), *examples = examples_read(), *defaults = file_read(DEFAULTS), item[64];
	unsigned missing = 0;

	for (size_t s = 0; s < SECTION_COUNT; s++) {
		for (size_t k = 0; k < sections[s].n_keys; k++) {
			const char *key = sections[s].keys[k].name;
			snprintf(item, sizeof(item), "\n.It Ic %s ", key);
			bool in_manual = text_count(manual, item) == sections_with(key);
			bool in_example = text_sets(examples, key);
			bool in_defaults = s != SECTION_TOP || text_sets(defaults, key);
			if (in_manual && in_example && in_defaults)
				continue;
			print_error("key `%s' of %s:%s%s%s\n", key, sections[s].name,
				in_manual ? "" : " not in the manual", in_example ? "" : " not in an example",
				in_defaults ? "" : " not in etc/usher.conf");
			missing++;
		}
	}
	free(manual);
	free(examples);
	free(defaults);
	assert_int_equal(missing, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_fault_of_a_file_is_reported_with_its_line),
		cmocka_unit_test(examples_load_without_a_complaint),
		cmocka_unit_test(the_default_configuration_listens_on_loopback_only),
		cmocka_unit_test(a_file_that_cannot_be_read_is_an_error),
		cmocka_unit_test(faults_of_an_included_file_bear_its_name),
		cmocka_unit_test(every_key_is_in_the_manual_the_defaults_and_an_example),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
