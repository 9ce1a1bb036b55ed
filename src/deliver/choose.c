/* Chooses. Refuses to connect, to wait and to know sessions. Owns the roster of a service and the line of those who wait; a choice is
 * embedded in whoever connects. */
#include "choose.h"
#include "hash.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PICKS 8 /* of one that another worker's client takes at the same moment */

struct chooser {
	struct chooser_of of;
	uint64_t service; /* hash_name() */
	const struct balance *balance;
	struct roster roster;
	uint64_t looked_us; /* when the roster was found to be current */
	struct list line;
	size_t n_line;
};

/* ---- the roster ------------------------------------------------------------------------------------------------------- */

struct chooser *chooser_new(const struct chooser_of *of)
{
	struct chooser *chooser = calloc(1, sizeof(*chooser));

	if (!chooser)
		return NULL;
	chooser->of = *of;
	chooser->service = hash_name(of->service);
	chooser->balance = balances[of->target->connect.balance];
	return chooser;
}

struct chooser *chooser_new_of(const struct target *target, const struct address *addresses, size_t n)
{
	struct chooser *chooser = calloc(1, sizeof(*chooser));

	if (!chooser)
		return NULL;
	chooser->of.target = target;
	chooser->balance = &balance_first;
	if (roster_make_of(&chooser->roster, target, addresses, n) == 0)
		return chooser;
	free(chooser);
	return NULL;
}

void chooser_free(struct chooser *chooser)
{
	if (chooser)
		roster_fini(&chooser->roster);
	free(chooser);
}

const struct chooser_of *chooser_is_of(const struct chooser *chooser)
{
	return &chooser->of;
}

/* At most once in a turn of the loop. -ENOMEM: there was never one; an old one does. */
static int chooser_look(struct chooser *chooser, uint64_t now_us)
{
	const struct chooser_of *of = &chooser->of;

	if (chooser->looked_us == now_us && chooser->roster.candidates)
		return 0;
	if (!roster_is_current(&chooser->roster, of->target, of->lookup, of->table)) {
		int error = roster_make(&chooser->roster, of->target, chooser->service, of->transport, of->lookup,
			of->table, of->slot);
		if (error < 0 && !chooser->roster.candidates)
			return error;
	}
	chooser->looked_us = now_us;
	return 0;
}

const char *chooser_text(const struct chooser *chooser, const struct candidate *candidate, char buf[CHOOSER_TEXT_MAX])
{
	const struct backend *backend = &chooser->of.target->connect.backends[candidate->backend];
	char address[ADDRESS_TEXT_MAX];

	if (backend->name == BACKEND_NO_NAME)
		return backend->text;
	snprintf(buf, CHOOSER_TEXT_MAX, "%s (%s)", backend->text, address_format(&candidate->address, address));
	return buf;
}

/* ---- which one may be -------------------------------------------------------------------------------------------------- */

struct asked {
	struct pick pick; /* first */
	const struct choice *choice;
	uint64_t now_us;
	bool last_resort; /* also those that are down */
	bool at_once;     /* also those that came back a moment ago, whatever the client */
	bool *full;       /* some would be, but is full */
	bool *early;      /* some would be, but came back a moment ago */
};

static struct backend_record *record_of(const struct choice *choice, const struct candidate *candidate)
{
	struct backend_table *table = choice->chooser->of.table;
	return table && candidate->place != BACKEND_NONE ? backend_table_at(table, candidate->place) : NULL;
}

static uint32_t most_of(const struct choice *choice, const struct candidate *candidate)
{
	return choice->chooser->of.target->connect.backends[candidate->backend].max_connections;
}

static bool was_tried(const struct choice *choice, const struct candidate *candidate)
{
	for (uint32_t i = 0; i < choice->n_tried; i++)
		if (choice->tried[i] == (uint32_t)candidate->key)
			return true;
	return false;
}

/* Whatever its health and its number of connections. */
static bool could_be(const struct choice *choice, const struct candidate *candidate)
{
	return candidate->weight > 0 && (choice->family == AF_UNSPEC || choice->family == candidate->family) &&
		!was_tried(choice, candidate);
}

/* Of one that came back the share of its clients grows with the time: which clients these are is said by their hash. */
static bool is_early(
	const struct asked *asked, const struct candidate *candidate, const struct backend_record *record)
{
	uint64_t all_us = asked->choice->chooser->of.target->connect.slow_start_us;
	uint64_t up_us = all_us ? backend_health_up_us(&record->health, asked->now_us) : UINT64_MAX;

	if (up_us >= all_us)
		return false;
	return balance_mix(asked->pick.hash ^ candidate->key) % all_us >= up_us;
}

static bool may_be(const struct pick *pick, const struct tier *tier, uint32_t number)
{
	const struct asked *asked = (const struct asked *)pick;
	const struct choice *choice = asked->choice;
	const struct candidate *candidate = &tier->candidates[number];
	const struct backend_record *record = record_of(choice, candidate);
	uint32_t most = most_of(choice, candidate);

	if (!could_be(choice, candidate))
		return false;
	if (!record)
		return true;
	if (!asked->last_resort && backend_health_look(&record->health, asked->now_us) == BACKEND_DOWN)
		return false;
	if (most && backend_table_published(choice->chooser->of.table, candidate->place) >= most) {
		*asked->full = true;
		return false;
	}
	if (!asked->at_once && is_early(asked, candidate, record)) {
		*asked->early = true;
		return false;
	}
	return true;
}

/* ---- the line -------------------------------------------------------------------------------------------------------------- */

bool choose_wait(struct choice *choice)
{
	struct chooser *chooser = choice->chooser;

	if (choice->is_waiting)
		return true;
	if (chooser->n_line == CHOOSE_LINE_MAX)
		return false;
	choice->is_waiting = true;
	list_append(&chooser->line, &choice->in_line);
	chooser->n_line++;
	return true;
}

bool choose_is_next(const struct choice *choice)
{
	return choice->chooser->line.first == &choice->in_line;
}

void chooser_call(struct chooser *chooser)
{
	struct choice *first = list_of(chooser->line.first, struct choice, in_line);

	if (first)
		first->called(first);
}

static void choice_leave_line(struct choice *choice)
{
	struct chooser *chooser = choice->chooser;

	if (!choice->is_waiting)
		return;
	bool was_first = choose_is_next(choice);
	choice->is_waiting = false;
	list_remove(&chooser->line, &choice->in_line);
	chooser->n_line--;
	if (was_first)
		chooser_call(chooser);
}

/* ---- chosen -------------------------------------------------------------------------------------------------------------- */

/* Takes the place, and the trial where it is due. False: another was faster. */
static bool choice_take(struct choice *choice, const struct candidate *candidate, const struct asked *asked)
{
	const struct chooser_of *of = &choice->chooser->of;
	struct backend_record *record = record_of(choice, candidate);

	choice->taken = *candidate;
	choice->taken_us = asked->now_us;
	choice->is_trial = false;
	if (!record)
		return true;
	if (!backend_table_enter(
		    of->table, of->limits, of->slot, candidate->place, candidate->key, most_of(choice, candidate))) {
		/* A place that the master gave back: an address that no name has any more goes uncounted for this turn. */
		if (!backend_table_is_at(of->table, candidate->place, candidate->key)) {
			choice->taken.place = BACKEND_NONE;
			return true;
		}
		*asked->full = true;
		return false;
	}
	choice->is_counted = true;
	if (backend_health_look(&record->health, asked->now_us) != BACKEND_DUE)
		return true;
	choice->is_trial = backend_health_try(&record->health, of->slot, asked->now_us);
	if (choice->is_trial || asked->last_resort)
		return true;
	backend_table_leave(of->table, of->slot, candidate->place);
	choice->is_counted = false;
	return false;
}

static bool tier_choose(struct choice *choice, struct tier *tier, struct asked *asked)
{
	const struct balance *balance = choice->chooser->balance;

	if (tier_weight(tier) == 0)
		return false;
	if (!tier->is_prepared && balance->prepare && balance->prepare(tier) < 0)
		balance = &balance_first;
	tier->is_prepared = balance != &balance_first;
	for (unsigned i = 0; i < PICKS; i++) {
		uint32_t number = balance->pick(tier, &asked->pick);
		if (number == TIER_NONE)
			return false;
		if (choice_take(choice, &tier->candidates[number], asked))
			return true;
	}
	return false;
}

static bool choose_among(struct choice *choice, struct asked *asked)
{
	struct roster *roster = &choice->chooser->roster;

	for (int i = 0; i < TIERS; i++) {
		asked->at_once = *asked->early = false;
		if (tier_choose(choice, &roster->tiers[i], asked))
			return true;
		asked->at_once = *asked->early;
		if (asked->at_once && tier_choose(choice, &roster->tiers[i], asked))
			return true;
	}
	return false;
}

static int why_none(const struct choice *choice)
{
	const struct roster *roster = &choice->chooser->roster;
	bool is_none = choice->family != AF_UNSPEC && roster->n > 0 && choice->n_tried == 0;

	for (uint32_t i = 0; i < roster->n && is_none; i++)
		is_none = roster->candidates[i].family != choice->family;
	return is_none ? -EAFNOSUPPORT : -EHOSTUNREACH;
}

static int choose_now(struct choice *choice, uint64_t now_us)
{
	bool full = false, early = false;
	struct asked asked = {
		.pick = { .hash = choice->hash, .may_be = may_be },
		.choice = choice,
		.now_us = now_us,
		.full = &full,
		.early = &early,
	};

	if (choice->n_tried == CHOICE_TRIES)
		return -EHOSTUNREACH;
	if (choose_among(choice, &asked))
		return 0;
	if (full)
		return -EBUSY;
	asked.last_resort = true;
	if (choose_among(choice, &asked))
		return 0;
	return full ? -EBUSY : why_none(choice);
}

int choose_next(struct choice *choice, uint64_t now_us)
{
	const struct chooser *chooser = choice->chooser;

	int error = chooser_look(choice->chooser, now_us);
	if (error == 0 && chooser->line.first && !choose_is_next(choice))
		return -EBUSY;
	if (error == 0)
		error = choose_now(choice, now_us);
	if (error != -EBUSY)
		choice_leave_line(choice);
	return error;
}

int choose_known(struct choice *choice, bool (*is_it)(const void *of, const struct address *address), const void *of,
	uint64_t now_us)
{
	const struct chooser_of *with = &choice->chooser->of;
	const struct roster *roster = &choice->chooser->roster;

	if (chooser_look(choice->chooser, now_us) < 0)
		return -EHOSTUNREACH;
	for (uint32_t i = 0; i < roster->n; i++) {
		const struct candidate *candidate = &roster->candidates[i];
		if (candidate->is_closed || (choice->family != AF_UNSPEC && choice->family != candidate->family) ||
			!is_it(of, &candidate->address))
			continue;
		choice->taken = *candidate;
		choice->taken_us = now_us;
		choice->is_counted = record_of(choice, candidate) &&
			backend_table_enter(
				with->table, with->limits, with->slot, candidate->place, candidate->key, 0);
		if (!choice->is_counted)
			choice->taken.place = BACKEND_NONE;
		return 0;
	}
	return -EHOSTUNREACH;
}

unsigned choose_left(struct choice *choice, uint64_t now_us, unsigned most)
{
	const struct roster *roster = &choice->chooser->roster;
	unsigned n = 0;

	if (chooser_look(choice->chooser, now_us) < 0)
		return 0;
	for (uint32_t i = 0; i < roster->n && n < most; i++)
		n += could_be(choice, &roster->candidates[i]);
	return n;
}

bool choose_is_there(struct choice *choice, uint64_t now_us)
{
	const struct roster *roster = &choice->chooser->roster;

	if (chooser_look(choice->chooser, now_us) < 0)
		return false;
	for (uint32_t i = 0; i < roster->n; i++)
		if (roster->candidates[i].key == choice->taken.key)
			return true;
	return false;
}

bool choose_has_other(struct choice *choice, uint64_t now_us)
{
	const struct roster *roster = &choice->chooser->roster;

	if (chooser_look(choice->chooser, now_us) < 0)
		return false;
	for (uint32_t i = 0; i < roster->n; i++)
		if (roster->candidates[i].backend == choice->taken.backend &&
			roster->candidates[i].key != choice->taken.key && could_be(choice, &roster->candidates[i]))
			return true;
	return false;
}

bool choose_held(struct choice *ret, struct chooser *chooser, uint64_t key)
{
	const struct roster *roster = &chooser->roster;

	for (uint32_t i = 0; i < roster->n; i++)
		if (roster->candidates[i].key == key) {
			*ret = (struct choice){ .chooser = chooser, .taken = roster->candidates[i] };
			return true;
		}
	return false;
}

/* ---- how it went --------------------------------------------------------------------------------------------------------- */

/* What is wrong with the backend, or with the way there; all else is wrong with us. */
static bool is_of_backend(int error)
{
	switch (-error) {
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENOENT:
	case EPIPE:
	case EPROTOTYPE:
	case ETIMEDOUT:
		return true;
	default:
		return false;
	}
}

static void choice_changed(const struct choice *choice, struct backend_record *record, int error)
{
	const struct chooser_of *of = &choice->chooser->of;

	atomic_store_explicit(&record->error, error, memory_order_relaxed);
	atomic_store_explicit(&record->since_s, (uint32_t)time(NULL), memory_order_relaxed);
	if (of->changed)
		of->changed(of->context, choice->chooser, &choice->taken, error);
}

/* It is not counted any more. */
static void choice_uncount(struct choice *choice)
{
	const struct chooser_of *of = &choice->chooser->of;

	if (!choice->is_counted)
		return;
	choice->is_counted = false;
	backend_table_leave(of->table, of->slot, choice->taken.place);
	chooser_call(choice->chooser);
}

void choose_skip(struct choice *choice)
{
	if (choice->n_tried < CHOICE_TRIES && !was_tried(choice, &choice->taken))
		choice->tried[choice->n_tried++] = (uint32_t)choice->taken.key;
}

void choose_failed(struct choice *choice, int error, uint64_t now_us)
{
	struct backend_record *record = record_of(choice, &choice->taken);
	bool hung = error != -ETIMEDOUT || now_us - choice->taken_us >= choice->patient_us;
	bool is_trial = choice->is_trial;

	choose_skip(choice);
	choice->is_trial = false;
	if (record && is_of_backend(error) && hung) {
		atomic_fetch_add_explicit(&record->failed, 1, memory_order_relaxed);
		if (backend_health_failed(&record->health, choice->chooser->of.slot, is_trial, now_us))
			choice_changed(choice, record, error);
	} else if (record && is_trial) {
		backend_health_give_up(&record->health, choice->chooser->of.slot, now_us);
	}
	choice_uncount(choice);
}

/* An average over about the last eight. */
static void latency_add(struct backend_record *record, uint64_t took_us)
{
	uint32_t old = atomic_load_explicit(&record->latency_us, memory_order_relaxed);
	uint64_t most = took_us < UINT32_MAX ? took_us : UINT32_MAX;
	uint64_t now = old ? ((uint64_t)old * 7 + most) / 8 : most;

	atomic_store_explicit(&record->latency_us, now ? (uint32_t)now : 1, memory_order_relaxed);
}

void choose_connected(struct choice *choice, uint64_t now_us)
{
	struct backend_record *record = record_of(choice, &choice->taken);

	if (!record)
		return;
	atomic_fetch_add_explicit(&record->total, 1, memory_order_relaxed);
	if (choice->chooser->of.transport == TRANSPORT_STREAM) { /* of a datagram nobody says that it arrived */
		latency_add(record, now_us - choice->taken_us);
		choose_answered(choice, now_us);
	}
}

void choose_answered(struct choice *choice, uint64_t now_us)
{
	struct backend_record *record = record_of(choice, &choice->taken);

	choice->is_trial = false;
	if (record && choice->taken_us && choice->chooser->of.transport == TRANSPORT_DATAGRAM)
		latency_add(record, now_us - choice->taken_us);
	if (record && backend_health_worked(&record->health, now_us))
		choice_changed(choice, record, 0);
}

void choose_spoke(struct choice *choice)
{
	struct backend_record *record = record_of(choice, &choice->taken);

	if (record)
		backend_health_spoke(&record->health);
}

void choose_was_reset(struct choice *choice, uint64_t now_us)
{
	struct backend_record *record = record_of(choice, &choice->taken);

	if (!record)
		return;
	atomic_fetch_add_explicit(&record->failed, 1, memory_order_relaxed);
	if (backend_health_reset(&record->health, now_us))
		choice_changed(choice, record, -ECONNRESET);
}

void choose_again(struct choice *choice)
{
	choice->n_tried = 0;
}

/* ---- given back ------------------------------------------------------------------------------------------ */

void choose_leave(struct choice *choice, uint64_t now_us)
{
	if (!choice->chooser)
		return;
	struct backend_record *record = choice->is_trial ? record_of(choice, &choice->taken) : NULL;

	if (record)
		backend_health_give_up(&record->health, choice->chooser->of.slot, now_us);
	choice->is_trial = false;
	choice_leave_line(choice);
	choice_uncount(choice);
}

void choose_hand_on(struct choice *choice)
{
	choice->is_counted = false;
}
