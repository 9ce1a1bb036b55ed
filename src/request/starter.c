/* Asks the master for servers. Refuses to ask more often than EACH_US for one service. An answer holds until the next request, which a client makes
 * that still finds nobody. Owns the requests of its worker, one a service, made when they are first needed. */
#include "starter.h"
#include "requester.h"
#include <errno.h>
#include <stdlib.h>

#define EACH_US 500000

struct starter {
	struct request request;
	struct loop *loop;
	bool is_open;
	int error;        /* the last answer's */
	uint64_t next_us; /* when it may be asked again */
};

static void starter_answered(struct request *request, const struct message_answer *answer, int fds[IPC_FDS_MAX])
{
	struct starter *starter = container_of(request, struct starter, request);

	starter->is_open = false;
	starter->error = answer->error == -EAGAIN ? 0 : answer->error;
	starter->next_us = starter->loop->now_us + EACH_US;
}

int starter_ask(struct context *context, uint32_t service)
{
	struct starter **starter = &context->starters[service];
	struct message message = { .kind = MESSAGE_START, .start = { .service = service } };

	if (!*starter && !(*starter = calloc(1, sizeof(**starter))))
		return -ENOMEM;
	if ((*starter)->is_open || context->loop.now_us < (*starter)->next_us)
		return (*starter)->error;
	**starter = (struct starter){ .request = { .answered = starter_answered }, .loop = &context->loop };
	int error = requester_ask(context->requester, &(*starter)->request, &message, -1);
	(*starter)->is_open = error == 0;
	return error;
}

void starters_free(struct context *context)
{
	for (size_t i = 0; context->starters && i < context->policy->n_services; i++)
		free(context->starters[i]);
	free(context->starters);
	context->starters = NULL;
}
