/* What the master and a worker say to each other, over a SOCK_SEQPACKET pair (ipc.h).
 *
 * The master trusts no field: a worker that was taken over can ask for a program of its policy to be run on a descriptor,
 * and for nothing else. Programs are named by service; a command line never crosses. */
#pragma once
#include "address.h"
#include <stdint.h>
#include <sys/types.h>

enum message_kind {
	/* worker to master */
	MESSAGE_READY, /* it serves */
	MESSAGE_SPAWN, /* run the program of `service`; with the client's socket where its stdio is the socket */
	/* master to worker */
	MESSAGE_SPAWNED, /* the answers, in the order of the requests: `error`, and for pipes the program's output and input,
	                    for a terminal its other end */
	MESSAGE_DRAIN, /* accept no more, finish what there is, end */
	MESSAGE_STOP,  /* end now */
};

struct message {
	enum message_kind kind;
	uint32_t service;
	int32_t error; /* 0 or -errno */
	uint64_t connection;
	struct address client;
	struct address local;
	char protocol[64]; /* empty: none decided */
	char sni[256];     /* empty: none */
};
