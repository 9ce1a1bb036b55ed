/* The health of a backend in one word, which changes whole or not at all:
 *
 *	[ moment: 46 bits, ms ][ slot: 8 ][ resets: 4 ][ step: 4 ][ state: 2 ]
 *
 * moment: of one that is down, when it is due; of one that is down by checks, until when that is believed; of a trial, when it is over at the latest; of one that is up, since when, 0: always.
 * step: the back-off was 1 s << step. slot: of the worker whose client is the trial. resets: in a row. */
#include "backend_health.h"

enum state { STATE_UP, STATE_DOWN, STATE_TRIAL, STATE_CHECKED };

#define STEP_MAX     6
#define MINUTE_MS    60000
#define BELIEVED_MS  64000 /* no moment lies further ahead */
#define STEP_SHIFT   2
#define RESETS_SHIFT 6
#define SLOT_SHIFT   10
#define MOMENT_SHIFT 18

struct health {
	enum state state;
	unsigned step, resets, slot;
	uint64_t moment_ms;
};

static struct health health_of(uint64_t word)
{
	return (struct health){
		.state = (enum state)(word & 3),
		.step = (unsigned)(word >> STEP_SHIFT) & 15,
		.resets = (unsigned)(word >> RESETS_SHIFT) & 15,
		.slot = (unsigned)(word >> SLOT_SHIFT) & 255,
		.moment_ms = word >> MOMENT_SHIFT,
	};
}

static uint64_t word_of(const struct health *health)
{
	return (uint64_t)health->state | (uint64_t)health->step << STEP_SHIFT |
		(uint64_t)health->resets << RESETS_SHIFT | (uint64_t)(health->slot & 255) << SLOT_SHIFT |
		health->moment_ms << MOMENT_SHIFT;
}

static bool word_change(_Atomic uint64_t *word, uint64_t *from, const struct health *to)
{
	return atomic_compare_exchange_strong(word, from, word_of(to));
}

static struct health health_down(unsigned step, uint64_t now_ms)
{
	uint64_t back_off_ms = 1000U << (step < STEP_MAX ? step : STEP_MAX);

	if (back_off_ms > BACKEND_BACK_OFF_MOST_US / 1000)
		back_off_ms = BACKEND_BACK_OFF_MOST_US / 1000;
	return (struct health){
		.state = STATE_DOWN, .step = step < STEP_MAX ? step : STEP_MAX, .moment_ms = now_ms + back_off_ms
	};
}

/* One that came back a moment ago goes on where it was. */
static unsigned step_after(const struct health *up, uint64_t now_ms)
{
	bool lately = up->moment_ms && now_ms - up->moment_ms < MINUTE_MS;
	return lately ? up->step + 1 : 0;
}

static enum backend_health word_look(uint64_t word, uint64_t now_ms)
{
	struct health health = health_of(word);

	if (health.state == STATE_UP)
		return BACKEND_UP;
	return health.moment_ms <= now_ms || health.moment_ms - now_ms > BELIEVED_MS ? BACKEND_DUE : BACKEND_DOWN;
}

enum backend_health backend_health_look(const _Atomic uint64_t *word, uint64_t now_us)
{
	return word_look(atomic_load_explicit(word, memory_order_relaxed), now_us / 1000);
}

bool backend_health_try(_Atomic uint64_t *word, unsigned slot, uint64_t now_us)
{
	uint64_t at = atomic_load(word);
	struct health health = health_of(at);

	if (word_look(at, now_us / 1000) != BACKEND_DUE)
		return false;
	health.state = STATE_TRIAL;
	health.slot = slot;
	health.moment_ms = now_us / 1000 + MINUTE_MS;
	return word_change(word, &at, &health);
}

static bool is_trial_of(const struct health *health, unsigned slot)
{
	return health->state == STATE_TRIAL && health->slot == (slot & 255);
}

void backend_health_give_up(_Atomic uint64_t *word, unsigned slot, uint64_t now_us)
{
	uint64_t at = atomic_load(word);
	struct health health = health_of(at);

	if (!is_trial_of(&health, slot))
		return;
	health.state = STATE_DOWN;
	health.moment_ms = (now_us + BACKEND_BACK_OFF_US) / 1000;
	word_change(word, &at, &health);
}

bool backend_health_worked(_Atomic uint64_t *word, uint64_t now_us)
{
	uint64_t at = atomic_load_explicit(word, memory_order_relaxed);

	while (health_of(at).state != STATE_UP) {
		struct health health = health_of(at);
		if (health.state == STATE_CHECKED && word_look(at, now_us / 1000) == BACKEND_DOWN)
			return false;
		health = (struct health){ .state = STATE_UP, .step = health.step, .moment_ms = now_us / 1000 };
		if (word_change(word, &at, &health))
			return true;
	}
	return false;
}

/* Who loses a race has nothing to add: another has found the same, or better. */
bool backend_health_failed(_Atomic uint64_t *word, unsigned slot, bool is_trial, uint64_t now_us)
{
	uint64_t at = atomic_load(word), now_ms = now_us / 1000;
	struct health health = health_of(at), down;

	if (health.state == STATE_UP) {
		down = health_down(step_after(&health, now_ms), now_ms);
		return word_change(word, &at, &down);
	}
	if (is_trial && is_trial_of(&health, slot)) {
		down = health_down(health.step + 1, now_ms);
		word_change(word, &at, &down);
	}
	return false;
}

bool backend_health_reset(_Atomic uint64_t *word, uint64_t now_us)
{
	uint64_t at = atomic_load(word);
	struct health health = health_of(at);

	if (health.state != STATE_UP)
		return false;
	if (health.resets + 1 >= BACKEND_RESETS_MAX)
		return backend_health_failed(word, 0, false, now_us);
	health.resets++;
	word_change(word, &at, &health);
	return false;
}

void backend_health_spoke(_Atomic uint64_t *word)
{
	uint64_t at = atomic_load_explicit(word, memory_order_relaxed);
	struct health health = health_of(at);

	if (health.state != STATE_UP || health.resets == 0)
		return;
	health.resets = 0;
	word_change(word, &at, &health);
}

void backend_health_clear(_Atomic uint64_t *word)
{
	atomic_store(word, 0);
}

void backend_health_forget(_Atomic uint64_t *word, unsigned slot, uint64_t now_us)
{
	uint64_t at = atomic_load(word);
	struct health health = health_of(at);

	if (!is_trial_of(&health, slot))
		return;
	health.state = STATE_DOWN;
	health.moment_ms = now_us / 1000;
	word_change(word, &at, &health);
}

/* ---- checks ---- */

bool backend_health_is_checked(const _Atomic uint64_t *word)
{
	return health_of(atomic_load_explicit(word, memory_order_relaxed)).state == STATE_CHECKED;
}

static struct health health_checked(const struct health *before, uint64_t now_us)
{
	return (struct health){
		.state = STATE_CHECKED, .step = before->step, .moment_ms = (now_us + BACKEND_CHECKED_US) / 1000
	};
}

bool backend_health_check_failed(_Atomic uint64_t *word, uint64_t now_us)
{
	uint64_t at = atomic_load(word);
	struct health before, checked;

	do {
		before = health_of(at);
		checked = health_checked(&before, now_us);
	} while (!word_change(word, &at, &checked));
	return before.state == STATE_UP;
}

bool backend_health_check_passed(_Atomic uint64_t *word, uint64_t now_us)
{
	uint64_t at = atomic_load(word);

	while (health_of(at).state != STATE_UP) {
		struct health up = { .state = STATE_UP, .step = health_of(at).step, .moment_ms = now_us / 1000 };
		if (word_change(word, &at, &up))
			return true;
	}
	return false;
}

void backend_health_check_renew(_Atomic uint64_t *word, uint64_t now_us)
{
	uint64_t at = atomic_load(word);
	struct health before = health_of(at), checked = health_checked(&before, now_us);

	if (before.state == STATE_CHECKED)
		word_change(word, &at, &checked);
}

uint64_t backend_health_up_us(const _Atomic uint64_t *word, uint64_t now_us)
{
	struct health health = health_of(atomic_load_explicit(word, memory_order_relaxed));

	if (health.state != STATE_UP || health.moment_ms == 0)
		return UINT64_MAX;
	return health.moment_ms * 1000 < now_us ? now_us - health.moment_ms * 1000 : 0;
}
