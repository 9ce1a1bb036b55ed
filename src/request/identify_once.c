/* A process for each question: up to 1000 bytes on its stdin, then EOF; on its stdout a name, or NOTFOUND; exit status 0.
 *
 * A run (struct once) lives from the request to the master until the master says that its process has ended, whoever has
 * stopped waiting for it in between: so clients that come and go cannot make more processes than IDENTIFIER_RUNS_MAX. Further questions
 * wait in line, with their time running.
 *
 * Refuses answers that are too long, have a NUL, or come with another exit status than 0: each is a NO. Owns the runs; the
 * questions are identify.c's. */
#include "fd.h"
#include "identify_ways.h"
#include "log.h"
#include "log_limit.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX     255
#define COMPLAINT_US   10000000 /* between two lines in the log about the same identifier */
#define LEFT_BEHIND_US 1000000  /* that the news of an end may take, behind the time that a run has */

struct once {
	struct once *next;
	struct once_way *way;
	struct identification *question; /* NULL: answered or given up */
	struct request request;
	struct watch output;
	char answer[OUTPUT_MAX + 1];
	size_t answer_len;
	bool asked; /* the master has not answered yet: the request must stay */
	bool said;  /* its output is complete */
	bool exited;
	int status;
	struct timer left_behind; /* nobody waits for it: how long it may still hold its place */
	struct task burial;
};

struct once_way {
	struct loop *loop;
	struct requester *requester;
	const struct identifier *identifier;
	size_t number;
	struct once *runs;
	unsigned n_runs;
	struct list line; /* that wait for a run to end */
	struct log_limit told;
};

static int once_start(struct once_way *way, struct identification *question);

static void once_complain(struct once_way *way, const char *what, const char *more)
{
	if (log_limit_count(&way->told, COMPLAINT_US, way->loop->now_us) == 0)
		return;
	log_warning("identifier %zu (%s): %s%s", way->number + 1, way->identifier->program.argv[0], what, more);
}

static void once_complain_of_end(struct once *once)
{
	char number[16];

	if (WIFSIGNALED(once->status)) {
		once_complain(once->way, "a process was killed: ", strsignal(WTERMSIG(once->status)));
	} else if (WEXITSTATUS(once->status)) {
		snprintf(number, sizeof(number), "%d", WEXITSTATUS(once->status));
		once_complain(once->way, "a process ended with status ", number);
	}
}

/* ---- the end of a run ------------------------------------------------------------------------------------------------ */

static void once_bury(struct task *task)
{
	struct once *once = container_of(task, struct once, burial);
	struct once_way *way = once->way;

	struct once **link = &way->runs;
	while (*link != once)
		link = &(*link)->next;
	*link = once->next;
	way->n_runs--;
	free(once);
	while (way->line.first && way->n_runs < IDENTIFIER_RUNS_MAX) {
		struct identification *next = question_of(way->line.first);
		list_remove(&way->line, &next->item);
		next->in_line = false;
		if (once_start(way, next) < 0)
			identification_answer(next, ANSWER_NO, NULL);
	}
}

static void once_left_behind(struct timer *timer)
{
	struct once *once = container_of(timer, struct once, left_behind);
	loop_defer(once->way->loop, &once->burial);
}

/* Nobody waits for it any more. It keeps its place until its process is gone, which the master sees to. */
static void once_leave(struct once *once)
{
	struct once_way *way = once->way;
	uint64_t due_us = way->loop->now_us + way->identifier->timeout_us + LEFT_BEHIND_US;

	once->question = NULL;
	fd_close(loop_unwatch(way->loop, &once->output));
	if (once->asked)
		return;
	if (once->exited || loop_timer(way->loop, &once->left_behind, due_us) < 0) {
		loop_timer_stop(way->loop, &once->left_behind);
		loop_defer(way->loop, &once->burial);
	}
}

static void once_answer(struct once *once, enum answer answer)
{
	struct identification *question = once->question;

	once_leave(once); /* its memory stays until the end of the turn */
	if (!question)
		return;
	question->once = NULL;
	identification_answer(question, answer, once->answer);
}

/* ---- what it says ---------------------------------------------------------------------------------------------------- */

/* A name of a protocol, at most one line end behind it. */
static enum answer once_read_answer(struct once *once)
{
	if (once->status)
		return ANSWER_NO;
	if (once->answer_len && once->answer[once->answer_len - 1] == '\n')
		once->answer_len--;
	once->answer[once->answer_len] = '\0';
	if (once->answer_len == 0 || strlen(once->answer) != once->answer_len)
		return ANSWER_NO;
	if (strcmp(once->answer, "NOTFOUND") == 0)
		return once->question->len < IDENTIFY_ONCE_BYTES ? ANSWER_MORE : ANSWER_NO;
	return ANSWER_NAME;
}

static void once_check(struct once *once)
{
	if (!once->question && once->exited)
		once_leave(once);
	else if (once->question && once->said && once->exited)
		once_answer(once, once_read_answer(once));
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
		if (n > 0 && !room) {
			once_complain(once->way, "a process says more than a name", "");
			once_answer(once, ANSWER_NO);
			return;
		}
		if (n > 0)
			once->answer_len += (size_t)n;
		else
			once->said = true;
	}
	once_check(once);
}

void once_exited(struct once_way *way, uint64_t number, int status)
{
	struct once *once = way->runs;

	while (once && once->request.number != number)
		once = once->next;
	if (!once || once->asked || once->exited)
		return;
	once->exited = true;
	once->status = status;
	/* One that was given up may find out by writing. */
	if (once->question || !WIFSIGNALED(status) || WTERMSIG(status) != SIGPIPE)
		once_complain_of_end(once);
	once_check(once);
}

/* ---- the beginning --------------------------------------------------------------------------------------------------- */

/* The pipe is empty and larger than what goes in: a program that does not read does not stop us. */
static void once_started(struct request *request, const struct message_answer *answer, int fds[IPC_FDS_MAX])
{
	struct once *once = container_of(request, struct once, request);

	once->asked = false;
	if (answer->error < 0) {
		once_complain(once->way, "it cannot be started: ", strerrordesc_np(-answer->error));
		once->exited = true;
		once_answer(once, ANSWER_NO);
		return;
	}
	if (!once->question) {
		once_leave(once);
		return;
	}
	size_t len = once->question->len < IDENTIFY_ONCE_BYTES ? once->question->len : IDENTIFY_ONCE_BYTES;
	ssize_t n = write(fds[1], once->question->bytes, len);
	(void)n; /* a program that has gone already answers with its status */
	fds[1] = fd_close(fds[1]);
	if (loop_watch(once->way->loop, &once->output, fds[0], EPOLLIN | EPOLLET) < 0)
		once_answer(once, ANSWER_NO);
	else
		fds[0] = -1;
}

static int once_start(struct once_way *way, struct identification *question)
{
	struct message message = { .kind = MESSAGE_IDENTIFY, .identify = { .identifier = (uint32_t)way->number } };
	struct once *once = calloc(1, sizeof(*once));

	if (!once)
		return -ENOMEM;
	*once = (struct once){
		.next = way->runs,
		.way = way,
		.question = question,
		.request = { .answered = once_started },
		.output = { .fd = -1, .ready = once_output_ready },
		.asked = true,
		.left_behind = { .fired = once_left_behind },
		.burial = { .run = once_bury },
	};
	int error = requester_ask(way->requester, &once->request, &message, -1);
	if (error < 0) {
		free(once);
		return error;
	}
	way->runs = once;
	way->n_runs++;
	question->once = once;
	return 0;
}

int once_ask(struct once_way *way, struct identification *identification)
{
	if (way->n_runs < IDENTIFIER_RUNS_MAX)
		return once_start(way, identification);
	list_append(&way->line, &identification->item);
	identification->in_line = true;
	return 0;
}

void once_forget(struct once_way *way, struct identification *identification)
{
	struct once *once = identification->once;

	if (identification->in_line)
		list_remove(&way->line, &identification->item);
	identification->in_line = false;
	identification->once = NULL;
	if (once)
		once_leave(once);
}

struct once_way *once_way_new(
	struct loop *loop, struct requester *requester, const struct identifier *identifier, size_t number)
{
	struct once_way *way = calloc(1, sizeof(*way));
	if (way)
		*way = (struct once_way){
			.loop = loop,
			.requester = requester,
			.identifier = identifier,
			.number = number,
		};
	return way;
}

void once_way_free(struct once_way *way)
{
	if (!way)
		return;
	for (struct once *next; way->runs; way->runs = next) {
		next = way->runs->next;
		fd_close(loop_unwatch(way->loop, &way->runs->output));
		loop_timer_stop(way->loop, &way->runs->left_behind);
		loop_cancel(way->loop, &way->runs->burial);
		free(way->runs);
	}
	free(way);
}
