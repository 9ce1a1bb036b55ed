/* Watches a logger's control socket until it says how its start went, for READY_WAIT_US at the most. Owns nothing. */
#include "logger_wait.h"
#include "failure.h"
#include <errno.h>

#define READY_WAIT_US 5000000

static void wait_over(struct logger_wait *wait, int error)
{
	struct logger *logger = wait->logger;

	logger_wait_cancel(wait);
	if (error < 0)
		logger_kill(logger);
	wait->over(wait, error);
}

static void wait_ready(struct watch *watch, uint32_t events)
{
	struct logger_wait *wait = container_of(watch, struct logger_wait, watch);
	int error = logger_started(wait->logger);

	if (error != -EAGAIN)
		wait_over(wait, error);
}

static void wait_out_of_time(struct timer *timer)
{
	struct logger_wait *wait = container_of(timer, struct logger_wait, patience);

	wait_over(wait, failure_set(-ETIMEDOUT, "the logger does not start"));
}

void logger_wait_init(struct logger_wait *wait, struct loop *loop, void (*over)(struct logger_wait *wait, int error))
{
	*wait = (struct logger_wait){
		.loop = loop,
		.watch = { .fd = -1, .ready = wait_ready },
		.patience = { .fired = wait_out_of_time },
		.over = over,
	};
}

int logger_wait_begin(struct logger_wait *wait, struct logger *logger)
{
	int error = loop_watch(wait->loop, &wait->watch, logger->control_fd, EPOLLIN);

	if (error == 0)
		error = loop_timer(wait->loop, &wait->patience, wait->loop->now_us + READY_WAIT_US);
	if (error < 0)
		loop_unwatch(wait->loop, &wait->watch);
	else
		wait->logger = logger;
	return error;
}

void logger_wait_cancel(struct logger_wait *wait)
{
	if (!wait->logger)
		return;
	loop_timer_stop(wait->loop, &wait->patience);
	loop_unwatch(wait->loop, &wait->watch); /* the descriptor is the logger's */
	wait->logger = NULL;
}
