/* Usher's side for the targets in which a receiver does what it likes. Time is the test's own. Owns the loop, the handover and the
 * directory of the receiver's socket. */
#include "handover_jobs.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

struct sockaddr_un address = { .sun_family = AF_UNIX };
struct job jobs[JOBS_MAX];
size_t n_jobs;
unsigned mischief;
uint64_t now_us;
static struct loop loop;
static struct handover *handover;
static int fd_before;

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	if (!now_us || clock != CLOCK_MONOTONIC)
		return (int)syscall(SYS_clock_gettime, clock, ret);
	*ret = (struct timespec){ .tv_sec = (time_t)(now_us / 1000000), .tv_nsec = (long)(now_us % 1000000) * 1000 };
	return 0;
}

static void directory_remove(void)
{
	(void)unlink(address.sun_path);
	*strrchr(address.sun_path, '/') = '\0';
	(void)rmdir(address.sun_path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char directory[] = "/tmp/usher-fuzz-XXXXXX";

	require(mkdtemp(directory) != NULL);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
	atexit(directory_remove);
	return 0;
}

static void job_done(struct handover_request *request, int error)
{
	struct job *job = container_of(request, struct job, request);

	require(job->fate == OPEN);
	job->fate = error == 0 ? DONE : error == -EPROTO ? BROKEN : FAILED;
	require(job->fate != FAILED || !job->owned);
	if (mischief & 1)
		job_cancel(&jobs[(job->facts.id * 7 + mischief) % n_jobs]);
	if (mischief & 2)
		job_send();
}

void job_send(void)
{
	struct job *job = &jobs[n_jobs];

	if (n_jobs == JOBS_MAX)
		return;
	*job = (struct job){ .facts = { .id = ++n_jobs, .service = "s" },
		.request = { .facts = &job->facts, .done = job_done } };
	handover_send(handover, &job->request);
}

void job_cancel(struct job *job)
{
	if (job->fate != OPEN)
		return;
	job->fate = CANCELLED; /* no `done` any more, though those of others may be called from within */
	bool mine = handover_cancel(&job->request);
	job->fate = mine ? TAKEN_BACK : LEFT;
	require(!mine || !job->owned);
}

static void turn_end(struct task *task)
{
	loop_stop(&loop);
}

void turn(void)
{
	static struct task end = { .run = turn_end };

	loop.stopping = false;
	loop_defer(&loop, &end);
	require(loop_run(&loop) == 0);
}

void jobs_begin(void)
{
	now_us = 1000000;
	n_jobs = 0;
	mischief = 0;
	fd_before = lowest_free_fd();
	require(loop_init(&loop) == 0);
	handover = handover_new(&loop, &(struct address){ .len = sizeof(address), .un = address }, HANDOVER_USHER);
	require(handover != NULL);
}

void jobs_settle(void)
{
	turn();
	mischief = 0;
	for (size_t i = 0; i < n_jobs; i++) {
		job_cancel(&jobs[i]);
		require(!jobs[i].owned || jobs[i].fate == DONE || jobs[i].fate == LEFT || jobs[i].fate == BROKEN);
	}
	handover_free(handover);
	loop_fini(&loop);
}

void jobs_end(void)
{
	now_us = 0;
	require(lowest_free_fd() == fd_before);
}

void job_own(uint64_t id)
{
	struct job *job = &jobs[id - 1];

	require(!job->owned);
	job->owned = true;
	require(job->fate != TAKEN_BACK && job->fate != FAILED);
}
