/* Facts written and read, without a lock: what was read while it was written is read again. Refuses to wait: a writer that ended in the
 * middle leaves what it wrote. Owns nothing. */
#include "master_facts.h"
#include "snapshot.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 100

const char *const snapshot_generation_names[SNAPSHOT_GENERATION_STATES] = {
	[SNAPSHOT_STARTING] = "starting",
	[SNAPSHOT_IN_FORCE] = "serving",
	[SNAPSHOT_RETIRING] = "retiring",
};

static uint32_t state_of(const char *name)
{
	uint32_t state = 0;

	while (state < SNAPSHOT_GENERATION_STATES - 1 && strcmp(snapshot_generation_names[state], name) != 0)
		state++;
	return state;
}

static void generation_add(struct master_facts_content *content, const struct snapshot_generation *generation)
{
	uint32_t at = content->n_generations++;

	content->generations[at].state = state_of(generation->state);
	for (size_t i = 0; i < generation->n_workers && content->n_workers < FACTS_WORKERS; i++) {
		content->workers[content->n_workers].pid = generation->workers[i].pid;
		content->workers[content->n_workers++].is_ready = generation->workers[i].is_ready;
		content->generations[at].n_workers++;
	}
}

void master_facts_write(struct master_facts *facts, const struct snapshot *snapshot, bool serves)
{
	struct master_facts_content content = {
		.pid = snapshot->pid,
		.since = snapshot->since,
		.reloading_since = snapshot->reloading_since,
		.ending_since = snapshot->ending_since,
		.programs = snapshot->programs,
		.descriptors = snapshot->descriptors,
		.state = snapshot->state,
		.serves = serves,
	};

	for (size_t i = 0; i < snapshot->n_generations && i < FACTS_GENERATIONS; i++)
		generation_add(&content, &snapshot->generations[i]);
	atomic_fetch_add(&facts->edition, 1);
	facts->content = content;
	atomic_fetch_add(&facts->edition, 1);
}

static void content_read(const struct master_facts *facts, struct master_facts_content *ret)
{
	for (int i = 0; i < TRIES; i++) {
		uint32_t before = atomic_load(&facts->edition);
		*ret = facts->content;
		atomic_thread_fence(memory_order_acquire);
		if (before % 2 == 0 && atomic_load(&facts->edition) == before)
			return;
	}
}

static int generations_read(const struct master_facts_content *content, const char *file, struct snapshot *ret)
{
	uint32_t n = content->n_generations < FACTS_GENERATIONS ? content->n_generations : FACTS_GENERATIONS;
	uint32_t at = 0;

	ret->generations = calloc(n + 1, sizeof(*ret->generations));
	if (!ret->generations)
		return -ENOMEM;
	for (; ret->n_generations < n; ret->n_generations++) {
		struct snapshot_generation *one = &ret->generations[ret->n_generations];
		uint32_t workers = content->generations[ret->n_generations].n_workers;
		uint32_t state = content->generations[ret->n_generations].state;
		one->state =
			snapshot_generation_names[state < SNAPSHOT_GENERATION_STATES ? state : SNAPSHOT_STARTING];
		one->file = file;
		one->workers = calloc(FACTS_WORKERS, sizeof(*one->workers));
		if (!one->workers)
			return -ENOMEM;
		for (; one->n_workers < workers && at < FACTS_WORKERS; at++)
			one->workers[one->n_workers++] =
				(struct snapshot_worker){ content->workers[at].pid, content->workers[at].is_ready };
	}
	return 0;
}

int master_facts_read(const struct master_facts *facts, const char *file, struct snapshot *ret, bool *ret_serves)
{
	struct master_facts_content content;

	content_read(facts, &content);
	*ret = (struct snapshot){
		.version = VERSION,
		.pid = content.pid,
		.state = content.state < SNAPSHOT_STATES ? (enum snapshot_state)content.state : SNAPSHOT_UNKNOWN,
		.since = content.since,
		.reloading_since = content.reloading_since,
		.ending_since = content.ending_since,
		.programs = content.programs,
		.descriptors = content.descriptors,
	};
	*ret_serves = content.serves;
	return generations_read(&content, file, ret);
}
