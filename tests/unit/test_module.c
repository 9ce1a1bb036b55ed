/* Modules: looked at from a child process, loaded, asked; and all the odd ones of tests/modules. */
#include "module.h"
#include "module_report.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
// after the four above
#include <cmocka.h>

#define ODD(name) BUILD_ROOT "/tests/modules/odd_" name ".so"
#define XPROTOCOL BUILD_ROOT "/examples/xprotocol.so"

static struct arena *arena;
static char error[MODULE_ERROR_MAX];

static int arena_setup(void **state)
{
	arena = arena_new();
	return 0;
}

static int arena_teardown(void **state)
{
	arena_free(arena);
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int inspect(struct module_use *use, unsigned limit_ms)
{
	error[0] = 0;
	return module_inspect(use, &(struct module_inspection){ .limit_ms = limit_ms }, arena, error, sizeof(error));
}

/* Every look must leave no child behind. */
static void assert_no_children(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void assert_refused(const char *path, const char *expected)
{
	struct module_use use = { .path = path };
	int r = inspect(&use, 0);

	if (r == 0 || !strstr(error, expected))
		print_error("%s: %d, \"%s\", expected \"%s\"\n", path, r, error, expected);
	assert_true(r < 0);
	assert_non_null(strstr(error, expected));
	assert_int_equal(use.n_probes, 0);
	assert_null(use.probes);
	assert_no_children();
}

/* --- Looking --------------------------------------------------------------------------- */

static void a_module_is_known_by_what_it_registers(void **state)
{
	struct module_use use = { .path = XPROTOCOL };

	assert_int_equal(inspect(&use, 0), 0);
	assert_int_equal(use.n_probes, 2);
	assert_string_equal(use.probes[0].name, "xecho");
	assert_int_equal(use.probes[0].attributes, USHER_SETS_HOST);
	assert_int_equal(use.probes[0].priority, 0);
	assert_string_equal(use.probes[1].name, "xssh");
	assert_int_equal(use.probes[1].priority, 10);
	assert_null(use.probes[0].run);
	assert_no_children();
}

static void what_is_wrong_with_a_module_is_said(void **state)
{
	assert_refused("xprotocol.so", "with a `/' in it");
	assert_refused("/nowhere/module.so", "No such file or directory, expected a shared object");
	assert_refused(BUILD_ROOT, "Is a directory");
	assert_refused("/dev/null", "not a file");
	assert_refused(SOURCE_ROOT "/meson.build", "invalid ELF header");
	assert_refused(ODD("version"), "built for version 99 of usher's module interface, expected version 1");
	assert_refused(ODD("no_version"), "has no `usher_module_abi'");
	assert_refused(ODD("no_init"), "has no `usher_module_init'");
	assert_refused(ODD("fail"), "its init failed: no luck today");
	assert_refused(ODD("fail_mute"), "its init failed: Input/output error");
	assert_refused(ODD("nothing"), "registers no probe");
	assert_refused(ODD("twice"), "registers probe `twice' twice");
	assert_refused(ODD("name"), "registers a probe named `no name'");
	assert_refused(ODD("no_function"), "`empty' without a function");
	assert_refused(ODD("attribute"), "unknown attributes 0x8");
	assert_refused(ODD("many"), "more than 1024 probes");
}

static void a_module_that_crashes_or_ends_harms_nobody(void **state)
{
	assert_refused(ODD("crash"), "crashed in its init: Segmentation fault");
	assert_refused(ODD("loading"), "crashed while it was loaded: Segmentation fault");
	assert_refused(ODD("exit"), "ended the process in its init, with status 3");
	assert_refused(ODD("scribble"), "disturbed the process that looks at it");
}

static void a_module_that_hangs_is_waited_for_no_longer_than_the_limit(void **state)
{
	struct module_use use = { .path = ODD("hang") };
	uint64_t begin = now_ms();

	assert_int_equal(inspect(&use, 300), -ETIME);
	assert_in_range(now_ms() - begin, 300, 1500);
	assert_non_null(strstr(error, "is not ready after 0.3 s, in its init"));
	assert_no_children();
}

static void what_a_module_starts_is_ended_with_it(void **state)
{
	struct module_use use = { .path = ODD("fork") };

	/* The forked one keeps the pipe open, so that the crash shows only at the limit. It would be ours to
	 * reap if it lived on: an orphan comes to the nearest reaper. */
	assert_int_equal(inspect(&use, 300), -ETIME);
	assert_no_children();
}

static bool is_obey(void *context, const char *name)
{
	++*(int *)context;
	return strcmp(name, "obey") == 0;
}

static void a_name_that_is_taken_is_not_given_again(void **state)
{
	struct module_use use = { .path = ODD("sound") };
	int asked = 0;
	struct module_inspection how = { .is_taken = is_obey, .context = &asked };

	assert_int_equal(module_inspect(&use, &how, arena, error, sizeof(error)), -EEXIST);
	assert_non_null(strstr(error, "the name `obey' of its probe is taken"));
	assert_int_equal(asked, 0); /* in the child only */
}

static void a_look_needs_no_privileges(void **state)
{
	struct module_use use = { .path = XPROTOCOL };
	struct module_inspection how = { .drop_identity = true, .uid = 65534, .gid = 65534 };
	int r = module_inspect(&use, &how, arena, error, sizeof(error));

	if (geteuid() != 0) {
		assert_int_equal(r, -EPERM);
		assert_non_null(strstr(error, "cannot be looked at: "));
		assert_non_null(strstr(error, "Operation not permitted"));
		return;
	}
	/* Where nobody may not enter the build directory the loader says so. */
	if (r < 0)
		assert_non_null(strstr(error, "Permission denied"));
}

/* --- Settings -------------------------------------------------------------------------- */

static struct module_value names[] = { { MODULE_STRING, .text = "one" }, { MODULE_STRING, .text = "two" } };
static struct module_value whole = { MODULE_WHOLE, .whole = 4, .real = 4 }, large = { MODULE_WHOLE, .whole = 11 },
			   real = { MODULE_REAL, .real = 0.25 }, negative = { MODULE_REAL, .real = -0.5 },
			   yes = { MODULE_BOOL, .whole = 1 }, text = { MODULE_STRING, .text = "4" },
			   one_whole = { MODULE_WHOLE, .whole = 1, .real = 1 };

static void settings_come_in_as_they_are(void **state)
{
	struct module_setting settings[] = { { "whole", &whole, 1, false }, { "names", names, 2, false },
		{ "real", &real, 1, false }, { "yes", &yes, 1, false }, { "other", &text, 1, false } };
	struct module_use use = { .path = ODD("sound"), .settings = settings, .n_settings = 5 };

	assert_int_equal(inspect(&use, 0), 0);
	assert_int_equal(use.n_probes, 5);
	assert_string_equal(use.probes[2].name, "one");
	assert_int_equal(use.probes[2].priority, 2);
	assert_string_equal(use.probes[3].name, "two");
	assert_string_equal(use.probes[4].name, "read-4-0.25-1");
	for (int i = 0; i < 4; i++)
		assert_true(settings[i].asked);
	assert_false(settings[4].asked);

	use = (struct module_use){ .path = ODD("sound") };
	assert_int_equal(inspect(&use, 0), 0);
	assert_string_equal(use.probes[2].name, "read-7-0.5-0");

	settings[2].values = &one_whole; /* a whole number is a real one */
	use = (struct module_use){ .path = ODD("sound"), .settings = &settings[2], .n_settings = 1 };
	assert_int_equal(inspect(&use, 0), 0);
	assert_string_equal(use.probes[2].name, "read-7-1-0");
}

static void settings_of_another_kind_are_refused(void **state)
{
	static const struct {
		struct module_setting setting;
		const char *expected;
	} cases[] = {
		{ { "whole", &text, 1, false }, "`whole' is a string, expected a whole number" },
		{ { "whole", &real, 1, false }, "`whole' is a number with a point, expected a whole number" },
		{ { "whole", &large, 1, false }, "`whole' is 11, expected a whole number from 1 to 10" },
		{ { "real", &negative, 1, false }, "`real' is -0.5, expected a number from 0 to 1" },
		{ { "real", &yes, 1, false }, "`real' is true or false, expected a number with a point" },
		{ { "yes", &whole, 1, false }, "`yes' is a whole number, expected true or false" },
		{ { "names", &yes, 1, false }, "`names' is true or false, expected a string" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct module_setting setting = cases[i].setting;
		struct module_use use = { .path = ODD("sound"), .settings = &setting, .n_settings = 1 };
		assert_int_equal(inspect(&use, 0), -EINVAL);
		assert_non_null(strstr(error, cases[i].expected));
	}
}

/* --- The file's owner ------------------------------------------------------------------ */

static void copy(const char *from, const char *to)
{
	char command[1024];

	snprintf(command, sizeof(command), "cp %s %s && chmod 755 %s", from, to, to);
	assert_int_equal(system(command), 0);
}

static void root_loads_only_what_nobody_else_can_write(void **state)
{
	char folder[] = "/tmp/usher-module-XXXXXX", file[64], linked[64];
	struct module_use use = { .path = file };

	if (geteuid() != 0)
		skip();
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/x.so", folder);
	snprintf(linked, sizeof(linked), "%s/y.so", folder);
	copy(XPROTOCOL, file);

	assert_int_equal(inspect(&use, 0), 0);
	assert_int_equal(chmod(file, 0775), 0);
	assert_refused(file, "can be written by others than root");
	assert_int_equal(chmod(file, 0755), 0);
	assert_int_equal(chown(file, 65534, 65534), 0);
	assert_refused(file, "does not belong to root");
	assert_int_equal(chown(file, 0, 0), 0);
	assert_int_equal(chmod(folder, 0777), 0);
	assert_refused(file, "can be written by others than root");
	assert_int_equal(chmod(folder, 01777), 0);
	use = (struct module_use){ .path = file };
	assert_int_equal(inspect(&use, 0), 0);

	/* A link from a folder of others is as bad as the file there. */
	assert_int_equal(symlink(XPROTOCOL, linked), 0);
	assert_int_equal(chmod(folder, 0777), 0);
	assert_refused(linked, "can be written by others than root");
	unlink(file);
	unlink(linked);
	rmdir(folder);
}

/* --- At work --------------------------------------------------------------------------- */

static struct module_use bound[2]; /* the sound one and xprotocol: bound once, by the first test that needs them */
static _Atomic uint32_t *running;

static char logged[256][64];
static size_t n_logged;

static void log_take(const char *path, enum usher_level level, const char *line)
{
	assert_string_equal(path, ODD("sound"));
	if (n_logged < 256)
		snprintf(logged[n_logged++], sizeof(logged[0]), "%.60s", line);
}

static const struct module_probe *probe(const char *name)
{
	static struct arena *for_ever;

	if (!for_ever) {
		running = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(running, MAP_FAILED);
		module_set_hooks(&(struct module_hooks){ log_take, running });
		for_ever = arena_new();
		bound[0].path = ODD("sound");
		bound[1].path = XPROTOCOL;
		for (size_t m = 0; m < 2; m++) {
			assert_int_equal(module_inspect(&bound[m], &(struct module_inspection){ 0 }, for_ever, error,
						 sizeof(error)),
				0);
			for (uint32_t i = 0; i < bound[m].n_probes; i++)
				bound[m].probes[i].number = (uint32_t)(10 * m) + i;
		}
		assert_int_equal(module_bind(bound, 2, error, sizeof(error)), 0);
		assert_int_equal(*running, 0);
	}
	for (size_t m = 0; m < 2; m++)
		for (size_t i = 0; i < bound[m].n_probes; i++)
			if (strcmp(bound[m].probes[i].name, name) == 0)
				return &bound[m].probes[i];
	fail_msg("no probe %s", name);
	return NULL;
}

static struct findings findings;

static enum verdict ask(const char *name, const char *bytes)
{
	struct evidence evidence = { .bytes = (const uint8_t *)bytes, .len = strlen(bytes) };

	findings_reset(&findings);
	return module_probe_run(probe(name), &evidence, &findings);
}

static void verdicts_pass_and_others_are_no(void **state)
{
	assert_int_equal(ask("obey", "y"), VERDICT_YES);
	assert_int_equal(ask("obey", "n"), VERDICT_NO);
	assert_int_equal(ask("obey", "m"), VERDICT_MORE);
	assert_int_equal(ask("obey", "?"), VERDICT_NO);
	assert_int_equal(*running, 0);
}

static void more_of_all_that_is_looked_at_is_no(void **state)
{
	static uint8_t bytes[EVIDENCE_MAX + 1] = "m";
	struct evidence evidence = { .bytes = bytes, .len = EVIDENCE_MAX - 1 };

	findings_reset(&findings);
	assert_int_equal(module_probe_run(probe("obey"), &evidence, &findings), VERDICT_MORE);
	evidence.len = EVIDENCE_MAX;
	assert_int_equal(module_probe_run(probe("obey"), &evidence, &findings), VERDICT_NO);
	evidence.len = EVIDENCE_MAX + 1;
	assert_int_equal(module_probe_run(probe("obey"), &evidence, &findings), VERDICT_NO);
}

static void an_answer_that_settled_something_is_not_taken_back(void **state)
{
	struct evidence evidence = { .bytes = (const uint8_t *)"m", .len = 1, .serial = 4711 }, other = evidence;

	findings_reset(&findings);
	assert_int_equal(module_probe_run(probe("obey"), &evidence, &findings), VERDICT_MORE);
	evidence.bytes = (const uint8_t *)"n";
	assert_int_equal(module_probe_run(probe("obey"), &evidence, &findings), VERDICT_NO);
	evidence.bytes = (const uint8_t *)"y";
	assert_int_equal(module_probe_run(probe("obey"), &evidence, &findings), VERDICT_NO);

	other.serial = 4712;
	other.bytes = (const uint8_t *)"y";
	assert_int_equal(module_probe_run(probe("obey"), &other, &findings), VERDICT_YES);
	other.bytes = (const uint8_t *)"n";
	n_logged = 0;
	assert_int_equal(module_probe_run(probe("obey"), &other, &findings), VERDICT_YES);
	assert_int_equal(n_logged, 1);
	assert_string_equal(logged[0], "probe obey took back its YES");

	/* Those that are remembered may be pushed out; what comes then is the module's word again, not
	 * another's. */
	for (uint64_t i = 1; i < 3 * MODULE_ANSWERS; i++) {
		other.serial = 10000 + i;
		other.bytes = (const uint8_t *)(i % 2 ? "y" : "n");
		assert_int_equal(
			module_probe_run(probe("obey"), &other, &findings), i % 2 ? VERDICT_YES : VERDICT_NO);
	}
}

static void a_probe_that_is_not_bound_says_no(void **state)
{
	struct module_probe unbound = { .name = "unbound" };
	struct evidence evidence = { .bytes = (const uint8_t *)"y", .len = 1 };

	findings_reset(&findings);
	assert_int_equal(module_probe_run(&unbound, &evidence, &findings), VERDICT_NO);
}

static void the_serial_number_is_one_for_each_state_of_the_evidence(void **state)
{
	struct evidence evidence = { .bytes = (const uint8_t *)"s", .len = 1 };

	for (int i = 0; i < 3; i++) {
		findings_reset(&findings);
		assert_int_equal(module_probe_run(probe("obey"), &evidence, &findings), VERDICT_YES);
		assert_int_equal(module_probe_run(probe("obey"), &evidence, &findings), VERDICT_NO);
	}
}

static void assert_value(enum attribute attribute, const char *expected)
{
	const struct finding *finding = &findings.attribute[attribute];

	assert_int_equal(finding->count, 1);
	assert_int_equal(finding->value[0].len, strlen(expected));
	assert_memory_equal(finding->value[0].at, expected, strlen(expected));
}

static void attributes_count_with_yes_only(void **state)
{
	assert_int_equal(ask("set", "1yShop.Example."), VERDICT_YES);
	assert_value(ATTRIBUTE_SNI, "shop.example");
	assert_int_equal(ask("set", "2yany bytes \x01\xff"), VERDICT_YES);
	assert_value(ATTRIBUTE_ALPN, "any bytes \x01\xff");
	assert_int_equal(findings.attribute[ATTRIBUTE_SNI].count, 0);

	assert_int_equal(ask("set", "1mshop.example"), VERDICT_MORE);
	assert_int_equal(findings.attribute[ATTRIBUTE_SNI].count, 0);
	assert_int_equal(findings.scratch_used, 0);
}

static void attributes_of_others_and_odd_values_are_refused(void **state)
{
	char long_name[400];

	assert_int_equal(ask("set", "4yshop.example"), VERDICT_NO); /* host: not its own */
	assert_int_equal(ask("set", "3yshop.example"), VERDICT_NO); /* two at once */
	assert_int_equal(ask("set", "8yshop.example"), VERDICT_NO);
	assert_int_equal(ask("set", "1ybad name\n"), VERDICT_NO);
	assert_int_equal(ask("set", "1y"), VERDICT_NO);
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = 0;
	memcpy(long_name, "2y", 2);
	assert_int_equal(ask("set", long_name), VERDICT_NO);
	assert_int_equal(findings.scratch_used, 0);
}

static void values_are_as_many_as_there_is_room_for(void **state)
{
	assert_int_equal(ask("set", "2*h2"), VERDICT_YES);
	assert_int_equal(findings.attribute[ATTRIBUTE_ALPN].count, FINDING_VALUES_MAX);

	/* A full scratch is no room either. */
	struct evidence evidence = { .bytes = (const uint8_t *)"2*h2", .len = 4 };
	findings_reset(&findings);
	findings.scratch_used = sizeof(findings.scratch) - 3;
	assert_int_equal(module_probe_run(probe("set"), &evidence, &findings), VERDICT_YES);
	assert_int_equal(findings.attribute[ATTRIBUTE_ALPN].count, 1);
}

static void a_probe_that_crashes_is_known_by_its_number(void **state)
{
	const struct module_probe *obey = probe("obey");
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		signal(SIGSEGV, SIG_DFL);
		ask("obey", "c");
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(*running, obey->number + 1);
	*running = 0;
}

static void a_module_logs_ten_lines_a_second(void **state)
{
	probe("obey");
	nanosleep(&(struct timespec){ 1, 100000000 }, NULL); /* whatever was logged before is of another second */
	n_logged = 0;
	assert_int_equal(ask("obey", "l"), VERDICT_YES);
	size_t at_once = n_logged;
	assert_in_range(at_once, 10, 20); /* another second may have begun in between */
	assert_string_equal(logged[0], "line 0\n");
	nanosleep(&(struct timespec){ 1, 100000000 }, NULL);
	assert_int_equal(ask("obey", "l"), VERDICT_YES);
	for (size_t i = at_once; i < n_logged && !strstr(logged[at_once], "left out"); i++)
		at_once = i; /* more of the first hundred, if the second one began among them */
	assert_non_null(strstr(logged[at_once], "lines of this module left out"));
}

/* A process that could not load a module is of no use any more: it ends without giving back what the module
 * took. */
static void assert_not_bound(struct module_use *use, int expected, const char *words)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0)
		_exit(module_bind(use, 1, error, sizeof(error)) == expected && strstr(error, words) ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_module_that_lost_a_probe_is_not_bound(void **state)
{
	struct module_probe probes[] = { { .name = "xecho" }, { .name = "xssh" }, { .name = "gone" } };
	struct module_use lost = { .path = XPROTOCOL, .probes = probes, .n_probes = 3 };
	struct module_use old = { .path = ODD("version") };

	assert_not_bound(&lost, -ENOENT, "does not register probe `gone' any more");
	assert_not_bound(&old, -ENOEXEC, "built for version 99");
}

/* Once settled for good, and the same at once as byte by byte. */
static void the_example_s_verdicts_are_monotone(void **state)
{
	static const struct {
		const char *name, *bytes;
		enum verdict verdict;
	} cases[] = {
		{ "xecho", "xecho shop.example:80\r\nmore", VERDICT_YES },
		{ "xecho", "xecho a\nxecho b\n", VERDICT_YES },
		{ "xecho", "xecho \n", VERDICT_NO },
		{ "xecho", "xecho bad name\n", VERDICT_NO },
		{ "xecho", "xech", VERDICT_MORE },
		{ "xecho", "xecho 0123456789012345678901234567890123456789012345678901234567890123456789",
			VERDICT_NO },
		{ "xssh", "SSH-2.0-OpenSSH_9.2\r\n", VERDICT_YES },
		{ "xssh", "SSH-1.99-x", VERDICT_NO },
		{ "xssh", "SSH-2", VERDICT_MORE },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum verdict settled = VERDICT_MORE;
		for (size_t len = 1; len <= strlen(cases[i].bytes); len++) {
			struct evidence evidence = { .bytes = (const uint8_t *)cases[i].bytes, .len = len };
			findings_reset(&findings);
			enum verdict one = module_probe_run(probe(cases[i].name), &evidence, &findings);
			if (settled != VERDICT_MORE)
				assert_int_equal(one, settled);
			settled = one;
		}
		assert_int_equal(settled, cases[i].verdict);
	}
	assert_int_equal(ask("xecho", "xecho Shop.Example:80\r\nmore"), VERDICT_YES);
	assert_value(ATTRIBUTE_HOST, "shop.example");
}

/* --- Reports --------------------------------------------------------------------------- */

static void a_report_is_believed_only_when_all_of_it_is_sound(void **state)
{
	static uint8_t bytes[REPORT_MAX];
	struct report_head head = { .n_probes = 1, .n_settings = 1 };
	struct report_probe probes = { .name = "x", .attributes = 7 };
	struct report report;
	size_t at_head = 3, at_probe = at_head + sizeof(head), len = at_probe + sizeof(probes) + 1;

	memcpy(bytes, "LIR", 3);
	memcpy(bytes + at_head, &head, sizeof(head));
	memcpy(bytes + at_probe, &probes, sizeof(probes));
	bytes[len - 1] = 1;
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(report_parse(bytes, cut, &report), -EAGAIN);
	assert_int_equal(report_parse(bytes, len, &report), 0);
	assert_int_equal(report_parse(bytes, len + 1, &report), -EBADMSG);

	bytes[len - 1] = 2;
	assert_int_equal(report_parse(bytes, len, &report), -EBADMSG);
	bytes[len - 1] = 0;
	bytes[at_probe] = '/';
	assert_int_equal(report_parse(bytes, len, &report), -EBADMSG);
	memset(bytes + at_probe, 'x', sizeof(probes.name));
	assert_int_equal(report_parse(bytes, len, &report), -EBADMSG);
	head.n_probes = USHER_PROBES_MAX + 1;
	memcpy(bytes + at_head, &head, sizeof(head));
	assert_int_equal(report_parse(bytes, len, &report), -EBADMSG);
	assert_int_equal(report_parse((const uint8_t *)"LX", 2, &report), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_module_is_known_by_what_it_registers),
		cmocka_unit_test(what_is_wrong_with_a_module_is_said),
		cmocka_unit_test(a_module_that_crashes_or_ends_harms_nobody),
		cmocka_unit_test(a_module_that_hangs_is_waited_for_no_longer_than_the_limit),
		cmocka_unit_test(what_a_module_starts_is_ended_with_it),
		cmocka_unit_test(a_name_that_is_taken_is_not_given_again),
		cmocka_unit_test(a_look_needs_no_privileges),
		cmocka_unit_test(settings_come_in_as_they_are),
		cmocka_unit_test(settings_of_another_kind_are_refused),
		cmocka_unit_test(root_loads_only_what_nobody_else_can_write),
		cmocka_unit_test(verdicts_pass_and_others_are_no),
		cmocka_unit_test(more_of_all_that_is_looked_at_is_no),
		cmocka_unit_test(an_answer_that_settled_something_is_not_taken_back),
		cmocka_unit_test(a_probe_that_is_not_bound_says_no),
		cmocka_unit_test(the_serial_number_is_one_for_each_state_of_the_evidence),
		cmocka_unit_test(attributes_count_with_yes_only),
		cmocka_unit_test(attributes_of_others_and_odd_values_are_refused),
		cmocka_unit_test(values_are_as_many_as_there_is_room_for),
		cmocka_unit_test(a_probe_that_crashes_is_known_by_its_number),
		cmocka_unit_test(a_module_logs_ten_lines_a_second),
		cmocka_unit_test(a_module_that_lost_a_probe_is_not_bound),
		cmocka_unit_test(the_example_s_verdicts_are_monotone),
		cmocka_unit_test(a_report_is_believed_only_when_all_of_it_is_sound),
	};
	return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
