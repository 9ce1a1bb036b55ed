/* Makes the snapshot of a running usher: limits and counters, and what the master alone knows. Owns nothing past the call. */
#include "status.h"
#include "fd.h"
#include "master_facts.h"
#include "shared.h"
#include "snapshot.h"
#include "worker_process.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const enum snapshot_generation_state states[] = { [GENERATION_STARTING] = SNAPSHOT_STARTING,
	[GENERATION_SERVING] = SNAPSHOT_IN_FORCE,
	[GENERATION_RETIRING] = SNAPSHOT_RETIRING,
	[GENERATION_KILLED] = SNAPSHOT_RETIRING };

static int generation_gather(struct snapshot_generation *ret, const struct generation *generation)
{
	ret->workers = calloc(generation->n_workers + 1, sizeof(*ret->workers));
	if (!ret->workers)
		return -ENOMEM;
	ret->state = snapshot_generation_names[states[generation->state]];
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

/* What the master alone knows. */
static int status_begin(const struct status *status, struct snapshot *ret)
{
	*ret = (struct snapshot){
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
	return generations_gather(ret, status->all);
}

void status_publish(const struct status *status, struct master_facts *facts)
{
	struct snapshot snapshot;

	if (status_begin(status, &snapshot) == 0)
		master_facts_write(facts, &snapshot, status->serving);
	snapshot_fini(&snapshot);
}

int status_write(const struct status *status, FILE *to)
{
	const struct generation *serving = status->serving ? status->serving : status->coming;
	struct snapshot snapshot;

	int r = status_begin(status, &snapshot);
	if (r == 0)
		r = snapshot_gather(&snapshot, status->shared, serving ? serving->policy : NULL,
			serving ? serving->resolved : NULL);
	if (r == 0)
		snapshot_json(&snapshot, to);
	snapshot_fini(&snapshot);
	return r;
}

int status_write_backends(const struct status *status, FILE *to)
{
	const struct generation *serving = status->serving ? status->serving : status->coming;
	struct snapshot snapshot = { 0 };

	int r = serving ? snapshot_gather_backends(&snapshot, status->shared, serving->policy, serving->resolved) : 0;
	for (size_t i = 0; i < snapshot.n_backends && r == 0; i++) {
		snapshot_backend_json(&snapshot.backends[i], to);
		putc('\n', to);
	}
	snapshot_fini(&snapshot);
	return r;
}
