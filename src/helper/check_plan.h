/* Which backends are checked, and when: every address of every backend of a service with `check', so many at a time, each at times of its own.
 * Results go into the table of backends. */
#pragma once
#include <stddef.h>

#define CHECKS_AT_A_TIME 256 /* those that are due beyond that wait until one has ended */

struct backend_table;
struct check_plan;
struct check_tls_context;
struct loop;
struct policy;
struct resolved;

/* All of it stays the caller's. `resolved`: the answers to the policy's names; NULL: it has none. NULL: no memory. */
struct check_plan *check_plan_new(struct loop *loop, const struct policy *policy, const struct resolved *resolved,
	struct backend_table *table, struct check_tls_context *tls);
void check_plan_free(struct check_plan *plan); /* accepts NULL */
