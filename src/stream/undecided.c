/* A stream until it is decided:
 *
 *     the proxy's header, where one is due -> peek, ask the decider, an identifier, show a banner -> stream_decided()
 *
 * Nothing is consumed but that header, where they are answered here TCPMUX's line, and what asks for TLS within a protocol. Refuses to wait past the deadline, which is
 * counted from accept and which bytes do not renew. Owns nothing but what the phase keeps in the stream. */
#include "undecided.h"
#include "banner.h"
#include "evidence_kept.h"
#include "examine.h"
#include "identify.h"
#include "proxied.h"
#include "shed.h"
#include "starttls_answer.h"
#include "stream.h"
#include "tcpmux_reply.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define TLS_HANDSHAKE 22 /* the first byte of a ClientHello, RFC 8446 5.1 */

/* A deadline that comes while nothing may be decided comes again. */
#define PAUSED_US 20000

static void undecided_examine(struct stream *stream, bool last);

/* An identifier was asked; whatever it said, the evidence is looked at once more. */
static void undecided_identified(void *context, uint32_t protocol, bool more_could_help)
{
	struct stream *stream = context;

	stream->identification = NULL;
	stream->named = protocol;
	if (!more_could_help)
		stream->asked = UINT32_MAX;
	if (!stream->session.context->is_paused)
		undecided_examine(stream, false);
}

/* ---- announced by a proxy ---- */

static const struct listener_policy *undecided_listener(const struct stream *stream)
{
	return &stream->session.context->policy->listeners[stream->session.decider];
}

/* Where no header need come, nobody is waited for any longer for one. */
uint64_t undecided_header_due_us(const struct session *session)
{
	const struct stream *stream = container_of(session, struct stream, session);
	uint64_t header_us = session->accepted_us + PROXIED_DEADLINE_US, due_us = undecided_due_us(session);

	return undecided_listener(stream)->plain_absent && due_us < header_us ? due_us : header_us;
}

static void undecided_header_failed(struct stream *stream, const char *how)
{
	stream->session.refused = how;
	stream_end(stream, END_PROXY_HEADER);
}

/* The header is gone from the socket, or none is waited for any more: from here on it is a connection like any other, of the
 * client that was named. */
static void undecided_announced(struct stream *stream)
{
	if (session_is_banned(&stream->session)) {
		stream_refuse(stream, "ban");
		return;
	}
	if (session_enter(&stream->session, PHASE_DECIDING) < 0) {
		stream_end(stream, END_NO_MEMORY);
		return;
	}
	shed_enter(&stream->session);
	if (stream->session.phase == PHASE_DECIDING)
		undecided_examine(stream, false);
}

static void undecided_take_header(struct stream *stream)
{
	switch (proxied_take(stream)) {
	case PROXIED_WAIT:
		break;
	case PROXIED_TAKEN:
	case PROXIED_ABSENT:
		undecided_announced(stream);
		break;
	case PROXIED_BROKEN:
		stream_end(stream, END_PROXY_HEADER);
		break;
	case PROXIED_GONE:
		stream_end(stream, END_CLIENT_GONE);
		break;
	case PROXIED_RESET:
		stream_end(stream, END_CLIENT_RESET);
		break;
	case PROXIED_NO_MEMORY:
		stream_end(stream, END_NO_MEMORY);
		break;
	}
}

/* ---- examined ---- */

/* A name that no service has, where services are asked for by name: HELP, or no. */
static bool undecided_answer_tcpmux(struct stream *stream)
{
	const struct policy *policy = stream->session.context->policy;
	const struct listener_policy *listener = undecided_listener(stream);
	const struct finding *name = &stream->session.context->findings->attribute[ATTRIBUTE_SERVICE];
	int fd = stream_socket(stream);

	if (!tcpmux_is_spoken(policy) || !name->count)
		return false;
	bool help = name->value[0].len == 4 && memcmp(name->value[0].at, "help", 4) == 0;
	if ((!help && listener->on_unknown != SERVICE_NONE) || tcpmux_take_line(fd) < 0)
		return false;
	if (help)
		tcpmux_help(fd, policy);
	else
		tcpmux_refuse(fd, "no such service");
	return true;
}

static uint64_t decision_due_us(const struct stream *stream)
{
	uint64_t decide_us = stream->session.context->policy->decide_timeout_us; /* 0: wait for ever */
	return decide_us ? stream->session.accepted_us + decide_us : UINT64_MAX;
}

/* Until it is shown a banner, where one may be shown; then until it is decided. */
uint64_t undecided_due_us(const struct session *session)
{
	const struct stream *stream = container_of(session, struct stream, session);
	const struct policy *policy = session->context->policy;

	if (!stream->was_silent && undecided_listener(stream)->banner_service != SERVICE_NONE)
		return stream->session.accepted_us + policy->banner_timeout_us;
	return decision_due_us(stream);
}

/* From the first bytes on, what is searched for in them may take so long, and what a client says only when it has heard the server
 * may be waited for so long. */
static void undecided_limit_search(struct stream *stream)
{
	struct loop *loop = &stream->session.context->loop;
	uint64_t search_us = stream->session.context->policy->search_timeout_us;

	if (stream->client_waits && (!search_us || search_us > CLIENT_WAITS_US))
		search_us = CLIENT_WAITS_US;
	if (stream->search != SEARCH_DUE || !search_us)
		return;
	stream->search = SEARCH_ON;
	if (loop->now_us + search_us >= decision_due_us(stream) ||
		loop_timer(loop, &stream->session.deadline, loop->now_us + search_us) < 0)
		stream->search = SEARCH_NONE; /* the deadline comes first */
}

/* False: it was the deadline of the decision. */
static bool undecided_search_ends(struct stream *stream)
{
	uint64_t due_us = decision_due_us(stream);

	if (stream->search != SEARCH_ON)
		return false;
	stream->search = SEARCH_OVER;
	if (due_us != UINT64_MAX)
		loop_timer(&stream->session.context->loop, &stream->session.deadline, due_us);
	return true;
}

/* What an answer to a banner can mean. Whatever is nobody else's is for who said it. */
static void undecided_examine_answer(struct stream *stream, bool last)
{
	uint32_t service, protocol;

	switch (examine(stream, last, undecided_identified, &service, &protocol)) {
	case EXAMINED_WAIT:
		break;
	case EXAMINED_SERVICE:
		if (service == stream->banner->service) {
			stream->session.protocol = protocol;
			stream_stay(stream);
			break;
		}
		stream->skips_banner = true;
		stream->skipped = stream->banner->kind;
		stream_decided(stream, service, protocol);
		break;
	case EXAMINED_UNKNOWN:
	case EXAMINED_SILENT:
	case EXAMINED_GONE:
		stream_stay(stream);
		break;
	case EXAMINED_RESET:
		stream_end(stream, END_CLIENT_RESET);
		break;
	}
}

static void undecided_bannered(struct stream *stream)
{
	undecided_examine_answer(stream, false);
}

/* ---- asked for TLS within a protocol ---- */

static void undecided_starttls_failed(struct stream *stream, const char *how)
{
	stream->session.refused = how;
	stream_end(stream, END_STARTTLS);
}

/* Both have agreed to TLS: the hello says whose it is. */
static void undecided_examine_hello(struct stream *stream, bool last)
{
	uint32_t service, unused;

	switch (examine(stream, last, undecided_identified, &service, &unused)) {
	case EXAMINED_WAIT:
		break;
	case EXAMINED_SERVICE:
		stream_decided(stream, service, starttls_protocol(stream->starttls->kind));
		break;
	case EXAMINED_UNKNOWN:
		if (stream->session.context->peeked[0] != TLS_HANDSHAKE)
			undecided_starttls_failed(stream, "plaintext");
		else
			stream_end(stream, END_NO_SERVICE);
		break;
	case EXAMINED_SILENT:
		undecided_starttls_failed(stream, "late");
		break;
	case EXAMINED_GONE:
		stream_end(stream, END_CLIENT_GONE);
		break;
	case EXAMINED_RESET:
		stream_end(stream, END_CLIENT_RESET);
		break;
	}
}

static void undecided_answer_starttls(struct stream *stream, bool last)
{
	switch (starttls_answer(stream)) {
	case ANSWERED_WAIT:
		if (last)
			undecided_starttls_failed(stream, "late");
		break;
	case ANSWERED_AGREED:
		undecided_examine_hello(stream, last);
		break;
	case ANSWERED_WRONG:
		undecided_starttls_failed(stream, "request");
		break;
	case ANSWERED_GONE:
		stream_end(stream, END_CLIENT_GONE);
		break;
	case ANSWERED_RESET:
		stream_end(stream, END_CLIENT_RESET);
		break;
	}
}

static void undecided_begin_starttls(struct stream *stream, enum starttls_kind kind)
{
	int error = starttls_answer_begin(stream, kind);

	evidence_keep(&stream->session, NULL, 0);
	if (error < 0)
		stream_end(stream, error == -ENOMEM ? END_NO_MEMORY : END_CLIENT_RESET);
	else
		undecided_answer_starttls(stream, false);
}

/* ---- whatever has come ---- */

/* `protocol` has decided for `service`; a request for TLS decides no more than that it is answered. */
static void undecided_settle(struct stream *stream, uint32_t service, uint32_t protocol)
{
	const struct policy *policy = stream->session.context->policy;
	enum starttls_kind kind =
		protocol == PROTOCOL_NONE ? STARTTLS_NONE : starttls_of_probe(policy->protocols[protocol].probe);

	if (kind == STARTTLS_NONE)
		stream_decided(stream, service, protocol);
	else
		undecided_begin_starttls(stream, kind);
}

/* Looks at what has come. `last`: the deadline is here. */
static void undecided_examine(struct stream *stream, bool last)
{
	const struct listener_policy *listener = undecided_listener(stream);
	uint32_t service, protocol;

	if (stream->starttls) {
		undecided_answer_starttls(stream, last);
		return;
	}
	if (stream->banner && stream->banner->shown) {
		if (stream->banner->known)
			undecided_examine_answer(stream, last);
		else if (last)
			stream_stay(stream);
		return;
	}
	switch (examine(stream, last, undecided_identified, &service, &protocol)) {
	case EXAMINED_WAIT:
		undecided_limit_search(stream);
		break;
	case EXAMINED_SERVICE:
		undecided_settle(stream, service, protocol);
		break;
	case EXAMINED_UNKNOWN:
		if (undecided_answer_tcpmux(stream))
			stream_end(stream, END_NO_SERVICE);
		else
			stream_decided(stream, listener->on_unknown, PROTOCOL_NONE);
		break;
	case EXAMINED_SILENT:
		stream_decided(stream, listener->on_silence, PROTOCOL_NONE);
		break;
	case EXAMINED_GONE:
		stream_end(stream, END_CLIENT_GONE);
		break;
	case EXAMINED_RESET:
		stream_end(stream, END_CLIENT_RESET);
		break;
	}
}

void undecided_ready(struct stream *stream, bool readable)
{
	if (!readable || stream->session.context->is_paused)
		return;
	if (stream->session.phase == PHASE_PROXIED)
		undecided_take_header(stream);
	else
		undecided_examine(stream, false);
}

/* Time to show a silent client a banner, or for good. */
static void undecided_deciding_timer(struct stream *stream)
{
	uint8_t byte;

	if (undecided_search_ends(stream)) {
		undecided_examine(stream, false);
		return;
	}
	if (stream->was_silent || undecided_listener(stream)->banner_service == SERVICE_NONE) {
		undecided_examine(stream, true);
		return;
	}
	stream->was_silent = true;
	session_enter(&stream->session, PHASE_DECIDING);
	if (stream->starttls || recv(stream_socket(stream), &byte, 1, MSG_PEEK) >= 0)
		return;
	enum starttls_kind greeting = undecided_listener(stream)->greeting;
	if (greeting == STARTTLS_NONE)
		banner_begin(stream, undecided_bannered);
	else
		undecided_begin_starttls(stream, greeting);
}

/* True: nothing may be decided now, and it comes again. */
static bool undecided_is_paused(struct stream *stream)
{
	struct loop *loop = &stream->session.context->loop;

	if (stream->session.context->is_paused)
		loop_timer(loop, &stream->session.deadline, loop->now_us + PAUSED_US);
	return stream->session.context->is_paused;
}

void undecided_header_out_of_time(struct session *session)
{
	struct stream *stream = stream_of(session);

	if (undecided_is_paused(stream))
		return;
	if (undecided_listener(stream)->plain_absent)
		undecided_announced(stream);
	else
		undecided_header_failed(stream, "late");
}

void undecided_out_of_time(struct session *session)
{
	if (!undecided_is_paused(stream_of(session)))
		undecided_deciding_timer(stream_of(session));
}

/* Where the kernel waits for the first bytes, they are there, and most clients need no watching until they are decided. */
static void undecided_enter(struct stream *stream)
{
	shed_enter(&stream->session);
	if (session_is_undecided(&stream->session) && undecided_listener(stream)->awaits_bytes)
		undecided_ready(stream, true);
	if (session_is_undecided(&stream->session))
		stream_watch(stream);
}

void undecided_begin(struct stream *stream, enum proxied_by by)
{
	int error = session_enter(&stream->session, by == PROXIED_BY_TRUSTED ? PHASE_PROXIED : PHASE_DECIDING);

	if (by == PROXIED_BY_STRANGER)
		undecided_header_failed(stream, "source");
	else if (by == PROXIED_BY_NOBODY && session_is_banned(&stream->session))
		stream_refuse(stream, "ban");
	else if (error < 0)
		stream_end(stream, END_NO_MEMORY);
	else
		undecided_enter(stream);
}

void undecided_end(struct stream *stream)
{
	shed_leave(&stream->session);
	banner_end(stream);
	identification_cancel(stream->identification);
	stream->identification = NULL;
}
