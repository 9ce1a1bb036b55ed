/* A session: what a client is to usher, by whatever transport it came. A transport embeds it as its first member and does what only it
 * can (struct transport). Counting, the log, limits, shedding, admission and control see this alone. */
#pragma once
#include "context.h"
#include "log.h"
#include "message.h"
#include "reasons.h"
#include "shared_limits.h"
#include "undecided_registry.h"

struct former;
struct kept;
struct transport_migration;

/* The header of a proxy that came in. The session's client is the one that it named, where it named somebody. */
struct proxied {
	struct address peer;        /* the proxy; len 0, both: the header names nobody */
	struct address destination; /* what the client had connected to */
	size_t len;
	uint8_t header[];
};

enum session_phase {
	PHASE_PROXIED, /* waits for the header of a proxy */
	PHASE_DECIDING,
	PHASE_ASKING, /* its access program */
	PHASE_CONNECTING,
	PHASE_SPAWNING,
	PHASE_HANDING_OVER,
	PHASE_RELAYING,
	PHASE_TARPIT, /* rejected, and kept waiting */
	PHASE_ENDED,
	SESSION_PHASES
};

/* What only the transport knows. */
struct session_progress {
	uint64_t bytes_up, bytes_down; /* relayed so far */
	uint64_t datagrams_up, datagrams_down;
	uint64_t moved_us;    /* when something moved last; 0: nothing is relayed */
	size_t backend;       /* that is connected to, or was tried last; SESSION_NO_BACKEND: none */
	unsigned n_sent;      /* to receivers of handovers */
	const char *known_by; /* what has shown that it belongs to a session that began elsewhere; NULL: nothing */
};
#define SESSION_NO_BACKEND SIZE_MAX

/* A phase has so long, and then this happens. */
struct session_deadline {
	uint64_t (*due_us)(const struct session *session); /* UINT64_MAX, or NULL: it may take for ever */
	void (*passed)(struct session *session);
};

struct transport {
	const char *name;
	enum transport_kind kind;
	const struct session_deadline *deadlines; /* of SESSION_PHASES; NULL: it has timers of its own */
	/* Once; gives everything back. */
	void (*end)(struct session *session, enum session_end end);
	/* Ends it now, whatever it does, unless a program is being started for it. */
	void (*stop)(struct session *session, enum session_end end);
	/* It is undecided: looks whether what has come decides it. */
	void (*look)(struct session *session);
	/* The first bytes, of one that is undecided, into context->peeked; -errno, or 0: none. */
	ssize_t (*peek)(struct session *session);
	void (*progress)(const struct session *session, struct session_progress *ret);
	/* The address that the client came to; its len is 0 where that is not known. */
	void (*local)(const struct session *session, struct address *ret);
	/* Its service takes it; or `rule` of access, which ends it, does not. */
	void (*admitted)(struct session *session, const char *rule);
	const struct transport_migration *migration; /* NULL: its sessions stay in their worker */
};

struct session {
	const struct transport *transport;
	struct context *context;
	struct list_item item; /* among those that live, or the spare */
	uint64_t id;
	struct address client;
	struct proxied *proxied; /* the header that came in; NULL: none did */
	const char *listener;    /* its text */
	size_t decider;          /* its number */

	enum session_phase phase;
	uint32_t service;  /* SERVICE_NONE until decided */
	uint32_t protocol; /* PROTOCOL_NONE: on_silence or on_unknown */
	uint64_t accepted_us, decided_us;
	struct timer deadline; /* of the phase */
	struct former *former; /* decided by another worker: in place of service and protocol; NULL */
	bool has_spoken;       /* a byte of its own was seen */
	bool stays;            /* it cannot move to another worker */

	char *names; /* sni, alpn and host, NUL after each; NULL with none */
	const char *sni, *alpn, *host;
	bool offers_one_alpn;

	int error; /* of the delivery, -errno */
	const char *
		refused; /* the rule of access that did, the limit that it was shed for, or what is wrong with the proxy's header */

	struct limits_ticket ticket;
	uint32_t listener_place; /* among the limits, or LIMITS_NONE */
	/* Among the undecided, while it is; among those whose clients are not proven; or of the tarpit (shed.h). */
	struct undecided_place place;
	bool is_unproven;
	struct counter *came_in, *counted; /* of the listener, of the service; NULL: none */
	struct measures *measured;         /* of the service; NULL: none */
	uint64_t backend_key;              /* of the backend that it counts for (backends.h); 0: none */
	uint32_t backend_place;            /* with it */
	struct kept *kept;                 /* its first bytes, where the policy wants them kept; NULL */
};

extern const char *const session_phase_names[SESSION_PHASES]; /* as `usher sessions' has them: "relaying" */

/* One among the worker's, with its first values, for a transport whose sessions have `size` bytes, the others zero. The memory is that of a spare
 * one where there is any. NULL: no memory. */
struct session *session_new(
	const struct transport *transport, struct context *context, size_t size, struct list *spare);
/* Out of the worker's list; frees what is its own, and the memory is spare. */
void session_free(struct session *session, struct list *spare);
void session_free_spare(struct list *spare);

/* Of all that live; NULL: no more. */
struct session *session_first(const struct context *context);
struct session *session_next(const struct session *session);

/* It counts against no limit any more, and no deadline comes. */
void session_leave_limits(struct session *session);

/* It comes to a phase, whose deadline counts from now on. 0, or -ENOMEM: it has none, and the caller ends it. */
int session_enter(struct session *session, enum session_phase phase);

/* What the master is told of a session that it is to run a program for. */
void session_describe(const struct session *session, enum message_program program, struct message *ret);

/* At everybody who is undecided: what they sent meanwhile was not looked at. */
void session_look_again(struct context *context);

struct session *session_find(
	const struct context *context, uint64_t id); /* that has not ended; NULL: there is none */

/* The proxy whose header named the client; NULL: the client came by itself. */
const struct address *session_via(const struct session *session);

/* What it counts for among the limits per source; none: it has no IP address. */
struct limits_source session_source(const struct session *session);

bool session_is_undecided(const struct session *session);

/* Its client is one of those whom the operator has banned (live_list.h). */
bool session_is_banned(const struct session *session);
const struct service *session_service(const struct session *session); /* only once decided for one, in this worker */
/* The one of its name in this worker's policy; NULL: none has it. */
const struct service *session_service_here(const struct session *session);
const char *session_service_name(const struct session *session); /* NULL: none decided */
const char *session_protocol(const struct session *session);     /* NULL: none decided */
const char *session_backend(const struct session *session);      /* where it went or was tried to go; NULL: nowhere */
uint64_t session_idle_us(const struct session *session); /* by the service of its name here, where there is one */
enum delivery session_delivery(const struct session *session); /* only once decided for a service */
