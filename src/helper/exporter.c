/* The exporter's process: forked by the master, without privileges, in a sandbox before it accepts anybody. Owns its views of the
 * memory that it reads. */
#include "exporter.h"
#include "exporter_server.h"
#include "failure.h"
#include "fd.h"
#include "helper_process.h"
#include "log.h"
#include "policy.h"
#include "resolved.h"
#include "sandbox.h"
#include "shared.h"
#include "timer.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#define TURN_MS 1000 /* for samples and for deadlines, which are no more precise */

static void __attribute__((noreturn))
exporter_run(struct exporter_server *server, const struct exporter_source *source, int channel)
{
	uint64_t sampled_us = 0;

	for (;;) {
		uint64_t now_us = clock_monotonic_us();
		if (!sampled_us || now_us - sampled_us >= HISTORY_EACH_S * 1000000u) {
			exporter_sample(source);
			sampled_us = now_us;
		}
		struct pollfd fds[] = {
			{ .fd = exporter_server_fd(server), .events = POLLIN },
			{ .fd = channel, .events = POLLIN },
		};
		poll(fds, 2, exporter_server_run(server, TURN_MS));
		if (fds[1].revents) /* the master says nothing: it has closed it */
			_exit(0);
	}
}

static int memory_view(int fd, struct exporter_memory **ret)
{
	const struct shared_part own = { offsetof(struct exporter_memory, history), SHARED_PART };
	void *memory;

	_Static_assert(sizeof(struct history) <= SHARED_PART, "it is one part");
	int error = shared_memory_view(fd, sizeof(struct exporter_memory), &own, 1, &memory);
	if (error == 0)
		*ret = memory;
	return error;
}

/* It can be read only, and its descriptor is closed. */
static int names_view(const struct exporter_start *start, const struct resolved **ret)
{
	struct resolved *resolved;

	if (start->names < 0)
		return 0;
	int error = resolved_adopt(
		&resolved, start->names, (const char *const *)start->policy->names, start->policy->n_names);
	if (error == 0)
		error = resolved_read_only(resolved);
	if (error == 0)
		*ret = resolved;
	return error;
}

static int exporter_begin(struct exporter_start *start, pid_t master, int channel)
{
	static const int ignored[] = { SIGINT, SIGHUP, SIGTERM, SIGPIPE };

	return helper_process_begin(&(struct helper_process){
		.role = "exporter",
		.parent = master,
		.ignored = ignored,
		.n_ignored = sizeof(ignored) / sizeof(ignored[0]),
		.n_null = start->log_fd == STDERR_FILENO ? 2 : 3,
		.keep = (int[]){ start->log_fd, channel, start->socket },
		.n_keep = 3,
		.drop_privileges = true,
		.drop_identity = start->policy->drop_identity,
		.uid = start->policy->uid,
		.gid = start->policy->gid,
	});
}

static void __attribute__((noreturn)) exporter_main(struct exporter_start *start, pid_t master, int channel)
{
	struct shared shared = NO_SHARED;
	struct exporter_source source = { .shared = &shared, .policy = start->policy };
	struct exporter_server *server = NULL;

	start->log_fd = log_own_fd(start->log_fd);
	log_setup(start->log_fd, start->log);
	int error = shared_view(start->shared, SHARED_EXPORTER, &shared);
	if (error == 0)
		error = memory_view(start->memory, &source.memory);
	if (error == 0)
		error = names_view(start, &source.resolved);
	if (error == 0)
		error = exporter_begin(start, master, channel);
	if (error == 0 && !(server = exporter_server_new(start->socket, &source)))
		error = failure_set(-EIO, "libmicrohttpd does not start");
	if (error == 0)
		error = sandbox_enter_exporter(&shared.page->slots[SHARED_EXPORTER].refused);
	if (error < 0) {
		log_error("the exporter cannot start: %s", failure_text(error));
		_exit(1);
	}
	exporter_run(server, &source, channel);
}

int exporter_start(const struct exporter_start *start, pid_t *ret_pid, int *ret_channel)
{
	struct exporter_start own = *start;
	pid_t master = getpid();
	int channel;
	pid_t pid = helper_process_fork(&channel);

	if (pid == 0)
		exporter_main(&own, master, channel);
	if (pid < 0)
		return pid;
	*ret_pid = pid;
	*ret_channel = channel;
	return 0;
}
