/* Timers in a 4-ary heap. Knows only due times; the loop asks it how long to sleep. The heap's array is its only memory
 * and grows by doubling; the timers themselves belong to whoever embeds them. */
#include "timer.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define ARITY 4

void timers_init(struct timers *timers)
{
	*timers = (struct timers){ 0 };
}

void timers_fini(struct timers *timers)
{
	free(timers->heap);
	*timers = (struct timers){ 0 };
}

static void heap_put(struct timers *timers, size_t place, struct timer *timer)
{
	timers->heap[place] = timer;
	timer->place = place;
}

/* Places count from 1; the children of p are ARITY * (p - 1) + 2 .. ARITY * p + 1. */
static void heap_sift_up(struct timers *timers, size_t place, struct timer *timer)
{
	while (place > 1) {
		size_t parent = (place - 2) / ARITY + 1;
		if (timers->heap[parent]->due_us <= timer->due_us)
			break;
		heap_put(timers, place, timers->heap[parent]);
		place = parent;
	}
	heap_put(timers, place, timer);
}

static void heap_sift_down(struct timers *timers, size_t place, struct timer *timer)
{
	for (;;) {
		size_t first = ARITY * (place - 1) + 2;
		size_t last = first + ARITY - 1 < timers->count ? first + ARITY - 1 : timers->count;
		if (first > timers->count)
			break;
		size_t least = first;
		for (size_t child = first + 1; child <= last; child++)
			if (timers->heap[child]->due_us < timers->heap[least]->due_us)
				least = child;
		if (timers->heap[least]->due_us >= timer->due_us)
			break;
		heap_put(timers, place, timers->heap[least]);
		place = least;
	}
	heap_put(timers, place, timer);
}

static int heap_grow(struct timers *timers)
{
	if (timers->count + 1 < timers->capacity)
		return 0;
	size_t capacity = timers->capacity ? timers->capacity * 2 : 64;
	struct timer **heap = reallocarray(timers->heap, capacity, sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	timers->heap = heap;
	timers->capacity = capacity;
	return 0;
}

int timers_start(struct timers *timers, struct timer *timer, uint64_t due_us)
{
	if (!timer->place) {
		int r = heap_grow(timers);
		if (r < 0)
			return r;
		timer->due_us = due_us;
		heap_sift_up(timers, ++timers->count, timer);
		return 0;
	}
	bool earlier = due_us < timer->due_us;
	timer->due_us = due_us;
	if (earlier)
		heap_sift_up(timers, timer->place, timer);
	else
		heap_sift_down(timers, timer->place, timer);
	return 0;
}

void timers_stop(struct timers *timers, struct timer *timer)
{
	size_t place = timer->place;
	if (!place)
		return;
	timer->place = 0;
	struct timer *last = timers->heap[timers->count--];
	if (last == timer)
		return;
	if (last->due_us < timer->due_us)
		heap_sift_up(timers, place, last);
	else
		heap_sift_down(timers, place, last);
}

struct timer *timers_pop(struct timers *timers, uint64_t now_us)
{
	if (!timers->count || timers->heap[1]->due_us > now_us)
		return NULL;
	struct timer *timer = timers->heap[1];
	timers_stop(timers, timer);
	return timer;
}

uint64_t timers_next_us(const struct timers *timers)
{
	return timers->count ? timers->heap[1]->due_us : UINT64_MAX;
}

uint64_t clock_monotonic_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}
