/* A stream as a session: what others ask of it, and what each of its phases may take. */
#include "delivery.h"
#include "proxied.h"
#include "stream.h"
#include "undecided.h"
#include <stddef.h>

/* ---- phases ---- */

/* A program is started by the master, which answers; a relay has a clock of its own. */
static const struct session_deadline deadlines[SESSION_PHASES] = {
	[PHASE_PROXIED] = { undecided_header_due_us, undecided_header_out_of_time },
	[PHASE_DECIDING] = { undecided_due_us, undecided_out_of_time },
	[PHASE_ASKING] = { admission_due_us, admission_out_of_time },
	[PHASE_CONNECTING] = { delivery_due_us, delivery_connect_out_of_time },
	[PHASE_TARPIT] = { delivery_tarpit_due_us, delivery_tarpit_over },
	[PHASE_HANDING_OVER] = { delivery_due_us, delivery_hand_over_out_of_time },
};

/* ---- as a session ---- */

static void transport_end(struct session *session, enum session_end end)
{
	stream_end(stream_of(session), end);
}

static void transport_stop(struct session *session, enum session_end end)
{
	stream_stop(stream_of(session), end);
}

static void transport_look(struct session *session)
{
	undecided_ready(stream_of(session), true);
}

static ssize_t transport_peek(struct session *session)
{
	bool unused;
	return stream_peek(stream_of(session), EVIDENCE_MAX, &unused);
}

static void transport_progress(const struct session *session, struct session_progress *ret)
{
	const struct stream *stream = container_of(session, struct stream, session);

	*ret = (struct session_progress){ .backend = SESSION_NO_BACKEND };
	if (session->phase == PHASE_HANDING_OVER)
		ret->n_sent = stream->handing.request.n_sent;
	if (session->phase == PHASE_RELAYING) {
		ret->moved_us = stream->relay.moved_us;
		ret->bytes_up = stream->relay.up.bytes;
		ret->bytes_down = stream->relay.down.bytes;
	}
	if ((session->phase == PHASE_RELAYING || session->phase == PHASE_CONNECTING) && !session->former &&
		session_service(session)->target.delivery == DELIVERY_CONNECT)
		ret->backend = stream->dial.backend;
}

static void transport_local(const struct session *session, struct address *ret)
{
	*ret = proxied_local(container_of(session, struct stream, session));
}

static void transport_admitted(struct session *session, const char *rule)
{
	if (rule)
		stream_refuse(stream_of(session), rule);
	else
		delivery_begin(stream_of(session));
}

const struct transport stream_transport = {
	.name = "tcp",
	.kind = TRANSPORT_STREAM,
	.deadlines = deadlines,
	.end = transport_end,
	.stop = transport_stop,
	.look = transport_look,
	.peek = transport_peek,
	.progress = transport_progress,
	.local = transport_local,
	.admitted = transport_admitted,
	.migration = &stream_migration,
};
