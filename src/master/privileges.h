/* Capabilities of the master: which ones a policy needs and why, and that no others are in force. */
#pragma once
#include "policy.h"
#include <stdint.h>
#include <stdio.h>

/* What the master needs under this policy, as a set of bits (1 << CAP_...), as whoever runs this process. */
uint64_t privileges_needed(const struct policy *policy);

/* Puts these in force, as far as the process has them, and no others; gives up for good what no policy could ask for. Programs that are
 * run as root have all that the bounding set leaves, which this does not touch. 0 or -errno. */
int privileges_put_in_force(uint64_t needed);

/* One line in the log: what is in force, and why. */
void privileges_log(const struct policy *policy);

/* For people: what is needed, and what of that is missing where they are. */
void privileges_print(const struct policy *policy, FILE *to);
