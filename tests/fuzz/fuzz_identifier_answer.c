/* What a program says that was asked about three connections, kept or run once, in whatever pieces.
 *
 *     byte 0      1: a process for each question; the rest of the bits: how long the pieces are
 *     byte 1      status of the end of a process that runs once
 *     the rest    its output
 *
 * Every question is answered once, or open until it is given up; nothing is left. */
#include "fd.h"
#include "fuzz.h"
#include "identify.h"
#include "loop.h"
#include "policy.h"
#include "requester.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUESTIONS  3
#define OUTPUT_MAX 16384 /* a pipe takes it at once */

/* ---- the master ---- */

static struct request *requests[QUESTIONS + 1];
static size_t n_requests;
static uint64_t last_number;

bool requester_is_orphaned(const struct requester *requester)
{
	return false;
}

int requester_ask(struct requester *requester, struct request *request, struct message *message, int fd)
{
	message->number = request->number = ++last_number;
	requests[n_requests++] = request;
	return 0;
}

/* Returns its output. */
static int program_begin(uint64_t *ret_number, int *ret_input)
{
	int in[2], out[2];

	struct request *request = requests[0];
	memmove(requests, requests + 1, --n_requests * sizeof(struct request *));
	require(pipe2(in, O_CLOEXEC | O_NONBLOCK) == 0 && pipe2(out, O_CLOEXEC | O_NONBLOCK) == 0);
	int fds[IPC_FDS_MAX] = { out[0], in[1], -1, -1, -1, -1, -1, -1 };
	request->answered(request, &(struct message_answer){ 0 }, fds);
	fd_close(fds[0]);
	fd_close(fds[1]);
	*ret_input = in[0];
	*ret_number = request->number;
	return out[1];
}

/* ---- the worker ---- */

static struct loop loop;

static void turn_end(struct task *task)
{
	loop_stop(&loop);
}

static void turn(void)
{
	struct task end = { .run = turn_end };

	for (int i = 0; i < 2; i++) { /* what is deferred in one turn may run in the next */
		loop.stopping = false;
		loop_defer(&loop, &end);
		loop_run(&loop);
	}
}

static void done(void *context, uint32_t protocol, bool more)
{
	struct identification **open = context;
	require(*open && (protocol == PROTOCOL_NONE || protocol < 3) && !(more && protocol != PROTOCOL_NONE));
	*open = NULL;
}

static void say(int fd, const uint8_t *data, size_t size, size_t piece)
{
	while (size) {
		size_t n = piece && piece < size ? piece : size;
		if (write(fd, data, n) < 0)
			return; /* it is not listened to any more */
		turn();
		data += n;
		size -= n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char *argv[] = { (char *)"/program", NULL };
	static struct protocol protocols[] = { { .name = "a", .is_external = true }, { .name = "ssh" },
		{ .name = "smtp", .is_external = true } };
	struct identifier identifier = { .timeout_us = 60000000, .program = { .argv = argv } };
	const struct policy policy = {
		.protocols = protocols, .n_protocols = 3, .identifiers = &identifier, .n_identifiers = 1
	};
	struct requester requester = { 0 };
	struct identification *open[QUESTIONS];
	struct identifiers *identifiers;
	uint64_t number = 0;

	if (size < 2 || size > OUTPUT_MAX)
		return 0;
	signal(SIGPIPE, SIG_IGN);
	log_setup(2, &(struct log_settings){ .level = LEVEL_ERROR });
	identifier.mode = data[0] & 1 ? IDENTIFIER_ONCE : IDENTIFIER_STREAM;
	n_requests = 0;
	require(loop_init(&loop) == 0);
	require(identifiers_new(&identifiers, &loop, &requester, &policy) == 0);
	for (size_t i = 0; i < QUESTIONS; i++) {
		const struct evidence evidence = { .bytes = (const uint8_t *)"hello", .len = 5 };
		open[i] = identify(identifiers, &evidence, i == 1, done, &open[i]);
		require(open[i]);
	}
	while (n_requests) {
		int input;
		int fd = program_begin(&number, &input);
		turn();
		say(fd, data + 2, size - 2, data[0] >> 1);
		fd_close(fd);
		fd_close(input);
		identifiers_exited(identifiers, number, data[1] << 8);
		turn();
	}
	for (size_t i = 0; i < QUESTIONS; i++)
		require(!open[i]); /* its end answers whatever it did not */
	turn();
	identifiers_free(identifiers);
	loop_fini(&loop);
	return 0;
}
