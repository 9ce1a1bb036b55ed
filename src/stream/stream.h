/* A session over TCP or a UNIX socket: evidence, decision, delivery, end. */
#pragma once
#include "admission.h"
#include "dial.h"
#include "facts.h"
#include "handover.h"
#include "relay.h"
#include "server_banner.h"
#include "session.h"
#include "starttls.h"
#include <stdbool.h>

struct banner;
struct identification;
struct listener;

/* For what is searched for in the client's bytes: whether its time runs. */
enum stream_search { SEARCH_NONE, SEARCH_DUE, SEARCH_ON, SEARCH_OVER };

struct stream {
	struct session session; /* first: a session of this transport is the stream itself */
	uint32_t named;         /* by an identifier; PROTOCOL_NONE */
	uint32_t asked;         /* bytes that the identifiers have seen; UINT32_MAX: more would not help */
	uint32_t client_events; /* all that were seen: edges are not repeated */
	enum stream_search search;
	bool client_waits;      /* as the last look found */
	uint32_t server_events; /* likewise, where its banner is skipped */
	bool dialled;           /* the backend is connected to */
	struct task burial;     /* frees it after the loop's turn */
	struct banner *banner;  /* that a silent client is shown while it is being told apart; NULL */
	bool was_silent;        /* and has had its chance of one */
	bool skips_banner;      /* the client has seen one of this kind: the backend's own is left out */
	enum server_banner skipped;
	struct starttls
		*starttls; /* it has asked for TLS within a protocol, and its server was not told so yet; NULL */
	bool owes_reply;   /* TCPMUX: its line was taken and not answered yet */

	struct relay relay; /* relay.client.in: the client from accept on, watched where it is waited for */
	union {
		struct dial dial;
		struct {
			struct handover_request request;
			uint64_t due_us;
			struct facts facts;
			struct address local;
		} handing;
		struct admission admission;
		struct request spawning;               /* of its program */
		struct identification *identification; /* while deciding; NULL: no identifier is being asked */
	};
};

extern const struct transport stream_transport;
extern const struct transport_migration stream_migration; /* of that */

int stream_socket(const struct stream *stream); /* the client's */

/* As peek(), into the worker's buffer. */
ssize_t stream_peek(struct stream *stream, size_t size, bool *ret_is_cut);

/* The answer that TCPMUX owes to its client, where it does: what is wrong, or with NULL nothing. */
void stream_reply(struct stream *stream, const char *why);

/* From now on its client's events come, where they did not before. False: they cannot, and it has ended. */
bool stream_watch(struct stream *stream);

/* The stream that a session of this transport is. */
struct stream *stream_of(struct session *session);

/* Takes over `fd`, closes it on failure, and the listener's place among the limits. */
void stream_new(struct context *context, const struct listener *listener, int fd, const struct address *client,
	uint32_t listener_place);

/* For inetd: the one connection that the process was started with. */
void stream_adopt(struct context *context, int fd, const struct address *client);

/* From another worker, in this phase: one that is not watched yet, for stream_migration.c to fill; NULL: no memory. Then how that went,
 * 0 or -errno, and it goes on, or ends. */
struct stream *stream_arrive(struct context *context, enum session_phase phase);
void stream_arrived(struct stream *stream, int error);

/* It goes to another worker, which has its descriptors already: all is given back, nothing ends. */
void stream_leave(struct stream *stream);

/* ---- what comes back up, to stream_way.c ---- */

/* undecided.c: it is for this service, by that protocol (SERVICE_NONE: for nobody; PROTOCOL_NONE: by none). */
void stream_decided(struct stream *stream, uint32_t service, uint32_t protocol);

/* It was shown a banner, and there is nobody else whom it could have come for: its backend is connected to already. */
void stream_stay(struct stream *stream);

/* delivery.c: its server is at the other side of the relay, which has seen these events there. */
void stream_delivered(struct stream *stream, uint32_t server_events);

/* -errno: its service cannot have it; the fallback may. */
void stream_undelivered(struct stream *stream, int error);

/* A rule of access, by its name, forbids it. */
void stream_refuse(struct stream *stream, const char *rule);

/* Once; gives everything back. */
void stream_end(struct stream *stream, enum session_end end);

/* Ends it now, whatever it does, unless a program is being started for it. */
void stream_stop(struct stream *stream, enum session_end end);
