/* A worker's side of running programs: asks the master, over the channel, and passes on its answers, which come in the
 * order of the requests. */
#pragma once
#include "message.h"
#include <stdbool.h>

struct spawn_request {
	struct spawn_request *next;
	/* When there is room in the channel: what to ask for, and a descriptor that goes with it (-1: none; it stays the
	 * request's owner's). */
	void (*fill)(struct spawn_request *request, struct message *message, int *ret_fd);
	/* Once: answer->error is 0 or -errno; with 0 the program's output and input, or its terminal and -1, or twice -1. What is taken over is
	 * set to -1. The request must stay in memory until then. */
	void (*started)(struct spawn_request *request, const struct message *answer, int fds[2]);
};

struct spawner {
	int channel;
	struct spawn_request *first, **last;
	struct spawn_request *unsent; /* from here on they wait for room in the channel */
	uint64_t next_serial;
};

void spawner_init(struct spawner *spawner, int channel);
/* Without a master, `started` is called from within. */
void spawner_ask(struct spawner *spawner, struct spawn_request *request);
bool spawner_is_orphaned(const struct spawner *spawner);

/* There is room again. */
void spawner_send(struct spawner *spawner);

/* MESSAGE_SPAWNED has come. */
void spawner_answer(struct spawner *spawner, const struct message *message, int fds[2]);

/* The master is gone: nobody answers any more. */
void spawner_orphaned(struct spawner *spawner);
