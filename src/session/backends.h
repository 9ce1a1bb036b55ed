/* What a session has to do with the backends of its service: which one it gets, by what it is told apart, and that it counts there. */
#pragma once
#include "choose.h"
#include "session.h"

/* For services of this worker's policy, a chooser each and transport, made when the first client comes. */
struct chooser *backends_chooser(
	struct context *context, uint32_t service, enum transport_kind transport); /* NULL: no memory */
void backends_free(struct context *context);

/* Of what sessions have in common that are to get the same backend, as the service has it; of one that does not have that (an SNI, say),
 * its source. Where nothing is hashed, a number of its own. HASH_BY_CONNECTION_ID is the transport's: here it is the source. */
uint64_t backends_hash(const struct session *session, const struct target *target);
uint64_t backends_hash_bytes(const void *bytes, size_t len);

/* The session counts for the backend that was chosen for it, in place of the choice, until backends_release() (account.h). */
void backends_hold(struct session *session, struct choice *choice);
void backends_release(struct session *session); /* harmless where there is none */

/* What was chosen for it and is held, to be told what became of it (choose.h). False: it is not there any more, or another worker chose it. */
bool backends_choice(const struct session *session, struct choice *ret);

/* It comes from another worker, where it counted for the backend of this key. */
void backends_arrived(struct session *session, uint64_t key);
