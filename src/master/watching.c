/* Forks the watcher and hears from it. Refuses to let usher fail for it. After a death, what changed meanwhile is seen by the time of the
 * change. Owns the channel. */
#include "watching.h"
#include "back_off.h"
#include "failure.h"
#include "fd.h"
#include "ipc.h"
#include "log.h"
#include "watcher.h"
#include <signal.h>

#define START_AGAIN_US 1000000
#define START_MOST_US  60000000

static void watching_later(struct watching *watching)
{
	uint64_t now_us = watching->loop->now_us;

	if (now_us - watching->started_us >= START_MOST_US)
		watching->deaths = 0;
	loop_timer(watching->loop, &watching->again,
		now_us + back_off_us(START_AGAIN_US, START_MOST_US, watching->deaths++));
}

static void watching_again(struct timer *timer)
{
	watching_start(container_of(timer, struct watching, again));
}

/* A message has one byte; whatever else it has is not read. */
static void watching_ready(struct watch *watch, uint32_t events)
{
	struct watching *watching = container_of(watch, struct watching, channel);
	struct ipc_fds fds;
	char what = 0;
	ssize_t n = ipc_receive(watch->fd, &what, sizeof(what), &fds);

	if (n > 0)
		ipc_close_fds(&fds);
	if (n == 0 || (n < 0 && (events & (EPOLLHUP | EPOLLERR)))) {
		fd_close(loop_unwatch(watching->loop, watch)); /* and its end is reaped */
		return;
	}
	if (n == 1 && what == WATCHER_LOOKS)
		log_warning(
			"%s: the kernel does not tell of all changes: looked at every ten seconds", watching->file);
	if (n != 1 || what != WATCHER_CHANGED)
		return;
	clock_gettime(CLOCK_REALTIME_COARSE, &watching->since);
	log_notice("%s: changed, read again", watching->file);
	watching->changed(watching->context);
}

void watching_init(struct watching *watching, struct loop *loop, const char *file, const struct timespec *since,
	void (*changed)(void *context), void *context)
{
	*watching = (struct watching){
		.loop = loop,
		.file = file,
		.changed = changed,
		.context = context,
		.since = *since,
		.channel = { .fd = -1, .ready = watching_ready },
		.again = { .fired = watching_again },
	};
}

void watching_fini(struct watching *watching)
{
	if (!watching->loop)
		return;
	loop_timer_stop(watching->loop, &watching->again);
	fd_close(loop_unwatch(watching->loop, &watching->channel));
	if (watching->pid > 0)
		kill(watching->pid, SIGKILL);
	watching->pid = 0;
}

void watching_start(struct watching *watching)
{
	int channel;
	pid_t pid;

	if (!watching->loop || watching->pid)
		return;
	int error = watcher_start(watching->file, &watching->since, &pid, &channel);
	if (error == 0) {
		watching->pid = pid;
		watching->started_us = watching->loop->now_us;
		error = loop_watch(watching->loop, &watching->channel, channel, EPOLLIN);
	}
	if (error == 0)
		return;
	log_error("the watcher cannot be started: %s", failure_text(error));
	watching_later(watching);
}

bool watching_reap(struct watching *watching, pid_t pid)
{
	if (!watching->pid || pid != watching->pid)
		return false;
	watching->pid = 0;
	fd_close(loop_unwatch(watching->loop, &watching->channel));
	log_error("the watcher died and is started again: until then no change of %s is seen", watching->file);
	watching_later(watching);
	return true;
}
