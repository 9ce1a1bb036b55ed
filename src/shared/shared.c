/* The memory that all workers share, put together. Owns the mappings and, in the master, their descriptors. */
#include "shared.h"
#include "counters.h"
#include "failure.h"
#include "fd.h"
#include "limits_transit.h"
#include "timer.h"
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

/* Who is forked has none of it, however it comes to be. */
static int keep_from_children(const struct shared *shared)
{
	if (madvise(shared->page, sizeof(*shared->page), MADV_DONTFORK) < 0 ||
		madvise(shared->limits, limits_size(), MADV_DONTFORK) < 0 ||
		madvise(shared->counters, counters_size(), MADV_DONTFORK) < 0 ||
		madvise(shared->affinity, affinity_size(), MADV_DONTFORK) < 0 ||
		madvise(shared->backends, backend_table_size(), MADV_DONTFORK) < 0 ||
		madvise(shared->live, live_list_size(), MADV_DONTFORK) < 0)
		return failure_set(-errno, "madvise(MADV_DONTFORK)");
	return 0;
}

int shared_open(struct shared *shared)
{
	bool fresh = shared->page_fd < 0;
	void *page = NULL;

	int error = shared_memory_map(&shared->page_fd, sizeof(*shared->page), &page);
	if (error < 0)
		return error;
	shared->page = page;
	if (fresh)
		atomic_init(&shared->page->next_connection, 1);
	error = limits_new(&shared->limits, &shared->limits_fd);
	if (error == 0)
		error = counters_new(&shared->counters, &shared->counters_fd);
	if (error == 0)
		error = affinity_new(&shared->affinity, &shared->affinity_fd);
	if (error == 0)
		error = backend_table_new(&shared->backends, &shared->backends_fd);
	if (error == 0)
		error = live_list_new(&shared->live, &shared->live_fd);
	return error < 0 ? error : keep_from_children(shared);
}

void shared_close(struct shared *shared)
{
	if (shared->page)
		munmap(shared->page, sizeof(*shared->page));
	limits_free(shared->limits);
	counters_free(shared->counters);
	affinity_free(shared->affinity);
	backend_table_free(shared->backends);
	live_list_free(shared->live);
	fd_close(shared->page_fd);
	fd_close(shared->limits_fd);
	fd_close(shared->counters_fd);
	fd_close(shared->affinity_fd);
	fd_close(shared->backends_fd);
	fd_close(shared->live_fd);
	*shared = NO_SHARED;
}

static int page_view(int fd, unsigned slot, struct shared_page **ret)
{
	const struct shared_part own[] = {
		{ offsetof(struct shared_page, slots) + slot * sizeof(struct shared_slot),
			sizeof(struct shared_slot) },
		{ 0, slot >= LIMITS_SLOTS_MAX ? 0 : SHARED_PART },
	};
	void *page;

	int error = shared_memory_view(fd, sizeof(struct shared_page), own, sizeof(own) / sizeof(own[0]), &page);
	if (error == 0)
		*ret = page;
	return error;
}

int shared_view(const struct shared *from, unsigned slot, struct shared *ret)
{
	bool counts = slot < LIMITS_SLOTS_MAX || slot == SHARED_EXPORTER;

	*ret = NO_SHARED;
	int error = page_view(from->page_fd, slot, &ret->page);
	if (error == 0 && counts)
		error = limits_view(from->limits_fd, slot, &ret->limits);
	if (error == 0 && counts)
		error = counters_view(from->counters_fd, slot, &ret->counters);
	if (error == 0 && slot < LIMITS_SLOTS_MAX)
		error = affinity_view(from->affinity_fd, &ret->affinity);
	if (error == 0 && slot < LIMITS_SLOTS_MAX)
		error = live_list_view(from->live_fd, &ret->live);
	if (error == 0 && slot != SHARED_RESOLVER)
		error = backend_table_view(from->backends_fd, slot, &ret->backends);
	return error;
}

void shared_begin(struct shared *shared, unsigned slot)
{
	limits_begin(shared->limits, slot);
	counters_begin(shared->counters, slot);
	backend_table_begin(shared->backends, slot);
}

void shared_forget(struct shared *shared, unsigned slot)
{
	limits_forget(shared->limits, slot);
	counters_forget_open(shared->counters, slot);
	backend_table_forget(shared->backends, slot, clock_monotonic_us());
	atomic_store(&shared->page->slots[slot].running, 0);
	atomic_store(&shared->page->slots[slot].refused, 0);
}

struct open_count {
	const struct counters *counters;
	enum counter_kind kind;
	const char *name;
	struct counted *counted;
};

static uint64_t open_count(const void *of, uint64_t key)
{
	const struct open_count *count = of;

	counters_sum(count->counters, count->kind, count->name, count->counted);
	return count->counted->open;
}

void shared_sum(const struct shared *shared, enum counter_kind kind, const char *name, struct counted *ret)
{
	const struct open_count count = { shared->counters, kind, name, ret };

	ret->open = limits_sum_up(shared->limits, counter_key(kind, name), open_count, &count);
}
