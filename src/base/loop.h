/* The event loop: descriptors (epoll, edge-triggered unless asked otherwise), timers, and tasks for the end of the turn.
 * One a process, one thread. What is watched embeds a struct watch; nothing is allocated.
 *
 * An object whose watch was removed may still have an event queued in this turn: the loop skips it because it
 * is not listed any more, so the memory must outlive the turn. Free it from a task (loop_defer). A watch that was given another descriptor
 * meanwhile gets none of the old one's events. */
#pragma once
#include "timer.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

/* From what is embedded to what embeds it. */
#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

struct watch {
	int fd;      /* -1: none */
	bool listed; /* in the epoll set: else the descriptor is merely held */
	bool sole; /* no other process holds what is watched: closing it is enough. For the caller to set after loop_watch() */
	uint64_t since; /* the fetch of events before which it was listed: what that one brought is not its own */
	void (*ready)(struct watch *watch, uint32_t events);
};

struct task {
	struct task *next;
	bool queued;
	uint32_t turn; /* in which it was queued */
	void (*run)(struct task *task);
};

struct loop {
	int epoll_fd;
	uint64_t now_us; /* monotonic, read once a turn */
	bool stopping;
	uint32_t turn;
	uint64_t fetches; /* of events */
	struct timers timers;
	struct task *first_task, **last_task;
};

int loop_init(struct loop *loop); /* 0 or -errno */
void loop_fini(struct loop *loop);

/* `events` as for epoll_ctl; add EPOLLET yourself. 0 or -errno; on failure watch->fd is -1 and the descriptor still yours. */
int loop_watch(struct loop *loop, struct watch *watch, int fd, uint32_t events);

/* Holds a descriptor for a watch without asking for anything yet. loop_watch_held() asks; where it fails (-errno), the
 * descriptor is held on, and with a watch that is listed already it does nothing. */
void loop_hold(struct watch *watch, int fd);
int loop_watch_held(struct loop *loop, struct watch *watch, uint32_t events);
int loop_rewatch(struct loop *loop, struct watch *watch, uint32_t events);

/* Stops watching and hands the descriptor back (-1 when there was none). */
int loop_unwatch(struct loop *loop, struct watch *watch);

/* The same for a caller that closes it at once, which saves a call to the kernel where `sole` says so. */
int loop_unwatch_to_close(struct loop *loop, struct watch *watch);

int loop_timer(struct loop *loop, struct timer *timer, uint64_t due_us);
void loop_timer_stop(struct loop *loop, struct timer *timer);

/* Runs the task once, after this turn's events and timers and before the loop sleeps again. A task that is queued
 * already is left alone. A task queued from a task runs in the next turn, which then does not sleep. */
void loop_defer(struct loop *loop, struct task *task);
void loop_cancel(struct loop *loop, struct task *task);

int loop_run(struct loop *loop); /* until loop_stop(); 0 or -errno */
void loop_stop(struct loop *loop);
