/* The steps of an upgrade in the image that leaves. Owns the trial's pipe. Refuses to leave before the trial has ended well. */
#include "upgrade.h"
#include "fd.h"
#include "hex.h"
#include "log.h"
#include "process.h"
#include "spawn.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
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
		.proof_fd = -1,
		.patience = { .fired = upgrade_out_of_time },
	};
}

static void upgrade_forget(struct upgrade *upgrade)
{
	upgrade->step = UPGRADE_NONE;
	loop_timer_stop(upgrade->loop, &upgrade->patience);
	fd_close(loop_unwatch(upgrade->loop, &upgrade->said));
	upgrade->proof_fd = fd_close(upgrade->proof_fd);
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

	memcpy(takeover->proof, upgrade->proof, sizeof(takeover->proof));
	return error < 0 ? error : takeover_write(takeover);
}

/* ---- the trial ---- */

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

static int trial_start(struct upgrade *upgrade, int state, int proof, int said)
{
	char **argv = process_argv(), **env = trial_environment();

	if (!argv || !env) {
		free(env);
		return -ENOMEM;
	}
	struct spawn spawn = { .argv = argv, .env = env, .in = state, .out = proof, .err = said };
	int error = spawn_program(&spawn, &upgrade->trial);
	free(env);
	return error;
}

/* A word that nobody can know but who was given the state. */
static int proof_make(char proof[TAKEOVER_PROOF_MAX])
{
	uint8_t bytes[(TAKEOVER_PROOF_MAX - 1) / 2];

	if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != sizeof(bytes))
		return -EAGAIN;
	hex_write(proof, bytes, sizeof(bytes));
	return 0;
}

/* Two pipes, of which our ends do not wait. */
static int pipes_open(int said[2], int proof[2])
{
	if (pipe2(said, O_CLOEXEC) < 0 || pipe2(proof, O_CLOEXEC) < 0)
		return -errno;
	int error = fd_set_nonblocking(said[0], true);
	return error < 0 ? error : fd_set_nonblocking(proof[0], true);
}

static int upgrade_try(struct upgrade *upgrade)
{
	struct takeover takeover = { 0 };
	int said[2] = { -1, -1 }, proof[2] = { -1, -1 }, state = -1;

	int error = proof_make(upgrade->proof);
	if (error == 0 && stat(process_argv()[0], &upgrade->tried) < 0)
		error = -errno;
	if (error == 0) {
		error = state = upgrade_describe(upgrade, &takeover);
		takeover_free(&takeover);
	}
	if (error >= 0)
		error = pipes_open(said, proof);
	if (error == 0)
		error = trial_start(upgrade, state, proof[1], said[1]);
	if (error == 0 && loop_watch(upgrade->loop, &upgrade->said, said[0], EPOLLIN) == 0)
		said[0] = -1;
	if (error == 0) {
		upgrade->proof_fd = proof[0];
		proof[0] = -1;
	}
	fd_close(said[0]);
	fd_close(said[1]);
	fd_close(proof[0]);
	fd_close(proof[1]);
	fd_close(state);
	return error;
}

/* Exactly the word, and a line's end: who prints all that he was given has proved nothing. */
static bool upgrade_is_proved(const struct upgrade *upgrade)
{
	char found[TAKEOVER_PROOF_MAX + 1];
	ssize_t n = read(upgrade->proof_fd, found, sizeof(found));

	return n == TAKEOVER_PROOF_MAX && memcmp(found, upgrade->proof, TAKEOVER_PROOF_MAX - 1) == 0 &&
		found[TAKEOVER_PROOF_MAX - 1] == '\n';
}

void upgrade_begin(struct upgrade *upgrade, uint64_t trial_us, uint64_t hold_us)
{
	if (upgrade->step != UPGRADE_NONE)
		return;
	log_notice("upgrade: %s is tested", process_argv()[0]);
	upgrade->text_len = 0;
	upgrade->trial_us = trial_us;
	upgrade->hold_us = hold_us;
	int error = upgrade_try(upgrade);
	if (error < 0) {
		upgrade_fail_with(upgrade, "the new binary cannot be started", error);
		return;
	}
	upgrade->step = UPGRADE_TRIAL;
	loop_timer(upgrade->loop, &upgrade->patience, upgrade->loop->now_us + trial_us);
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

static void upgrade_fail_by_end(struct upgrade *upgrade, int status)
{
	char why[sizeof(upgrade->text) + 128], how[80];

	if (WIFSIGNALED(status))
		snprintf(how, sizeof(how), "was killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		snprintf(how, sizeof(how), "ended with status %d", WEXITSTATUS(status));
	else
		snprintf(how, sizeof(how), "ended without proof of a trial: it is no usher that could follow");
	snprintf(why, sizeof(why), "the new binary %s%s%s", how, upgrade->text_len ? ": " : "", upgrade->text);
	upgrade_fail(upgrade, why);
}

bool upgrade_reap(struct upgrade *upgrade, pid_t pid, int status)
{
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
	if (!WIFEXITED(status) || WEXITSTATUS(status) || !upgrade_is_proved(upgrade)) {
		upgrade_fail_by_end(upgrade, status);
		return true;
	}
	upgrade->step = UPGRADE_HOLDING;
	loop_timer(upgrade->loop, &upgrade->patience, upgrade->loop->now_us + upgrade->hold_us);
	upgrade->hooks->hold(upgrade->context);
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

/* ---- leaving ---- */

static void upgrade_out_of_time(struct timer *timer)
{
	struct upgrade *upgrade = container_of(timer, struct upgrade, patience);

	if (upgrade->step == UPGRADE_HOLDING) {
		upgrade_held(upgrade); /* who still waits for a program is refused rather than all others */
	} else {
		kill(-upgrade->trial, SIGKILL);
		char why[96];
		snprintf(why, sizeof(why), "the new binary did not start within upgrade_timeout, %" PRIu64 " s",
			upgrade->trial_us / 1000000);
		upgrade_fail(upgrade, why);
	}
}

/* Is the file that is to be executed the one that was tried? 0 or -errno. */
static int upgrade_look(const struct upgrade *upgrade, const char *path)
{
	const struct stat *tried = &upgrade->tried;
	struct stat now;

	if (stat(path, &now) < 0)
		return -errno;
	bool same = now.st_dev == tried->st_dev && now.st_ino == tried->st_ino && now.st_size == tried->st_size &&
		now.st_mtim.tv_sec == tried->st_mtim.tv_sec && now.st_mtim.tv_nsec == tried->st_mtim.tv_nsec;
	return same ? 0 : -ESTALE;
}

/* Returns only where it fails. */
static int upgrade_leave(const struct upgrade *upgrade, const struct takeover *takeover, int state)
{
	char number[16];
	char **argv = process_argv();

	int changed = upgrade_look(upgrade, argv[0]);
	if (changed < 0)
		return changed;
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
	int error = state < 0 ? state : upgrade_leave(upgrade, &takeover, state);
	takeover_free(&takeover);
	fd_close(state);
	upgrade->hooks->resume(upgrade->context);
	if (error == -ESTALE)
		upgrade_fail(upgrade, "the new binary was replaced by another after its trial");
	else
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
