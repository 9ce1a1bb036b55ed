/* The end of a child that runs as somebody else. */
#pragma once
#include <sys/types.h>

/* A signal to a child that was not waited for yet, or with a negative number to its session, which runs as this user. The right to do so
 * (CAP_KILL) is often missing in a container where the right to become that user is there: then it is done as the user. */
void kill_as(pid_t pid, uid_t uid, int signal_number);
