/* Counts results and moves a backend's health by them. Refuses to take one up for clients whose connections fail where another port was
 * checked. Owns nothing. */
#include "backend_check.h"
#include <time.h>

#define set(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)
#define get(field)        atomic_load_explicit(&(field), memory_order_relaxed)

/* Results like this one in a row, with this one. What passed before clients found it down does not count. */
static unsigned count_row(struct backend_check *check, bool passed, bool is_down)
{
	bool like_last = get(check->total) > 0 && (check_word_result(get(check->result)) == CHECK_PASSED) == passed;
	bool goes_on = like_last && (!passed || get(check->was_down) || !is_down);
	unsigned in_row = goes_on ? get(check->in_row) + 1 : 1;

	set(check->in_row, in_row ? in_row : UINT32_MAX);
	set(check->was_down, is_down);
	return get(check->in_row);
}

static void note_counts(struct backend_check *check, bool passed, uint32_t word, uint64_t took_us, uint64_t now_us)
{
	set(check->total, get(check->total) + 1);
	if (passed)
		set(check->latency_us, took_us < UINT32_MAX ? (uint32_t)took_us : UINT32_MAX);
	else
		set(check->failed, get(check->failed) + 1);
	set(check->result, word);
	set(check->at_us, now_us);
}

enum backend_change backend_check_note(struct backend_table *table, uint32_t place,
	const struct backend_check_rule *rule, uint32_t word, uint64_t took_us, uint64_t now_us)
{
	struct backend_record *record = backend_table_at(table, place);
	struct backend_check *check = backend_table_check(table, place);
	bool passed = check_word_result(word) == CHECK_PASSED, is_first = get(check->total) == 0;
	enum backend_change change = BACKEND_STAYS;

	if (check_word_result(word) == CHECK_NONE)
		return BACKEND_STAYS;
	bool is_down = backend_health_look(&record->health, now_us) != BACKEND_UP;
	unsigned in_row = count_row(check, passed, is_down);
	note_counts(check, passed, word, took_us, now_us);
	if (!is_first && in_row < (passed ? rule->rise : rule->fall))
		return BACKEND_STAYS;
	if (!passed && !backend_health_is_checked(&record->health)) {
		if (backend_health_check_failed(&record->health, now_us))
			change = BACKEND_WENT_DOWN;
		set(check->down_us, now_us);
		backend_table_count_down(table);
	} else if (passed && (!rule->is_elsewhere || backend_health_is_checked(&record->health))) {
		if (backend_health_check_passed(&record->health, now_us))
			change = BACKEND_CAME_UP;
	}
	if (change != BACKEND_STAYS)
		set(record->since_s, (uint32_t)time(NULL));
	return change;
}
