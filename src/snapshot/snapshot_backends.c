/* Gathers the backends of a snapshot: whether each takes clients, why not, and what was counted of it. Believes no text and no number of the
 * table that would not fit. Owns nothing: the array is the snapshot's. */
#include "backend_table.h"
#include "backend_walk.h"
#include "check_result.h"
#include "checks.h"
#include "shared.h"
#include "snapshot.h"
#include "timer.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *const snapshot_backend_names[SNAPSHOT_BACKEND_STATES] = {
	[SNAPSHOT_BACKEND_UP] = "up",
	[SNAPSHOT_BACKEND_DOWN] = "down",
	[SNAPSHOT_BACKEND_DRAIN] = "drain",
	[SNAPSHOT_BACKEND_UNRESOLVED] = "unresolved",
};

struct gathering {
	struct snapshot *snapshot;
	const struct backend_table *table;
	uint64_t now_us;
};

static void address_write(struct snapshot_backend *ret, const struct backend_at *at)
{
	char text[ADDRESS_TEXT_MAX];

	_Static_assert(SNAPSHOT_BACKEND_TEXT_MAX >= ADDRESS_TEXT_MAX + sizeof("udp:"), "it is whole");
	if (at->address.len)
		snprintf(ret->address, sizeof(ret->address), "%s%s",
			at->transport == TRANSPORT_DATAGRAM ? "udp:" : "", address_format(&at->address, text));
}

static uint32_t check_word_at(const struct gathering *gathering, uint32_t place)
{
	return atomic_load_explicit(&backend_table_check_look(gathering->table, place)->result, memory_order_relaxed);
}

static void why_down(struct snapshot_backend *ret, const struct gathering *gathering, uint32_t place,
	const struct backend_record *record)
{
	char buf[CHECK_TEXT_MAX];
	int error = atomic_load_explicit(&record->error, memory_order_relaxed);
	const char *text = error < 0 && error > -4096 ? strerrordesc_np(-error) : NULL;

	if (!backend_health_is_checked(&record->health))
		snprintf(ret->why, sizeof(ret->why), "%s", text ? text : "unknown");
	else
		snprintf(ret->why, sizeof(ret->why), "check: %s",
			check_word_text(check_word_at(gathering, place), buf));
}

static void state_gather(struct snapshot_backend *ret, const struct gathering *gathering, uint32_t place,
	const struct backend_record *record)
{
	enum backend_mode mode = backend_order_mode(gathering->table, place);

	ret->since = atomic_load_explicit(&record->since_s, memory_order_relaxed);
	if (mode != BACKEND_MODE_NONE) {
		ret->state = mode == BACKEND_MODE_DRAIN ? SNAPSHOT_BACKEND_DRAIN : SNAPSHOT_BACKEND_DOWN;
		snprintf(ret->why, sizeof(ret->why), "operator");
		ret->since = backend_order_since(gathering->table, place);
	} else if (backend_health_look(&record->health, gathering->now_us) != BACKEND_UP) {
		ret->state = SNAPSHOT_BACKEND_DOWN;
		why_down(ret, gathering, place, record);
	}
}

static void check_gather(struct snapshot_check *ret, const struct gathering *gathering, uint32_t place)
{
	const struct backend_check *check = backend_table_check_look(gathering->table, place);
	uint64_t at_us = atomic_load_explicit(&check->at_us, memory_order_relaxed);
	uint64_t age_us = at_us < gathering->now_us ? gathering->now_us - at_us : 0;
	uint32_t word = check_word_at(gathering, place);

	ret->total = atomic_load_explicit(&check->total, memory_order_relaxed);
	ret->failed = atomic_load_explicit(&check->failed, memory_order_relaxed);
	ret->latency_s = atomic_load_explicit(&check->latency_us, memory_order_relaxed) / 1e6;
	if (ret->total == 0)
		return;
	ret->at = (int64_t)time(NULL) - (int64_t)(age_us / 1000000);
	ret->passed = check_word_result(word) == CHECK_PASSED;
	check_word_text(word, ret->result);
}

static void counts_gather(struct snapshot_backend *ret, const struct gathering *gathering, uint32_t place)
{
	const struct backend_record *record = backend_table_look(gathering->table, place);

	state_gather(ret, gathering, place, record);
	ret->weight = backend_order_weight(gathering->table, place, (uint32_t)ret->of_file);
	ret->open = backend_table_published(gathering->table, place);
	ret->total = atomic_load_explicit(&record->total, memory_order_relaxed);
	ret->failed = atomic_load_explicit(&record->failed, memory_order_relaxed);
	ret->latency_s = atomic_load_explicit(&record->latency_us, memory_order_relaxed) / 1e6;
	if (ret->check.is_there)
		check_gather(&ret->check, gathering, place);
}

static int backend_gather(void *context, const struct backend_at *at)
{
	const struct gathering *gathering = context;
	struct snapshot *snapshot = gathering->snapshot;
	size_t n = snapshot->n_backends;
	struct snapshot_backend *one;

	if (n == SNAPSHOT_BACKENDS_MAX)
		return 1;
	if ((n & (n - 1)) == 0) { /* full at 0 and every power of two */
		one = realloc(snapshot->backends, (n ? n * 2 : 1) * sizeof(*one));
		if (!one)
			return -ENOMEM;
		snapshot->backends = one;
	}
	one = &snapshot->backends[snapshot->n_backends++];
	*one = (struct snapshot_backend){
		.service = at->service->name,
		.name = at->backend->name == BACKEND_NO_NAME ? NULL : at->backend->text,
		.state = at->key ? SNAPSHOT_BACKEND_UP : SNAPSHOT_BACKEND_UNRESOLVED,
		.weight = at->weight,
		.of_file = at->weight,
		.most = at->backend->max_connections,
		.backup = at->backup,
		.check.is_there = check_is_for(at->service->target.connect.check, at->transport),
	};
	address_write(one, at);
	uint32_t place = at->key ? backend_table_find(gathering->table, at->service_hash, at->key) : BACKEND_NONE;
	if (place != BACKEND_NONE) /* else it has had no client yet */
		counts_gather(one, gathering, place);
	return 0;
}

int snapshot_gather_backends(struct snapshot *snapshot, const struct shared *shared, const struct policy *policy,
	const struct resolved *resolved)
{
	struct gathering gathering = { snapshot, shared->backends, clock_monotonic_us() };
	int r = backend_walk(policy, resolved, backend_gather, &gathering);

	return r < 0 ? r : 0;
}
