/* What results of checks do to a backend: so many in a row that fail take it down, so many that pass take it up. The first one of all
 * decides alone. The checker's to call. */
#pragma once
#include "backend_table.h"
#include "check_result.h"

struct backend_check_rule {
	unsigned rise, fall; /* results in a row */
	bool is_elsewhere;   /* another port is checked: that says nothing of whether clients can connect */
};

enum backend_change { BACKEND_STAYS, BACKEND_WENT_DOWN, BACKEND_CAME_UP };

/* `word` of check_result.h; CHECK_NONE changes nothing. The change that this result has made, which is to be told. */
enum backend_change backend_check_note(struct backend_table *table, uint32_t place,
	const struct backend_check_rule *rule, uint32_t word, uint64_t took_us, uint64_t now_us);
