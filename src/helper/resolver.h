/* The resolver: a process that keeps asking for the addresses of the policy's backends, and for their SRV records, and writes them into the
 * shared table, so that nobody else ever waits for DNS.
 *
 * Each name is asked for again when the lowest TTL of its answer is over, but after max_age_s at the latest and 5 s at the
 * earliest; every 5 s where the answer has no TTL (the hosts file). A name that fails is asked for again after 1 s, doubling up to
 * 60 s, and its last good answer stays. Where a worker wants it anew, it is asked for at once, but no more than once a second. Changes
 * of a name's answer are logged as notices, the begin of a failure as a warning. */
#pragma once
#include "log.h"
#include "resolved.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct shared;

struct resolver_start {
	struct resolved *table;
	unsigned max_age_s; /* of an answer, before the name is asked for again */
	/* May an SRV record of this name have this port? NULL: any. */
	bool (*takes)(const void *context, uint32_t name, uint16_t port);
	bool (*allows)(const void *context, const char *name); /* may a client ask for this one? NULL: none */
	const void *context;
	int log_fd;
	const struct log_settings *log;
	bool drop; /* it becomes uid and gid */
	uid_t uid;
	gid_t gid;
	const struct shared *shared; /* has a slot for it; NULL: none */
};

/* Forks it. It ends on SIGTERM, when its channel is closed, and when the caller's process ends. 0, the pid and the caller's end of the
 * channel (ipc.h), or -errno; the caller reaps. */
int resolver_start(const struct resolver_start *start, pid_t *ret_pid, int *ret_channel);

/* Its exit status where it is to be started again, because what it was started with has changed: no fault. */
#define RESOLVER_AGAIN 75

/* A client could not be connected to any known address of this name: it is to be asked for anew. Lost where the resolver does not read. */
void resolver_ask_anew(int channel, uint32_t name);

/* A client that counts for `source` asks for this name: its addresses are to be in the cache (name_cache.h). Lost where the resolver does not
 * read, and where too many are asked for. */
void resolver_find(int channel, const char *name, uint64_t source);
