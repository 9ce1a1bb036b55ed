/* The first bytes of sessions, where the policy has them kept for people (`keep_evidence'): of those that live with the session, and of
 * the last EVIDENCE_RECENT that have ended. */
#pragma once
#include "session.h"

#define EVIDENCE_RECENT 256

/* The first bytes of a session, and who it was. */
struct kept {
	uint64_t id;
	const char *transport;
	const char *listener, *service, *protocol; /* the policy's, or in `former`; NULL: none */
	struct former *former;                     /* NULL: none */
	size_t taken;                              /* of these, that are not at the socket any more: the rest is */
	size_t len;
	uint8_t bytes[];
};

struct evidence_kept *evidence_kept_new(void); /* NULL: no memory */
void evidence_kept_free(struct evidence_kept *evidence);

/* Keeps the first bytes of a session that is decided, in place of what was kept of it but for what was taken. */
void evidence_keep(struct session *session, const uint8_t *bytes, size_t len);

/* Keeps bytes that are taken from the socket, behind those that were. */
void evidence_take(struct session *session, const uint8_t *bytes, size_t len);

/* Those bytes, to go with the session to another worker; NULL and 0: none. */
const uint8_t *evidence_kept_bytes(const struct session *session, uint32_t *ret_len);

/* Of one that lives, with the names that it has by now, and of one that is undecided what waits at its socket; NULL: nothing is kept. */
const struct kept *evidence_kept_of(struct session *session);

/* Of one that has ended; NULL: none of this number. */
const struct kept *evidence_kept_recent(const struct context *context, uint64_t id);

/* The session ends: what was kept of it goes to those that have ended. */
void evidence_kept_end(struct session *session);
