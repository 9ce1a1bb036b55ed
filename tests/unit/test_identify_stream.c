/* External identifiers as a worker asks them: the test is the master and the programs, and the clock. */
#include "fd.h"
#include "identify.h"
#include "loop.h"
#include "policy.h"
#include "requester.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_MS 200
#define ASKED_MAX  4096

/* ---- the master ---- */

static struct {
	struct request *request;
	struct message message;
} requests[64];
static unsigned n_requests;
static uint64_t last_number;
static int refusal; /* -errno: requests cannot be sent */

bool requester_is_orphaned(const struct requester *requester)
{
	return requester->outbox->channel < 0;
}

int requester_ask(struct requester *requester, struct request *request, struct message *message, int fd)
{
	if (requester_is_orphaned(requester) || refusal < 0)
		return refusal < 0 ? refusal : -EPIPE;
	assert_true(n_requests < 64);
	assert_int_equal(message->kind, MESSAGE_IDENTIFY);
	assert_int_equal(fd, -1);
	message->number = request->number = ++last_number;
	requests[n_requests].request = request;
	requests[n_requests++].message = *message;
	return 0;
}

struct program_ends {
	int questions, answers; /* ours: what it reads, what it says */
	uint64_t number;
	uint32_t index;
};

static struct request *request_take(struct message *message)
{
	assert_true(n_requests > 0);
	struct request *request = requests[0].request;
	*message = requests[0].message;
	memmove(requests, requests + 1, --n_requests * sizeof(*requests));
	return request;
}

static struct program_ends program_begin(void)
{
	struct message message;
	struct request *request = request_take(&message);
	int in[2], out[2];

	assert_int_equal(pipe2(in, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	int fds[IPC_FDS_MAX] = { out[0], in[1], -1, -1, -1, -1, -1, -1 };
	request->answered(request, &(struct message_answer){ 0 }, fds);
	fd_close(fds[0]);
	fd_close(fds[1]);
	return (struct program_ends){ in[0], out[1], message.number, message.identify.identifier };
}

static void program_begin_failing(int error)
{
	struct message message;
	struct request *request = request_take(&message);
	int fds[IPC_FDS_MAX] = { -1, -1, -1, -1, -1, -1, -1, -1 };

	request->answered(request, &(struct message_answer){ .error = error }, fds);
}

static void program_end(struct program_ends *program)
{
	program->questions = fd_close(program->questions);
	program->answers = fd_close(program->answers);
}

/* ---- the worker ---- */

static struct loop loop;
static struct outbox outbox;
static struct requester requester = { .outbox = &outbox };
static struct identifiers *identifiers;
static struct protocol protocols[] = { { .name = "ssh" }, { .name = "smtp", .is_external = true },
	{ .name = "irc", .is_external = true } };
static struct identifier programs[2];
static struct policy policy = { .protocols = protocols, .n_protocols = 3, .identifiers = programs };
static char *arguments[] = { (char *)"/bin/test", NULL };

struct asked {
	struct identification *open;
	unsigned answers;
	uint32_t protocol;
	bool more;
};
static struct asked asked[ASKED_MAX];

static void turn_over(struct timer *timer)
{
	loop_stop(&loop);
}

/* Time passes only where the loop would wait: none does while anything is ready, however slow the machine is. */
static uint64_t clock_us = 1000000;

uint64_t __wrap_clock_monotonic_us(void);
uint64_t __wrap_clock_monotonic_us(void)
{
	return clock_us;
}

int __real_epoll_wait(int epoll, struct epoll_event *events, int most, int ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int most, int ms);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int most, int ms)
{
	int n = __real_epoll_wait(epoll, events, most, 0);

	if (n == 0 && ms > 0)
		clock_us += (uint64_t)ms * 1000;
	return n;
}

static void run_ms(unsigned ms)
{
	struct timer end = { .fired = turn_over };

	loop.stopping = false;
	loop_timer(&loop, &end, clock_us + ms * 1000);
	assert_int_equal(loop_run(&loop), 0);
}

static void done(void *context, uint32_t protocol, bool more)
{
	struct asked *one = context;
	assert_non_null(one->open);
	one->open = NULL;
	one->answers++;
	one->protocol = protocol;
	one->more = more;
}

static struct asked *ask(unsigned i, const char *bytes, size_t len, bool closed)
{
	const struct evidence evidence = { .bytes = (const uint8_t *)bytes, .len = len };

	asked[i] = (struct asked){ 0 };
	asked[i].open = identify(identifiers, &evidence, closed, done, &asked[i]);
	assert_non_null(asked[i].open);
	return &asked[i];
}

static void assert_no(const struct asked *one)
{
	assert_int_equal(one->answers, 1);
	assert_int_equal(one->protocol, PROTOCOL_NONE);
	assert_false(one->more);
}

static void assert_named(const struct asked *one, uint32_t protocol)
{
	assert_int_equal(one->answers, 1);
	assert_int_equal(one->protocol, protocol);
}

static void begin(size_t n, enum identifier_mode first, enum identifier_mode second)
{
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(loop_init(&loop), 0);
	outbox.channel = 0;
	n_requests = 0;
	last_number = 0;
	refusal = 0;
	for (size_t i = 0; i < 2; i++)
		programs[i] = (struct identifier){
			.mode = i ? second : first,
			.timeout_us = TIMEOUT_MS * 1000,
			.program = { .argv = arguments },
		};
	policy.n_identifiers = n;
	assert_int_equal(identifiers_new(&identifiers, &loop, &requester, &policy), 0);
}

static void end(void)
{
	identifiers_free(identifiers);
	loop_fini(&loop);
}

/* ---- on the wire ---- */

static void read_exactly(int fd, void *to, size_t len)
{
	unsigned waited_ms = 0;

	for (size_t got = 0; got < len;) {
		ssize_t n = read(fd, (char *)to + got, len - got);
		if (n < 0 && errno == EAGAIN) {
			assert_in_range(
				waited_ms++, 0, TIMEOUT_MS); /* a question that ran out of time is never written */
			run_ms(1);
		} else {
			assert_true(n > 0);
		}
		got += n > 0 ? (size_t)n : 0;
	}
}

struct question {
	uint32_t id;
	uint8_t flags;
	size_t len;
	uint8_t bytes[4096];
};

static struct question question_read(const struct program_ends *program)
{
	struct question question;
	uint32_t head[2];

	read_exactly(program->questions, head, sizeof(head));
	read_exactly(program->questions, &question.flags, 1);
	question.id = ntohl(head[1]);
	question.len = ntohl(head[0]) - 5;
	assert_in_range(question.len, 1, 4096);
	read_exactly(program->questions, question.bytes, question.len);
	return question;
}

static size_t answer_put(uint8_t *at, uint32_t id, uint8_t verdict, const char *name)
{
	uint32_t head[2] = { htonl(5 + (uint32_t)strlen(name)), htonl(id) };
	memcpy(at, head, 8);
	at[8] = verdict;
	memcpy(at + 9, name, strlen(name));
	return 9 + strlen(name);
}

static void say(const struct program_ends *program, const void *bytes, size_t len)
{
	assert_int_equal(write(program->answers, bytes, len), len);
}

static void answer(const struct program_ends *program, uint32_t id, uint8_t verdict, const char *name)
{
	uint8_t bytes[128];
	say(program, bytes, answer_put(bytes, id, verdict, name));
	run_ms(2);
}

/* The worker has let go of it. */
static void assert_ended(const struct program_ends *program)
{
	char surplus[65536];
	ssize_t n;

	run_ms(2);
	while ((n = read(program->questions, surplus, sizeof(surplus))) > 0)
		;
	assert_int_equal(n, 0);
	assert_int_equal(write(program->answers, "", 1), -1);
	assert_int_equal(errno, EPIPE);
}

/* ---- mode stream ---- */

static void a_question_and_its_answer(void **state)
{
	begin(1, IDENTIFIER_STREAM, 0);
	struct program_ends program = program_begin();
	struct asked *one = ask(0, "EHLO\0there", 10, false);
	struct question question = question_read(&program);
	assert_int_equal(question.flags, 0);
	assert_int_equal(question.len, 10);
	assert_memory_equal(question.bytes, "EHLO\0there", 10);
	assert_non_null(one->open);
	answer(&program, question.id, 1, "smtp");
	assert_named(one, 1);
	program_end(&program);
	end();
}

static void answers_come_in_any_order_and_in_pieces(void **state)
{
	uint8_t bytes[256];
	size_t len = 0;

	begin(1, IDENTIFIER_STREAM, 0);
	struct program_ends program = program_begin();
	for (unsigned i = 0; i < 3; i++)
		ask(i, "x", 1, false);
	uint32_t ids[3];
	for (unsigned i = 0; i < 3; i++)
		ids[i] = question_read(&program).id;
	len += answer_put(bytes + len, ids[2], 1, "irc");
	len += answer_put(bytes + len, ids[0], 0, "");
	len += answer_put(bytes + len, ids[1], 1, "smtp");
	for (size_t i = 0; i < len; i++) {
		say(&program, bytes + i, 1);
		run_ms(0);
	}
	run_ms(2);
	assert_no(&asked[0]);
	assert_named(&asked[1], 1);
	assert_named(&asked[2], 2);

	for (unsigned i = 0; i < 3; i++)
		ask(i, "x", 1, false);
	len = 0;
	for (unsigned i = 0; i < 3; i++)
		len += answer_put(bytes + len, question_read(&program).id, 1, "irc");
	say(&program, bytes, len);
	run_ms(2);
	for (unsigned i = 0; i < 3; i++)
		assert_named(&asked[i], 2);
	program_end(&program);
	end();
}

static void more_counts_only_where_there_may_be_more(void **state)
{
	static char whole[5000];

	begin(1, IDENTIFIER_STREAM, 0);
	struct program_ends program = program_begin();
	ask(0, "EH", 2, false);
	ask(1, "EH", 2, true);
	ask(2, whole, sizeof(whole), false);
	struct question questions[3];
	for (unsigned i = 0; i < 3; i++)
		questions[i] = question_read(&program);
	assert_int_equal(questions[0].flags, 0);
	assert_int_equal(questions[1].flags, 1);
	assert_int_equal(questions[2].len, 4096);
	for (unsigned i = 0; i < 3; i++)
		answer(&program, questions[i].id, 2, "");
	assert_named(&asked[0], PROTOCOL_NONE);
	assert_true(asked[0].more);
	assert_no(&asked[1]);
	assert_no(&asked[2]);
	program_end(&program);
	end();
}

static void the_next_identifier_is_asked_where_one_gives_no_name_of_the_policy(void **state)
{
	static const char *const useless[] = { "gopher", "ssh", "" };

	begin(2, IDENTIFIER_STREAM, IDENTIFIER_STREAM);
	struct program_ends first = program_begin(), second = program_begin();
	assert_int_equal(first.index, 0);
	assert_int_equal(second.index, 1);
	for (unsigned i = 0; i < 3; i++) {
		struct asked *one = ask(0, "NICK x", 6, false);
		answer(&first, question_read(&first).id, *useless[i] ? 1 : 0, useless[i]);
		assert_non_null(one->open);
		answer(&second, question_read(&second).id, 1, "irc");
		assert_named(one, 2);
	}
	struct asked *one = ask(0, "NICK x", 6, false);
	answer(&first, question_read(&first).id, 1, "irc");
	assert_named(one, 2);
	char byte;
	assert_int_equal(read(second.questions, &byte, 1), -1);
	program_end(&first);
	program_end(&second);
	end();
}

static void questions_wait_for_a_process_that_starts(void **state)
{
	begin(1, IDENTIFIER_STREAM, 0);
	struct asked *one = ask(0, "EHLO", 4, false), *other = ask(1, "EHLO", 4, false);
	run_ms(TIMEOUT_MS / 4);
	identification_cancel(other->open);
	struct program_ends program = program_begin();
	answer(&program, question_read(&program).id, 1, "smtp");
	assert_named(one, 1);
	assert_int_equal(other->answers, 0);
	one = ask(0, "EHLO", 4, false);
	run_ms(2);
	program_end(&program);
	run_ms(2);
	assert_no(one);
	end();
}

static void a_process_that_cannot_start_is_tried_again_later_and_later(void **state)
{
	begin(1, IDENTIFIER_STREAM, 0);
	struct asked *one = ask(0, "EHLO", 4, false);
	program_begin_failing(-ENOENT);
	assert_no(one);
	one = ask(0, "EHLO", 4, false); /* while it is down: no, but not from within */
	assert_int_equal(one->answers, 0);
	run_ms(2);
	assert_no(one);
	run_ms(50);
	assert_int_equal(n_requests, 0);
	run_ms(70);
	assert_int_equal(n_requests, 1);
	program_begin_failing(-ENOENT);
	run_ms(100);
	assert_int_equal(n_requests, 0);
	run_ms(120);
	struct program_ends program = program_begin();
	one = ask(0, "EHLO", 4, false);
	answer(&program, question_read(&program).id, 1, "smtp");
	assert_named(one, 1);
	program_end(&program);
	end();
}

static void a_late_answer_is_dropped(void **state)
{
	begin(1, IDENTIFIER_STREAM, 0);
	struct program_ends program = program_begin();
	struct asked *late = ask(0, "EHLO", 4, false);
	uint32_t id = question_read(&program).id;
	run_ms(TIMEOUT_MS / 2);
	assert_int_equal(late->answers, 0);
	run_ms(TIMEOUT_MS);
	assert_no(late);
	struct asked *gone = ask(1, "EHLO", 4, false), *one = ask(2, "EHLO", 4, false);
	uint32_t gone_id = question_read(&program).id;
	identification_cancel(gone->open);
	answer(&program, id, 1, "smtp");
	answer(&program, gone_id, 1, "smtp");
	assert_int_equal(late->answers + gone->answers, 1);
	answer(&program, question_read(&program).id, 1, "irc");
	assert_named(one, 2);
	program_end(&program);
	end();
}

static void rubbish_ends_the_process_and_counts_as_no(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rubbish[] = {
		{ "smtp\n\n\n\n", 8 }, { "\0\0\0\4\0\0\0\1", 8 },       /* too short to be one */
		{ "\0\0\0\105\0\0\0\1\1", 9 },                          /* a name of 64 bytes */
		{ "\0\0\0\5\0\0\0\1\3", 9 },                            /* no such verdict */
		{ "\0\0\0\5\0\0\0\1\1", 9 },                            /* yes, but what */
		{ "\0\0\0\11\0\0\0\1\0smtp", 13 },                      /* no, and a name */
		{ "\0\0\0\13\0\0\0\1\1smtp\0a", 15 },                   /* a name with a NUL */
		{ "\0\0\0\5\0\0\0\7\0\0\0\0\5\0\0\0\1\0", 18 },         /* two answers to one question */
		{ "\0\0\0\5\0\0\0\7\0\0\0\0\5\0\0\0\7\0\xff\xff", 20 }, /* and so on */
	};

	for (size_t i = 0; i < sizeof(rubbish) / sizeof(rubbish[0]); i++) {
		begin(1, IDENTIFIER_STREAM, 0);
		struct program_ends program = program_begin();
		struct asked *one = ask(0, "EHLO", 4, false), *other = NULL;
		run_ms(1);
		say(&program, rubbish[i].bytes, rubbish[i].len);
		assert_ended(&program);
		assert_no(one);
		other = ask(1, "EHLO", 4, false);
		run_ms(2);
		assert_no(other);
		program_end(&program);
		run_ms(110);
		program = program_begin();
		program_end(&program);
		end();
	}
}

static void who_closes_an_end_is_started_again(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		begin(1, IDENTIFIER_STREAM, 0);
		struct program_ends program = program_begin();
		int *closed = i ? &program.questions : &program.answers;
		*closed = fd_close(*closed);
		struct asked *one = ask(0, "EHLO", 4, false);
		run_ms(5);
		assert_no(one);
		run_ms(110);
		assert_int_equal(n_requests, 1);
		program_end(&program);
		end();
	}
}

/* More than pipe and buffer hold: nobody has a no before the time, and what ran out of time is not written later. */
static void who_does_not_read_costs_the_time_limit(void **state)
{
	static char big[4096];

	begin(1, IDENTIFIER_STREAM, 0);
	struct program_ends program = program_begin();
	for (unsigned i = 0; i < 200; i++)
		ask(i, big, sizeof(big), false);
	run_ms(TIMEOUT_MS / 2);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(asked[i].answers, 0);
	run_ms(TIMEOUT_MS);
	for (unsigned i = 0; i < 200; i++)
		assert_no(&asked[i]);
	struct asked *one = ask(0, "NICK", 4, false);
	unsigned stale = 0;
	struct question question;
	while ((question = question_read(&program)).len != 4)
		stale++;
	assert_in_range(stale, 1, 199 / 4);
	answer(&program, question.id, 1, "irc");
	assert_named(one, 2);
	program_end(&program);
	end();
}

static void a_burst_is_not_lost(void **state)
{
	static char hello[517];

	begin(1, IDENTIFIER_STREAM, 0);
	struct program_ends program = program_begin();
	for (unsigned i = 0; i < 2000; i++)
		ask(i, hello, sizeof(hello), false);
	for (unsigned i = 0; i < 2000; i++) {
		uint8_t bytes[32];
		uint32_t id = question_read(&program).id;
		say(&program, bytes, answer_put(bytes, id, 1, i % 2 ? "irc" : "smtp"));
	}
	run_ms(10);
	for (unsigned i = 0; i < 2000; i++)
		assert_named(&asked[i], i % 2 ? 2 : 1);
	program_end(&program);
	end();
}

static void without_a_master_the_answer_is_no(void **state)
{
	begin(2, IDENTIFIER_STREAM, IDENTIFIER_ONCE);
	outbox.channel = -1;
	program_begin_failing(-EPIPE);
	struct asked *one = ask(0, "EHLO", 4, false);
	run_ms(5);
	assert_no(one);
	run_ms(150);
	assert_int_equal(n_requests, 0);
	end();
}

static void a_process_that_cannot_be_asked_for_is_asked_for_again(void **state)
{
	begin(1, IDENTIFIER_STREAM, 0);
	program_begin_failing(-EAGAIN);
	refusal = -ENOMEM;
	run_ms(250); /* the first time after 100 ms */
	assert_int_equal(n_requests, 0);
	refusal = 0;
	for (int i = 0; i < 100 && n_requests == 0; i++)
		run_ms(100);
	struct program_ends program = program_begin();
	struct asked *one = ask(0, "EHLO", 4, false);
	answer(&program, question_read(&program).id, 1, "smtp");
	assert_named(one, 1);
	program_end(&program);
	end();
}

/* ---- mode once ---- */

static void a_run_that_cannot_be_asked_for_is_a_no(void **state)
{
	begin(1, IDENTIFIER_ONCE, 0);
	refusal = -ENOMEM;
	struct asked *one = ask(0, "EHLO", 4, false);
	run_ms(5);
	assert_no(one);
	refusal = 0;
	one = ask(1, "EHLO", 4, false);
	program_begin_failing(-ENOENT);
	run_ms(5);
	assert_no(one);
	end();
}

static struct asked *answer_once(const char *text, size_t len, int status, bool end_first)
{
	begin(1, IDENTIFIER_ONCE, 0);
	struct asked *one = ask(0, "EHLO", 4, false);
	struct program_ends program = program_begin();
	char bytes[8];
	assert_int_equal(read(program.questions, bytes, sizeof(bytes)), 4);
	assert_int_equal(read(program.questions, bytes, sizeof(bytes)), 0);
	if (end_first)
		identifiers_exited(identifiers, program.number, status);
	for (size_t i = 0; i < len; i++) {
		if (write(program.answers, text + i, 1) < 0)
			break; /* it is not listened to any more */
		run_ms(0);
	}
	program_end(&program);
	run_ms(2);
	if (!end_first)
		identifiers_exited(identifiers, program.number, status);
	run_ms(2);
	end();
	return one;
}

static void a_process_that_runs_once_is_heard_when_it_has_ended(void **state)
{
	static char babble[300];

	memset(babble, 'a', sizeof(babble));
	for (unsigned i = 0; i < 2; i++) {
		assert_named(answer_once("smtp", 4, 0, i), 1);
		assert_named(answer_once("irc\n", 4, 0, i), 2);
		assert_no(answer_once("irc\n\n", 5, 0, i));
		assert_no(answer_once("irc\0a", 5, 0, i));
		assert_no(answer_once("smtp", 4, 1 << 8, i));
		assert_no(answer_once("smtp", 4, SIGKILL, i));
		assert_no(answer_once("", 0, 0, i));
		assert_no(answer_once(babble, sizeof(babble), 0, i));
		assert_true(answer_once("NOTFOUND", 8, 0, i)->more);
	}
}

static void clients_that_come_and_go_do_not_make_more_processes(void **state)
{
	struct program_ends running[32];

	begin(1, IDENTIFIER_ONCE, 0);
	for (unsigned i = 0; i < 100; i++) {
		struct asked *one = ask(i, "EHLO", 4, false);
		if (n_requests)
			running[i] = program_begin();
		identification_cancel(one->open);
	}
	assert_int_equal(n_requests, 0);
	struct asked *one = ask(0, "EHLO", 4, false), *other = ask(1, "EHLO", 4, false);
	run_ms(2);
	assert_int_equal(n_requests, 0);
	identifiers_exited(identifiers, running[7].number, 0);
	run_ms(2);
	assert_int_equal(n_requests, 1);
	struct program_ends program = program_begin();
	say(&program, "irc", 3);
	identifiers_exited(identifiers, program.number, 0);
	program_end(&program);
	run_ms(2);
	assert_named(one, 2);
	run_ms(TIMEOUT_MS); /* the other one's program is asked for, and does not come */
	assert_no(other);
	program_begin_failing(-EAGAIN);
	for (unsigned i = 0; i < 32; i++)
		program_end(&running[i]);
	end();
}

static void questions_in_line_run_out_of_time(void **state)
{
	begin(1, IDENTIFIER_ONCE, 0);
	for (unsigned i = 0; i < 40; i++)
		ask(i, "EHLO", 4, false);
	assert_int_equal(n_requests, 32);
	run_ms(TIMEOUT_MS + 20);
	for (unsigned i = 0; i < 40; i++)
		assert_no(&asked[i]);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question_and_its_answer),
		cmocka_unit_test(answers_come_in_any_order_and_in_pieces),
		cmocka_unit_test(more_counts_only_where_there_may_be_more),
		cmocka_unit_test(the_next_identifier_is_asked_where_one_gives_no_name_of_the_policy),
		cmocka_unit_test(questions_wait_for_a_process_that_starts),
		cmocka_unit_test(a_process_that_cannot_start_is_tried_again_later_and_later),
		cmocka_unit_test(a_late_answer_is_dropped),
		cmocka_unit_test(rubbish_ends_the_process_and_counts_as_no),
		cmocka_unit_test(who_closes_an_end_is_started_again),
		cmocka_unit_test(who_does_not_read_costs_the_time_limit),
		cmocka_unit_test(a_burst_is_not_lost),
		cmocka_unit_test(without_a_master_the_answer_is_no),
		cmocka_unit_test(a_process_that_cannot_be_asked_for_is_asked_for_again),
		cmocka_unit_test(a_run_that_cannot_be_asked_for_is_a_no),
		cmocka_unit_test(a_process_that_runs_once_is_heard_when_it_has_ended),
		cmocka_unit_test(clients_that_come_and_go_do_not_make_more_processes),
		cmocka_unit_test(questions_in_line_run_out_of_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
