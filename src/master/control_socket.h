/* The socket that the control's clients connect to, and who they are. */
#pragma once
#include "policy.h"
#include "socket_file.h"
#include <stdbool.h>
#include <sys/types.h>

/* Bound to policy->control and listening, with the policy's mode and group. The descriptor, or -errno as socket_file_bind(). */
int control_socket_open(const struct policy *policy, struct socket_file *ret);

/* Mode and group are the policy's now. 0 or -errno; -ESTALE: somebody has removed it or put something else in its place. */
int control_socket_admit(const struct policy *policy, const struct socket_file *file);

/* Whoever is connected here may change things: root, the user that started usher, and this group (NULL: none). */
bool control_socket_trusts(int fd, const gid_t *group);
