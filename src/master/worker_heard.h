/* What a worker says that is not of its own life. */
#pragma once
#include <stdbool.h>

struct ipc_fds;
struct message;
struct worker_process;

/* generation->heard */
bool worker_heard(struct worker_process *worker, const struct message *message, struct ipc_fds *fds);
