/* Evidence for people. Refuses to keep more of a session than the policy says, and of more than EVIDENCE_RECENT that have ended. Owns what
 * it keeps of those. */
#include "evidence_kept.h"
#include "former.h"
#include <stdlib.h>
#include <string.h>

struct evidence_kept {
	struct kept *recent[EVIDENCE_RECENT];
	uint64_t n;
};

struct evidence_kept *evidence_kept_new(void)
{
	return calloc(1, sizeof(struct evidence_kept));
}

static void kept_free(struct kept *kept)
{
	if (kept)
		free(kept->former);
	free(kept);
}

void evidence_kept_free(struct evidence_kept *evidence)
{
	for (size_t i = 0; evidence && i < EVIDENCE_RECENT; i++)
		kept_free(evidence->recent[i]);
	free(evidence);
}

/* Behind what was taken before. */
static struct kept *kept_new(const struct session *session, const uint8_t *bytes, size_t len)
{
	const struct kept *old = session->kept;
	size_t taken = old ? old->taken : 0, room = session->context->policy->keep_evidence - taken;
	size_t more = len < room ? len : room;
	struct kept *kept = malloc(sizeof(*kept) + taken + more);

	if (!kept)
		return NULL;
	*kept = (struct kept){
		.id = session->id,
		.transport = session->transport->name,
		.listener = session->listener,
		.taken = taken,
		.len = taken + more,
	};
	if (taken)
		memcpy(kept->bytes, old->bytes, taken);
	if (more)
		memcpy(kept->bytes + taken, bytes, more);
	return kept;
}

void evidence_keep(struct session *session, const uint8_t *bytes, size_t len)
{
	if (!session->context->evidence)
		return;
	struct kept *kept = kept_new(session, bytes, len);
	free(session->kept);
	session->kept = kept;
}

void evidence_take(struct session *session, const uint8_t *bytes, size_t len)
{
	evidence_keep(session, bytes, len);
	if (session->kept)
		session->kept->taken = session->kept->len;
}

const uint8_t *evidence_kept_bytes(const struct session *session, uint32_t *ret_len)
{
	*ret_len = session->kept ? (uint32_t)session->kept->len : 0;
	return session->kept ? session->kept->bytes : NULL;
}

const struct kept *evidence_kept_of(struct session *session)
{
	if (session->phase == PHASE_DECIDING) {
		ssize_t n = session->transport->peek(session);
		evidence_keep(session, session->context->peeked, n > 0 ? (size_t)n : 0);
	}
	if (!session->kept)
		return NULL;
	session->kept->service = session_service_name(session);
	session->kept->protocol = session_protocol(session);
	return session->kept;
}

const struct kept *evidence_kept_recent(const struct context *context, uint64_t id)
{
	const struct evidence_kept *evidence = context->evidence;

	for (size_t i = 0; evidence && i < EVIDENCE_RECENT; i++)
		if (evidence->recent[i] && evidence->recent[i]->id == id)
			return evidence->recent[i];
	return NULL;
}

void evidence_kept_end(struct session *session)
{
	struct evidence_kept *evidence = session->context->evidence;
	struct kept *kept = session->kept;

	if (!kept)
		return;
	session->kept = NULL;
	kept->service = session_service_name(session);
	kept->protocol = session_protocol(session);
	kept->former = session->former;
	session->former = NULL;
	struct kept **place = &evidence->recent[evidence->n++ % EVIDENCE_RECENT];
	kept_free(*place);
	*place = kept;
}
