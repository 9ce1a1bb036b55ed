/* Makes the snapshot of a running usher: limits and counters, and what the master alone knows. Owns nothing past the call. */
#include "status.h"
#include "fd.h"
#include "shared.h"
#include "snapshot.h"
#include "worker_process.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const state_names[] = { [GENERATION_STARTING] = "starting",
	[GENERATION_SERVING] = "serving",
	[GENERATION_RETIRING] = "retiring",
	[GENERATION_KILLED] = "retiring" };

static int generation_gather(struct snapshot_generation *ret, const struct generation *generation)
{
	ret->workers = calloc(generation->n_workers + 1, sizeof(*ret->workers));
	if (!ret->workers)
		return -ENOMEM;
	ret->state = state_names[generation->state];
	ret->file = generation->policy->file;
	for (unsigned i = 0; i < generation->n_workers; i++) {
		const struct worker_process *worker = &generation->workers[i];
		if (worker->pid)
			ret->workers[ret->n_workers++] = (struct snapshot_worker){ worker->pid, worker->ready };
	}
	return 0;
}

static int generations_gather(struct snapshot *snapshot, const struct generation *all)
{
	size_t n = 0;
	int r = 0;

	for (const struct generation *one = all; one; one = one->next)
		n++;
	snapshot->generations = calloc(n + 1, sizeof(*snapshot->generations));
	if (!snapshot->generations)
		return -ENOMEM;
	for (const struct generation *one = all; one && r == 0; one = one->next)
		r = generation_gather(&snapshot->generations[snapshot->n_generations++], one);
	return r;
}

int status_write(const struct status *status, FILE *to)
{
	const struct generation *serving = status->serving ? status->serving : status->coming;
	struct snapshot snapshot = {
		.version = VERSION,
		.pid = getpid(),
		.state = status->ending_since                       ? SNAPSHOT_ENDING
			: status->coming || status->reloading_since ? SNAPSHOT_RELOADING
								    : SNAPSHOT_SERVING,
		.since = status->since,
		.reloading_since = status->reloading_since,
		.ending_since = status->ending_since,
		.programs = status->programs,
		.descriptors = fd_raise_limit(),
	};

	int r = generations_gather(&snapshot, status->all);
	if (r == 0)
		r = snapshot_gather(&snapshot, status->shared, serving ? serving->policy : NULL);
	if (r == 0)
		snapshot_json(&snapshot, to);
	snapshot_fini(&snapshot);
	return r;
}
