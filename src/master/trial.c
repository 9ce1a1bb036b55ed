/* The trial of an upgrade: proves on standard output that it is one and that all went well, and says nothing else there. It reads the state of the running usher, compiles the configuration, and starts workers that do everything but
 * accept, until they are ready. Binds nothing, writes nothing, signals nobody but its own workers. */
#include "trial.h"
#include "ask.h"
#include "compiling.h"
#include "counters.h"
#include "failure.h"
#include "fd.h"
#include "generation_life.h"
#include "log.h"
#include "process.h"
#include "program_table.h"
#include "takeover.h"
#include "worker.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct trial {
	struct loop loop;
	struct watch signals;
	struct generation *generation;
	struct shared shared;
	struct asks asks;
	bool slots[LIMITS_SLOTS_MAX];
	int status;
};

static void trial_ready(struct generation *generation)
{
	struct trial *trial = generation->context;
	trial->status = 0;
	loop_stop(&trial->loop);
}

static void trial_failed(struct generation *generation)
{
	struct trial *trial = generation->context;
	fputs("the workers do not start\n", stderr);
	loop_stop(&trial->loop);
}

static void trial_reported(struct generation *generation, uint64_t number, int error)
{
}

static void trial_reap(struct watch *watch, uint32_t events)
{
	struct trial *trial = container_of(watch, struct trial, signals);
	struct signalfd_siginfo info;
	int status;

	while (read(watch->fd, &info, sizeof(info)) == sizeof(info))
		;
	for (pid_t pid; (pid = process_ended(&status, false)) > 0; process_bury(pid))
		generation_reap(trial->generation, pid, status);
}

static int trial_watch_children(struct trial *trial)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	trial->signals = (struct watch){ .fd = -1, .ready = trial_reap };
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : loop_watch(&trial->loop, &trial->signals, fd, EPOLLIN);
}

/* Its own children alone are waited for, and they have been killed. */
static void trial_end(struct trial *trial)
{
	struct generation *generation = trial->generation;
	int status;

	generation_kill(generation);
	for (pid_t pid; !generation_over(generation) && (pid = process_ended(&status, true)) > 0; process_bury(pid))
		generation_reap(generation, pid, status);
	if (generation_over(generation))
		generation_free(generation);
}

static int trial_serve(struct trial *trial, struct policy *policy)
{
	struct generation *generation = generation_new(&(struct generation){
		.loop = &trial->loop,
		.shared = &trial->shared,
		.policy = policy,
		.log_fd = 2,
		.log = policy->log,
		.connection = -1,
		.asks = &trial->asks,
		.slots = trial->slots,
		.context = trial,
		.ready = trial_ready,
		.failed = trial_failed,
		.reported = trial_reported,
	});
	if (!generation)
		return -ENOMEM;
	trial->generation = generation;
	int error = generation_start(generation, NULL);
	if (error == 0)
		error = loop_run(&trial->loop);
	trial_end(trial);
	loop_fini(&trial->loop);
	return error;
}

static int trial_prepare(struct trial *trial)
{
	int error = shared_open(&trial->shared);

	fd_raise_limit();
	if (error == 0)
		error = loop_init(&trial->loop);
	if (error == 0)
		error = trial_watch_children(trial);
	trial->asks.loop = &trial->loop;
	log_setup(2, &(struct log_settings){ .level = LEVEL_WARNING });
	return error;
}

static void trial_complain(void *context, enum complaint_kind kind, const char *line)
{
	fprintf(stderr, "%s\n", line);
}

int trial_run(const struct master_options *options, int state)
{
	struct trial trial = { .status = 1, .shared = NO_SHARED };
	struct takeover takeover;
	struct policy *policy;
	char proof[TAKEOVER_PROOF_MAX];
	const char *why;

	int error = takeover_read(state, &takeover, &why);
	snprintf(proof, sizeof(proof), "%s", takeover.proof);
	takeover_free(&takeover);
	if (error < 0) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	error = compiling_wait(options, &policy, trial_complain, NULL);
	if (error < 0 && error != -EINVAL)
		trial_complain(NULL, COMPLAINT_ERROR, failure_text(error));
	if (error < 0)
		return 2;
	error = trial_prepare(&trial);
	if (error < 0) {
		policy_free(policy);
	} else {
		error = trial_serve(&trial, policy);
		loop_fini(&trial.loop);
	}
	if (error < 0)
		fprintf(stderr, "cannot start: %s\n", strerrordesc_np(-error));
	else if (trial.status == 0)
		puts(proof);
	return error < 0 ? 1 : trial.status;
}
