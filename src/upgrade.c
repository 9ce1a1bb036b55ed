/* The steps of an upgrade in the image that leaves. Owns the trial's pipe. Refuses to leave before the trial has ended well. */
#include "upgrade.h"
#include "fd.h"
#include "log.h"
#include "process.h"
#include "spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void upgrade_out_of_time(struct timer *timer);
static void upgrade_read(struct watch *watch, uint32_t events);

void upgrade_init(struct upgrade *upgrade, struct loop *loop, const struct upgrade_hooks *hooks, void *context)
{
	*upgrade = (struct upgrade){
		.loop = loop,
		.hooks = hooks,
		.context = context,
		.said = { .fd = -1, .ready = upgrade_read },
		.patience = { .fired = upgrade_out_of_time },
	};
}

static void upgrade_forget(struct upgrade *upgrade)
{
	upgrade->step = UPGRADE_NONE;
	loop_timer_stop(upgrade->loop, &upgrade->patience);
	fd_close(loop_unwatch(upgrade->loop, &upgrade->said));
}

void upgrade_fini(struct upgrade *upgrade)
{
	if (upgrade->trial > 0)
		kill(-upgrade->trial, SIGKILL);
	upgrade_forget(upgrade);
}

static void upgrade_fail(struct upgrade *upgrade, const char *why)
{
	upgrade_forget(upgrade);
	upgrade->hooks->failed(upgrade->context, why);
}

static void upgrade_fail_with(struct upgrade *upgrade, const char *what, int error)
{
	char why[256];

	snprintf(why, sizeof(why), "%s: %s", what, strerrordesc_np(-error));
	upgrade_fail(upgrade, why);
}

/* A descriptor of our state, now. */
static int upgrade_describe(struct upgrade *upgrade, struct takeover *takeover)
{
	int error = upgrade->hooks->describe(upgrade->context, takeover);
	return error < 0 ? error : takeover_write(takeover);
}

/* ---- the trial ------------------------------------------------------------------------------------------------------------ */

static char **trial_environment(void)
{
	static char is_trial[] = TRIAL_VARIABLE "=1";
	size_t n = 0;

	while (environ[n])
		n++;
	char **made = calloc(n + 2, sizeof(*made));
	if (!made)
		return NULL;
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], "NOTIFY_SOCKET=", 14) != 0) /* what happens there is no news to anybody */
			made[kept++] = environ[i];
	made[kept] = is_trial;
	return made;
}

static int trial_start(struct upgrade *upgrade, int state, int said)
{
	char **argv = process_argv(), **env = trial_environment();

	if (!argv || !env) {
		free(env);
		return -ENOMEM;
	}
	struct spawn spawn = { .argv = argv, .env = env, .in = state, .out = -1, .err = said };
	int error = spawn_program(&spawn, &upgrade->trial);
	free(env);
	return error;
}

static int upgrade_try(struct upgrade *upgrade)
{
	struct takeover takeover = { 0 };
	int said[2] = { -1, -1 };

	int state = upgrade_describe(upgrade, &takeover);
	takeover_free(&takeover);
	int error = state < 0 ? state : pipe2(said, O_CLOEXEC) < 0 ? -errno : 0;
	if (error == 0)
		error = fd_set_nonblocking(said[0], true);
	if (error == 0)
		error = trial_start(upgrade, state, said[1]);
	if (error == 0 && loop_watch(upgrade->loop, &upgrade->said, said[0], EPOLLIN) == 0)
		said[0] = -1;
	fd_close(said[0]);
	fd_close(said[1]);
	fd_close(state);
	return error;
}

void upgrade_begin(struct upgrade *upgrade)
{
	if (upgrade->step != UPGRADE_NONE)
		return;
	log_notice("upgrade: %s is tried", process_argv()[0]);
	upgrade->text_len = 0;
	int error = upgrade_try(upgrade);
	if (error < 0) {
		upgrade_fail_with(upgrade, "the new binary cannot be started", error);
		return;
	}
	upgrade->step = UPGRADE_TRIAL;
	loop_timer(upgrade->loop, &upgrade->patience, upgrade->loop->now_us + UPGRADE_TRIAL_US);
}

/* The first of what it says is kept: the rest is read all the same, so that it does not wait for us. */
static void upgrade_read(struct watch *watch, uint32_t events)
{
	struct upgrade *upgrade = container_of(watch, struct upgrade, said);
	char rest[4096];

	while (watch->fd >= 0) {
		ssize_t n = read(watch->fd, rest, sizeof(rest));
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			fd_close(loop_unwatch(upgrade->loop, watch));
			return;
		}
		size_t room = sizeof(upgrade->text) - 1 - upgrade->text_len;
		size_t kept = (size_t)n < room ? (size_t)n : room;
		memcpy(upgrade->text + upgrade->text_len, rest, kept);
		upgrade->text_len += kept;
	}
}

bool upgrade_reap(struct upgrade *upgrade, pid_t pid, int status)
{
	char why[sizeof(upgrade->text) + 128];

	if (pid != upgrade->trial || pid <= 0)
		return false;
	kill(-pid, SIGKILL); /* and what is left of its session */
	upgrade->trial = 0;
	if (upgrade->step != UPGRADE_TRIAL)
		return true;
	upgrade_read(&upgrade->said, EPOLLIN);
	while (upgrade->text_len > 0 && upgrade->text[upgrade->text_len - 1] == '\n')
		upgrade->text_len--;
	upgrade->text[upgrade->text_len] = '\0';
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		upgrade->step = UPGRADE_HOLDING;
		loop_timer(upgrade->loop, &upgrade->patience, upgrade->loop->now_us + UPGRADE_HOLD_US);
		upgrade->hooks->hold(upgrade->context);
		return true;
	}
	snprintf(why, sizeof(why), "the new binary %s %d%s%s",
		WIFSIGNALED(status) ? "was killed by signal" : "ended with status",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), upgrade->text_len ? ": " : "",
		upgrade->text);
	upgrade_fail(upgrade, why);
	return true;
}

void upgrade_cancel(struct upgrade *upgrade)
{
	enum upgrade_step step = upgrade->step;

	if (step == UPGRADE_NONE)
		return;
	if (step == UPGRADE_TRIAL)
		kill(-upgrade->trial, SIGKILL);
	else
		upgrade->hooks->resume(upgrade->context);
	upgrade_fail(upgrade, "usher is ending");
}

/* ---- leaving --------------------------------------------------------------------------------------------------------------- */

static void upgrade_out_of_time(struct timer *timer)
{
	struct upgrade *upgrade = container_of(timer, struct upgrade, patience);

	if (upgrade->step == UPGRADE_HOLDING) {
		upgrade_held(upgrade); /* who still waits for a program is refused rather than all others */
	} else {
		kill(-upgrade->trial, SIGKILL);
		upgrade_fail(upgrade, "the new binary did not start within 15 seconds");
	}
}

/* Returns only where it fails. */
static int upgrade_leave(const struct takeover *takeover, int state)
{
	char number[16];
	char **argv = process_argv();

	snprintf(number, sizeof(number), "%d", state);
	if (setenv(TAKEOVER_VARIABLE, number, 1) < 0)
		return -errno;
	takeover_keep_fds(takeover, true);
	fcntl(state, F_SETFD, 0);
	fd_restore_limit(); /* or the next image takes ours for what it was started with */
	execv(argv[0], argv);
	int error = -errno;
	fd_raise_limit();
	takeover_keep_fds(takeover, false);
	unsetenv(TAKEOVER_VARIABLE);
	return error;
}

void upgrade_held(struct upgrade *upgrade)
{
	struct takeover takeover = { 0 };

	if (upgrade->step != UPGRADE_HOLDING)
		return;
	int state = upgrade_describe(upgrade, &takeover);
	int error = state < 0 ? state : upgrade_leave(&takeover, state);
	takeover_free(&takeover);
	fd_close(state);
	upgrade->hooks->resume(upgrade->context);
	upgrade_fail_with(upgrade, "the new binary cannot be executed", error);
}

int upgrade_inherited(bool *ret_trial)
{
	const char *number = getenv(TAKEOVER_VARIABLE);

	*ret_trial = getenv(TRIAL_VARIABLE) != NULL;
	int fd = *ret_trial ? 0 : number ? atoi(number) : -1;
	unsetenv(TAKEOVER_VARIABLE);
	unsetenv(TRIAL_VARIABLE);
	if (fd > 0)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}
