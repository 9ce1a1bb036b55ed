/* A worker's channels to receivers. It connects by itself; where it has no right to (-EACCES), and only then, it asks the
 * master, whose rights the operator gave usher when starting it. Nothing of a client passes through the master here: what
 * comes back is an empty channel. Owns the handovers and the requests for them. */
#include "receivers.h"
#include <errno.h>
#include <stdlib.h>

struct receiver {
	struct handover *handover; /* NULL: the service does not hand over */
	struct requester *requester;
	uint32_t service;
	struct request opening;
};

struct receivers {
	size_t n;
	struct receiver receiver[]; /* one a service */
};

static void receiver_opened(struct request *request, const struct message_answer *answer, int fds[IPC_FDS_MAX])
{
	struct receiver *receiver = container_of(request, struct receiver, opening);
	int fd = answer->error < 0 ? answer->error : fds[0];

	if (answer->error == 0)
		fds[0] = -1;
	handover_opened(receiver->handover, fd);
}

static int receiver_open(void *context)
{
	struct receiver *receiver = context;

	if (requester_is_orphaned(receiver->requester))
		return -EACCES;
	receiver->opening = (struct request){ .answered = receiver_opened };
	return requester_ask(receiver->requester, &receiver->opening,
		&(struct message){ .kind = MESSAGE_CONNECT, .connect = { .service = receiver->service } }, -1);
}

int receivers_new(struct receivers **ret, struct loop *loop, struct requester *requester, const struct policy *policy)
{
	struct receivers *receivers =
		calloc(1, sizeof(*receivers) + policy->n_services * sizeof(receivers->receiver[0]));

	*ret = receivers;
	if (!receivers)
		return -ENOMEM;
	receivers->n = policy->n_services;
	for (uint32_t i = 0; i < policy->n_services; i++) {
		const struct target *target = &policy->services[i].target;
		struct receiver *receiver = &receivers->receiver[i];
		if (target->delivery != DELIVERY_HANDOVER)
			continue;
		receiver->requester = requester;
		receiver->service = i;
		receiver->handover = handover_new(loop, &target->handover.address, target->handover.format);
		if (!receiver->handover)
			return -ENOMEM;
		handover_set_opener(receiver->handover, receiver_open, receiver);
	}
	return 0;
}

void receivers_free(struct receivers *receivers)
{
	for (size_t i = 0; receivers && i < receivers->n; i++)
		handover_free(receivers->receiver[i].handover);
	free(receivers);
}

struct handover *receivers_of(const struct receivers *receivers, uint32_t service)
{
	return receivers->receiver[service].handover;
}
