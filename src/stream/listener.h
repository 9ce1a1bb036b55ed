/* Accepting: as many as are there, or until others had to wait long enough; shedding before anything is allocated. */
#pragma once
#include "context.h"
#include "loop.h"
#include "policy.h"

struct listener {
	struct watch watch;
	struct context *context;
	const struct listener_policy *policy;
	size_t number;
	uint64_t limits_key; /* its name there */
	struct counter *counter;
	int fd;                /* the listening socket, also while it is not watched */
	struct timer resume;   /* out of descriptors: until accepting is tried again */
	struct log_limit told; /* what could not be accepted */
	unsigned batch;        /* how many are accepted before others get their turn */
	uint32_t turn;         /* of the loop, when it last was ready */
	bool all_taken;        /* as many as `batch` were there then */
};

int listener_start(struct listener *listener);    /* 0 or -errno */
void listener_hold(struct listener *listener);    /* accepts nothing until listener_resume() */
void listener_starved(struct listener *listener); /* descriptors have run out: accepts nothing for a moment */
void listener_resume(struct listener *listener);
void listener_stop(struct listener *listener); /* also closes the socket */
