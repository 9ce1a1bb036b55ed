/* A process for each question: up to 1000 bytes on its stdin, then EOF; on its stdout a name, or NOTFOUND; exit status 0.
 *
 * A run (struct once) lives until its program has ended or nobody waits for it any more, whichever comes last of what it still expects. Runs at
 * the same time are bounded; further questions wait in line, with their time running. */
#include "fd.h"
#include "identify_ways.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNS_MAX   32
#define OUTPUT_MAX 255

struct once {
	struct once *next;
	struct once_way *way;
	struct identification *question; /* NULL: given up */
	struct spawn_request request;
	uint64_t serial;
	struct watch output;
	char answer[OUTPUT_MAX + 1];
	size_t answer_len;
	bool asked; /* the master has not answered yet: the request must stay */
	bool said;  /* its output is complete */
	bool exited;
	int status;
	struct task burial;
};

struct once_way {
	struct loop *loop;
	struct spawner *spawner;
	size_t number;
	struct once *runs;
	unsigned n_runs;
	struct questions line; /* that wait for a run to end */
};

static int once_start(struct once_way *way, struct identification *question);

static void once_bury(struct task *task)
{
	struct once *once = container_of(task, struct once, burial);
	struct once_way *way = once->way;

	for (struct once **link = &way->runs; *link; link = &(*link)->next) {
		if (*link != once)
			continue;
		*link = once->next;
		break;
	}
	way->n_runs--;
	free(once);
	struct identification *next = way->line.first;
	if (next) {
		questions_remove(&way->line, next);
		once_start(way, next); /* where that fails its patience runs out */
	}
}

static void once_end(struct once *once)
{
	fd_close(loop_unwatch(once->way->loop, &once->output));
	if (!once->asked)
		loop_defer(once->way->loop, &once->burial);
}

/* A name of protocol, at most one line end behind it. */
static enum answer once_read_answer(struct once *once, size_t shown)
{
	if (once->answer_len && once->answer[once->answer_len - 1] == '\n')
		once->answer_len--;
	once->answer[once->answer_len] = '\0';
	if (!WIFEXITED(once->status) || WEXITSTATUS(once->status) || once->answer_len == 0)
		return ANSWER_NO;
	if (strcmp(once->answer, "NOTFOUND") == 0)
		return shown < IDENTIFY_ONCE_BYTES ? ANSWER_MORE : ANSWER_NO;
	return ANSWER_NAME;
}

static void once_check(struct once *once)
{
	struct identification *question = once->question;

	if (question && !(once->said && once->exited))
		return;
	once->question = NULL;
	once_end(once);
	if (question) {
		question->once = NULL;
		identification_answer(question, once_read_answer(once, question->len), once->answer);
	}
}

static void once_fail(struct once *once)
{
	once->said = once->exited = true;
	once->status = -1;
	once_check(once);
}

static void once_output_ready(struct watch *watch, uint32_t events)
{
	struct once *once = container_of(watch, struct once, output);
	char surplus;

	while (!once->said) {
		size_t room = OUTPUT_MAX - once->answer_len;
		ssize_t n = read(watch->fd, room ? once->answer + once->answer_len : &surplus, room ? room : 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0 && !room) { /* it babbles */
			once_fail(once);
			return;
		}
		if (n > 0)
			once->answer_len += (size_t)n;
		else
			once->said = true;
	}
	once_check(once);
}

/* The pipe is empty and larger than what goes in: a program that does not read does not stop us. */
static void once_started(struct spawn_request *request, const struct message *answer, int fds[2])
{
	struct once *once = container_of(request, struct once, request);

	once->asked = false;
	if (answer->error < 0 || !once->question) {
		once_fail(once);
		return;
	}
	size_t len = once->question->len < IDENTIFY_ONCE_BYTES ? once->question->len : IDENTIFY_ONCE_BYTES;
	ssize_t n = write(fds[1], once->question->bytes, len);
	(void)n; /* a program that has gone already answers with its status */
	fds[1] = fd_close(fds[1]);
	if (loop_watch(once->way->loop, &once->output, fds[0], EPOLLIN | EPOLLET) < 0)
		once_fail(once);
	else
		fds[0] = -1;
}

static void once_fill(struct spawn_request *request, struct message *message, int *ret_fd)
{
	struct once *once = container_of(request, struct once, request);
	message->program = PROGRAM_IDENTIFIER;
	message->index = (uint32_t)once->way->number;
	message->serial = once->serial;
}

static int once_start(struct once_way *way, struct identification *question)
{
	struct once *once = calloc(1, sizeof(*once));
	if (!once)
		return -ENOMEM;
	*once = (struct once){
		.next = way->runs,
		.way = way,
		.question = question,
		.request = { .fill = once_fill, .started = once_started },
		.serial = way->spawner->next_serial++,
		.output = { .fd = -1, .ready = once_output_ready },
		.asked = true,
		.burial = { .run = once_bury },
	};
	way->runs = once;
	way->n_runs++;
	question->once = once;
	spawner_ask(way->spawner, &once->request);
	return 0;
}

int once_ask(struct once_way *way, struct identification *identification)
{
	if (way->n_runs < RUNS_MAX)
		return once_start(way, identification);
	questions_add(&way->line, identification);
	return 0;
}

void once_forget(struct once_way *way, struct identification *identification)
{
	struct once *once = identification->once;

	if (!once) {
		if (identification->previous || way->line.first == identification)
			questions_remove(&way->line, identification);
		return;
	}
	identification->once = NULL;
	once->question = NULL;
	once_end(once);
}

void once_exited(struct once_way *way, uint64_t serial, int status)
{
	for (struct once *once = way->runs; once; once = once->next) {
		if (once->serial != serial || once->asked || once->burial.queued)
			continue;
		once->exited = true;
		once->status = status;
		once_check(once);
		return;
	}
}

struct once_way *once_way_new(struct loop *loop, struct spawner *spawner, size_t number)
{
	struct once_way *way = calloc(1, sizeof(*way));
	if (way)
		*way = (struct once_way){ .loop = loop, .spawner = spawner, .number = number };
	return way;
}

void once_way_free(struct once_way *way)
{
	if (!way)
		return;
	for (struct once *next; way->runs; way->runs = next) {
		next = way->runs->next;
		fd_close(loop_unwatch(way->loop, &way->runs->output));
		loop_cancel(way->loop, &way->runs->burial);
		free(way->runs);
	}
	free(way);
}
