/* One look at a stream's evidence. Consumes nothing: what is peeked stays in the socket, and the worker's one buffer is free again
 * after the look. Decides nothing about delivery. */
#include "examine.h"
#include "banner.h"
#include "decider.h"
#include "evidence_kept.h"
#include "identify.h"
#include "session_names.h"
#include "stream.h"
#include <errno.h>
#include <sys/socket.h>

/* Only with bytes that no identifier has seen yet, or with the news that there will be no more; one question at a time. */
static void ask_identifiers(
	struct stream *stream, const struct evidence *evidence, bool final, identified_function *identified)
{
	if (stream->identification || (evidence->len <= stream->asked && !final))
		return;
	stream->asked = final ? UINT32_MAX : (uint32_t)evidence->len;
	stream->identification = identify(stream->session.context->identifiers, evidence, final, identified, stream);
	if (!stream->identification)
		stream->asked = UINT32_MAX;
}

/* They have not answered, or could answer otherwise with more bytes. */
static bool may_be_named(const struct stream *stream)
{
	return stream->session.context->identifiers && stream->named == PROTOCOL_NONE &&
		(stream->identification || stream->asked != UINT32_MAX);
}

static enum examined conclude(
	const struct outcome *outcome, bool settled, bool closed, uint32_t *ret_service, uint32_t *ret_protocol)
{
	*ret_service = outcome->yes;
	*ret_protocol = outcome->protocol;
	if (outcome->yes != SERVICE_NONE)
		return EXAMINED_SERVICE;
	if (settled)
		return EXAMINED_UNKNOWN;
	return closed ? EXAMINED_GONE : EXAMINED_SILENT;
}

/* Who was shown a banner is somebody's who says the like; who has asked for TLS, somebody's who is named in the hello. */
static const struct decider *examine_decider(const struct stream *stream)
{
	const struct policy *policy = stream->session.context->policy;
	const struct banner *banner = stream->banner;

	if (stream->starttls)
		return policy->listeners[stream->session.decider].starttls_deciders[stream->starttls->kind];
	if (banner && banner->known)
		return policy->listeners[stream->session.decider].banner_deciders[banner->kind];
	return policy->deciders[stream->session.decider];
}

enum examined examine(struct stream *stream, bool last, identified_function *identified, uint32_t *ret_service,
	uint32_t *ret_protocol)
{
	struct context *context = stream->session.context;
	bool is_cut;
	ssize_t n = stream_peek(stream, EVIDENCE_MAX, &is_cut);

	if (n == 0)
		return EXAMINED_GONE;
	if (n < 0 && n != -EAGAIN && n != -EINTR)
		return EXAMINED_RESET;
	if (n < 0)
		return last ? EXAMINED_SILENT : EXAMINED_WAIT;

	stream->session.has_spoken = true;
	struct evidence evidence = {
		.bytes = context->peeked,
		.len = (size_t)n,
		.greeting = stream->banner && stream->banner->known ? 1 + (uint8_t)stream->banner->kind : 0,
		.serial = stream->session.id,
		.named = stream->named + 1, /* none is 0 */
		.may_be_named = may_be_named(stream),
		.search_over = stream->search == SEARCH_OVER,
	};
	if (stream->search == SEARCH_NONE)
		stream->search = SEARCH_DUE;
	struct outcome outcome;
	decider_decide(examine_decider(stream), &evidence, context->findings, context->scratch, &outcome);

	stream->client_waits = context->findings->client_waits;
	bool settled = outcome.more == SERVICE_NONE;
	bool full = n == EVIDENCE_MAX || is_cut;
	bool closed = stream->client_events & (EPOLLRDHUP | EPOLLHUP);
	if (!settled && !last && outcome.ask)
		ask_identifiers(stream, &evidence, closed || full, identified);
	if (!settled && !last && (stream->identification || !(closed || full)))
		return EXAMINED_WAIT;
	session_keep_names(&stream->session, context->findings);
	evidence_keep(&stream->session, evidence.bytes, evidence.len);
	return conclude(&outcome, settled || full, closed, ret_service, ret_protocol);
}
