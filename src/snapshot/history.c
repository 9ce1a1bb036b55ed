/* The ring. Owns nothing. A clock that jumped, or an exporter that did not run for a while, begins it anew. */
#include "history.h"
#include "snapshot.h"

#define GAP_S (6 * HISTORY_EACH_S)

static uint64_t totals_sum(const struct snapshot_totals *totals)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < totals->n; i++)
		sum += totals->items[i].count;
	return sum;
}

/* Whoever was not served as he wanted, for whatever reason. */
static uint64_t turned_away(const struct snapshot *snapshot)
{
	uint64_t sum = totals_sum(&snapshot->refused) + totals_sum(&snapshot->shed);

	for (size_t i = 0; i < snapshot->n_services; i++)
		sum += snapshot->services[i].failed;
	return sum;
}

void history_add(struct history *history, const struct snapshot *snapshot, int64_t now_s)
{
	struct sample *sample = &history->samples[history->next % HISTORY_SAMPLES];

	*sample =
		(struct sample){ .at_s = now_s, .open = snapshot->connections, .turned_away = turned_away(snapshot) };
	for (size_t i = 0; i < snapshot->n_listeners; i++)
		sample->accepted += snapshot->listeners[i].accepted;
	for (size_t i = 0; i < snapshot->n_services; i++)
		sample->bytes += snapshot->services[i].bytes_up + snapshot->services[i].bytes_down;
	history->next = (history->next + 1) % HISTORY_SAMPLES;
	if (history->n < HISTORY_SAMPLES)
		history->n++;
}

size_t history_read(const struct history *history, struct sample ret[HISTORY_SAMPLES])
{
	uint32_t n = history->n < HISTORY_SAMPLES ? history->n : HISTORY_SAMPLES;
	uint32_t first = history->next % HISTORY_SAMPLES + HISTORY_SAMPLES - n;
	size_t kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		ret[kept] = history->samples[(first + i) % HISTORY_SAMPLES];
		if (kept > 0 &&
			(ret[kept].at_s <= ret[kept - 1].at_s || ret[kept].at_s - ret[kept - 1].at_s > GAP_S)) {
			ret[0] = ret[kept];
			kept = 0;
		}
		kept++;
	}
	return kept;
}

double history_rate(uint64_t before, uint64_t after, const struct sample *from, const struct sample *to)
{
	/* A policy that has other listeners and services has less. */
	return after > before ? (double)(after - before) / (double)(to->at_s - from->at_s) : 0;
}
