/* A worker's requests to the master, in a list by age: answers mostly come in that order, so looking for a number ends soon. Refuses
 * answers to what was not asked, or is not waited for any more. Owns nothing: requests are embedded in what asks. */
#include "requester.h"
#include "log.h"
#include <errno.h>

static struct request *requester_take(struct requester *requester, struct request **link)
{
	struct request *request = *link;

	*link = request->next;
	if (!*link)
		requester->last = link;
	return request;
}

static void request_fail(struct request *request, int error)
{
	const struct message_answer answer = { .error = error };
	int fds[IPC_FDS_MAX];

	for (size_t i = 0; i < IPC_FDS_MAX; i++)
		fds[i] = -1;
	request->answered(request, &answer, fds);
}

/* One place in the timers' heap was made in requester_ask() and is kept while requests wait, so moving cannot fail. */
static void requester_wait(struct requester *requester)
{
	if (requester->first)
		loop_timer(requester->loop, &requester->deadline, requester->first->due_us);
	else
		loop_timer_stop(requester->loop, &requester->deadline);
}

static void requester_out_of_time(struct timer *timer)
{
	struct requester *requester = container_of(timer, struct requester, deadline);

	while (requester->first && requester->first->due_us <= requester->loop->now_us) {
		unsigned n = log_limit_count(&requester->unanswered, LOG_LIMIT_US, requester->loop->now_us);
		if (n)
			log_warning("the master has not answered %u requests in time", n);
		struct request *request = requester_take(requester, &requester->first);
		outbox_withdraw(requester->outbox, request->number);
		request_fail(request, -ETIMEDOUT);
	}
	requester_wait(requester);
}

void requester_init(struct requester *requester, struct loop *loop, struct outbox *outbox)
{
	*requester =
		(struct requester){ .loop = loop, .outbox = outbox, .deadline = { .fired = requester_out_of_time } };
	requester->last = &requester->first;
}

/* The order of the list is that of the deadlines, before and after. */
static void requester_due_by(struct requester *requester, uint64_t due_us, bool extend)
{
	for (struct request *request = requester->first; request; request = request->next)
		if (extend || request->due_us > due_us)
			request->due_us = due_us;
	requester_wait(requester);
}

void requester_extend(struct requester *requester, uint64_t us)
{
	requester->extension_us = us;
	requester_due_by(requester, requester->loop->now_us + REQUESTER_US + us, true);
}

bool requester_waits(const struct requester *requester)
{
	return requester->first != NULL;
}

bool requester_is_orphaned(const struct requester *requester)
{
	return requester->outbox->channel < 0;
}

int requester_ask(struct requester *requester, struct request *request, struct message *message, int fd)
{
	message->number = requester->last_number + 1;
	request->next = NULL;
	request->number = message->number;
	request->due_us = requester->loop->now_us + REQUESTER_US + requester->extension_us;
	if (!requester->first && loop_timer(requester->loop, &requester->deadline, request->due_us) < 0)
		return -ENOMEM;
	int error = outbox_send(requester->outbox, message, &fd, fd >= 0);
	if (error < 0) {
		requester_wait(requester);
		return error;
	}
	requester->last_number++;
	*requester->last = request;
	requester->last = &request->next;
	return 0;
}

void requester_answer(
	struct requester *requester, uint64_t number, const struct message_answer *answer, int fds[IPC_FDS_MAX])
{
	struct request **link = &requester->first;

	if (requester->extension_us) {
		requester->extension_us = 0;
		requester_due_by(requester, requester->loop->now_us + REQUESTER_US, false);
	}
	while (*link && (*link)->number != number)
		link = &(*link)->next;
	if (!*link) {
		log_warning("an answer of the master to request %lu, which waits for none, is dropped",
			(unsigned long)number);
		return;
	}
	struct request *request = requester_take(requester, link);
	requester_wait(requester);
	request->answered(request, answer, fds);
}

void requester_orphaned(struct requester *requester)
{
	loop_timer_stop(requester->loop, &requester->deadline);
	while (requester->first)
		request_fail(requester_take(requester, &requester->first), -EPIPE);
}
