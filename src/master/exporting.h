/* The master's side of the exporter: the socket, the process, and what the master tells it. It hears nothing from there. */
#pragma once
#include "exporter.h"
#include "generation.h"
#include "loop.h"
#include "sockets.h"

struct exporting {
	struct loop *loop;
	const struct shared *shared;
	/* What the master alone knows, into the facts. */
	void (*publish)(void *context, struct master_facts *facts);
	void *context;

	struct policy *policy; /* a share of the one in force; NULL: there is none, or it wants no exporter */
	int names_fd;          /* of the answers to its names, for the exporter to read; -1: none */
	int log_fd;
	struct log_settings log;

	struct socket_held held; /* fd -1: none */
	bool missing;            /* and told so */
	struct exporter_memory *memory;
	int memory_fd;
	pid_t pid; /* 0: none runs */
	int channel;
	unsigned deaths; /* in a row */
	uint64_t started_us;
	struct timer again;   /* to listen, or to start it */
	struct timer telling; /* publishes again, while one runs */
};

void exporting_init(struct exporting *exporting, struct loop *loop, const struct shared *shared,
	void (*publish)(void *context, struct master_facts *facts), void *context);
void exporting_fini(struct exporting *exporting); /* harmless on one that is zero */

/* A generation serves: its policy's exporter takes the place of the one before. Where the address is the same, clients that come meanwhile
 * wait in the socket's queue. */
void exporting_follow(struct exporting *exporting, const struct generation *serving);

/* Something has changed that clients are to see at once. */
void exporting_tell(struct exporting *exporting);

/* Its process has ended. False: it is not this one. */
bool exporting_reap(struct exporting *exporting, pid_t pid, int status);

/* The socket of the image before this one, and its exporter, which is ended. */
void exporting_take(struct exporting *exporting, const struct socket_held *held, pid_t pid);
