/* A worker: one event loop in one unprivileged process, forked by the master under one policy. It accepts, decides and
 * delivers; it never forks, never opens a file, never waits. */
#pragma once
#include "policy.h"
#include "shared.h"

struct resolved;

/* One that a policy listens on. Several may be of one listener: as many as were handed over with its address, and the group of a UDP
 * listener. Of these a worker has its own. */
struct listening {
	int fd;
	uint32_t listener;
	unsigned place;      /* among those of the listener, which is the same over reloads and upgrades for UDP */
	unsigned group_size; /* how many those are */
};

struct worker_start {
	const struct policy *policy;
	const struct listening *listening;
	size_t n_listening;
	int channel; /* to the master */
	int log_fd;
	struct resolved *resolved;   /* NULL: the policy has no names */
	const struct shared *shared; /* the master's */
	unsigned slot;               /* its own, among all workers of all generations */
	int connection;              /* inetd: serve this one connection and end; -1: listen */
	bool awaits_receive;         /* other workers still have the sockets of datagrams: until MESSAGE_RECEIVE */
	bool may_be_left;            /* by a master that ends before it does: SIGTERM ends it */
};

/* What crosses between workers: changes with every change of it. `size` bytes for the text. */
void worker_migration_format(char *to, size_t size);

/* The whole life of the process. Returns its exit status. */
int worker_run(const struct worker_start *start);
