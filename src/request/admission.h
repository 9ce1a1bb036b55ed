/* Whether a service takes a session that is decided for it: its addresses and hours, then its limits, then its access program. How that went
 * comes by the transport's admitted(), perhaps before admission_begin() returns. */
#pragma once
#include "requester.h"
#include "session.h"

/* A question to an access program, in the session's transport. It stays in memory until admitted() was called. */
struct admission {
	struct request request;
	struct session *session;
	struct admission *next; /* among those whose programs run */
};

void admission_begin(struct admission *admission, struct session *session);

/* Its service cannot have it (`error`, -errno): it gives back what it was charged there, and is admitted by the one behind it. */
void admission_fall_back(struct admission *admission, struct session *session, uint32_t fallback, int error);

/* The rules of access and the limits alone: NULL, and the session's ticket has what was charged; or the rule that forbids it. */
const char *admission_judge(struct session *session, const struct service *service);

/* An access program has decided; harmless where nobody waits for that. */
void admission_answered(struct context *context, uint64_t number, bool admits);

/* No more answers will come: all that wait for one are refused. */
void admission_orphaned(struct context *context);

/* PHASE_ASKING: how long it may take, and what happens when that is over. */
uint64_t admission_due_us(const struct session *session);
void admission_out_of_time(struct session *session);
