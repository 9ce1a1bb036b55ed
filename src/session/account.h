/* What a session adds to the counters, from accept to the end. */
#pragma once
#include "session.h"

void account_accepted(struct session *session, struct counter *listener);

/* It comes from another worker, that has counted it: it is open here now. */
void account_arrived(struct session *session);

/* It goes to another worker. */
void account_left(struct session *session);

/* It was decided for this service, or falls back to it. */
void account_service(struct session *session, uint32_t service);

/* The service could not be had. */
void account_failed(struct session *session);

void account_end(struct session *session, enum session_end end);
