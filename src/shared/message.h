/* What the master and a worker say to each other, over a SOCK_SEQPACKET pair (ipc.h): a kind, and what messages of that kind
 * carry. Each is sent with its own length.
 *
 *     number (8) | kind (4) | - (4) | payload, as long as the kind says
 *
 * A request and its answer have the same number, which the asking process chooses and never uses again. Other messages have 0.
 *
 * The master trusts no field: a worker that was taken over can ask for a program of its policy to be run, on a descriptor
 * of its own, for the server of a service of it to be started, for a channel to a receiver of its policy, and under a policy with a transparent service for sockets that may
 * speak from any address, and under one with a UDP listener and a service that hands over for sockets that are connected to the
 * listener's clients, and under one with flows for the kernel for sockets that speak as a client to a listener of these; and for nothing else. Programs and receivers are named by their place in the policy; a command
 * line or a path never crosses. */
#pragma once
#include "address.h"
#include "ipc.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MESSAGE_MIGRANT_MAX                                                                                          \
	(320 * 1024) /* bytes of a session's, from one worker to another: a channel for them has room for one */

/* What TCPMUX answers before a program's output (RFC 1078). */
#define MESSAGE_TCPMUX_ACCEPT "+\r\n"

enum message_kind {
	/* worker to master */
	MESSAGE_READY,        /* it serves */
	MESSAGE_HELD,         /* answers MESSAGE_HOLD, when no request is open */
	MESSAGE_REPORTED,     /* answers MESSAGE_REPORT: it is written, or done */
	MESSAGE_ASK_ANEW,     /* a name is to be looked up again: none of its known addresses answers */
	MESSAGE_FIND_NAME,    /* a name that a client asks for is to be looked up */
	MESSAGE_SPAWN,        /* run a service's program or its access program */
	MESSAGE_IDENTIFY,     /* run an identifier */
	MESSAGE_CONNECT,      /* connect to the receiver of a service's handovers, where the worker may not */
	MESSAGE_WANT_SOCKETS, /* make sockets that may speak from any address */
	MESSAGE_WANT_CLIENT,  /* make a socket of UDP that is connected to a client of a listener */
	MESSAGE_START,        /* start the server of a service, where it does not run */
	MESSAGE_FORWARD,      /* make a socket by which the kernel is told to forward a flow */
	/* master to worker */
	MESSAGE_ANSWER,  /* to one of the seven requests above */
	MESSAGE_VERDICT, /* of the access program that was started for the request of this number */
	MESSAGE_EXITED,  /* the identifier that was started for the request of this number has ended */
	MESSAGE_LOG,     /* log from this level on */
	MESSAGE_REPORT,  /* write into the file that comes with it, or do something */
	MESSAGE_HOLD,    /* decide nothing more until MESSAGE_RESUME */
	MESSAGE_RESUME,
	MESSAGE_RECEIVE, /* read datagrams, as soon as those who pass sessions on to it do not any more */
	MESSAGE_ADOPT,   /* the channel that comes with it: sessions come there from another worker */
	MESSAGE_MIGRATE, /* accept no more; over the channels that come with it and those that follow sessions go to other workers; end */
	MESSAGE_DRAIN, /* accept no more, finish what there is, end */
	MESSAGE_STOP,  /* end now */
	MESSAGE_KINDS
};

enum message_program {
	PROGRAM_SERVICE, /* the client's socket comes along where the program's stdio is the socket */
	PROGRAM_ACCESS,  /* answered at once with whether it runs, and later with its verdict */
};

struct message_spawn {
	enum message_program program;
	uint32_t service;    /* by its place in the policy, which has the program */
	uint64_t connection; /* its id */
	struct address client, local;
	char protocol[64];   /* empty: none decided */
	char sni[256];       /* empty: none */
	uint8_t greets;      /* 1: TCPMUX's + is due before the program's output */
	uint8_t is_datagram; /* 1: the session is a flow over UDP */
};

struct message_identify {
	uint32_t identifier;
};

struct message_connect {
	uint32_t service;
};

struct message_start {
	uint32_t service;
};

struct message_want_sockets {
	uint32_t family; /* AF_INET, AF_INET6 */
	uint32_t type;   /* SOCK_STREAM, SOCK_DGRAM */
};

struct message_want_client {
	uint32_t listener; /* by its place in the policy */
	struct address client, local;
};

struct message_forward {
	uint32_t service, listener; /* by their places in the policy: whom the flow goes to, and where it came in */
	struct address client, local;
	uint8_t is_missing; /* 1: the kernel does not have the rules that it had */
};

/* Beside it, with `error` 0: a program's output and input, or its terminal; the channel to a receiver; sockets. */
struct message_answer {
	int32_t error;   /* 0 or -errno */
	uint8_t greeted; /* 1: TCPMUX's + was sent, also where the program failed after that */
	char refused
		[31]; /* with the error -EACCES: the limit that a service's program would have broken; else empty */
};

struct message_ask_anew {
	uint32_t name;
};

/* Of whom a service connects to the name that its client asks for. */
struct message_find_name {
	uint64_t source; /* whom it counts for */
	char name[256];  /* a host name in lower case */
};

struct message_reported {
	int32_t error; /* 0 or -errno */
};

struct message_verdict {
	uint8_t admits;
};

struct message_exited {
	int32_t status; /* as waitpid() gives it */
};

struct message_log {
	uint32_t level;
};

enum report_about {
	REPORT_SESSIONS, /* a line of JSON for each live session */
	REPORT_EVIDENCE, /* one for this session, live or recent, with its first bytes */
	REPORT_CLOSE,    /* it is closed */
	REPORTS
};

struct message_report {
	enum report_about about;
	uint64_t connection; /* REPORT_SESSIONS: 0 */
};

struct message_peer { /* of MESSAGE_ADOPT and MESSAGE_MIGRATE */
	uint32_t slot;
	uint32_t more; /* of MESSAGE_MIGRATE: how many other workers are named by the messages that follow */
};

struct message_resume {
	uint8_t by_another; /* 1: image of the master, which answers when it has read its configuration; 0: the upgrade failed */
};

struct message_hold {
	uint64_t most_us; /* after which the worker resumes by itself */
};

struct message {
	uint64_t number;
	enum message_kind kind;
	union {
		struct message_spawn spawn;
		struct message_identify identify;
		struct message_connect connect;
		struct message_start start;
		struct message_want_sockets want_sockets;
		struct message_want_client want_client;
		struct message_forward forward;
		struct message_answer answer;
		struct message_ask_anew ask_anew;
		struct message_find_name find_name;
		struct message_reported reported;
		struct message_verdict verdict;
		struct message_exited exited;
		struct message_log log;
		struct message_report report;
		struct message_hold hold;
		struct message_resume resume;
		struct message_peer peer;
	};
};

/* Bytes that a message of this kind has. */
size_t message_size(enum message_kind kind);

/* What came, of `len` bytes and with these descriptors, is a message: its length is its kind's, it has a number where its kind has one,
 * enums and errors are in their ranges, texts end, addresses have their families' lengths, and no more descriptors came than
 * the kind may have. What places in a policy mean is for who knows the policy. */
bool message_is_sound(const struct message *message, size_t len, const struct ipc_fds *fds);

/* As ipc_send(). */
int message_send(int channel, const struct message *message, const int *fds, size_t n_fds);

/* 1: a message, from a worker or from the master. 0: the peer is gone. -EAGAIN: nothing there. -EBADMSG: something else came, and
 * nothing of it is kept. Where fds->lost, it is a message that came without its descriptors. */
int message_receive(int channel, bool from_worker, struct message *ret, struct ipc_fds *ret_fds);
