/* The configuration, read and compiled in a process of its own: however long it takes, or whatever becomes of it, who wanted it goes
 * on. */
#pragma once
#include "complaint.h"
#include "master_options.h"
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

struct compiling {
	pid_t pid;  /* 0: nothing is being compiled */
	int status; /* of the process, once it has ended */
	struct region *region;
	time_t since;
};

/* A complaint as it is printed. */
typedef void compiling_complaint_function(void *context, enum complaint_kind kind, const char *line);

/* Starts it. 0 or -errno, failure_text() says more. */
int compiling_start(struct compiling *compiling, const struct master_options *options);

/* A child has ended: true if it was this one, and compiling_take() is next. */
bool compiling_reap(struct compiling *compiling, pid_t pid, int status);

/* What became of it: 0 and the policy, which is the caller's; -EINVAL where something is wrong with the configuration; or another
 * -errno, of which failure_text() says more. Each complaint is told, in order of file and line, warnings too. */
int compiling_take(
	struct compiling *compiling, struct policy **ret, compiling_complaint_function *found, void *context);

/* It is not wanted any more. */
void compiling_cancel(struct compiling *compiling);

/* The same for who has nothing else to do: starts it and waits for it. -EINTR: SIGTERM or SIGINT came where the caller has blocked
 * them, and is still pending. */
int compiling_wait(const struct master_options *options, struct policy **ret, compiling_complaint_function *found,
	void *context);
