/* A worker's side of a handover and the receiving library in one process, with a loop between them whose clock is the test's, and jobs that
 * remember how they ended. After each test the process has as many descriptors as before. */
#pragma once
#include "handover.h"
#include "handover_help.h"
#include "turn.h"

struct world {
	struct place place;
	struct loop loop;
	struct usher_receiver *receiver;
	struct handover *handover;
};

struct job {
	struct handover_request request;
	struct world *world;
	struct facts facts;
	int calls, error;
	struct job *then_send, *then_cancel;
};

static inline void run_ms(struct world *w, unsigned ms)
{
	turn(&w->loop);
	for (unsigned i = 0; i < ms; i++)
		turn_after(&w->loop, 1000);
}

/* Until the job is done. */
static inline void job_await(struct world *w, const struct job *job)
{
	for (int i = 0; i < 60000 && !job->calls; i++)
		run_ms(w, 1);
	assert_int_equal(job->calls, 1);
}

static inline void world_handover(struct world *w, enum handover_format format)
{
	struct address address = { .len = sizeof(struct sockaddr_un), .un = place_address(w->place.path) };

	handover_free(w->handover);
	w->handover = handover_new(&w->loop, &address, format);
	assert_non_null(w->handover);
}

static inline int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	place_init(&w->place);
	assert_int_equal(loop_init(&w->loop), 0);
	assert_int_equal(usher_listen(w->place.path, 0600, &w->receiver), 0);
	world_handover(w, HANDOVER_USHER);
	*state = w;
	return 0;
}

/* Without a receiver: that is the test's own. */
static inline int world_setup_alone(void **state)
{
	int error = world_setup(state);
	struct world *w = *state;

	usher_close(w->receiver);
	w->receiver = NULL;
	return error;
}

static inline int world_teardown(void **state)
{
	struct world *w = *state;

	run_ms(w, 2);
	assert_null(w->loop.first_task); /* what has nothing to do does nothing */
	handover_free(w->handover);
	usher_close(w->receiver);
	loop_fini(&w->loop);
	place_fini(&w->place);
	free(w);
	return 0;
}

static inline void job_done(struct handover_request *request, int error)
{
	struct job *job = (struct job *)request;

	job->calls++;
	job->error = error;
	if (job->then_cancel)
		handover_cancel(&job->then_cancel->request);
	if (job->then_send)
		handover_send(job->world->handover, &job->then_send->request);
}

static inline void job_init(struct world *w, struct job *job, uint64_t id)
{
	*job = (struct job){ .world = w,
		.facts = { .id = id, .service = "s" },
		.request = { .fd = 0, .facts = &job->facts, .done = job_done } };
}

static inline void job_send(struct world *w, struct job *job, uint64_t id)
{
	job_init(w, job, id);
	handover_send(w->handover, &job->request);
}

static inline void jobs_send(struct world *w, struct job *jobs, size_t n, uint64_t first_id)
{
	for (size_t i = 0; i < n; i++)
		job_send(w, &jobs[i], first_id + i);
}

static inline void assert_done(const struct job *job, int error)
{
	assert_int_equal(job->calls, 1);
	assert_int_equal(job->error, error);
	assert_null(job->request.handover);
}

static inline void assert_waits(const struct job *job)
{
	assert_int_equal(job->calls, 0);
	assert_non_null(job->request.handover);
}

/* The next connection, once it comes. */
static inline void assert_accepts(struct world *w, uint64_t id)
{
	struct usher_connection c;
	int error;

	for (int i = 0; (error = usher_accept(w->receiver, &c)) == -EAGAIN && i < 1000; i++)
		run_ms(w, 1);
	assert_int_equal(error, 0);
	assert_int_equal(c.id, id);
	close(c.fd);
}

/* All of it: sent, taken, acknowledged. */
static inline void assert_passes(struct world *w, const struct job *job)
{
	assert_waits(job);
	assert_accepts(w, job->facts.id);
	job_await(w, job);
	assert_done(job, 0);
}
