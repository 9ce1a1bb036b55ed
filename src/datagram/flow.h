/* A session over UDP: what one client's address and port say to one local address and port. Evidence, decision, delivery, end. */
#pragma once
#include "admission.h"
#include "choose.h"
#include "datagram.h"
#include "datagram_id.h"
#include "flow_header.h"
#include "flow_kept.h"
#include "flow_table.h"
#include "identify.h"
#include "requester.h"
#include "session.h"
#include "socket_pool.h"
#include "transport_migration.h"

struct datagram_listener;
struct datagrams;
struct flow_handing;
struct upstream;

/* What a datagram has shown that belongs to a session which began elsewhere. */
struct flow_known {
	enum affinity_kind by; /* NONE: nothing; the rules alone have decided */
	enum affinity_kind speaks;
	uint64_t backend;      /* that the session had, as it is kept (affinity.h) */
	struct datagram_id id; /* where it is known by one */
};

/* What a flow has until its backend has answered, or another worker has it: memory of its own, since many flows live long after that. */
struct flow_opening {
	struct flow *flow;
	struct flow_kept
		kept;      /* the first datagrams: until it is delivered, or while another backend may yet get them */
	uint32_t n_looked; /* of these: that were looked at */
	uint32_t n_counted;                    /* of these: that are in datagrams_up */
	uint32_t named;                        /* by an identifier; PROTOCOL_NONE */
	bool was_asked;                        /* the identifiers have been asked */
	struct identification *identification; /* NULL: no identifier is being asked */
	struct admission admission;

	struct flow_known known;
	struct choice choice;             /* of its backend */
	struct socket_pool_waiter supply; /* of a transparent service: for a socket */
	uint64_t connection_id;           /* a hash of the one that its first datagram has, as QUIC has it; 0: none */
	bool known_was_tried;             /* the backend that the session had */
	bool is_full;                     /* all backends are: it waits */
	bool refused;                     /* by some backend */
	bool keeps;                       /* another backend may yet get what is kept */
	uint64_t connect_due_us;          /* so long it waits for the answer of a name, or a socket */

	/* flow_forward.c */
	bool came_back;        /* the kernel had no rules for it, once */
	struct request asking; /* the master for a socket */
	uint64_t forwarded_us; /* since when it sends */
	uint64_t emptied;      /* how often the listener's socket had been read empty by then */
};

struct flow {
	struct session session; /* first: a session of this transport is the flow itself */
	struct flow_place place;
	struct datagrams *datagrams;
	struct datagram_listener *listener; /* through whose socket answers go */
	struct task burial;                 /* frees it after the loop's turn */

	struct flow_opening *opening; /* NULL: its backend has answered, or another worker chose it */
	struct flow_handing *handing; /* to a receiver; NULL: it is not going there */
	struct upstream *upstream;    /* to the backend; NULL: none yet */
	struct flow_header *header;   /* in front of what goes there; NULL: none, or none any more */
	size_t backend;               /* that it goes to, of the service's */

	enum affinity_kind known_by; /* what has shown that it belongs to a session which began elsewhere; NONE */
	enum affinity_kind speaks;   /* of which protocol its ids are; NONE: it has none */
	struct datagram_id id;       /* that its backend has said last */
	bool whole;                  /* its datagrams are not to be fragmented */
	bool failed;                 /* its service was counted as failing */
	uint64_t backend_hash;       /* affinity_backend() of where it is connected to */
	uint64_t refused_us;         /* when the network began to say that nobody is there; 0: it does not */
	enum { FORWARDING_NO, FORWARDING_ASKS, FORWARDING_SENDS } forwarding;

	uint64_t flow_timeout_us, answer_timeout_us; /* of the service, with */
	uint32_t answers;
	uint64_t spoken_us, answered_us; /* when the client, and the backend, were heard last; 0: never */
	uint64_t datagrams_up, datagrams_down, bytes_up, bytes_down;

	/* In the batch that is being read: its datagrams, of which each names the next. */
	struct flow *next_touched;
	uint32_t first, last;
	bool touched;

	bool is_placed; /* in the table */
};
_Static_assert(
	sizeof(struct flow) <= 728, "thousands of flows live: what one needs for a moment is in struct flow_opening");

/* Of somebody that no flow knows; NULL where nobody wants it: it was dropped, and counted. The datagram is not taken yet. */
struct flow *flow_new(struct datagram_listener *listener, const struct datagram *datagram);

/* More of its client. False: it is relayed, and the caller sends what is now in the datagram. */
bool flow_keep(struct flow *flow, struct datagram *datagram);

/* Sends these to the backend of one that is relayed; none has a `to`. */
void flow_send_up(struct flow *flow, const struct datagram_out *list, size_t n);

/* Something is there, or was reported. */
void flow_upstream_ready(struct flow *flow);

struct flow *flow_of(struct session *session);
void flow_end(struct flow *flow, enum session_end end);

/* ---- within the room ---- */

/* flow_relay.c: to its service, which has admitted it. What comes of it: the phase is PHASE_RELAYING, or flow_undelivered() or flow_end()
 * was called. */
void flow_deliver(struct flow *flow);

/* For another worker to decide anew. */
void flow_undecide(struct flow *flow);

/* -errno: its service cannot have it; the fallback may. */
void flow_undelivered(struct flow *flow, int error);

/* One that is relayed: when it is over, and its end where it is. */
uint64_t flow_due_us(const struct session *session);
void flow_look_whether_idle(struct session *session);
void flow_finish(struct flow *flow); /* what holds for it when it is over has changed */
/* It waits for the answer of a name. */
uint64_t flow_retry_us(const struct session *session);
void flow_retry(struct session *session);

/* flow_affinity.c */
int flow_affinity_init(struct datagrams *datagrams); /* 0 or -ENOMEM */
enum affinity_kind flow_affinity_kind(const struct policy *policy, uint32_t protocol);
extern const char *const affinity_kind_names[AFFINITY_KINDS]; /* for the log; NULL: nothing was known */
/* Where the client's datagram belongs that makes a flow. `service' is what the rules say: it stays, and only its backend may be known; or
 * SERVICE_NONE, and becomes where the datagram goes, on_unknown's service at last, with `protocol'. */
void flow_recall(const struct datagram_listener *listener, const struct flow_key *key, const uint8_t *bytes,
	size_t len, uint32_t *service, uint32_t *protocol, struct flow_known *ret);
void flow_connected(struct flow *flow, const struct address *to);
/* What its backend has sent, of a flow that `speaks'. */
void flow_learn(struct flow *flow, const struct datagram *answer);
/* It is there: known from now on by its id and its client's address, if the client has said something after the first answer. */
void flow_note(struct flow *flow);

/* What its service has admitted and what came with it goes through the socket that it has now. */
void flow_begin_relay(struct flow *flow);

/* To its service again, which could not have it a moment ago. */
void flow_try(struct flow *flow, int error);

/* flow_forward.c: -EINPROGRESS: the kernel is to forward it; another -errno: it cannot. */
int flow_forward(struct flow *flow);
void flow_forward_sent(struct flow *flow, const struct datagram_sent *sent);
uint64_t flow_forward_due_us(const struct flow *flow);
void flow_forward_look(struct flow *flow); /* whether all is sent; ends it */
/* A datagram with a mark. True: it is one that usher itself has sent for the kernel to forward. `flow` may be NULL. */
bool flow_came_back(const struct datagrams *datagrams, struct flow *flow, uint32_t mark);
void flow_bury_answered(struct flow *flow); /* it ended before it was answered */

/* flow_migration.c */
extern const struct transport_migration flow_migration;
struct flow *flow_alloc(struct datagrams *datagrams); /* NULL: no memory */
/* What a flow of this phase needs beside. 0 or -ENOMEM. */
int flow_open(struct flow *flow);
void flow_opened(struct flow *flow);             /* its backend has answered: without that from now on */
void flow_leave(struct flow *flow);              /* another worker has it: all is given back, nothing ends */
void flow_arrived(struct flow *flow, int error); /* it goes on here, or with an -errno ends */

/* The identifiers have answered (identify.h). */
void flow_identified(void *context, uint32_t protocol, bool more_could_help);
