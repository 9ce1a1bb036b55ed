/* Connects to the first backend that answers, of those that choose.h names one after the other, under the caller's one timeout for
 * all. Never waits: where a name has no answer yet, or a UNIX socket's backlog is full, the next one is tried, and the list is
 * gone through again a little later. Where all are full, it is in a line.
 *
 * A name is asked for anew where none of its known addresses takes the connection, and where the last of them has not within a second.
 * Where everything has failed, an answer that may yet come is awaited (lookup.h says for how long), and where it is another, the list is
 * gone through again.
 *
 * Where the backend is a name that the client asked for, its addresses are looked up first, as often as once a second until they are there. */
#pragma once
#include "choose.h"
#include "lookup.h"
#include "loop.h"
#include "socket_pool.h"
#include "target.h"

struct dial {
	struct loop *loop;
	struct lookup *lookup;
	bool fresh; /* names are asked for anew first */
	const struct target *target;
	struct choice choice; /* of its backends; the caller sets `chooser` and `hash`, or */
	const char *name; /* in place of `chooser`: the name whose addresses they are, as the client wrote it; NULL */
	uint64_t source;  /* with `name`: whom looking it up counts for */
	bool (*reaches)(
		const struct dial *dial, const struct address *address); /* with `name`: it may be connected to */
	int keepalive_s;                                                 /* of target.h */
	unsigned patience_ms;                                            /* of dial_set_patience(); 0: the system's */
	/* To come from, by its port where that is free, with a socket of `socket_pool`. NULL: whatever the kernel takes. */
	const struct address *from;
	bool talks; /* bytes for the backend are there already */
	struct socket_pool *socket_pool;
	uint64_t due_us; /* the caller's deadline: a backend gets an equal share of what is left, or a quarter */
	/* The caller's: watches the socket while it connects and from then on. What it sees goes to dial_ready(). */
	struct watch *socket;
	/* Nobody is at a backend. 0: somebody will be, and it is tried again until the deadline, without a word on the backend's health. -errno: it is
	 * as with any other error. NULL: always. */
	int (*absent)(struct dial *dial);
	/* Once, perhaps before dial_start() returns: 0 with the epoll events that came with the connection, the socket being
	 * watched with RELAY_EVENTS; or -errno of the last address that failed. */
	void (*done)(struct dial *dial, int error, uint32_t events);

	enum {
		DIAL_CONNECTS,    /* `patience`: with the address that is tried */
		DIAL_FRESHENS,    /* `patience`: looks whether the name's new answer is there */
		DIAL_AWAITS_NEWS, /* the same, where all have failed */
		DIAL_PAUSES,      /* `patience`: until the list is tried again */
		DIAL_LOOKS_UP,    /* `patience`: looks whether the addresses of `name` are there */
		DIAL_IN_LINE, /* all are full. `patience`: until it looks again, where it is the first in the line */
	} step;
	/* Of the caller's: is this socket, which is connected, one that leads back to ourselves? Then -EDEADLK is this address's error. */
	bool (*is_ours)(const struct dial *dial, int fd);
	const void *context; /* of is_ours */

	struct chooser *own; /* between the addresses of `name`; NULL */
	uint64_t asked_us;   /* for `name` */
	size_t backend;      /* of the list, that is being tried; the one connected to once done */
	bool is_coming;      /* absent() said so */
	bool try_again;      /* some backend may yet be there in a moment */
	int error;
	bool any_port;    /* the one of `from` is taken */
	size_t freshened; /* names of backends below were asked for */
	bool asked_anew;  /* that one's name was, and is waited for */
	uint32_t edition; /* of all names' answers, when the list was begun */
	unsigned pause_us;
	uint64_t share_due_us; /* of the address that is tried */
	struct socket_pool_waiter waiter;
	struct timer patience;
};

/* The caller has set everything above `backend`. */
void dial_start(struct dial *dial);
void dial_ready(struct dial *dial, uint32_t events);

/* Gives up: what is open is closed, `done` is not called any more. Harmless when nothing is under way. A backend that was connected to is
 * counted until then, or until choose_hand_on(). */
void dial_cancel(struct dial *dial);
/* The same, since the caller's deadline has passed, which counts against the backend that is tried: -ETIMEDOUT, or -EBUSY: all were full. */
int dial_expire(struct dial *dial);

/* Once done: what it connected to. */
bool dial_is_unix(const struct dial *dial);

/* Keepalive of a TCP socket, as it was asked for (target.h). Harmless on another. */
void dial_set_keepalive(int fd, sa_family_t family, int keepalive_s);

/* How long the other side may leave unacknowledged, or unread with its window shut, what it was sent (tcp(7), TCP_USER_TIMEOUT); 0: as
 * the system has it, which is some 15 minutes for what is not acknowledged. */
void dial_set_patience(int fd, sa_family_t family, unsigned patience_ms);
