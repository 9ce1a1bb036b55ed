/* A connection until it is decided:
 *
 *     the proxy's header, where one is due -> peek, ask the decider, an identifier, show a banner -> connection_decided()
 *
 * Nothing is consumed but that header and, where it is answered here, TCPMUX's line. Refuses to wait past the deadline, which is
 * counted from accept and which bytes do not renew. Owns nothing but what the phase keeps with the connection. */
#include "undecided.h"
#include "banner.h"
#include "connection.h"
#include "examine.h"
#include "greeting.h"
#include "identify.h"
#include "proxied.h"
#include "shed.h"
#include "worker.h"
#include <string.h>
#include <sys/socket.h>

/* A deadline that comes while nothing may be decided comes again. */
#define HELD_US 20000

static void undecided_examine(struct connection *connection, bool last);

/* ---- announced by a proxy ------------------------------------------------------------------------------------------- */

static const struct listener_policy *undecided_listener(const struct connection *connection)
{
	return &connection->worker->policy->listeners[connection->decider];
}

/* Of the phase, and counted from accept in each. Where no header need come, nobody is waited for any longer for one. */
static int undecided_start_deadline(struct connection *connection)
{
	const struct policy *policy = connection->worker->policy;
	const struct listener_policy *listener = undecided_listener(connection);
	uint64_t patience_us = policy->decide_timeout_us; /* 0: wait for ever */

	if (!connection->was_silent && listener->banner_service != SERVICE_NONE)
		patience_us = policy->banner_timeout_us;
	if (connection->phase == PHASE_PROXIED &&
		(!listener->plain_absent || !patience_us || patience_us > PROXIED_DEADLINE_US))
		patience_us = PROXIED_DEADLINE_US;
	loop_timer_stop(&connection->worker->loop, &connection->deadline);
	return patience_us
		? loop_timer(&connection->worker->loop, &connection->deadline, connection->accepted_us + patience_us)
		: 0;
}

static void undecided_header_failed(struct connection *connection, const char *how)
{
	connection->refused = how;
	connection_end(connection, END_PROXY_HEADER);
}

/* The header is gone from the socket, or none is waited for any more: from here on it is a connection like any other, of the
 * client that was named. */
static void undecided_announced(struct connection *connection)
{
	connection->phase = PHASE_DECIDING;
	if (undecided_start_deadline(connection) < 0) {
		connection_end(connection, END_NO_MEMORY);
		return;
	}
	shed_enter(connection);
	if (connection->phase == PHASE_DECIDING)
		undecided_examine(connection, false);
}

static void undecided_take_header(struct connection *connection)
{
	switch (proxied_take(connection)) {
	case PROXIED_WAIT:
		break;
	case PROXIED_TAKEN:
	case PROXIED_ABSENT:
		undecided_announced(connection);
		break;
	case PROXIED_BROKEN:
		connection_end(connection, END_PROXY_HEADER);
		break;
	case PROXIED_GONE:
		connection_end(connection, END_CLIENT_GONE);
		break;
	case PROXIED_RESET:
		connection_end(connection, END_CLIENT_RESET);
		break;
	case PROXIED_NO_MEMORY:
		connection_end(connection, END_NO_MEMORY);
		break;
	}
}

/* ---- examined ---------------------------------------------------------------------------------------------------- */

/* A name that no service has, where services are asked for by name: HELP, or no. */
static bool undecided_answer_tcpmux(struct connection *connection)
{
	const struct policy *policy = connection->worker->policy;
	const struct listener_policy *listener = undecided_listener(connection);
	const struct finding *name = &connection->worker->findings->attribute[ATTRIBUTE_SERVICE];
	int fd = connection_socket(connection);

	if (!greeting_is_spoken(policy) || !name->count)
		return false;
	bool help = name->value[0].len == 4 && memcmp(name->value[0].at, "help", 4) == 0;
	if ((!help && listener->on_unknown != SERVICE_NONE) || greeting_take_line(fd) < 0)
		return false;
	if (help)
		greeting_help(fd, policy);
	else
		greeting_refuse(fd, "no such service");
	return true;
}

static uint64_t undecided_due_us(const struct connection *connection)
{
	uint64_t decide_us = connection->worker->policy->decide_timeout_us; /* 0: wait for ever */
	return decide_us ? connection->accepted_us + decide_us : UINT64_MAX;
}

/* From the first bytes on, what is searched for in them may take so long, and what a client says only when it has heard the server
 * may be waited for so long. */
static void undecided_limit_search(struct connection *connection)
{
	struct loop *loop = &connection->worker->loop;
	uint64_t search_us = connection->worker->policy->search_timeout_us;

	if (connection->client_waits && (!search_us || search_us > CLIENT_WAITS_US))
		search_us = CLIENT_WAITS_US;
	if (connection->search != SEARCH_DUE || !search_us)
		return;
	connection->search = SEARCH_ON;
	if (loop->now_us + search_us >= undecided_due_us(connection) ||
		loop_timer(loop, &connection->deadline, loop->now_us + search_us) < 0)
		connection->search = SEARCH_NONE; /* the deadline comes first */
}

/* False: it was the deadline of the decision. */
static bool undecided_search_ends(struct connection *connection)
{
	uint64_t due_us = undecided_due_us(connection);

	if (connection->search != SEARCH_ON)
		return false;
	connection->search = SEARCH_OVER;
	if (due_us != UINT64_MAX)
		loop_timer(&connection->worker->loop, &connection->deadline, due_us);
	return true;
}

/* What an answer to a banner can mean. Whatever is nobody else's is for who said it. */
static void undecided_examine_answer(struct connection *connection, bool last)
{
	uint32_t service, protocol;

	switch (examine(connection, last, &service, &protocol)) {
	case EXAMINED_WAIT:
		break;
	case EXAMINED_SERVICE:
		if (service == connection->banner->service) {
			connection->protocol = protocol;
			connection_stay(connection);
			break;
		}
		connection->skips_banner = true;
		connection->skipped = connection->banner->kind;
		connection_decided(connection, service, protocol);
		break;
	case EXAMINED_UNKNOWN:
	case EXAMINED_SILENT:
	case EXAMINED_GONE:
		connection_stay(connection);
		break;
	case EXAMINED_RESET:
		connection_end(connection, END_CLIENT_RESET);
		break;
	}
}

void undecided_bannered(struct connection *connection)
{
	undecided_examine_answer(connection, false);
}

/* Looks at what has come. `last`: the deadline is here. */
static void undecided_examine(struct connection *connection, bool last)
{
	const struct listener_policy *listener = undecided_listener(connection);
	uint32_t service, protocol;

	if (connection->banner && connection->banner->shown) {
		if (connection->banner->known)
			undecided_examine_answer(connection, last);
		else if (last)
			connection_stay(connection);
		return;
	}
	switch (examine(connection, last, &service, &protocol)) {
	case EXAMINED_WAIT:
		undecided_limit_search(connection);
		break;
	case EXAMINED_SERVICE:
		connection_decided(connection, service, protocol);
		break;
	case EXAMINED_UNKNOWN:
		if (undecided_answer_tcpmux(connection))
			connection_end(connection, END_NO_SERVICE);
		else
			connection_decided(connection, listener->on_unknown, PROTOCOL_NONE);
		break;
	case EXAMINED_SILENT:
		connection_decided(connection, listener->on_silence, PROTOCOL_NONE);
		break;
	case EXAMINED_GONE:
		connection_end(connection, END_CLIENT_GONE);
		break;
	case EXAMINED_RESET:
		connection_end(connection, END_CLIENT_RESET);
		break;
	}
}

/* An identifier was asked; whatever it said, the evidence is looked at once more. */
void undecided_identified(void *context, uint32_t protocol, bool more_could_help)
{
	struct connection *connection = context;

	connection->identification = NULL;
	connection->named = protocol;
	if (!more_could_help)
		connection->asked = UINT32_MAX;
	if (!connection->worker->held)
		undecided_examine(connection, false);
}

void undecided_ready(struct connection *connection, bool readable)
{
	if (!readable || connection->worker->held)
		return;
	if (connection->phase == PHASE_PROXIED)
		undecided_take_header(connection);
	else
		undecided_examine(connection, false);
}

/* Time to show a silent client a banner, or for good. */
static void undecided_deciding_timer(struct connection *connection)
{
	const struct worker *worker = connection->worker;
	uint64_t decide_us = worker->policy->decide_timeout_us;
	uint8_t byte;

	if (undecided_search_ends(connection)) {
		undecided_examine(connection, false);
		return;
	}
	if (connection->was_silent || undecided_listener(connection)->banner_service == SERVICE_NONE) {
		undecided_examine(connection, true);
		return;
	}
	connection->was_silent = true;
	if (decide_us)
		loop_timer(&connection->worker->loop, &connection->deadline, connection->accepted_us + decide_us);
	if (recv(connection_socket(connection), &byte, 1, MSG_PEEK) < 0)
		banner_begin(connection);
}

void undecided_out_of_time(struct connection *connection)
{
	struct loop *loop = &connection->worker->loop;

	if (connection->worker->held)
		loop_timer(loop, &connection->deadline, loop->now_us + HELD_US);
	else if (connection->phase == PHASE_PROXIED && undecided_listener(connection)->plain_absent)
		undecided_announced(connection);
	else if (connection->phase == PHASE_PROXIED)
		undecided_header_failed(connection, "late");
	else
		undecided_deciding_timer(connection);
}

/* Where the kernel waits for the first bytes, they are there, and most clients need no watching until they are decided. */
static void undecided_enter(struct connection *connection)
{
	shed_enter(connection);
	if (connection_is_undecided(connection) && undecided_listener(connection)->awaits_bytes)
		undecided_ready(connection, true);
	if (connection_is_undecided(connection))
		connection_watch(connection);
}

void undecided_begin(struct connection *connection, enum proxied_by by)
{
	connection->phase = by == PROXIED_BY_TRUSTED ? PHASE_PROXIED : PHASE_DECIDING;
	if (by == PROXIED_BY_STRANGER)
		undecided_header_failed(connection, "source");
	else if (undecided_start_deadline(connection) < 0)
		connection_end(connection, END_NO_MEMORY);
	else
		undecided_enter(connection);
}

void undecided_end(struct connection *connection)
{
	shed_leave(connection);
	banner_end(connection);
	identification_cancel(connection->identification);
	connection->identification = NULL;
}
