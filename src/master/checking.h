/* The master's side of the checker: the process, and whether it lives. It hears nothing from there but that. */
#pragma once
#include "checker.h"
#include "generation.h"
#include "loop.h"

struct checking {
	struct loop *loop;
	const struct shared *shared;

	struct policy *policy; /* a share of the one in force; NULL: there is none, or it checks nothing */
	int names_fd;          /* of the answers to its names, for the checker to read; -1: none */
	int log_fd;
	struct log_settings log;

	pid_t pid; /* 0: none runs */
	int channel;
	unsigned deaths; /* in a row */
	uint64_t started_us;
	struct timer again;   /* to start it */
	struct timer watched; /* while one runs */
};

void checking_init(struct checking *checking, struct loop *loop, const struct shared *shared);
void checking_fini(struct checking *checking); /* harmless on one that is zero */

/* A generation serves: its policy's checker takes the place of the one before. */
void checking_follow(struct checking *checking, const struct generation *serving);

/* Its process has ended. False: it is not this one. */
bool checking_reap(struct checking *checking, pid_t pid, int status);

/* The checker of the image before this one is ended. */
void checking_take(pid_t pid);
