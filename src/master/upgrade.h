/* Another build of usher takes this process over, with the same pid, the same sockets and all connections:
 *
 *	trial      the new binary, as a child: does it understand our state, the configuration, do its workers start? It proves that they
 *	           do by a word that it found in our state, new for each upgrade: that it ends with status 0 says nothing
 *	hold       workers decide nothing more, until no request of theirs is open
 *	execve     the new binary in our place, with our state; what follows there is a reload
 *
 * Whatever fails before the last step changes nothing. */
#pragma once
#include "loop.h"
#include "takeover.h"
#include <sys/stat.h>
#include <sys/types.h>

struct upgrade_hooks {
	int (*describe)(void *context, struct takeover *ret); /* 0 or -errno; freed by the caller */
	void (*hold)(void *context);                          /* upgrade_held() follows when all are */
	void (*resume)(void *context);                        /* it will not be */
	void (*failed)(void *context, const char *why);
};

enum upgrade_step { UPGRADE_NONE, UPGRADE_TRIAL, UPGRADE_HOLDING };

struct upgrade {
	struct loop *loop;
	const struct upgrade_hooks *hooks;
	void *context;
	enum upgrade_step step;
	pid_t trial;
	struct watch said;              /* what the trial writes to standard error */
	int proof_fd;                   /* what it writes to standard output */
	char proof[TAKEOVER_PROOF_MAX]; /* what must come there */
	struct stat tried;              /* the file that was */
	char text[2048];
	size_t text_len;
	struct timer patience;
	uint64_t trial_us, hold_us;
};

void upgrade_init(struct upgrade *upgrade, struct loop *loop, const struct upgrade_hooks *hooks, void *context);
void upgrade_fini(struct upgrade *upgrade);

/* Does nothing while one is under way. The times are bounds on the trial, and on the hold, which must be longer than a request of a
 * worker's may take. */
void upgrade_begin(struct upgrade *upgrade, uint64_t trial_us, uint64_t hold_us);
void upgrade_held(struct upgrade *upgrade); /* does not return where it succeeds */

/* The master is to end: whatever has begun is undone. */
void upgrade_cancel(struct upgrade *upgrade);

/* A child has ended: true if it was the trial. */
bool upgrade_reap(struct upgrade *upgrade, pid_t pid, int status);

/* In the new image: the state's descriptor, -1: this is no takeover. `ret_trial`: only a trial. */
int upgrade_inherited(bool *ret_trial);
