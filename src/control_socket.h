/* The socket that the control's clients connect to, and who they are. */
#pragma once
#include "policy.h"
#include <stdbool.h>
#include <sys/types.h>

/* Bound to policy->control and listening, with the policy's mode and group. The descriptor; -EADDRINUSE: another usher answers
 * there; -EEXIST: what is there is no socket; or -errno. */
int control_socket_open(const struct policy *policy);

/* It is there: mode and group are the policy's now. 0 or -errno. */
int control_socket_admit(const struct policy *policy);

/* Whoever is connected here may change things: root, the user that started usher, and this group (NULL: none). */
bool control_socket_trusts(int fd, const gid_t *group);
