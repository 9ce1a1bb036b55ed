/* A stream of the test's own, around whose unit every call is the test's and is written down, in order: what was called is compared with what
 * was expected. Link with --wrap=session_enter. Included once a program. */
#pragma once
#include "stream.h"
#include "turn.h"
#include <stdio.h>

static struct context context;
static struct stream stream;
static char did[1024]; /* the calls, in their order */
static int enters;     /* what session_enter() answers */

__attribute__((format(printf, 1, 2))) static inline void note(const char *format, ...)
{
	va_list values;
	size_t len = strlen(did);

	va_start(values, format);
	vsnprintf(did + len, sizeof(did) - len, format, values);
	va_end(values);
}

static inline void assert_did(const char *expected)
{
	assert_string_equal(did, expected);
	did[0] = '\0';
}

int __wrap_session_enter(struct session *session, enum session_phase phase);
int __wrap_session_enter(struct session *session, enum session_phase phase)
{
	note("enter:%s ", session_phase_names[phase]);
	session->phase = phase;
	return enters;
}

struct stream *stream_of(struct session *session)
{
	return container_of(session, struct stream, session);
}

int stream_socket(const struct stream *which)
{
	return which->relay.client.in.fd;
}

void stream_end(struct stream *which, enum session_end end)
{
	note("end:%s ", session_end_names[end]);
	which->session.phase = PHASE_ENDED;
}

/* So much later. */
static inline void later(uint64_t us)
{
	clock_us += us;
	context.loop.now_us = clock_us;
}

static inline void assert_alarm(uint64_t due_us)
{
	assert_int_not_equal(stream.session.deadline.place, 0);
	assert_int_equal(stream.session.deadline.due_us, due_us);
}
