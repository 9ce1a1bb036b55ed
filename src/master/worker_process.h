/* One worker of a generation, as the master has it. */
#pragma once
#include "outbox.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct generation;
struct takeover;

struct worker_process {
	struct generation *generation;
	pid_t pid; /* 0: not running */
	struct watch channel;
	struct outbox outbox;
	bool ready;
	bool accused;             /* and is to end */
	struct task again;        /* it has said more than is heard in one turn */
	uint64_t held;            /* the last hold that it has answered; 0: none */
	uint64_t asked, reported; /* the last report that it was asked for, and that it has answered */
	unsigned slot;
	unsigned
		number; /* in its generation: it has the sockets of datagrams that socket_reader() gives to this number */
	uint64_t started_us;
	unsigned quick_deaths; /* in a row: the back-off */
	struct timer restart;
	struct timer gone; /* it has closed its channel, and has so long to end */
};

void worker_process_init(struct worker_process *worker, struct generation *generation, unsigned number);
void worker_process_fini(struct worker_process *worker);

/* 0 or -errno. */
int worker_process_fork(struct worker_process *worker);

/* In an image that took over: it runs already, as the `number`th there. 0 or -errno. */
int worker_process_adopt(struct worker_process *worker, const struct takeover *takeover, size_t number);

/* As outbox_send(). */
int worker_process_tell(struct worker_process *worker, const struct message *message, const int *fds, size_t n_fds);

/* The same for an order that it must not miss: one that cannot be told, or that does not read, is ended. */
void worker_process_order(struct worker_process *worker, const struct message *message);

void worker_process_kill(const struct worker_process *worker);

/* Is to decide nothing, as its generation is. */
void worker_process_hold(struct worker_process *worker);

/* Its live sessions are to go to workers of `next`: flows to those that have its sockets of datagrams now, all others to one of them. */
void worker_process_migrate(struct worker_process *from, struct generation *next);

/* It has ended and was reaped; where its generation serves, it is started again. */
void worker_process_died(struct worker_process *worker, int status);
