/* The two ways of asking an identifier, for identify.c alone. Each calls identification_answer() once for a question that it took,
 * never from within the call that took it, and not after it was told to forget it. */
#pragma once
#include "identify.h"
#include "list.h"

#define IDENTIFY_ONCE_BYTES   1000 /* that a program which runs once is shown at most */
#define IDENTIFY_STREAM_BYTES 4096 /* and one that is kept */
#define IDENTIFY_NAME_MAX     63

enum answer { ANSWER_NO, ANSWER_MORE, ANSWER_NAME };

struct identification {
	struct list_item item; /* in the line of whoever is being asked */
	struct identifiers *identifiers;
	size_t number; /* of the identifier that is being asked */
	bool closed;
	bool more_could_help; /* one of them said so */
	struct timer patience;
	identified_function *done;
	void *context;
	bool in_line;      /* of a way, its program has not been asked yet */
	struct once *once; /* the program that runs for it */
	uint32_t id;       /* of the question on a stream; 0: not written */
	size_t len;
	uint8_t bytes[];
};

void identification_answer(struct identification *identification, enum answer answer, const char *name);

static inline struct identification *question_of(struct list_item *item)
{
	return list_of(item, struct identification, item);
}

/* ---- a process for each question: identify_once.c ---- */

struct once_way;
struct once_way *once_way_new(struct loop *loop, struct requester *requester, const struct identifier *identifier,
	size_t number); /* NULL: no memory */
void once_way_free(struct once_way *way);
int once_ask(struct once_way *way, struct identification *identification);     /* 0 or -errno: not asked */
void once_forget(struct once_way *way, struct identification *identification); /* also one that was not taken */
void once_exited(struct once_way *way, uint64_t number, int status);

/* ---- a kept process: identify_stream.c ---- */

struct stream_way;
struct stream_way *stream_way_new(
	struct loop *loop, struct requester *requester, const struct identifier *identifier, size_t number);
void stream_way_free(struct stream_way *way);
void stream_exited(struct stream_way *way, uint64_t number);
int stream_ask(struct stream_way *way, struct identification *identification);
void stream_forget(struct stream_way *way, struct identification *identification);
void stream_timed_out(struct stream_way *way); /* behind stream_forget(), where that was for want of an answer */
