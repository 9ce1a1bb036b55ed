/* Flows by their keys. Fixed size; a look-up allocates nothing, and clients, who choose their addresses and ports, cannot choose a bucket. */
#pragma once
#include "flow_key.h"
#include <stddef.h>

struct flow_table;

/* Of a flow, which embeds it. The key is set before it goes in, and stays. */
struct flow_place {
	struct flow_key key;
	struct flow_place *next; /* in its bucket */
};

struct flow_table *flow_table_new(size_t flows); /* for about so many; NULL: no memory, or no random numbers */
void flow_table_free(struct flow_table *table);  /* the flows are their owners'; accepts NULL */

struct flow_place *flow_table_find(const struct flow_table *table, const struct flow_key *key); /* NULL: none */
void flow_table_insert(struct flow_table *table, struct flow_place *place); /* whose key is not in it */
void flow_table_remove(struct flow_table *table, struct flow_place *place); /* which is in it */
