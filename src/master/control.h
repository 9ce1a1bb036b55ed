/* The control socket: the master's, for people and their programs. A client sends one line of words and gets lines of JSON; the
 * end of the stream ends the answer. usher(8), "The control socket", says which words there are.
 *
 * Bounded: CONTROL_CLIENTS at a time, CONTROL_LINE_MAX bytes of request, CONTROL_PATIENCE_US for all of it. Nobody who stalls
 * here keeps anybody waiting. */
#pragma once
#include "live_list.h"
#include "loop.h"
#include "message.h"
#include "policy.h"
#include "socket_file.h"
#include <stdio.h>

#define CONTROL_CLIENTS     16
#define CONTROL_LINE_MAX    512
#define CONTROL_PATIENCE_US 5000000
#define CONTROL_REPORT_US   10000000 /* for workers to write what they were asked for */
#define CONTROL_PARTS_MAX   64       /* workers that are asked at a time */
#define CONTROL_ASKING_MAX  4        /* clients for whom workers are asked at a time */
#define CONTROL_PART_MAX                                                                                             \
	(64 * 1024 *                                                                                                 \
		1024) /* bytes of what one of them tells: a line for each of 150,000; it stays in its file until it is sent */

enum control_word {
	CONTROL_STATUS,
	CONTROL_SESSIONS,
	CONTROL_BACKENDS,
	CONTROL_BANS,
	CONTROL_EVIDENCE,
	CONTROL_CLOSE,
	CONTROL_DRAIN,
	CONTROL_RELOAD,
	CONTROL_UPGRADE,
	CONTROL_LOG,
	CONTROL_REOPEN,
	CONTROL_BACKEND,
	CONTROL_SETTINGS,
	CONTROL_LIVE,
	CONTROL_UNKNOWN,
};

enum control_backend_order {
	CONTROL_BACKEND_DRAIN,
	CONTROL_BACKEND_DOWN,
	CONTROL_BACKEND_UP,
	CONTROL_BACKEND_WEIGHT,
};

/* backend SERVICE ADDRESS drain|down|up|weight N */
struct control_backend {
	char service[64], address[256];
	enum control_backend_order order;
	uint32_t weight; /* of CONTROL_BACKEND_WEIGHT */
};

enum control_live_order {
	CONTROL_LIVE_BAN,
	CONTROL_LIVE_UNBAN,
	CONTROL_LIVE_OPEN,
	CONTROL_LIVE_SHUT,
};

#define CONTROL_EVER        UINT64_MAX
#define CONTROL_SECONDS_MAX (10 * 366 * UINT64_C(86400)) /* of a time that ends */

/* ban ADDRESS [SECONDS], unban ADDRESS, open SERVICE ADDRESS SECONDS, shut SERVICE ADDRESS */
struct control_live {
	enum control_live_order order;
	char service[64]; /* "": it is a ban */
	struct live_source source;
	uint64_t seconds; /* CONTROL_EVER: without an end */
};

struct control_request {
	enum control_word word;
	uint64_t id;    /* of evidence, close */
	unsigned level; /* of log */
	struct control_backend backend;
	struct control_live live;
};

/* A line without its end. 0; -EINVAL with a sentence in *ret_why. */
int control_parse(const char *line, size_t len, struct control_request *ret, const char **ret_why);

/* What the master does for it. */
struct control_hooks {
	int (*status)(void *context, FILE *to);   /* 0 or -errno */
	int (*backends)(void *context, FILE *to); /* likewise */
	int (*settings)(void *context, FILE *to); /* likewise */
	int (*bans)(void *context, FILE *to);     /* likewise */
	int (*live)(void *context, const struct control_live *order, char *why,
		size_t size); /* 0; or -errno with a sentence in `why` */
	/* How many addresses the order is for; or -errno with a sentence in `why`. */
	int (*backend)(void *context, const struct control_backend *order, char *why, size_t size);
	/* Asks every worker, each with a file of its own; returns how many were asked, at most CONTROL_PARTS_MAX. `ret_missed` is set where some
	 * could not be. */
	unsigned (*report)(void *context, const struct message *request, int *files, bool *ret_missed);
	void (*drain)(void *context);
	int (*reload)(void *context); /* 0: it has begun, control_reloaded() says how it went; or -errno */
	void (*log_level)(void *context, unsigned level);
	int (*reopen)(void *context);  /* 0 or -errno: the log stays where it is */
	int (*upgrade)(void *context); /* likewise; control_upgraded() */
};

struct control;

int control_new(struct control **ret, struct loop *loop, const struct control_hooks *hooks, void *context);
void control_free(struct control *control); /* accepts NULL */

/* Listens where this policy says; again after each reload, and also where somebody has removed the socket since. 0 or -errno:
 * -EADDRINUSE, another process answers there; what was listened on before stays then. */
int control_listen(struct control *control, const struct policy *policy);

/* A worker has answered the report of this number. */
void control_reported(struct control *control, uint64_t number, int error);

/* For the image that follows this one: the socket's path (NULL: none), descriptor and file, and a client that waits to hear of it
 * (-1: none). They stay the control's. */
const char *control_leave(const struct control *control, int *ret_fd, struct socket_file *ret_file, int *ret_client);
/* In that image, before control_listen(). They are taken over. */
void control_adopt(struct control *control, const char *path, int fd, const struct socket_file *file, int client);
void control_upgraded(struct control *control, const char *complaints); /* as control_reloaded() */

/* A reload reads the configuration from here on: who has asked by now hears of this one, who asks later of the next. */
void control_reload_begins(struct control *control);

/* There will be no other: whoever waits for one hears that. */
void control_ending(struct control *control);

/* The reload is over; `complaints` says what was wrong (lines), NULL: nothing, it serves. */
void control_reloaded(struct control *control, const char *complaints);
