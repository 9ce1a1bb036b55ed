/* Which request a worker's message is. Trusts no field of it (requests.c). */
#include "worker_heard.h"
#include "fd.h"
#include "generation.h"
#include "message.h"
#include "requests.h"
#include "worker_process.h"

static bool heard_spawn(struct worker_process *worker, const struct message *message, struct ipc_fds *fds)
{
	if (fds->n > 0 && fd_lingers(fds->fd[0]))
		return false;
	bool is_sound = request_spawn(worker, message, fds);
	fds->fd[0] = fd_close_foreign(fds->fd[0]);
	return is_sound;
}

bool worker_heard(struct worker_process *worker, const struct message *message, struct ipc_fds *fds)
{
	switch (message->kind) {
	case MESSAGE_ASK_ANEW:
		return request_name(worker, message);
	case MESSAGE_FIND_NAME:
		return request_find_name(worker, message);
	case MESSAGE_SPAWN:
		return heard_spawn(worker, message, fds);
	case MESSAGE_IDENTIFY:
		return request_identify(worker, message);
	case MESSAGE_CONNECT:
		return request_connect(worker, message);
	case MESSAGE_WANT_SOCKETS:
		return request_sockets(worker, message);
	case MESSAGE_WANT_CLIENT:
		return request_client(worker, message);
	case MESSAGE_START:
		return request_start(worker, message);
	case MESSAGE_FORWARD:
		return request_forward(worker, message);
	default:
		return false;
	}
}
