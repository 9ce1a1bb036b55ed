/* What a session adds to the counters, from accept to the end. */
#pragma once
#include "session.h"

void account_accepted(struct session *session, struct counter *listener);

/* It comes from another worker, that has counted it: it is open here now. */
void account_arrived(struct session *session);

/* It goes to another worker. */
void account_left(struct session *session);

/* It was decided, now, for this service. */
void account_decided(struct session *session, uint32_t service);

/* It falls back to this one. */
void account_fallback(struct session *session, uint32_t service);

/* Of one that is delivered by a connection: it stands, and the first byte came back. */
void account_connected(struct session *session);
void account_answered(struct session *session);

/* The service could not be had. */
void account_failed(struct session *session);

void account_end(struct session *session, enum session_end end);
