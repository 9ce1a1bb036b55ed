/* A kept process, asked over its stdin and stdout. All numbers in network order:
 *
 *     question   length of what follows (4) | id (4) | flags (1): 1 no more bytes will come | bytes, up to 4096
 *     answer     length of what follows (4) | id (4) | 0 no, 1 yes, 2 more bytes could help (1) | name, 1..63 bytes, with yes
 *
 * Answers may come in any order, or not at all. One to a question that nobody asks any more is dropped; too many of these, or
 * anything that is not an answer, ends the process. It is started again with a back-off; while it is down every question's answer is no.
 *
 *     outgoing   0 .. sent -- gone, sent .. len -- to be written
 *     incoming   0 .. len -- the beginning of an answer that has not come whole */
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
#define OUTGOING_MAX      65536
#define STRAY_ANSWERS_MAX 1000 /* in a row */
#define BACK_OFF_FIRST_US 100000
#define BACK_OFF_MOST_US  10000000
#define QUICK_DEATH_US    5000000 /* a process that dies younger than this counts for the back-off */

struct stream_way {
	struct loop *loop;
	struct spawner *spawner;
	size_t number;
	struct spawn_request request;
	struct watch input, output; /* the process's */
	enum { STREAM_DOWN, STREAM_STARTING, STREAM_UP } state;
	uint64_t started_us;
	unsigned quick_deaths;
	struct timer restart;

	struct questions asked;
	uint32_t next_id;
	unsigned strays;
	uint8_t outgoing[OUTGOING_MAX];
	size_t outgoing_sent, outgoing_len;
	uint8_t incoming[ANSWER_HEAD + IDENTIFY_NAME_MAX];
	size_t incoming_len;
};

/* ---- its life -------------------------------------------------------------------------------------------------------- */

static void stream_start(struct stream_way *way)
{
	way->state = STREAM_STARTING;
	spawner_ask(way->spawner, &way->request);
}

static void stream_restart(struct timer *timer)
{
	stream_start(container_of(timer, struct stream_way, restart));
}

/* Everybody who waits has a no; the next one may have better luck with the next process. */
static void stream_fail(struct stream_way *way, const char *why)
{
	uint64_t now_us = way->loop->now_us;

	fd_close(loop_unwatch(way->loop, &way->input));
	fd_close(loop_unwatch(way->loop, &way->output));
	way->state = STREAM_DOWN;
	way->outgoing_len = way->outgoing_sent = way->incoming_len = 0;
	way->strays = 0;
	way->quick_deaths = now_us - way->started_us < QUICK_DEATH_US ? way->quick_deaths + 1 : 1;
	uint64_t wait_us = (uint64_t)BACK_OFF_FIRST_US << (way->quick_deaths < 8 ? way->quick_deaths - 1 : 7);
	if (wait_us > BACK_OFF_MOST_US)
		wait_us = BACK_OFF_MOST_US;
	log_warning("identifier %zu: %s; it is started again in %lu ms", way->number + 1, why,
		(unsigned long)(wait_us / 1000));
	loop_timer(way->loop, &way->restart, now_us + wait_us);
	while (way->asked.first) {
		struct identification *question = way->asked.first;
		questions_remove(&way->asked, question);
		question->id = 0;
		identification_answer(question, ANSWER_NO, NULL);
	}
}

static void stream_write(struct stream_way *way)
{
	while (way->state == STREAM_UP && way->outgoing_sent < way->outgoing_len) {
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
	if (way->outgoing_sent == way->outgoing_len)
		way->outgoing_sent = way->outgoing_len = 0;
}

static void stream_input_ready(struct watch *watch, uint32_t events)
{
	stream_write(container_of(watch, struct stream_way, input));
}

static void stream_output_ready(struct watch *watch, uint32_t events);

static void stream_started(struct spawn_request *request, const struct message *answer, int fds[2])
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

static void stream_fill(struct spawn_request *request, struct message *message, int *ret_fd)
{
	struct stream_way *way = container_of(request, struct stream_way, request);
	message->program = PROGRAM_IDENTIFIER;
	message->index = (uint32_t)way->number;
	message->serial = way->spawner->next_serial++;
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

/* A program that does not read fills the buffer; then it is as good as down. */
int stream_ask(struct stream_way *way, struct identification *identification)
{
	size_t size = QUESTION_HEAD + identification->len;

	if (way->state == STREAM_DOWN || OUTGOING_MAX - way->outgoing_len < size)
		return -EBUSY;
	if (++way->next_id == 0)
		way->next_id = 1;
	identification->id = way->next_id;
	uint8_t *at = way->outgoing + way->outgoing_len;
	at = put_u32(at, (uint32_t)(size - sizeof(uint32_t)));
	at = put_u32(at, identification->id);
	*at++ = identification->closed ? 1 : 0;
	memcpy(at, identification->bytes, identification->len);
	way->outgoing_len += size;
	questions_add(&way->asked, identification);
	/* A failure here would answer from within the question: the watch or the timer will come to it. */
	if (way->state == STREAM_UP)
		loop_rewatch(way->loop, &way->input, EPOLLOUT | EPOLLET);
	return 0;
}

void stream_forget(struct stream_way *way, struct identification *identification)
{
	if (identification->id)
		questions_remove(&way->asked, identification);
	identification->id = 0;
}

/* ---- answers ----------------------------------------------------------------------------------------------------------- */

static struct identification *stream_find(struct stream_way *way, uint32_t id)
{
	struct identification *question = way->asked.first;
	while (question && question->id != id)
		question = question->next;
	return question;
}

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
	uint8_t verdict = bytes[8];
	return verdict > 2 || has_name != (verdict == 1) ? -1 : (ssize_t)size;
}

/* False: it is not to be listened to any more. */
static bool stream_take_answer(struct stream_way *way, size_t size)
{
	static const enum answer answers[] = { ANSWER_NO, ANSWER_NAME, ANSWER_MORE };
	struct identification *question = stream_find(way, get_u32(way->incoming + 4));
	enum answer answer = answers[way->incoming[8]];
	char name[IDENTIFY_NAME_MAX + 1] = "";

	memcpy(name, way->incoming + ANSWER_HEAD, size - ANSWER_HEAD);
	way->incoming_len -= size;
	memmove(way->incoming, way->incoming + size, way->incoming_len);
	if (!question)
		return ++way->strays < STRAY_ANSWERS_MAX;
	way->strays = 0;
	questions_remove(&way->asked, question);
	question->id = 0;
	identification_answer(question, answer, name);
	return true;
}

static void stream_output_ready(struct watch *watch, uint32_t events)
{
	struct stream_way *way = container_of(watch, struct stream_way, output);

	while (way->state == STREAM_UP) {
		ssize_t n =
			read(watch->fd, way->incoming + way->incoming_len, sizeof(way->incoming) - way->incoming_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			stream_fail(way, "it ended");
			return;
		}
		way->incoming_len += (size_t)n;
		ssize_t size;
		while ((size = answer_size(way->incoming, way->incoming_len)) > 0)
			if (!stream_take_answer(way, (size_t)size)) {
				stream_fail(way, "it answers what nobody asked");
				return;
			}
		if (size < 0) {
			stream_fail(way, "what it says is no answer");
			return;
		}
	}
}

struct stream_way *stream_way_new(struct loop *loop, struct spawner *spawner, size_t number)
{
	struct stream_way *way = calloc(1, sizeof(*way));
	if (!way)
		return NULL;
	way->loop = loop;
	way->spawner = spawner;
	way->number = number;
	way->request = (struct spawn_request){ .fill = stream_fill, .started = stream_started };
	way->input = (struct watch){ .fd = -1, .ready = stream_input_ready };
	way->output = (struct watch){ .fd = -1, .ready = stream_output_ready };
	way->restart = (struct timer){ .fired = stream_restart };
	stream_start(way);
	return way;
}

void stream_way_free(struct stream_way *way)
{
	if (!way)
		return;
	loop_timer_stop(way->loop, &way->restart);
	fd_close(loop_unwatch(way->loop, &way->input));
	fd_close(loop_unwatch(way->loop, &way->output));
	free(way);
}
