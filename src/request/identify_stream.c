/* A kept process, asked over its stdin and stdout. All numbers in network order:
 *
 *     question   length of what follows (4) | id (4) | flags (1): 1 no more bytes will come | bytes, up to 4096
 *     answer     length of what follows (4) | id (4) | 0 no, 1 yes, 2 more bytes could help (1) | name, 1..63 bytes, with yes
 *
 * Each question has an answer, and answers may come in any order. One to a question that nobody asks any more is dropped; more answers than questions, or
 * anything that is not an answer, ends the process, and so does silence while questions wait. It is started again with a
 * back-off; while it is down every question's answer is no.
 *
 * Questions wait in line until the pipe takes them, with their time running: what has run out of time by then is never
 * written. Owns the pipes and no question; the process is the master's, who ends the one before when another is asked for.
 *
 *     outgoing   0 .. sent -- gone, sent .. len -- to be written; filled from the line when it is empty
 *     incoming   0 .. len -- answers, the last of which may not have come whole */
#include "back_off.h"
#include "fd.h"
#include "identify_ways.h"
#include "log.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUESTION_HEAD     9
#define ANSWER_HEAD       9
#define OUTGOING_MAX      32768
#define INCOMING_MAX      4096
#define BACK_OFF_FIRST_US 100000
#define BACK_OFF_MOST_US  10000000
#define QUICK_DEATH_US    5000000  /* a process that dies younger than this counts for the back-off */
#define SILENCE_US        10000000 /* without a word, questions waiting, it is taken to hang */

struct stream_way {
	struct loop *loop;
	struct requester *requester;
	const struct identifier *identifier;
	size_t number;
	struct request request;
	struct watch input, output; /* the process's */
	enum { STREAM_DOWN, STREAM_STARTING, STREAM_UP } state;
	uint64_t started_us;
	uint64_t silent_since_us; /* the first question behind which nothing was heard; 0: none */
	unsigned quick_deaths;
	struct timer restart;
	struct task flush; /* at the end of the turn: many questions are one write */

	struct list line;  /* not written */
	struct list asked; /* written */
	uint32_t next_id;
	size_t owed; /* answers that may still come, to questions that were given up too */
	uint8_t outgoing[OUTGOING_MAX];
	size_t outgoing_sent, outgoing_len;
	uint8_t incoming[INCOMING_MAX];
	size_t incoming_len;
};

/* ---- its life -------------------------------------------------------------------------------------------------------- */

static void stream_fail(struct stream_way *way, const char *why);

static void stream_start(struct stream_way *way)
{
	struct message message = { .kind = MESSAGE_IDENTIFY, .identify = { .identifier = (uint32_t)way->number } };

	way->started_us = way->loop->now_us;
	way->state = STREAM_STARTING;
	int error = requester_ask(way->requester, &way->request, &message, -1);
	if (error < 0)
		stream_fail(way, strerrordesc_np(-error));
}

static void stream_restart(struct timer *timer)
{
	stream_start(container_of(timer, struct stream_way, restart));
}

static uint64_t stream_back_off(struct stream_way *way)
{
	bool quick = way->loop->now_us - way->started_us < QUICK_DEATH_US;

	way->quick_deaths = quick ? way->quick_deaths + 1 : 1;
	return back_off_us(BACK_OFF_FIRST_US, BACK_OFF_MOST_US, way->quick_deaths - 1);
}

static void questions_answer_no(struct list *questions)
{
	while (questions->first) {
		struct identification *question = question_of(questions->first);
		list_remove(questions, &question->item);
		question->in_line = false;
		question->id = 0;
		identification_answer(question, ANSWER_NO, NULL);
	}
}

/* Everybody who waits has a no; the next one may have better luck with the next process. */
static void stream_fail(struct stream_way *way, const char *why)
{
	uint64_t wait_us = stream_back_off(way);

	fd_close(loop_unwatch(way->loop, &way->input));
	fd_close(loop_unwatch(way->loop, &way->output));
	way->state = STREAM_DOWN;
	way->outgoing_len = way->outgoing_sent = way->incoming_len = 0;
	way->owed = 0;
	way->silent_since_us = 0;
	if (!requester_is_orphaned(way->requester)) {
		log_warning("identifier %zu (%s): %s; it is started again in %lu ms", way->number + 1,
			way->identifier->program.argv[0], why, (unsigned long)(wait_us / 1000));
		loop_timer(way->loop, &way->restart, way->loop->now_us + wait_us);
	}
	questions_answer_no(&way->asked);
	questions_answer_no(&way->line);
}

/* ---- questions --------------------------------------------------------------------------------------------------------- */

static uint8_t *put_u32(uint8_t *at, uint32_t value)
{
	value = htonl(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static uint32_t get_u32(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof(value));
	return ntohl(value);
}

static void stream_put(struct stream_way *way, struct identification *question)
{
	uint8_t *at = way->outgoing + way->outgoing_len;

	if (++way->next_id == 0)
		way->next_id = 1;
	question->id = way->next_id;
	at = put_u32(at, (uint32_t)(QUESTION_HEAD - sizeof(uint32_t) + question->len));
	at = put_u32(at, question->id);
	*at++ = question->closed ? 1 : 0;
	memcpy(at, question->bytes, question->len);
	way->outgoing_len += QUESTION_HEAD + question->len;
}

/* As many of those in line as fit. False: nothing is to be written. */
static bool stream_fill_outgoing(struct stream_way *way)
{
	struct identification *question;

	if (way->outgoing_sent < way->outgoing_len)
		return true;
	way->outgoing_sent = way->outgoing_len = 0;
	while ((question = question_of(way->line.first)) &&
		OUTGOING_MAX - way->outgoing_len >= QUESTION_HEAD + question->len) {
		list_remove(&way->line, &question->item);
		question->in_line = false;
		stream_put(way, question);
		list_append(&way->asked, &question->item);
		way->owed++;
		if (!way->silent_since_us)
			way->silent_since_us = way->loop->now_us;
	}
	return way->outgoing_len > 0;
}

static void stream_write(struct stream_way *way)
{
	while (way->state == STREAM_UP && stream_fill_outgoing(way)) {
		ssize_t n = write(
			way->input.fd, way->outgoing + way->outgoing_sent, way->outgoing_len - way->outgoing_sent);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			stream_fail(way, "it does not read any more");
			return;
		}
		way->outgoing_sent += (size_t)n;
	}
}

static void stream_flush(struct task *task)
{
	stream_write(container_of(task, struct stream_way, flush));
}

static void stream_input_ready(struct watch *watch, uint32_t events)
{
	stream_write(container_of(watch, struct stream_way, input));
}

int stream_ask(struct stream_way *way, struct identification *identification)
{
	if (way->state == STREAM_DOWN)
		return -EBUSY;
	list_append(&way->line, &identification->item);
	identification->in_line = true;
	loop_defer(way->loop, &way->flush);
	return 0;
}

void stream_forget(struct stream_way *way, struct identification *identification)
{
	if (identification->in_line)
		list_remove(&way->line, &identification->item);
	else if (identification->id)
		list_remove(&way->asked, &identification->item);
	identification->in_line = false;
	identification->id = 0;
}

void stream_timed_out(struct stream_way *way)
{
	if (way->state == STREAM_UP && way->silent_since_us && way->loop->now_us - way->silent_since_us >= SILENCE_US)
		stream_fail(way, "it does not answer");
}

/* ---- answers ----------------------------------------------------------------------------------------------------------- */

/* How long the answer is; 0: it has not come whole; -1: it is none. */
static ssize_t answer_size(const uint8_t *bytes, size_t len)
{
	if (len < sizeof(uint32_t))
		return 0;
	uint32_t rest = get_u32(bytes);
	if (rest < ANSWER_HEAD - sizeof(uint32_t) || rest > ANSWER_HEAD - sizeof(uint32_t) + IDENTIFY_NAME_MAX)
		return -1;
	size_t size = sizeof(uint32_t) + rest;
	if (len < size)
		return 0;
	bool has_name = size > ANSWER_HEAD;
	uint8_t verdict = bytes[ANSWER_HEAD - 1];
	if (verdict > 2 || has_name != (verdict == 1) || memchr(bytes + ANSWER_HEAD, '\0', size - ANSWER_HEAD))
		return -1;
	return (ssize_t)size;
}

static struct identification *stream_find(struct stream_way *way, uint32_t id)
{
	struct identification *question = question_of(way->asked.first);
	while (question && question->id != id)
		question = question_of(question->item.next);
	return question;
}

static void stream_take_answer(struct stream_way *way, const uint8_t *bytes, size_t size)
{
	static const enum answer answers[] = { ANSWER_NO, ANSWER_NAME, ANSWER_MORE };
	struct identification *question = stream_find(way, get_u32(bytes + sizeof(uint32_t)));
	enum answer answer = answers[bytes[ANSWER_HEAD - 1]];
	char name[IDENTIFY_NAME_MAX + 1] = "";

	if (!question)
		return;
	list_remove(&way->asked, &question->item);
	question->id = 0;
	memcpy(name, bytes + ANSWER_HEAD, size - ANSWER_HEAD);
	if (answer == ANSWER_MORE && question->len == IDENTIFY_STREAM_BYTES)
		answer = ANSWER_NO; /* it would not be shown more */
	identification_answer(question, answer, name);
}

/* What is wrong with what came, or NULL. */
static const char *stream_take_answers(struct stream_way *way)
{
	size_t at = 0;
	ssize_t size;

	while ((size = answer_size(way->incoming + at, way->incoming_len - at)) > 0) {
		if (way->owed == 0)
			return "it answers a question that was not asked";
		way->owed--;
		stream_take_answer(way, way->incoming + at, (size_t)size);
		way->silent_since_us = way->asked.first ? way->loop->now_us : 0;
		at += (size_t)size;
	}
	way->incoming_len -= at;
	memmove(way->incoming, way->incoming + at, way->incoming_len);
	return size < 0 ? "what it says is no answer" : NULL;
}

/* Ends, whatever the process does: it cannot say more than it was asked. */
static void stream_output_ready(struct watch *watch, uint32_t events)
{
	struct stream_way *way = container_of(watch, struct stream_way, output);

	while (way->state == STREAM_UP) {
		ssize_t n = read(watch->fd, way->incoming + way->incoming_len, INCOMING_MAX - way->incoming_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			stream_fail(way, "it ended");
			return;
		}
		way->incoming_len += (size_t)n;
		const char *wrong = stream_take_answers(way);
		if (wrong)
			stream_fail(way, wrong);
	}
}

/* ---- its beginning and its end ----------------------------------------------------------------------------------------- */

static void stream_started(struct request *request, const struct message_answer *answer, int fds[IPC_FDS_MAX])
{
	struct stream_way *way = container_of(request, struct stream_way, request);

	int error = answer->error;
	way->started_us = way->loop->now_us;
	if (error == 0)
		error = loop_watch(way->loop, &way->output, fds[0], EPOLLIN | EPOLLET);
	if (error == 0)
		fds[0] = -1;
	if (error == 0)
		error = loop_watch(way->loop, &way->input, fds[1], EPOLLOUT | EPOLLET);
	if (error < 0) {
		stream_fail(way, strerrordesc_np(-error));
		return;
	}
	fds[1] = -1;
	way->state = STREAM_UP;
	stream_write(way);
}

/* What it forked may still hold its end of the pipes: its own end counts. */
void stream_exited(struct stream_way *way, uint64_t number)
{
	if (way->request.number == number && way->state == STREAM_UP)
		stream_fail(way, "it ended");
}

struct stream_way *stream_way_new(
	struct loop *loop, struct requester *requester, const struct identifier *identifier, size_t number)
{
	struct stream_way *way = calloc(1, sizeof(*way));
	if (!way)
		return NULL;
	way->loop = loop;
	way->requester = requester;
	way->identifier = identifier;
	way->number = number;
	way->request = (struct request){ .answered = stream_started };
	way->input = (struct watch){ .fd = -1, .ready = stream_input_ready };
	way->output = (struct watch){ .fd = -1, .ready = stream_output_ready };
	way->restart = (struct timer){ .fired = stream_restart };
	way->flush = (struct task){ .run = stream_flush };
	stream_start(way);
	return way;
}

void stream_way_free(struct stream_way *way)
{
	if (!way)
		return;
	loop_timer_stop(way->loop, &way->restart);
	loop_cancel(way->loop, &way->flush);
	fd_close(loop_unwatch(way->loop, &way->input));
	fd_close(loop_unwatch(way->loop, &way->output));
	free(way);
}
