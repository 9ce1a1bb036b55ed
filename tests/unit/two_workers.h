/* Two workers in one process: what they share, and a turn of the loop of each. */
#pragma once
#include "capacity.h"
#include "complaint.h"
#include "context.h"
#include "evidence.h"
#include "evidence_kept.h"
#include "migration_receive.h"
#include "migration_send.h"
#include "shared.h"
#include "undecided_registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { OLD, NEW, WORKERS };

static struct policy *policy;
static struct shared shared;
static struct context workers[WORKERS];

static inline void nothing(struct context *context)
{
}

static inline void movable(struct context *context)
{
	migration_send_wake(context->sender);
}

static inline void two_workers_policy(const char *text)
{
	struct complaints complaints = { 0 };

	policy_load_text(&policy, "test.conf", text, NULL, &complaints);
	complaints_print(&complaints, stderr);
	complaints_fini(&complaints);
	assert_non_null(policy);
	shared = NO_SHARED;
	assert_int_equal(shared_open(&shared), 0);
}

/* What only some transports need is the caller's to add. */
static inline void worker_open(struct context *context, unsigned slot, const struct transport *const *transports)
{
	*context = (struct context){
		.policy = policy,
		.shared = &shared,
		.slot = slot,
		.transports = transports,
		.undecided = undecided_registry_new(),
		.evidence = evidence_kept_new(),
		.service_counters = calloc(policy->n_services, sizeof(struct counter *)),
		.service_measures = calloc(policy->n_services, sizeof(struct measures *)),
		.findings = calloc(1, sizeof(*context->findings)),
		.peeked = malloc(EVIDENCE_MAX),
		.starved = nothing,
		.session_gone = nothing,
		.flows_moved = nothing,
		.flows_over = nothing,
		.session_movable = movable,
	};
	capacity_from(policy, 1024, &context->capacity);
	assert_int_equal(loop_init(&context->loop), 0);
	shared_begin(&shared, slot);
}

struct turn {
	struct task task;
	struct loop *loop;
};

static inline void turn_over(struct task *task)
{
	loop_stop(container_of(task, struct turn, task)->loop);
}

/* One turn, in which it does not sleep. */
static inline void worker_turn(struct context *context)
{
	struct turn turn = { .task = { .run = turn_over }, .loop = &context->loop };

	loop_defer(&context->loop, &turn.task);
	assert_int_equal(loop_run(&context->loop), 0);
	context->loop.stopping = false;
}

static inline void worker_end_sessions(struct context *context)
{
	for (struct session *one; (one = session_first(context)) && one->phase != PHASE_ENDED;) {
		one->transport->stop(one, END_SHUTDOWN);
		worker_turn(context);
	}
	assert_int_equal(context->n_sessions, 0);
}

/* Over this channel, which leads to the worker of that slot, and no other. */
static inline int migration_send_to(struct context *context, int channel, unsigned to)
{
	migration_send_add(context, channel, to);
	return migration_send_begin(context);
}

/* Without sessions. */
static inline void worker_close(struct context *context)
{
	migration_send_free(context->sender);
	migration_receive_end_all(context);
	session_free_spare(&context->spare_streams);
	undecided_registry_free(context->undecided);
	evidence_kept_free(context->evidence);
	free(context->service_counters);
	free(context->service_measures);
	free(context->findings);
	free(context->peeked);
	string_pool_fini(&context->strings);
	loop_fini(&context->loop);
}

static inline void two_workers_end(void)
{
	assert_int_equal(limits_live_all(shared.limits), 0);
	assert_int_equal(limits_undecided(shared.limits), 0);
	shared_close(&shared);
	policy_free(policy);
}
