/* Asks the master for sockets that may speak from any address. Refuses to have more than QUESTIONS_MAX questions open for a family:
 * each answer asks the next one. Owns the pool and the questions. */
#include "supplier.h"
#include <errno.h>
#include <stdlib.h>

#define QUESTIONS_MAX 8

struct question {
	struct supplier *supplier;
	sa_family_t family;
	bool open;
	struct request request;
};

struct supplier {
	struct requester *requester;
	int type;
	struct socket_pool *pool;
	struct question questions[2 * QUESTIONS_MAX];
};

static void question_answered(struct request *request, const struct message_answer *answer, int fds[IPC_FDS_MAX])
{
	struct question *question = container_of(request, struct question, request);
	int made[IPC_FDS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < IPC_FDS_MAX && fds[i] >= 0; i++) {
		made[n++] = fds[i];
		fds[i] = -1;
	}
	question->open = false;
	socket_pool_supply(question->supplier->pool, question->family, made, n, answer->error);
}

static int supplier_ask(void *context, sa_family_t family)
{
	struct supplier *supplier = context;
	struct question *question = &supplier->questions[family == AF_INET ? 0 : QUESTIONS_MAX];
	size_t i = 0;

	while (i < QUESTIONS_MAX && question[i].open)
		i++;
	if (i == QUESTIONS_MAX)
		return -EAGAIN;
	question += i;
	*question = (struct question){
		.supplier = supplier, .family = family, .request = { .answered = question_answered }
	};
	int error = requester_ask(supplier->requester, &question->request,
		&(struct message){ .kind = MESSAGE_WANT_SOCKETS,
			.want_sockets = { .family = family, .type = (uint32_t)supplier->type } },
		-1);
	question->open = error == 0;
	return error;
}

struct supplier *supplier_new(struct requester *requester, int type)
{
	struct supplier *supplier = calloc(1, sizeof(*supplier));

	if (!supplier)
		return NULL;
	supplier->requester = requester;
	supplier->type = type;
	supplier->pool = socket_pool_new(supplier_ask, supplier);
	if (supplier->pool)
		return supplier;
	free(supplier);
	return NULL;
}

void supplier_free(struct supplier *supplier)
{
	if (!supplier)
		return;
	socket_pool_free(supplier->pool);
	free(supplier);
}

struct socket_pool *supplier_pool(const struct supplier *supplier)
{
	return supplier ? supplier->pool : NULL;
}
