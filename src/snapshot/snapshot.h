/* The numbers of a running usher in plain structures: gathered in one place, shown by any number of renderers.
 *
 *	master                     policy, limits, counters ---- snapshot_gather() ---+
 *	(state, generations) ------------------------------------------------------- struct snapshot
 *	JSON of the control socket ----------------------------- snapshot_read() ----+      |
 *	                                                                       +------------+------------+
 *	                                                                 snapshot_json()          snapshot_table()
 *
 * snapshot_gather() reads shared memory alone, and any process that has it mapped may call it: the numbers that only the master knows are
 * members of their own. Each number is right; they are read while workers count, so that their sums are of no one moment. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SNAPSHOT_BACKENDS_MAX     16384 /* the table that counts them has no more */
#define SNAPSHOT_BACKEND_TEXT_MAX 136
#define SNAPSHOT_WHY_MAX          128

struct json_t;
struct measured;
struct resolved;
struct policy;
struct shared;

enum snapshot_state { SNAPSHOT_UNKNOWN, SNAPSHOT_SERVING, SNAPSHOT_RELOADING, SNAPSHOT_ENDING, SNAPSHOT_STATES };

extern const char *const snapshot_state_names[SNAPSHOT_STATES]; /* "serving" */

enum snapshot_generation_state {
	SNAPSHOT_STARTING,
	SNAPSHOT_IN_FORCE,
	SNAPSHOT_RETIRING,
	SNAPSHOT_GENERATION_STATES
};

extern const char *const snapshot_generation_names[SNAPSHOT_GENERATION_STATES]; /* "serving" */

struct snapshot_worker {
	int64_t pid;
	bool is_ready;
};

struct snapshot_generation {
	const char *state, *file;
	struct snapshot_worker *workers;
	size_t n_workers;
};

struct snapshot_listener {
	const char *address;
	uint64_t open, accepted, shed;
};

struct snapshot_service {
	const char *name;
	uint64_t open, total, failed, bytes_up, bytes_down;
	struct measured *measured; /* HISTOGRAMS of them; NULL: nothing was measured, or it was read from JSON */
};

enum snapshot_backend_state {
	SNAPSHOT_BACKEND_UP,
	SNAPSHOT_BACKEND_DOWN,
	SNAPSHOT_BACKEND_DRAIN,
	SNAPSHOT_BACKEND_UNRESOLVED, /* its name has no address yet */
	SNAPSHOT_BACKEND_STATES
};

extern const char *const snapshot_backend_names[SNAPSHOT_BACKEND_STATES]; /* "up" */

/* What checks of a backend have found. */
struct snapshot_check {
	bool is_there;                 /* its service has a `check' that is for it */
	uint64_t total, failed;        /* total 0: none had a result yet */
	int64_t at;                    /* of the last one, in seconds of the wall clock */
	char result[SNAPSHOT_WHY_MAX]; /* "passed", "HTTP status 503" */
	bool passed;
	double latency_s; /* of the last one that passed; 0: none did */
};

/* One address of one service, by one transport. */
struct snapshot_backend {
	const char *service;
	const char *name; /* as the file has it, where that is a name: "web.example:80"; NULL */
	char address[SNAPSHOT_BACKEND_TEXT_MAX]; /* "192.0.2.1:80", "udp:192.0.2.1:53"; "": none */
	enum snapshot_backend_state state;
	char why[SNAPSHOT_WHY_MAX]; /* it is not up: "operator", how a connection failed, "check: HTTP status 503"; "": it is up */
	int64_t since;              /* of the state, in seconds of the wall clock; 0: from the start */
	uint64_t weight;  /* in force */
	uint64_t of_file; /* the weight that the file says */
	uint64_t most;    /* max_connections; 0: no limit */
	bool backup;
	uint64_t open, total, failed;
	double latency_s; /* until a connection is made, of the last few; 0: not known */
	struct snapshot_check check;
};

struct snapshot_total {
	const char *name;
	uint64_t count;
};

struct snapshot_totals {
	struct snapshot_total *items;
	size_t n;
};

/* How many connections there is room for: capacity.h. */
struct snapshot_room {
	uint64_t worker, in_all, undecided, undecided_per_source; /* of the last two, 0: no limit of their own */
};

/* Texts are borrowed from what it was made of; arrays are its own. */
struct snapshot {
	/* What the master knows. */
	const char *version;
	int64_t pid;
	enum snapshot_state state;
	int64_t since, reloading_since, ending_since; /* seconds of the wall clock; of the last two, 0: it is not */
	uint64_t programs;                            /* that run for services */
	uint64_t descriptors;                         /* that a process may have */
	struct snapshot_generation *generations;
	size_t n_generations;

	/* Of limits and counters. */
	uint64_t connections, undecided;
	struct snapshot_totals ended, refused, lost, shed; /* connections, by the names of reasons.h */
	struct snapshot_totals datagrams;                  /* what became of those that did not simply go on */

	/* Of the policy that serves; `file` NULL: none does yet, and there are none of these. */
	const char *file;
	uint64_t max_connections; /* as configured; 0: it is not */
	struct snapshot_room room;
	struct snapshot_listener *listeners;
	struct snapshot_service *services;
	struct snapshot_backend *backends; /* in the order of services and of the file */
	size_t n_listeners, n_services, n_backends;
};

/* One session, as its worker sees it. Texts are borrowed. */
struct snapshot_session {
	uint64_t id;
	const char *client, *via;                          /* NULL: it has no address; it came through no proxy */
	const char *listener, *service, *protocol, *phase; /* NULL: there is none yet */
	const char *known_by; /* NULL: its service does not follow from a session that began elsewhere */
	double age_s, idle_s; /* idle_s below 0: nothing has been relayed */
	uint64_t datagrams_up, datagrams_down; /* of a flow; datagrams_up 0: none, or no flow */
	uint64_t bytes_up, bytes_down;
	int64_t worker;
};

/* Fills in what shared memory and the policy (NULL: none) say; `resolved` has the answers to its names (NULL: none); `descriptors` is set
 * already. 0 or -ENOMEM; snapshot_fini() in both cases. */
int snapshot_gather(struct snapshot *snapshot, const struct shared *shared, const struct policy *policy,
	const struct resolved *resolved);
/* Its backends alone, into one that is empty; past SNAPSHOT_BACKENDS_MAX the rest is left out. Likewise. */
int snapshot_gather_backends(struct snapshot *snapshot, const struct shared *shared, const struct policy *policy,
	const struct resolved *resolved);
void snapshot_fini(struct snapshot *snapshot);

/* One line: usher(8) explains every key. */
void snapshot_json(const struct snapshot *snapshot, FILE *to);
void snapshot_session_json(const struct snapshot_session *session, FILE *to);
void snapshot_backend_json(const struct snapshot_backend *backend, FILE *to); /* without the end of the line */

/* What these have written, or another version of usher: a key that is missing or of another type is 0, NULL, or no element. `from` must
 * outlive the result. 0 or -ENOMEM; snapshot_fini() in both cases. */
int snapshot_read(struct snapshot *ret, const struct json_t *from);
void snapshot_session_read(struct snapshot_session *ret, const struct json_t *from);
void snapshot_backend_read(struct snapshot_backend *ret, const struct json_t *from);

/* For Prometheus: its text format, or with `is_open` OpenMetrics. */
void snapshot_metrics(const struct snapshot *snapshot, bool is_open, FILE *to);

/* For people. Texts have been in a worker's hands, and the reader may be root at a terminal: no byte is written that is not
 * printable ASCII, or the end of a line. */
void snapshot_table(const struct snapshot *snapshot, FILE *to);
void snapshot_sessions_head(FILE *to);
void snapshot_session_table(const struct snapshot_session *session, FILE *to);
void snapshot_backends_head(FILE *to);
void snapshot_backend_table(const struct snapshot_backend *backend, FILE *to);
