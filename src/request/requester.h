/* A worker's requests to the master, and the answers, by their numbers. A request that is not answered within REQUESTER_US
 * (longer after requester_extend()) ends with -ETIMEDOUT; an answer that comes after that, or whose number is unknown, is dropped with its descriptors. */
#pragma once
#include "log_limit.h"
#include "outbox.h"

#define REQUESTER_US 10000000

struct request {
	struct request *next;
	uint64_t number;
	uint64_t due_us;
	/* Once, not from within requester_ask(): the answer, where answer->error is 0 or -errno (-EPIPE: the master is gone), and
	 * what came beside it. What is taken over of that is set to -1. The request must stay in memory until then. */
	void (*answered)(struct request *request, const struct message_answer *answer, int fds[IPC_FDS_MAX]);
};

struct requester {
	struct loop *loop;
	struct outbox *outbox;
	struct request *first, **last; /* in the order in which they were asked, and fall due */
	uint64_t last_number;
	uint64_t extension_us; /* of the time that a request has, until the master answers one */
	struct timer deadline; /* of the first */
	struct log_limit unanswered;
};

void requester_init(struct requester *requester, struct loop *loop, struct outbox *outbox);

/* The message gets the request's number. `fd` goes with it (-1: none) and stays the caller's. 0; or -errno: nothing was asked. */
int requester_ask(struct requester *requester, struct request *request, struct message *message, int fd);

/* The master may be busy for so long: until it answers a request, each has this time and REQUESTER_US. Those that wait have it from now
 * on; with the first answer, none of the others has more than REQUESTER_US left. */
void requester_extend(struct requester *requester, uint64_t us);

/* Some requests are not answered yet. */
bool requester_waits(const struct requester *requester);

/* MESSAGE_ANSWER has come. What nobody takes is left in `fds`. */
void requester_answer(
	struct requester *requester, uint64_t number, const struct message_answer *answer, int fds[IPC_FDS_MAX]);

/* The master is gone: all end. */
void requester_orphaned(struct requester *requester);
bool requester_is_orphaned(const struct requester *requester);
