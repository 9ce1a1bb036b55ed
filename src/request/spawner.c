/* A worker's requests for programs: a line in which the first ones are sent and wait for their answers, the rest waits for
 * room. Owns nothing: requests are embedded in what asks. */
#include "spawner.h"
#include "ipc.h"
#include "log.h"
#include <errno.h>

void spawner_init(struct spawner *spawner, int channel)
{
	*spawner = (struct spawner){ .channel = channel, .next_serial = 1 };
	spawner->last = &spawner->first;
}

bool spawner_is_orphaned(const struct spawner *spawner)
{
	return spawner->channel < 0;
}

static void spawner_refuse(struct spawn_request *request)
{
	const struct message gone = { .kind = MESSAGE_SPAWNED, .error = -EPIPE };
	int fds[2] = { -1, -1 };
	request->started(request, &gone, fds);
}

void spawner_ask(struct spawner *spawner, struct spawn_request *request)
{
	if (spawner_is_orphaned(spawner)) {
		spawner_refuse(request);
		return;
	}
	request->next = NULL;
	*spawner->last = request;
	spawner->last = &request->next;
	if (!spawner->unsent)
		spawner->unsent = request;
	spawner_send(spawner);
}

void spawner_send(struct spawner *spawner)
{
	while (spawner->unsent && !spawner_is_orphaned(spawner)) {
		struct message message = { .kind = MESSAGE_SPAWN };
		int fd = -1;
		spawner->unsent->fill(spawner->unsent, &message, &fd);
		if (ipc_send(spawner->channel, &message, sizeof(message), &fd, fd >= 0) < 0)
			return; /* full: EPOLLOUT will say when not. Gone: the channel's end will be seen */
		spawner->unsent = spawner->unsent->next;
	}
}

static struct spawn_request *spawner_take_first(struct spawner *spawner)
{
	struct spawn_request *request = spawner->first;
	spawner->first = request->next;
	if (!spawner->first)
		spawner->last = &spawner->first;
	return request;
}

void spawner_answer(struct spawner *spawner, const struct message *message, int fds[2])
{
	if (!spawner->first || spawner->first == spawner->unsent) {
		log_error("the master answered for a program that nobody asked for");
		return;
	}
	struct spawn_request *request = spawner_take_first(spawner);
	request->started(request, message, fds);
}

void spawner_orphaned(struct spawner *spawner)
{
	spawner->channel = -1;
	spawner->unsent = NULL;
	while (spawner->first)
		spawner_refuse(spawner_take_first(spawner));
}
