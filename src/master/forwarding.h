/* The table of the kernel by which it forwards flows (src/policy/forwarding.h): put in, renewed, taken away. A process of its own does
 * that, which may wait for the kernel and needs libnftables; the master is told how it ended.
 *
 * A new table takes the place of the old one in one step, and the flows in it stay, but for those to backends that are not there any
 * more. When usher ends while there are flows the table stays for them: without it the kernel would translate none. */
#pragma once
#include "policy.h"
#include <stdbool.h>
#include <sys/types.h>

enum forwarding_change {
	FORWARDING_NONE,
	FORWARDING_INSTALL,
	FORWARDING_REMOVE, /* with its flows */
	FORWARDING_LEAVE,  /* removed where it has no flows */
};

struct forwarding {
	pid_t pid;   /* of the process that is at it; 0: none */
	int channel; /* what that says of a failure */
	enum forwarding_change now, next;
	char *rules, *next_rules; /* of an installation */
	char table[32];           /* that usher has put in, or tried to; "": none */
	uint64_t renewed_us;
	int error; /* flows can be given to the kernel: 0; -EAGAIN: soon; or another -errno: no */
};

void forwarding_init(struct forwarding *forwarding);

/* A table that the image before this one has put in; "": none. */
void forwarding_adopt(struct forwarding *forwarding, const char *table);

/* The policy is in force from now on. */
void forwarding_follow(struct forwarding *forwarding, const struct policy *policy);

/* A worker says that the table is not in the kernel any more. It is put in again, but not at once where that was done a moment ago. */
void forwarding_renew(struct forwarding *forwarding, const struct policy *policy, uint64_t now_us);

/* The master is about to end. True: there is nothing left to do. */
bool forwarding_end(struct forwarding *forwarding);

/* A child has ended: true if it was this one's. */
bool forwarding_reap(struct forwarding *forwarding, pid_t pid, int status);
void forwarding_fini(struct forwarding *forwarding);

/* Why the kernel will not forward flows to this policy's backends, whatever the rules are; NULL: no reason is known. Valid until the next
 * call. */
const char *forwarding_hindrance(const struct policy *policy);
