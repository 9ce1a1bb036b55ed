/* Decides which backend a session goes to. Who connects asks for the next one, says how that went, and asks again where it failed:
 *
 *	choose_next()  ->  connects there  ->  choose_connected()    the choice stays counted until choose_leave()
 *	     ^                             ->  choose_failed() --+
 *	     +---------------------------------------------------+
 *
 * Of those that are not `backup` the balancer's; where none of them takes it, of the others. Who is down is tried last: when all that are up
 * were tried. One of which the back-off is over is tried in its turn by one client (backend_health.h). Where all that are up are full, the
 * client waits in a line.
 *
 * No backend is tried twice for one client until choose_again(), and no more than CHOICE_TRIES are. */
#pragma once
#include "balance.h"
#include "list.h"
#include <stdbool.h>
#include <stdint.h>

#define CHOICE_TRIES    32
#define CHOOSE_LINE_MAX 1024 /* clients of one service that wait, in one worker */

struct chooser;

/* What it is made of; all of it stays the caller's. */
struct chooser_of {
	const char *service;
	enum transport_kind transport;
	const struct target *target;
	const struct lookup *lookup;
	struct backend_table *table; /* NULL: nothing is counted, and all are up */
	const struct limits *limits;
	unsigned slot;
	/* It went down with this -errno, or with 0 is up again. NULL: nobody hears of it. */
	void (*changed)(void *context, const struct chooser *chooser, const struct candidate *candidate, int error);
	void *context;
};

struct choice {
	struct chooser *chooser;
	uint64_t hash; /* of what the client is told by; of others any number */
	/* Only backends of this family take it; AF_UNSPEC: of any; AF_MAX: of none. */
	sa_family_t family;
	uint64_t patient_us; /* what hangs for so long is down: of choose_patience_us() */
	/* In the line: it may be worth to ask again. */
	void (*called)(struct choice *choice);

	struct candidate taken; /* the backend that it is counted for; `is_counted` */
	bool is_counted, is_trial;
	uint64_t taken_us;            /* 0: it is not known (choose_held()) */
	uint32_t tried[CHOICE_TRIES]; /* a part of their keys */
	uint32_t n_tried;
	bool is_waiting;
	struct list_item in_line;
};

struct chooser *chooser_new(const struct chooser_of *of); /* NULL: no memory */
/* Between these addresses, in their order; all are up, and nothing is counted. NULL: no memory. */
struct chooser *chooser_new_of(const struct target *target, const struct address *addresses, size_t n);
void chooser_free(struct chooser *chooser); /* accepts NULL */
const struct chooser_of *chooser_is_of(const struct chooser *chooser);

/* "192.0.2.1:80", or of a name "web.example:80 (192.0.2.1:80)". */
#define CHOOSER_TEXT_MAX 512
const char *chooser_text(
	const struct chooser *chooser, const struct candidate *candidate, char buf[CHOOSER_TEXT_MAX]);

/* 0: it is counted for `taken`, and the caller connects there. -EBUSY: all that are up are full; choose_wait(). -EHOSTUNREACH: there is none
 * (more). -EAFNOSUPPORT: none is of its family. -ENOMEM. */
int choose_next(struct choice *choice, uint64_t now_us);

/* The first of which this is true, whatever its weight, its health and its number of connections: a session of its own goes there. Not one
 * that the operator took down. 0 or -EHOSTUNREACH. */
int choose_known(struct choice *choice, bool (*is_it)(const void *of, const struct address *address), const void *of,
	uint64_t now_us);

/* How many more could be tried, at most `most`. */
unsigned choose_left(struct choice *choice, uint64_t now_us, unsigned most);

/* Is there still such a backend? False where its name has other addresses now. */
bool choose_is_there(struct choice *choice, uint64_t now_us);
/* Is there another one of the same name that was not tried? */
bool choose_has_other(struct choice *choice, uint64_t now_us);

/* The choice that was made long ago of the backend of this key, which somebody else counts. False: there is no such backend any more. */
bool choose_held(struct choice *ret, struct chooser *chooser, uint64_t key);

/* How it went; after a failure it is not counted any more. What says nothing of the backend (our own descriptors, say) changes nothing. */
void choose_failed(struct choice *choice, int error, uint64_t now_us);
void choose_connected(struct choice *choice, uint64_t now_us);
void choose_skip(struct choice *choice); /* it is tried no more, whatever became of it */
/* A datagram came back from it. */
void choose_answered(struct choice *choice, uint64_t now_us);
/* The connection that was made is over: bytes came back, or a reset in place of them. */
void choose_spoke(struct choice *choice);
void choose_was_reset(struct choice *choice, uint64_t now_us);

/* All may be tried once more. */
void choose_again(struct choice *choice);

/* False: the line is full. */
bool choose_wait(struct choice *choice);
bool choose_is_next(const struct choice *choice); /* it is the first in the line */

/* Gives back what it has: its place in the line, its trial, what it counts. Harmless where it has nothing. */
void choose_leave(struct choice *choice, uint64_t now_us);
/* Without what it counts, which is the caller's from now on (backend_table_leave()). */
void choose_hand_on(struct choice *choice);
/* The caller has given such a count back: whoever waits first is called. */
void chooser_call(struct chooser *chooser);
