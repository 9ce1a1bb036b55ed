/* The paths that a running usher writes to: the log, the pid file, the control socket, UNIX listeners. */
#pragma once
#include "policy.h"

/* Looks at all of them as `run` would meet them, and changes nothing. An error is what would end it; a warning is what it would
 * complain of and serve all the same, or what stands in the way of this user alone, who is not root. */
void places_check(const struct policy *policy, struct complaints *complaints);
