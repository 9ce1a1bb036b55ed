/* Gathers a snapshot. Reads counters that workers write at the same time, and writes nothing that is shared. Refuses to depend on a process:
 * what only the master knows is the caller's to fill in. Owns the snapshot's arrays. */
#include "snapshot.h"
#include "capacity.h"
#include "counters.h"
#include "policy.h"
#include "reasons.h"
#include "shared.h"
#include "shared_limits.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *const snapshot_state_names[SNAPSHOT_STATES] = {
	[SNAPSHOT_UNKNOWN] = "-",
	[SNAPSHOT_SERVING] = "serving",
	[SNAPSHOT_RELOADING] = "reloading",
	[SNAPSHOT_ENDING] = "ending",
};

static int totals_gather(struct snapshot_totals *ret, const struct counters *counters, enum counter_kind kind,
	const char *const *names, size_t n)
{
	ret->items = calloc(n, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	ret->n = n;
	for (size_t i = 0; i < n; i++) {
		struct counted counted;
		counters_sum(counters, kind, names[i], &counted);
		ret->items[i] = (struct snapshot_total){ names[i], counted.total };
	}
	return 0;
}

static int listeners_gather(struct snapshot *snapshot, const struct shared *shared, const struct policy *policy)
{
	snapshot->listeners = calloc(policy->n_listeners + 1, sizeof(*snapshot->listeners));
	if (!snapshot->listeners)
		return -ENOMEM;
	snapshot->n_listeners = policy->n_listeners;
	for (size_t i = 0; i < policy->n_listeners; i++) {
		const char *address = policy->listeners[i].text;
		struct counted counted;
		shared_sum(shared, COUNTER_LISTENER, address, &counted);
		snapshot->listeners[i] =
			(struct snapshot_listener){ address, counted.open, counted.total, counted.failed };
	}
	return 0;
}

/* Most of many services have never had a client. */
static int measured_gather(struct snapshot_service *service, const struct counters *counters)
{
	struct measured measured[HISTOGRAMS];

	if (!service->total || !counters_measured(counters, service->name, measured))
		return 0;
	service->measured = malloc(sizeof(measured));
	if (!service->measured)
		return -ENOMEM;
	memcpy(service->measured, measured, sizeof(measured));
	return 0;
}

static int services_gather(struct snapshot *snapshot, const struct shared *shared, const struct policy *policy)
{
	snapshot->services = calloc(policy->n_services + 1, sizeof(*snapshot->services));
	if (!snapshot->services)
		return -ENOMEM;
	snapshot->n_services = policy->n_services;
	int r = 0;
	for (size_t i = 0; i < policy->n_services && r == 0; i++) {
		const char *name = policy->services[i].name;
		struct counted counted;
		shared_sum(shared, COUNTER_SERVICE, name, &counted);
		snapshot->services[i] = (struct snapshot_service){ name, counted.open, counted.total, counted.failed,
			counted.bytes_up, counted.bytes_down, NULL };
		if (i < COUNTERS_SERVICES_MEASURED)
			r = measured_gather(&snapshot->services[i], shared->counters);
	}
	return r;
}

static int policy_gather(struct snapshot *snapshot, const struct shared *shared, const struct policy *policy)
{
	struct capacity capacity;

	capacity_from(policy, snapshot->descriptors, &capacity);
	snapshot->file = policy->file;
	snapshot->max_connections = policy->max_connections;
	snapshot->room = (struct snapshot_room){ capacity.connections, capacity.in_all, capacity.undecided,
		capacity.of_one_source };
	int r = listeners_gather(snapshot, shared, policy);
	return r < 0 ? r : services_gather(snapshot, shared, policy);
}

int snapshot_gather(struct snapshot *snapshot, const struct shared *shared, const struct policy *policy,
	const struct resolved *resolved)
{
	const struct counters *counters = shared->counters;

	snapshot->connections = limits_live_all(shared->limits);
	snapshot->undecided = limits_undecided(shared->limits);
	int r = policy ? policy_gather(snapshot, shared, policy) : 0;
	if (r == 0 && policy)
		r = snapshot_gather_backends(snapshot, shared, policy, resolved);
	if (r == 0)
		r = totals_gather(&snapshot->ended, counters, COUNTER_END, session_end_names, SESSION_ENDS);
	if (r == 0)
		r = totals_gather(&snapshot->refused, counters, COUNTER_RULE, rule_names, n_rule_names);
	if (r == 0)
		r = totals_gather(&snapshot->lost, counters, COUNTER_LIMIT, queue_names, n_queue_names);
	if (r == 0)
		r = totals_gather(&snapshot->shed, counters, COUNTER_LIMIT, limit_names, n_limit_names);
	if (r == 0)
		r = totals_gather(
			&snapshot->datagrams, counters, COUNTER_DATAGRAM, datagram_event_names, DATAGRAM_EVENTS);
	return r;
}

void snapshot_fini(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_generations; i++)
		free(snapshot->generations[i].workers);
	free(snapshot->generations);
	free(snapshot->listeners);
	for (size_t i = 0; i < snapshot->n_services; i++)
		free(snapshot->services[i].measured);
	free(snapshot->services);
	free(snapshot->backends);
	free(snapshot->ended.items);
	free(snapshot->refused.items);
	free(snapshot->lost.items);
	free(snapshot->shed.items);
	free(snapshot->datagrams.items);
}
