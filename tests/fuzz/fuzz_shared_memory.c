/* What processes share, after one that was taken over has written there: limits, counters and affinities, which workers write, and resolved names,
 * which the resolver does. More is overwritten than any of them could. Readers come to an end, stay within what is mapped, and take
 * nothing for an address that is none.
 *
 * Input: byte 0: where in a part; the rest lies there, again and again. */
#include "../../src/base/resolved.c" /* what is behind it is nobody else's */
#include "counters.h"
#include "fuzz.h"
#include "shared.h"

#define NAMES 3

static struct shared shared = NO_SHARED;
static struct resolved *names;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char *const texts[NAMES] = { "a.example", "b.example", "c.example" };

	require(shared_open(&shared) == 0 && resolved_new(&names, texts, NAMES) == 0);
	return 0;
}

/* The first pages of it, where all heads and the first slots are. */
static void overwrite(void *memory, size_t size, const uint8_t *data, size_t len, size_t from)
{
	uint8_t *bytes = memory;
	size_t most = size < 3 * SHARED_PART ? size : 3 * SHARED_PART;

	for (size_t i = from; i < most; i += len)
		memcpy(bytes + i, data, len < most - i ? len : most - i);
}

static void limits_read(const uint8_t *data)
{
	const struct access access = { .max_connections = data[0], .per_source = 3, .rate = { 3, 1000000 } };
	struct address client = { .len = sizeof(client.in),
		.in = { .sin_family = AF_INET, .sin_addr = { data[0] } } };
	struct limits_ticket ticket;
	uint32_t place;

	limits_live_all(shared.limits);
	limits_undecided(shared.limits);
	limits_live(shared.limits, data[0], (struct limits_source){ access_source(&client) });
	for (unsigned slot = 0; slot < 2; slot++) {
		if (!limits_enter(shared.limits, slot, &access, data[0],
			    (struct limits_source){ access_source(&client) }, 1000000, &ticket))
			limits_leave(shared.limits, slot, &ticket);
		limits_enter_undecided(shared.limits, slot, (struct limits_source){ data[0] }, &place);
		limits_over_undecided(shared.limits, slot, 5);
		limits_over_undecided_here(shared.limits, slot, place, 5);
		limits_leave_undecided(shared.limits, slot, &place);
		if (!limits_enter_all(shared.limits, slot, 7))
			limits_leave_all(shared.limits, slot);
	}
}

static void counters_read(void)
{
	struct counted counted;

	counter_add(&counter_get(shared.counters, 0, COUNTER_SERVICE, "web")->total, 1);
	counters_sum(shared.counters, COUNTER_SERVICE, "web", &counted);
	counters_sum(shared.counters, COUNTER_END, "finished", &counted);
}

static void affinity_read(const uint8_t *data)
{
	struct affinity_place place = { .service = 7, .backend = 9 };

	for (int kind = 0; kind < AFFINITY_KINDS; kind++) {
		uint64_t key = affinity_key(shared.affinity, (enum affinity_kind)kind, data, 1);
		affinity_note(shared.affinity, (enum affinity_kind)kind, key, &place, 1000);
		if (affinity_find(shared.affinity, (enum affinity_kind)kind, key, 1000, &place))
			require(place.kind < AFFINITY_KINDS);
	}
	affinity_note_length(shared.affinity, data[0]);
	require(affinity_lengths(shared.affinity) < UINT32_C(2) << AFFINITY_ID_MAX);
}

static void names_read(void)
{
	struct resolved_address found[RESOLVED_ADDRESSES_MAX];

	for (size_t name = 0; name < NAMES; name++) {
		size_t n = resolved_read(names, name, 443, found);
		require(n <= RESOLVED_ADDRESSES_MAX);
		for (size_t i = 0; i < n; i++)
			require(address_is_ip(&found[i].address) && address_port(&found[i].address) > 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	overwrite(shared.limits, limits_size(), data + 1, size - 1, data[0]);
	overwrite(shared.counters, counters_size(), data + 1, size - 1, data[0]);
	overwrite(shared.affinity, affinity_size(), data + 1, size - 1, data[0]);
	overwrite(shared.page, sizeof(*shared.page), data + 1, size - 1, data[0]);
	overwrite(names->slots, names->size, data + 1, size - 1, data[0]);
	limits_read(data);
	counters_read();
	affinity_read(data);
	names_read();
	shared_forget(&shared, data[0] % LIMITS_SLOTS_MAX);
	return 0;
}
