/* Who a proxy in front says that its client is: the PROXY header (proxy_header.h) is taken off the stream
 * before anything else of it is looked at, and one goes first to a backend that wants it. */
#pragma once
#include "session.h"

struct stream;
struct listener_policy;
struct target;

/* How long the header may take from accept on: time for a segment to be lost and sent again (section 2 of the
 * specification). */
#define PROXIED_DEADLINE_US 5000000

enum proxied_by { PROXIED_BY_NOBODY, PROXIED_BY_TRUSTED, PROXIED_BY_STRANGER };

/* Nobody: the connection is as it seems. Trusted: it begins with a header, must or may. Stranger: it is not served. */
enum proxied_by proxied_by(const struct listener_policy *listener, const struct address *peer);

enum proxied_taken {
	PROXIED_WAIT, /* more may come */
	PROXIED_TAKEN,
	PROXIED_ABSENT, /* there is none, and need not be */
	PROXIED_BROKEN, /* session.refused says how */
	PROXIED_GONE,
	PROXIED_RESET,
	PROXIED_NO_MEMORY,
};

/* Looks whether the header is there; consumes all of it and nothing behind it, or nothing. */
enum proxied_taken proxied_take(struct stream *stream);

/* The address that the client connected to. len 0: it cannot be known. */
struct address proxied_local(const struct stream *stream);

/* Has this backend something to hear before the client's first bytes? */
bool proxied_announces(const struct stream *stream, const struct target *target);

/* The backend is connected to: where it wants a header it gets one, before anything else. What it does not take at
 * once goes with the relay. `flags`: MSG_MORE where the client's first bytes follow, so that both make one packet. */
void proxied_announce(struct stream *stream, const struct target *target, int flags);
