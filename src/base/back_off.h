/* Exponential back-off: how long to wait before something that failed is tried again. */
#pragma once
#include <stdint.h>

/* first_us the first time, twice as long each further time, never longer than most_us. `times`: how often it was waited already; any
 * number. */
static inline uint64_t back_off_us(uint64_t first_us, uint64_t most_us, unsigned times)
{
	return times < 64 && first_us <= most_us >> times ? first_us << times : most_us;
}
