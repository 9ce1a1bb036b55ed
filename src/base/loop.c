/* The event loop. A turn: sleep until something is due, then events, timers, tasks. It owns the epoll descriptor and the
 * timer heap; what is watched belongs to whoever embeds the watch. It never closes a descriptor that it was given. */
#include "loop.h"
#include "failure.h"
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#define EVENTS_PER_TURN 256

int loop_init(struct loop *loop)
{
	*loop = (struct loop){ .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };
	loop->last_task = &loop->first_task;
	loop->now_us = clock_monotonic_us();
	timers_init(&loop->timers);
	return loop->epoll_fd < 0 ? failure_set(-errno, "no event loop: epoll_create1") : 0;
}

void loop_fini(struct loop *loop)
{
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	loop->epoll_fd = -1;
	timers_fini(&loop->timers);
}

int loop_watch(struct loop *loop, struct watch *watch, int fd, uint32_t events)
{
	loop_hold(watch, fd);
	int error = loop_watch_held(loop, watch, events);
	if (error < 0)
		watch->fd = -1;
	return error;
}

void loop_hold(struct watch *watch, int fd)
{
	watch->fd = fd;
	watch->listed = watch->sole = false;
}

int loop_watch_held(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };
	if (watch->listed)
		return 0;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) < 0)
		return -errno;
	watch->listed = true;
	watch->since = loop->fetches;
	return 0;
}

int loop_rewatch(struct loop *loop, struct watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };
	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) < 0 ? -errno : 0;
}

int loop_unwatch(struct loop *loop, struct watch *watch)
{
	int fd = watch->fd;
	watch->fd = -1;
	if (fd >= 0 && watch->listed)
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	watch->listed = false;
	return fd;
}

/* Where another process holds the same socket (a program that was spawned on it), close() alone would leave it in the epoll
 * set. */
int loop_unwatch_to_close(struct loop *loop, struct watch *watch)
{
	int fd = watch->fd;
	if (!watch->sole)
		return loop_unwatch(loop, watch);
	watch->fd = -1;
	watch->listed = false;
	return fd;
}

int loop_timer(struct loop *loop, struct timer *timer, uint64_t due_us)
{
	return timers_start(&loop->timers, timer, due_us);
}

void loop_timer_stop(struct loop *loop, struct timer *timer)
{
	timers_stop(&loop->timers, timer);
}

void loop_defer(struct loop *loop, struct task *task)
{
	if (task->queued)
		return;
	task->queued = true;
	task->turn = loop->turn;
	task->next = NULL;
	*loop->last_task = task;
	loop->last_task = &task->next;
}

void loop_cancel(struct loop *loop, struct task *task)
{
	if (!task->queued)
		return;
	for (struct task **link = &loop->first_task; *link; link = &(*link)->next) {
		if (*link != task)
			continue;
		*link = task->next;
		if (loop->last_task == &task->next)
			loop->last_task = link;
		break;
	}
	task->queued = false;
}

/* Only what was queued before this began: a task that queues itself again waits for the next turn. */
static void loop_run_tasks(struct loop *loop)
{
	loop->turn++;
	for (struct task *task; (task = loop->first_task) && task->turn != loop->turn;) {
		loop->first_task = task->next;
		if (!loop->first_task)
			loop->last_task = &loop->first_task;
		task->queued = false;
		task->run(task);
	}
}

static void loop_run_timers(struct loop *loop)
{
	struct timer *timer;
	while ((timer = timers_pop(&loop->timers, loop->now_us)))
		timer->fired(timer);
}

/* Rounded up: a timer never finds itself early, and the loop never spins through the last millisecond. */
static int loop_sleep_ms(const struct loop *loop)
{
	if (loop->first_task)
		return 0;
	uint64_t next_us = timers_next_us(&loop->timers);
	if (next_us == UINT64_MAX)
		return -1;
	uint64_t now_us = clock_monotonic_us();
	if (next_us <= now_us)
		return 0;
	uint64_t ms = (next_us - now_us + 999) / 1000;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

int loop_run(struct loop *loop)
{
	struct epoll_event events[EVENTS_PER_TURN];

	while (!loop->stopping) {
		int n = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, loop_sleep_ms(loop));
		if (n < 0 && errno != EINTR)
			return -errno;
		loop->now_us = clock_monotonic_us();
		loop->fetches++;
		for (int i = 0; i < n; i++) {
			struct watch *watch = events[i].data.ptr;
			if (watch->listed && watch->since != loop->fetches)
				watch->ready(watch, events[i].events);
		}
		loop_run_timers(loop);
		loop_run_tasks(loop);
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	loop->stopping = true;
}
