/* Carries bytes both ways between two ends: the two sides, the clock, and how it all ends; each direction is a flow's (relay_flow.c). Knows
 * nothing of what the bytes are or who the ends are. The descriptors are the caller's until relay_close(); buffers and pipes are
 * borrowed from the worker's pool. */
#include "relay.h"
#include "fd.h"
#include "relay_flow.h"
#include "relay_pool.h"
#include <assert.h>
#include <stddef.h>
#include <string.h>

/* How long a client may still send what nobody reads: closing earlier would reset the connection, and the client would
 * lose the end of what the server said. */
#define LINGER_US 2000000

void relay_finish(struct relay *relay, enum relay_end end)
{
	if (relay->end != RELAY_RUNNING)
		return;
	relay->end = end;
	loop_timer_stop(relay->loop, &relay->idle);
	loop_defer(relay->loop, &relay->turn);
}

static void relay_check_end(struct relay *relay)
{
	if (relay->end != RELAY_RUNNING || !relay->down.told)
		return;
	if (relay->up.told && relay->up.ended) {
		relay_finish(relay, RELAY_FINISHED);
	} else if (relay->up.discard) {
		/* Nobody reads the client any more; wait for its EOF, but not for long. */
		if (!relay->lingering)
			loop_timer(relay->loop, &relay->idle, relay->loop->now_us + LINGER_US);
		relay->lingering = true;
	}
}

static void relay_run(struct relay *relay)
{
	if (relay->end == RELAY_RUNNING)
		flow_run(relay, &relay->up);
	if (relay->end == RELAY_RUNNING)
		flow_run(relay, &relay->down);
	relay_check_end(relay);
}

static void relay_turn(struct task *task)
{
	struct relay *relay = container_of(task, struct relay, turn);
	if (relay->end != RELAY_RUNNING)
		relay->done(relay, relay->end);
	else
		relay_run(relay);
}

/* It is not idle, it is held back. */
static bool relay_is_paced(const struct relay *relay)
{
	return relay->paces && (pace_is_waiting(&relay->paces->up) || pace_is_waiting(&relay->paces->down));
}

/* One timer for a relay's whole life: it looks when something last moved and goes back to sleep for the rest. */
static void relay_idle(struct timer *timer)
{
	struct relay *relay = container_of(timer, struct relay, idle);
	if (relay_is_paced(relay))
		relay->moved_us = relay->loop->now_us;
	uint64_t due_us = relay->moved_us + relay->idle_us;
	if (relay->lingering)
		relay_finish(relay, RELAY_FINISHED);
	else if (due_us <= relay->loop->now_us)
		relay_finish(relay, RELAY_IDLE);
	else
		loop_timer(relay->loop, timer, due_us);
}

/* A side that has said EOF, or that waits for the other to take what it sent, is not read: its reset shows only here. */
static bool side_was_reset(const struct relay_side *side, const struct relay_flow *from, uint32_t events)
{
	return (events & EPOLLERR) && side->kind == SIDE_SOCKET && (from->ended || from->pending || from->in_pipe);
}

static void relay_client_ready(struct watch *watch, uint32_t events)
{
	struct relay *relay = container_of(watch, struct relay, client.in);
	if (side_was_reset(&relay->client, &relay->up, events)) {
		relay_finish(relay, RELAY_CLIENT_RESET);
		return;
	}
	flow_source_events(relay, &relay->up, events);
	flow_sink_events(&relay->down, events);
	relay_run(relay);
}

static void relay_server_ready(struct watch *watch, uint32_t events)
{
	struct relay *relay = container_of(watch, struct relay, server.in);
	if (side_was_reset(&relay->server, &relay->down, events)) {
		relay_finish(relay, RELAY_SERVER_RESET);
		return;
	}
	flow_source_events(relay, &relay->down, events);
	if (relay->server.kind != SIDE_PIPES)
		flow_sink_events(&relay->up, events);
	relay_run(relay);
}

static void relay_program_input_ready(struct watch *watch, uint32_t events)
{
	struct relay *relay = container_of(watch, struct relay, server.out);
	flow_sink_events(&relay->up, events);
	if ((events & EPOLLERR) && !relay->up.told)
		flow_discard(relay, &relay->up);
	relay_run(relay);
}

void relay_preface(struct relay *relay, const uint8_t *bytes, size_t len)
{
	assert(len <= RELAY_BUFFER_SIZE);
	if (relay->preface)
		relay_pool_give_buffer(relay->pool, relay->preface);
	relay->preface = len ? relay_pool_take_buffer(relay->pool) : NULL;
	relay->preface_len = (uint32_t)len;
	if (relay->preface)
		memcpy(relay->preface, bytes, len);
}

static void relay_wire(struct relay *relay)
{
	relay->turn = (struct task){ .run = relay_turn };
	relay->idle = (struct timer){ .fired = relay_idle };
	relay->client.in.ready = relay_client_ready;
	relay->server.in.ready = relay_server_ready;
	relay->server.out.ready = relay_program_input_ready;
}

void relay_start(struct relay *relay, uint32_t client_events, uint32_t server_events)
{
	relay->up = (struct relay_flow){
		.writable = true,
		.pending = relay->preface,
		.pending_len = relay->preface_len,
		.uncounted = relay->preface_len,
	};
	relay->down = (struct relay_flow){ .writable = true };
	relay->end = RELAY_RUNNING;
	relay->lingering = false;
	relay->moved_us = relay->loop->now_us;
	relay_wire(relay);
	flow_source_events(relay, &relay->up, client_events);
	flow_source_events(relay, &relay->down, server_events);
	if ((relay->preface_len && !relay->preface) ||
		loop_timer(relay->loop, &relay->idle, relay->moved_us + relay->idle_us) < 0)
		relay_finish(relay, RELAY_NO_MEMORY);
	relay->preface = NULL;
	relay->preface_len = 0;
	relay_run(relay);
}

bool relay_is_running(const struct relay *relay)
{
	return relay->end == RELAY_RUNNING;
}

/* What waits in the sockets shows when they are watched: what must be looked at here is what was kept back, and the end. */
void relay_resume(struct relay *relay)
{
	uint64_t due_us = relay->lingering ? relay->loop->now_us + LINGER_US : relay->moved_us + relay->idle_us;

	relay->up.readable = relay->up.writable = true;
	relay->down.readable = relay->down.writable = true;
	relay->end = RELAY_RUNNING;
	flow_keep_urgent(relay, &relay->up);
	flow_keep_urgent(relay, &relay->down);
	relay_wire(relay);
	if (loop_timer(relay->loop, &relay->idle, due_us) < 0)
		relay_finish(relay, RELAY_NO_MEMORY);
	else
		loop_defer(relay->loop, &relay->turn);
}

static void side_close(struct loop *loop, struct relay_side *side, bool reset)
{
	int fd = loop_unwatch_to_close(loop, &side->in);
	if (reset && side->kind == SIDE_SOCKET)
		fd_reset(fd);
	else
		fd_close(fd);
	fd_close(loop_unwatch(loop, &side->out));
}

void relay_close(struct relay *relay, enum relay_end end)
{
	bool reset = end == RELAY_CLIENT_RESET || end == RELAY_SERVER_RESET;

	loop_timer_stop(relay->loop, &relay->idle);
	if (relay->paces) {
		pace_leave(&relay->paces->up);
		pace_leave(&relay->paces->down);
		relay_pool_give_paces(relay->pool, relay->paces);
		relay->paces = NULL;
	}
	loop_cancel(relay->loop, &relay->turn);
	flow_let_go(relay, &relay->up);
	flow_let_go(relay, &relay->down);
	side_close(relay->loop, &relay->client, reset);
	side_close(relay->loop, &relay->server, reset);
}
