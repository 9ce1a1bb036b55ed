/* What the master and a worker say to each other, over a SOCK_SEQPACKET pair (ipc.h).
 *
 * The master trusts no field: a worker that was taken over can ask for a program of its policy to be run, on a descriptor
 * of its own, for a channel to a receiver of its policy, and under a policy with a transparent service for sockets that may
 * speak from any address; and for nothing else. Programs and receivers are named by their place in the policy; a command
 * line or a path never crosses. */
#pragma once
#include "address.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MESSAGE_MIGRANT_MAX                                                                                          \
	(320 * 1024) /* bytes of a session's, from one worker to another: a channel for them has room for one */

/* What TCPMUX answers before a program's output (RFC 1078). */
#define MESSAGE_TCPMUX_ACCEPT "+\r\n"

enum message_kind {
	/* worker to master */
	MESSAGE_REPORTED, /* what MESSAGE_REPORT with this `serial` asked for is written, or done: `error` 0 */
	MESSAGE_READY,    /* it serves */
	MESSAGE_HELD,
	MESSAGE_WANT_SOCKETS, /* that may speak from any address, of the family `index`: for transparent services */
	MESSAGE_ASK_ANEW,     /* the name `index`: at none of its known addresses somebody answers */
	MESSAGE_SPAWN,        /* run a program; with the client's socket where its stdio is the socket */
	/* master to worker */
	MESSAGE_SPAWNED, /* the answers, in the order of the requests: `error`, and for pipes the program's output and input,
	                    for a terminal its other end */
	MESSAGE_ANSWER, /* an access program has decided on `serial`: `error` 0 admits */
	MESSAGE_EXITED, /* an identifier that runs once has ended: `serial` of its request, `status` as waitpid() gives it */
	MESSAGE_LOG,     /* log from the level in `status` on */
	MESSAGE_REPORT,  /* of the kind in `report`, about `connection`, into the file that comes with it */
	MESSAGE_SOCKETS, /* that were wanted: `error`, or some of the family `index` */
	MESSAGE_HOLD,    /* decide nothing more; MESSAGE_HELD answers when no request is open */
	MESSAGE_RESUME,  /* go on */
	MESSAGE_RECEIVE, /* read datagrams, as soon as those who pass sessions on to it do not any more */
	MESSAGE_ADOPT, /* the channel that comes with it: connections come there from the worker of the slot `index` */
	MESSAGE_MIGRATE, /* accept no more; over the channel that comes with it connections go to the worker of the slot `index`; end */
	MESSAGE_DRAIN, /* accept no more, finish what there is, end */
	MESSAGE_STOP,  /* end now */
};

enum message_program {
	PROGRAM_SERVICE,
	PROGRAM_IDENTIFIER,
	PROGRAM_RECEIVER, /* none: a channel to the receiver of the service's handovers, where the worker may not connect */
	PROGRAM_ACCESS, /* the service's access program: answered at once with whether it runs, and later with its verdict */
};

enum message_report {
	REPORT_SESSIONS, /* a line of JSON for each live connection */
	REPORT_EVIDENCE, /* one for this connection, live or recent, with its first bytes */
	REPORT_CLOSE,    /* it is closed */
};

struct message {
	enum message_kind kind;
	enum message_report report;
	enum message_program program; /* whose: a service's, or an identifier */
	uint32_t index;               /* of it in the policy */
	int32_t error;                /* 0 or -errno */
	int32_t status;
	uint8_t greeted; /* of a request: TCPMUX's + is due before the program's output; of its answer: it was sent */
	uint64_t serial; /* of the request, within its worker */
	uint64_t connection; /* for the log */
	struct address client;
	struct address local;
	char protocol[64]; /* empty: none decided */
	char sni[256];     /* empty: none */
	char refused[32];  /* with the error -EACCES: the limit that a service's program would have broken */
};
