/* Runs a program: descriptors 0, 1 and 2 as given, every other closed, own session, signals at their defaults, its own
 * identity and environment. The child is made by vfork: the caller's memory is not copied. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

struct spawn {
	char *const *argv; /* argv[0] is the path, absolute */
	char *const *env;
	const char *directory; /* NULL: stay */
	int in, out, err;      /* -1: /dev/null */
	bool terminal;         /* `in` is a terminal: make it the controlling one */
	bool own_identity;     /* become uid, gid, groups before the program starts */
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	size_t n_groups;
	/* NULL: none. Sent on `out`, a socket, when nothing but the execution itself can fail any more: before the program's
	 * own output, and not at all for one that is not there. */
	const char *greeting;
	bool *ret_greeted; /* beside a greeting: set where it was sent */
};

/* 0 and the pid, or -errno of what failed: nothing was started then. The caller reaps. */
int spawn_program(const struct spawn *spawn, pid_t *ret_pid);
