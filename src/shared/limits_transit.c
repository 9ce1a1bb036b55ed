/* Connections on their way from one worker to another. One is counted once at every moment, but for the instants in which a worker
 * has done the first of two steps; then it is counted twice, never nowhere:
 *
 *	sender:    writes the record, sends the message      it counts in the sender's entries
 *	           sent + 1, leaves its own entries          it counts by the record, since sent > taken
 *	receiver:  enters its own entries, taken + 1         it counts in the receiver's entries
 *
 * Who adds up reads the slots one after the other, and begins anew where sent or taken has changed meanwhile (limits_sum_up()). No
 * worker writes outside its slot. Of one that was taken over no more is believed than there are records. */
#include "limits_transit.h"
#include "limits_layout.h"
#include <stdbool.h>
#include <stddef.h>

#define TRIES 16 /* at a sum: a worker that was taken over may go on for ever as if it sent some */

/* As it lies in memory: [ to: 8 bits ][ begun: 28 ][ sent: 28 ]. */
struct transit {
	unsigned to;    /* the slot of the worker that takes them */
	uint32_t begun; /* how many of all were sent to others */
	uint32_t sent;  /* in all */
};

#define TRANSIT_BITS 28
#define TRANSIT_MASK ((1u << TRANSIT_BITS) - 1)
_Static_assert(LIMITS_SLOTS_MAX <= 1u << (64 - 2 * TRANSIT_BITS), "a slot fits");

static struct transit transit_of(const struct limits *limits, unsigned slot)
{
	uint64_t word = atomic_load(&limits->slots[slot].transit);

	return (struct transit){ (unsigned)(word >> 2 * TRANSIT_BITS) % LIMITS_SLOTS_MAX,
		(uint32_t)(word >> TRANSIT_BITS) & TRANSIT_MASK, (uint32_t)word & TRANSIT_MASK };
}

/* How many of those that `transit` counts are on their way: at most as many as there are records of. */
static uint32_t transit_count(const struct limits *limits, unsigned slot, const struct transit *transit)
{
	if (transit->sent <= transit->begun)
		return 0;
	uint32_t sent = transit->sent - transit->begun;
	uint32_t taken = atomic_load(&limits->slots[transit->to].taken[slot]);
	if (taken >= sent)
		return 0;
	return sent - taken < LIMITS_TRANSIT_MAX ? sent - taken : LIMITS_TRANSIT_MAX;
}

static bool record_has(const struct transit_record *record, uint64_t key)
{
	bool has = key == KEY_ALL;

	for (size_t i = 0; i < TRANSIT_KEYS && !has; i++)
		has = atomic_load(&record->keys[i]) == key;
	return has;
}

/* ---- sums ---- */

/* What is seen of all transits before and behind a sum. */
struct moves {
	uint64_t sent, taken;
};

static struct moves moves_of(const struct limits *limits)
{
	uint32_t n = limits_slots(limits);
	struct moves moves = { 0, 0 };

	for (uint32_t i = 0; i < n; i++) {
		if (!atomic_load(&limits->slots[i].transit)) /* as a rule */
			continue;
		struct transit transit = transit_of(limits, i);
		moves.sent += transit.sent;
		moves.taken += atomic_load(&limits->slots[transit.to].taken[i]);
	}
	return moves;
}

static uint64_t in_transit(const struct limits *limits, uint64_t key)
{
	uint32_t n_slots = limits_slots(limits);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n_slots; i++) {
		struct transit transit = transit_of(limits, i);
		for (uint32_t n = transit_count(limits, i, &transit); n > 0; n--)
			sum += record_has(&limits->slots[i].records[(transit.sent - n) % LIMITS_TRANSIT_MAX], key);
	}
	return sum;
}

uint64_t limits_sum_up(
	const struct limits *limits, uint64_t key, uint64_t (*count)(const void *of, uint64_t key), const void *of)
{
	struct moves before, after;
	uint64_t sum;
	unsigned tries = 0;

	do {
		before = moves_of(limits);
		sum = before.sent ? in_transit(limits, key) : 0;
		sum += count(of, key);
		after = moves_of(limits);
		if (after.sent == before.sent && after.taken == before.taken)
			return sum;
	} while (++tries < TRIES);
	/* Where one was sent too late to be seen on its way, and too early to be seen where it was. */
	return sum + (after.sent > before.sent ? after.sent - before.sent : 0);
}

/* ---- on the way ---- */

static void transit_store(struct limits *limits, unsigned slot, unsigned to, uint32_t begun, uint32_t sent)
{
	atomic_store(&limits->slots[slot].transit,
		(uint64_t)to << 2 * TRANSIT_BITS | (uint64_t)begun << TRANSIT_BITS | sent);
}

/* It may have taken some before others got theirs. */
void limits_transit_begin(struct limits *limits, unsigned slot, unsigned to)
{
	uint32_t sent = transit_of(limits, slot).sent;
	uint32_t taken = atomic_load(&limits->slots[to % LIMITS_SLOTS_MAX].taken[slot]);

	transit_store(limits, slot, to % LIMITS_SLOTS_MAX, taken < sent ? sent - taken : 0, sent);
}

void limits_transit_end(struct limits *limits, unsigned slot)
{
	struct transit transit = transit_of(limits, slot);
	transit_store(limits, slot, transit.to, transit.sent, transit.sent);
}

uint32_t limits_transit_count(const struct limits *limits, unsigned slot)
{
	struct transit transit = transit_of(limits, slot);
	return transit_count(limits, slot, &transit);
}

static uint64_t place_key(const struct slot *slot, uint32_t place)
{
	return place == LIMITS_NONE ? 0 : atomic_load(&slot->entries[place].key);
}

void limits_transit_write(struct limits *limits, unsigned number, const struct limits_transit *transit)
{
	const struct slot *slot = &limits->slots[number];
	struct transit_record *record =
		&limits->slots[number].records[transit_of(limits, number).sent % LIMITS_TRANSIT_MAX];
	const uint64_t keys[TRANSIT_KEYS] = {
		transit->is_undecided ? KEY_UNDECIDED : 0,
		transit->is_undecided ? place_key(slot, transit->undecided_place) : 0,
		place_key(slot, transit->listener_place),
		place_key(slot, transit->ticket.service),
		place_key(slot, transit->ticket.source),
		transit->counters[0],
		transit->counters[1],
		transit->backend,
	};

	for (size_t i = 0; i < TRANSIT_KEYS; i++)
		atomic_store(&record->keys[i], keys[i]);
}

void limits_transit_sent(struct limits *limits, unsigned slot)
{
	atomic_fetch_add(&limits->slots[slot].transit, 1);
}

void limits_transit_expect(struct limits *limits, unsigned slot, unsigned from)
{
	atomic_store(&limits->slots[slot].taken[from], 0);
}

void limits_transit_take(struct limits *limits, unsigned slot, unsigned from)
{
	atomic_fetch_add(&limits->slots[slot].taken[from], 1);
}
