/* How sessions end and what turns them away, by the names that the log, `usher status' and the manual have in common. */
#pragma once
#include <stddef.h>

enum session_end {
	END_FINISHED,
	END_CLIENT_GONE, /* before a decision */
	END_CLIENT_RESET,
	END_SERVER_RESET,
	END_IDLE,
	END_NO_SERVICE, /* nothing matched and there is no on_unknown or on_silence */
	END_REJECTED,
	END_REFUSED,      /* by a rule of access */
	END_PROXY_HEADER, /* the proxy's header is not there or broken, or it comes from somebody else */
	END_STARTTLS,     /* a client that asked for TLS within a protocol did not go on with it */
	END_HANDED_OVER,
	END_FORWARDED, /* the kernel forwards the flow from here on */
	END_PROGRAM,   /* runs on the client's socket */
	END_DELIVERY_FAILED,
	END_SHUTDOWN,
	END_NO_MEMORY,
	END_CLOSED,       /* by the operator */
	END_BACKEND_DOWN, /* a check has found so */
	END_SHED,         /* undecided, when there were too many */
	SESSION_ENDS
};

extern const char *const session_end_names[SESSION_ENDS]; /* "finished" */

/* Every rule of access that can refuse somebody, every limit that can shed somebody, and every queue that can lose something. */
extern const char *const rule_names[], *const limit_names[], *const queue_names[];
extern const size_t n_rule_names, n_limit_names, n_queue_names;

/* The name of the rule that is spelled like this, for who keeps it longer than the text; NULL: there is none. */
const char *rule_name(const char *text);

/* What becomes of datagrams that do not simply go on. */
enum datagram_event {
	DATAGRAM_UNWANTED, /* no service takes them */
	DATAGRAM_BANNED,   /* their client is banned */
	DATAGRAM_NO_ROOM,  /* for a new flow, under a limit */
	DATAGRAM_FULL,     /* a buffer was full: of the flow that waits, or of a socket that sends */
	DATAGRAM_KERNEL, /* dropped by the kernel: the listener's socket was full. Counted as the kernel does, which may join several */
	DATAGRAM_TOO_BIG,    /* for the way, and not to be fragmented */
	DATAGRAM_FRAGMENTED, /* too big for the way, and sent in fragments */
	DATAGRAM_UNSENT,     /* refused by the kernel for other reasons */
	DATAGRAM_UNUSABLE,   /* cut, or without an address */
	DATAGRAM_EVENTS
};

extern const char *const datagram_event_names[DATAGRAM_EVENTS];
