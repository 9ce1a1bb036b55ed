/* Timers on the monotonic clock in a 4-ary heap: O(log n) to start, move and stop, exact to the microsecond.
 * A timer is embedded in what it belongs to and never allocates; only the heap's array grows. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
	uint64_t due_us;
	size_t place; /* in the heap, from 1; 0: not running */
	void (*fired)(struct timer *timer);
};

struct timers {
	struct timer **heap; /* heap[0] is unused, heap[1] is due first */
	size_t count;
	size_t capacity;
};

void timers_init(struct timers *timers);
void timers_fini(struct timers *timers);

static inline bool timer_is_running(const struct timer *timer)
{
	return timer->place != 0;
}

/* Starts the timer or moves it. 0 or -ENOMEM (the timer is then not running; moving never fails). */
int timers_start(struct timers *timers, struct timer *timer, uint64_t due_us);
void timers_stop(struct timers *timers, struct timer *timer); /* no-op when not running */

/* Takes out the first timer due at `now_us`, or returns NULL. */
struct timer *timers_pop(struct timers *timers, uint64_t now_us);

/* When the next is due; UINT64_MAX with none. */
uint64_t timers_next_us(const struct timers *timers);

uint64_t clock_monotonic_us(void);
