/* The control socket's server, when a worker answers what it should not: the master goes on, and the client is told. */
#include "control.h"
#include "fd.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char folder[64], path[80];
static struct loop loop;
static struct control *control;
static uint64_t number;

static int hook_status(void *context, FILE *to)
{
	fputs("{}\n", to);
	return 0;
}

static unsigned hook_report(void *context, const struct message *request, int *files, bool *ret_missed)
{
	number = request->number;
	files[0] = memfd_create("part", MFD_CLOEXEC);
	assert_true(files[0] >= 0);
	return 1;
}

static void hook_drain(void *context)
{
}

static int hook_reload(void *context)
{
	return 0;
}

static void hook_log_level(void *context, unsigned level)
{
}

static const struct control_hooks hooks = { .status = hook_status,
	.report = hook_report,
	.drain = hook_drain,
	.reload = hook_reload,
	.log_level = hook_log_level };

static int setup(void **state)
{
	strcpy(folder, "/tmp/usher-control-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/control", folder);
	return loop_init(&loop) < 0 || control_new(&control, &loop, &hooks, NULL) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	control_free(control);
	loop_fini(&loop);
	return rmdir(folder);
}

static void turn_end(struct task *task)
{
	loop_stop(&loop);
}

static void turn(void)
{
	struct task end = { .run = turn_end };

	loop.stopping = false;
	loop_defer(&loop, &end);
	assert_int_equal(loop_run(&loop), 0);
}

static void listen_with(mode_t mode)
{
	const struct policy policy = { .control = path, .control_mode = mode };
	assert_int_equal(control_listen(control, &policy), 0);
}

/* The answer to a request that a worker answers with this error. */
static void ask(const char *request, int error, char *ret, size_t size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(send(client, request, strlen(request), 0), strlen(request));
	turn();
	turn();
	control_reported(control, number, error);
	ssize_t n = recv(client, ret, size - 1, 0);
	assert_true(n > 0);
	ret[n] = '\0';
	fd_close(client);
	turn();
}

static void an_error_that_no_worker_has_is_told_without_words_for_it(void **state)
{
	static const int odd[] = { -99999, 12345, INT32_MIN };
	char answer[256];

	listen_with(0600);
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		ask("close 7\n", odd[i], answer, sizeof(answer));
		assert_string_equal(answer, "{\"error\": \"the worker cannot tell\"}\n");
	}
}

static void a_session_that_is_closed_is_told(void **state)
{
	char answer[256];

	listen_with(0600);
	ask("close 7\n", 0, answer, sizeof(answer));
	assert_string_equal(answer, "{\"done\": \"closed\"}\n");
}

static void a_reload_changes_the_mode(void **state)
{
	struct stat there;

	listen_with(0600);
	listen_with(0660);
	assert_int_equal(stat(path, &there), 0);
	assert_int_equal(there.st_mode & 0777, 0660);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			an_error_that_no_worker_has_is_told_without_words_for_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_session_that_is_closed_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reload_changes_the_mode, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
