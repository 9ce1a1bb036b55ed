/* The checker's process: forked by the master, without privileges, in a sandbox before it connects to anybody. It checks from this machine's
 * own addresses, whatever address a service shows to its backends. Owns its views of the memory that it shares. */
#include "checker.h"
#include "check_plan.h"
#include "check_tls.h"
#include "checks.h"
#include "failure.h"
#include "fd.h"
#include "helper_process.h"
#include "loop.h"
#include "policy.h"
#include "resolved.h"
#include "sandbox.h"
#include "shared.h"
#include <errno.h>
#include <signal.h>
#include <unistd.h>

static int checker_begin(const struct checker_start *start, pid_t master, int channel)
{
	static const int ignored[] = { SIGINT, SIGHUP, SIGTERM, SIGPIPE };

	return helper_process_begin(&(struct helper_process){
		.role = "checker",
		.parent = master,
		.ignored = ignored,
		.n_ignored = sizeof(ignored) / sizeof(ignored[0]),
		.n_null = start->log_fd == STDERR_FILENO ? 2 : 3,
		.keep = (int[]){ start->log_fd, channel },
		.n_keep = 2,
		.drop_privileges = true,
		.drop_identity = start->policy->drop_identity,
		.uid = start->policy->uid,
		.gid = start->policy->gid,
	});
}

/* It can be read only, and its descriptor is closed. */
static int names_view(const struct checker_start *start, struct resolved **ret)
{
	if (start->names < 0)
		return 0;
	int error =
		resolved_adopt(ret, start->names, (const char *const *)start->policy->names, start->policy->n_names);
	return error < 0 ? error : resolved_read_only(*ret);
}

static bool policy_checks_tls(const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_services; i++) {
		const struct target *target = &policy->services[i].target;
		if (target->delivery == DELIVERY_CONNECT && target->connect.check && target->connect.check->sni)
			return true;
	}
	return false;
}

static int tls_open(const struct policy *policy, struct check_tls_context **ret)
{
	if (!policy_checks_tls(policy))
		return 0;
	*ret = check_tls_context_new();
	return *ret ? 0 : failure_set(-ENOMEM, "OpenSSL does not start");
}

/* The master says nothing: it has closed it. */
static void channel_ready(struct watch *watch, uint32_t events)
{
	_exit(0);
}

static void __attribute__((noreturn)) checker_main(struct checker_start *start, pid_t master, int channel)
{
	struct watch watch = { .fd = -1, .ready = channel_ready };
	struct shared shared = NO_SHARED;
	struct resolved *resolved = NULL;
	struct check_tls_context *tls = NULL;
	struct loop loop;

	start->log_fd = log_own_fd(start->log_fd);
	log_setup(start->log_fd, start->log);
	int error = shared_view(start->shared, SHARED_CHECKER, &shared);
	if (error == 0)
		error = names_view(start, &resolved);
	if (error == 0)
		error = checker_begin(start, master, channel);
	if (error == 0)
		error = policy_revive(start->policy);
	if (error == 0)
		error = tls_open(start->policy, &tls);
	if (error == 0)
		error = loop_init(&loop);
	if (error == 0)
		error = loop_watch(&loop, &watch, channel, EPOLLIN);
	if (error == 0 && !check_plan_new(&loop, start->policy, resolved, shared.backends, tls))
		error = -ENOMEM;
	if (error == 0)
		error = sandbox_enter_checker(start->policy, &shared.page->slots[SHARED_CHECKER].refused);
	if (error < 0)
		log_error("the checker cannot start: %s", failure_text(error));
	_exit(error == 0 && loop_run(&loop) == 0 ? 0 : 1);
}

int checker_start(const struct checker_start *start, pid_t *ret_pid, int *ret_channel)
{
	struct checker_start own = *start;
	pid_t master = getpid();
	int channel;
	pid_t pid = helper_process_fork(&channel);

	if (pid == 0)
		checker_main(&own, master, channel);
	if (pid < 0)
		return pid;
	*ret_pid = pid;
	*ret_channel = channel;
	return 0;
}
