/* Names to numbers while a configuration is compiled: which service, protocol, listener or host has this
 * name? */
#pragma once
#include <stdint.h>

#define INDEX_NONE UINT32_MAX

struct index;

struct index *index_new(void);
void index_free(struct index *index); /* accepts NULL */

/* The number that the name has: `number` where it is new, else the earlier one. The name is not copied. */
uint32_t index_add(struct index *index, const char *name, uint32_t number);

/* The name, which is there already, stands for this number from now on. */
void index_move(struct index *index, const char *name, uint32_t number);

uint32_t index_find(const struct index *index, const char *name); /* INDEX_NONE: unknown */

/* The name nearest to `name` where it is likely a slip of the pen, or NULL. Looks at all of them. */
const char *index_nearest(const struct index *index, const char *name);
