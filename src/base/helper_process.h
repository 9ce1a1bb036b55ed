/* The start of a process that is forked and does not execute a program. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct helper_process {
	const char *role; /* process_rename(); NULL: it keeps its name */
	pid_t parent;     /* it is killed as soon as this process, which forked it, ends; 0: it outlives it */

	/* Signals that it ignores; all others have their default effect. NULL: their effects stay as they are. None is blocked. */
	const int *ignored;
	size_t n_ignored;

	int n_null; /* so many of descriptors 0, 1 and 2, from 0 on, become /dev/null */
	int *keep;  /* of the other descriptors these stay open; sorted by it */
	size_t n_keep;

	bool drop_privileges; /* process_drop_privileges() with these */
	bool drop_identity;
	uid_t uid;
	gid_t gid;
};

/* fork(), with a pair of sockets of which each process has one end in *ret_channel, as ipc_pair() makes it. The pid; 0 in the child; or
 * -errno, with a text for failure_text(). */
pid_t helper_process_fork(int *ret_channel);

/* In the child, first of all. 0 or -errno, with a text for failure_text(): it must end then. Where its parent has ended already it ends
 * here. */
int helper_process_begin(const struct helper_process *helper);
