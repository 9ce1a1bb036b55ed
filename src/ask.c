/* Runs access programs and waits for their verdict, the exit status. Each that was begun is answered exactly once, at its
 * end or when its time is up; in the second case its whole session is killed, and it is remembered until it has been
 * reaped. Refuses more than ASKS_MAX at a time. The structures are this file's; programs and requests are borrowed for the
 * call. */
#include "ask.h"
#include "fd.h"
#include "program.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

struct ask {
	struct ask *next;
	struct asks *asks;
	pid_t pid;
	void *asker; /* NULL: answered, or nobody wants to know any more */
	uint64_t serial;
	struct timer deadline;
};

static void ask_answer(struct ask *ask, bool admitted)
{
	void *asker = ask->asker;

	loop_timer_stop(ask->asks->loop, &ask->deadline);
	ask->asker = NULL;
	if (asker)
		ask->asks->answered(ask->asks, asker, ask->serial, admitted);
}

/* It leads a session of its own: what it started goes with it. */
static void ask_kill(const struct ask *ask)
{
	kill(-ask->pid, SIGKILL);
	kill(ask->pid, SIGKILL);
}

static void ask_out_of_time(struct timer *timer)
{
	struct ask *ask = container_of(timer, struct ask, deadline);

	ask_kill(ask);
	ask_answer(ask, false);
}

int asks_begin(struct asks *asks, const struct program *program, const char *service, const struct message *request,
	void *asker, uint64_t serial)
{
	int fds[2] = { -1, -1 };

	if (asks->count >= ASKS_MAX)
		return -EAGAIN;
	struct ask *ask = calloc(1, sizeof(*ask));
	int null = fd_open_null();
	int error = !ask ? -ENOMEM : null < 0 ? -errno : 0;
	if (error == 0) {
		*ask = (struct ask){ .asks = asks, .asker = asker, .serial = serial };
		ask->deadline.fired = ask_out_of_time;
		error = program_start(program, service, request, null, fds, &ask->pid, NULL);
	}
	fd_close(null);
	if (error < 0) {
		free(ask);
		return error;
	}
	ask->next = asks->first;
	asks->first = ask;
	asks->count++;
	if (loop_timer(asks->loop, &ask->deadline, asks->loop->now_us + ASK_TIMEOUT_US) < 0) {
		ask_kill(ask);
		ask->asker = NULL; /* the caller refuses */
		return -ENOMEM;
	}
	return 0;
}

bool asks_reap(struct asks *asks, pid_t pid, int status)
{
	struct ask **link = &asks->first;

	while (*link && (*link)->pid != pid)
		link = &(*link)->next;
	struct ask *ask = *link;
	if (!ask)
		return false;
	*link = ask->next;
	asks->count--;
	ask_answer(ask, WIFEXITED(status) && WEXITSTATUS(status) == 0);
	free(ask);
	return true;
}

void asks_forget(struct asks *asks, const void *asker)
{
	for (struct ask *ask = asks->first; ask; ask = ask->next) {
		if (ask->asker != asker)
			continue;
		ask_kill(ask);
		ask->asker = NULL;
		loop_timer_stop(asks->loop, &ask->deadline);
	}
}

void asks_fini(struct asks *asks)
{
	for (struct ask *next; asks->first; asks->first = next) {
		struct ask *ask = asks->first;
		next = ask->next;
		ask_kill(ask);
		loop_timer_stop(asks->loop, &ask->deadline);
		free(ask);
	}
	asks->count = 0;
}
