/* How the master is to run, by the command that starts it. */
#pragma once
#include "complaint.h"
#include "policy.h"
#include <stdbool.h>

struct master_options {
	/* Reads the configuration, into the arena: at start and at every reload, in a process of its own. As policy_load(). */
	int (*load)(const void *context, struct arena *arena, struct policy **ret, struct complaints *complaints);
	const void *context;
	bool daemon;
	const char *watch; /* this file and what it includes is followed: a change is a reload; NULL: no */
	bool inetd;        /* one connection, on descriptor 0 */
	/* Once it serves; for whoever wants to say so. NULL: nobody. */
	void (*serving)(const struct policy *policy);
	/* A signal that means the same as SIGHUP; 0: none. */
	int reload_signal;
	/* At SIGTERM it ends at once and leaves its workers behind, who end with their last connection or at a SIGTERM of their
	 * own; else it waits for them. */
	bool leaves_workers;
	/* What SIGUSR1 asks for instead of opening the log again, once it serves. NULL: it opens the log again. */
	void (*tell)(const struct policy *policy);
};
