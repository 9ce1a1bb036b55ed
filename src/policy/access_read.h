/* The keys of enum access_key, read: for a service, and for the policy of usher-access. */
#pragma once
#include "access.h"
#include "arena.h"
#include "reader.h"

/* Fills what the keys from `first` to before `first + n_keys` say. Lists of addresses in files are read now. Complains of all that
 * is wrong. Returns whether any of these keys is given. */
bool access_read(struct reader *reader, struct arena *arena, const struct values *values, size_t first, size_t n_keys,
	struct access *ret);
