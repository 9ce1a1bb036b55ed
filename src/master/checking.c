/* Forks the checker, and forks it again when it dies, hangs, or another policy comes into force. Refuses to let usher fail for any of it: what
 * it has found stays for BACKEND_CHECKED_US, and then clients find out for themselves. Owns its share of the policy. */
#include "checking.h"
#include "back_off.h"
#include "failure.h"
#include "fd.h"
#include "kill_as.h"
#include "log.h"
#include "sandbox.h"
#include "shared.h"
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define START_AGAIN_US 1000000
#define START_MOST_US  60000000 /* also: one that ran for so long did not die at once */
#define WATCH_EACH_US  2000000
#define SILENT_US      10000000 /* it shows that it lives once a second */

static void checking_end(struct checking *checking)
{
	checking->channel = fd_close(checking->channel);
	loop_timer_stop(checking->loop, &checking->watched);
	if (checking->pid > 0)
		kill_as(checking->pid, checking->policy->drop_identity ? checking->policy->uid : geteuid(), SIGKILL);
	checking->pid = 0; /* whoever reaps it finds nobody's */
	backend_table_checker_ended(checking->shared->backends);
}

static void checking_try(struct checking *checking)
{
	struct loop *loop = checking->loop;
	int error = checker_start(
		&(struct checker_start){
			.shared = checking->shared,
			.policy = checking->policy,
			.names = checking->names_fd,
			.log_fd = checking->log_fd,
			.log = &checking->log,
		},
		&checking->pid, &checking->channel);

	if (error < 0) {
		log_error("the checker cannot be started: %s", failure_text(error));
		loop_timer(loop, &checking->again, loop->now_us + START_AGAIN_US);
		return;
	}
	checking->started_us = loop->now_us;
	loop_timer(loop, &checking->watched, loop->now_us + WATCH_EACH_US);
}

static void checking_again(struct timer *timer)
{
	checking_try(container_of(timer, struct checking, again));
}

static void checking_start_later(struct checking *checking)
{
	uint64_t now_us = checking->loop->now_us;

	if (now_us - checking->started_us >= START_MOST_US)
		checking->deaths = 0;
	loop_timer(checking->loop, &checking->again,
		now_us + back_off_us(START_AGAIN_US, START_MOST_US, checking->deaths++));
}

static void checking_watched(struct timer *timer)
{
	struct checking *checking = container_of(timer, struct checking, watched);
	uint64_t now_us = checking->loop->now_us, seen_us = backend_table_beaten(checking->shared->backends);

	if (seen_us > now_us || seen_us < checking->started_us) /* not yet */
		seen_us = checking->started_us;
	if (now_us - seen_us < SILENT_US) {
		loop_timer(checking->loop, timer, now_us + WATCH_EACH_US);
		return;
	}
	log_error("the checker has done nothing for %lu s: it is killed and started again",
		(unsigned long)((now_us - seen_us) / 1000000));
	checking_end(checking);
	checking_start_later(checking);
}

/* ---- from outside ---- */

void checking_init(struct checking *checking, struct loop *loop, const struct shared *shared)
{
	*checking = (struct checking){
		.loop = loop,
		.shared = shared,
		.names_fd = -1,
		.channel = -1,
		.again = { .fired = checking_again },
		.watched = { .fired = checking_watched },
	};
}

void checking_fini(struct checking *checking)
{
	if (!checking->loop)
		return;
	loop_timer_stop(checking->loop, &checking->again);
	checking_end(checking);
	policy_free(checking->policy);
	fd_close(checking->names_fd);
}

void checking_follow(struct checking *checking, const struct generation *serving)
{
	struct policy *policy = serving->policy->checks ? policy_share(serving->policy) : NULL;

	loop_timer_stop(checking->loop, &checking->again);
	checking_end(checking);
	policy_free(checking->policy);
	fd_close(checking->names_fd);
	checking->policy = policy;
	checking->names_fd = -1;
	if (policy && serving->resolved)
		checking->names_fd = fcntl(resolved_fd(serving->resolved), F_DUPFD_CLOEXEC, 0);
	checking->log_fd = serving->log_fd;
	checking->log = serving->log;
	checking->deaths = 0;
	if (policy)
		checking_try(checking);
	else if (serving->policy->checks)
		log_error("the checker cannot be started: out of memory");
}

bool checking_reap(struct checking *checking, pid_t pid, int status)
{
	char how[128];

	if (!checking->pid || pid != checking->pid)
		return false;
	checking->pid = 0;
	checking_end(checking);
	checking_start_later(checking);
	sandbox_describe_end(how, sizeof(how), status, &checking->shared->page->slots[SHARED_CHECKER].refused);
	log_error("the checker died and is started again in %lu s: it %s",
		(unsigned long)((checking->again.due_us - checking->loop->now_us) / 1000000), how);
	return true;
}

void checking_take(pid_t pid)
{
	if (pid > 0)
		kill_as(pid, geteuid(), SIGKILL);
}
