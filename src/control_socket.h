/* The socket that the control's clients connect to, and who may. */
#pragma once
#include "policy.h"

/* Bound to policy->control and listening, with the policy's mode and group. The descriptor; -EADDRINUSE: another usher answers
 * there; -EEXIST: what is there is no socket; or -errno. */
int control_socket_open(const struct policy *policy);

/* It is there: mode and group are the policy's now. 0 or -errno. */
int control_socket_admit(const struct policy *policy);
