/* A connection's journey: evidence, decision, delivery, end. */
#pragma once
#include "banner.h"
#include "crowd.h"
#include "dial.h"
#include "facts.h"
#include "handover.h"
#include "log.h"
#include "loop.h"
#include "relay.h"
#include "shared_limits.h"
#include "spawner.h"
#include <stdbool.h>

struct banner;
struct counter;
struct kept;
struct listener;
struct service;
struct worker;
struct identification;
struct past;
struct proxied;

enum connection_phase {
	PHASE_PROXIED, /* waits for the header of a proxy */
	PHASE_DECIDING,
	PHASE_ASKING, /* its access program */
	PHASE_CONNECTING,
	PHASE_SPAWNING,
	PHASE_HANDING_OVER,
	PHASE_RELAYING,
	PHASE_ENDED
};

enum connection_end {
	END_FINISHED,
	END_CLIENT_GONE, /* before a decision */
	END_CLIENT_RESET,
	END_SERVER_RESET,
	END_IDLE,
	END_NO_SERVICE, /* nothing matched and there is no on_unknown or on_silence */
	END_REJECTED,
	END_REFUSED,      /* by a rule of access */
	END_PROXY_HEADER, /* the proxy's header is not there or broken, or it comes from somebody else */
	END_HANDED_OVER,
	END_PROGRAM, /* runs on the client's socket */
	END_DELIVERY_FAILED,
	END_SHUTDOWN,
	END_NO_MEMORY,
	END_CLOSED, /* by the operator */
	END_SHED,   /* undecided, when there were too many */
	END_COUNT
};

extern const char *const connection_end_names[END_COUNT]; /* as in the log: "finished" */

/* For what is searched for in the client's bytes: whether its time runs. */
enum connection_search { SEARCH_NONE, SEARCH_DUE, SEARCH_ON, SEARCH_OVER };

struct connection {
	struct worker *worker;
	struct connection *next, *previous; /* among those that live */
	uint64_t id;
	struct address client;
	struct proxied *proxied; /* the header that came in; NULL: none did */
	const char *listener;    /* its text */
	size_t decider;          /* its number */

	enum connection_phase phase;
	uint32_t service;  /* SERVICE_NONE until decided */
	uint32_t protocol; /* PROTOCOL_NONE: on_silence or on_unknown */
	uint32_t named;    /* by an identifier; PROTOCOL_NONE */
	uint32_t asked;    /* bytes that the identifiers have seen; UINT32_MAX: more would not help */
	uint64_t accepted_us, decided_us;
	uint32_t client_events; /* all that were seen: edges are not repeated */
	enum connection_search search;
	bool client_waits;      /* as the last look found */
	uint32_t server_events; /* likewise, where its banner is skipped */
	bool dialled;           /* the backend is connected to */
	struct timer deadline;  /* of the phase */
	struct task burial;     /* frees it after the loop's turn */
	int error;              /* of the delivery, -errno */
	const char *
		refused; /* the rule of access that did, the limit that it was shed for, or what is wrong with the proxy's header */
	struct banner *banner; /* that a silent client is shown while it is being told apart; NULL */
	bool was_silent;       /* and has had its chance of one */
	bool has_spoken;       /* a byte of its own was seen */
	bool skips_banner;     /* the client has seen one of this kind: the backend's own is left out */
	enum server_banner skipped;
	bool owes_greeting; /* TCPMUX: its line was taken and not answered yet */
	struct limits_ticket ticket;
	struct kept *kept;                 /* its first bytes, where the policy wants them kept; NULL */
	struct counter *came_in, *counted; /* of the listener, of the service; NULL: none */
	uint32_t listener_place;           /* among the limits, or LIMITS_NONE */
	struct crowd_place place;          /* among the undecided, while it is */
	char *names;                       /* sni, alpn and host, NUL after each; NULL with none */
	const char *sni, *alpn, *host;
	bool offers_one_alpn;
	struct past *past; /* decided by another worker: in place of service and protocol; NULL */
	bool stays;        /* it cannot move to another worker */

	struct relay relay; /* relay.client.in: the client from accept on, watched where it is waited for */
	union {
		struct dial dial;
		struct {
			struct handover_request request;
			uint64_t due_us;
			struct facts facts;
			struct address local;
		} handing;
		struct {
			struct spawn_request spawning; /* of its program, or of the access program */
			struct connection *next_asking;
		};
		struct identification *identification; /* while deciding; NULL: no identifier is being asked */
	};
};

bool connection_is_undecided(const struct connection *connection);
int connection_socket(const struct connection *connection);                    /* the client's */
const struct service *connection_service(const struct connection *connection); /* only once decided for one */
const char *connection_protocol(const struct connection *connection);          /* NULL: none decided */
const char *connection_service_name(const struct connection *connection);      /* NULL: none decided */
const char *connection_error_text(int error);                                  /* of a delivery, a -errno */
const char *connection_backend(const struct connection *connection);           /* for the log; NULL: none */
enum delivery connection_delivery(const struct connection *connection);        /* only once decided for a service */
enum log_level connection_log_level(const struct connection *connection, enum connection_end end);
void connection_log(const struct connection *connection, enum log_level level, enum connection_end end);

/* Takes over `fd`, closes it on failure, and the listener's place among the limits. */
void connection_new(struct worker *worker, const struct listener *listener, int fd, const struct address *client,
	uint32_t listener_place);

/* For inetd: the one connection that the process was started with. */
void connection_adopt(struct worker *worker, int fd, const struct address *client);

/* From another worker, with the descriptors of its message by their places (-1: none), which are taken over. */
struct migrant_parts;
void connection_arrive(struct worker *worker, const struct migrant_parts *parts, int *fds);

/* It goes to another worker, which has its descriptors already: all is given back, nothing ends. */
void connection_leave(struct connection *connection);

/* ---- what comes back up ---- */

/* undecided.c: it is for this service, by that protocol (SERVICE_NONE: for nobody; PROTOCOL_NONE: by none). */
/* As peek(), into the worker's buffer. */
ssize_t connection_peek(struct connection *connection, size_t size, bool *ret_is_cut);

void connection_decided(struct connection *connection, uint32_t service, uint32_t protocol);

/* It was shown a banner, and there is nobody else whom it could have come for: its backend is connected to already. */
void connection_stay(struct connection *connection);

/* The access program of a connection has decided. */
void connection_admitted(struct worker *worker, uint64_t id, bool admitted);

/* delivery.c: its server is at the other side of the relay, which has seen these events there. */
void connection_delivered(struct connection *connection, uint32_t server_events);

/* -errno: its service cannot have it; the fallback may. */
void connection_undelivered(struct connection *connection, int error);

/* A rule of access, by its name, forbids it. */
void connection_refuse(struct connection *connection, const char *rule);

/* The answer that TCPMUX owes to its client, where it does: what is wrong, or with NULL nothing. */
void connection_greet(struct connection *connection, const char *why);

/* From now on its client's events come, where they did not before. False: they cannot, and it has ended. */
bool connection_watch(struct connection *connection);

/* Once; gives everything back. */
void connection_end(struct connection *connection, enum connection_end end);

/* Ends it now, whatever it does, unless a program is being started for it. */
void connection_stop(struct connection *connection, enum connection_end end);
