/* Where a connection can go: plain data, filled by the policy, read by the rest. */
#pragma once
#include "address.h"
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum delivery { DELIVERY_CONNECT, DELIVERY_HANDOVER, DELIVERY_EXEC, DELIVERY_REJECT };

extern const char *const delivery_names[]; /* "connect", "handover", "exec", "reject" */

#define BACKEND_NO_NAME UINT32_MAX

/* Keepalive of a socket: 0 for off, seconds of silence before the first probe, or */
#define KEEPALIVE_SYSTEM (-1) /* on, as the system has it */
#define KEEPALIVE_AFAR   (-2) /* the same, but off with a peer on a loopback address of this machine */

/* What the clients that are to get the same backend have in common. */
enum hash_by { HASH_BY_SOURCE, HASH_BY_SNI, HASH_BY_HOST, HASH_BY_CONNECTION_ID };

struct backend {
	const char *text;       /* as the operator wrote it */
	struct address address; /* len 0 when `name` is set */
	uint32_t name;          /* index into the resolved names, or BACKEND_NO_NAME */
	uint16_t
		port; /* beside a name, also one that the client asks for; 0: its answer has ports (SRV), or it is in `address` */
	uint16_t weight;          /* 0: it gets nobody */
	bool backup;              /* it gets clients that no other one takes */
	unsigned max_connections; /* at a time, of each of its addresses, in all workers together; 0: no limit */
	/* Where the kernel forwards flows to it: the set that these are in, and the mark of sockets that put them there. */
	const char *set; /* NULL: usher relays */
	uint32_t mark;
};

/* Where the name of the backend comes from. */
enum name_by { NAME_BY_FILE, NAME_BY_SNI, NAME_BY_HOST };

/* Errors of a delivery to a name that the client asked for. */
#define NAME_NOT_SAID    (-EDESTADDRREQ) /* it asked for none, or for what is no host name */
#define NAME_NOT_ALLOWED (-EKEYREJECTED)
#define NAME_NOT_KNOWN   (-ENXIO)    /* it has no address */
#define NAME_NOT_REACHED (-ENOTUNIQ) /* it has none that may be connected to */

struct address_set;
struct names;

struct port_range {
	uint16_t first, last;
};

enum handover_format { HANDOVER_USHER, HANDOVER_TCPMUX };

enum stdio { STDIO_SOCKET, STDIO_PIPE, STDIO_PTY };

struct program {
	char *const *argv; /* argv[0] absolute */
	enum stdio stdio;
	bool own_identity; /* else it runs as the master does */
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	size_t n_groups;
	const char *user, *home, *shell; /* for the environment; NULL without own_identity */
};

struct check;

struct target {
	enum delivery delivery;
	union {
		struct {
			const struct backend *backends;
			const struct program *start; /* runs their server, where nobody is there; NULL: none */
			uint64_t start_timeout_us;   /* so long clients wait for it */
			uint64_t stop_after_us;      /* without a client it is ended */
			size_t n_backends;
			bool has_names;                 /* some of them are names */
			const struct port_range *ports; /* that answers of SRV may have */
			size_t n_ports;
			/* A name that the client asks for: the one backend is that name, and its port. */
			enum name_by name_by;
			const struct names *allow_names;
			const char *allow_names_text;
			const struct address_set
				*allow_addresses; /* beside those of the public internet; NULL: none */
			const char *allow_addresses_text;
			unsigned balance;          /* enum balance_kind: which of them a client gets */
			enum hash_by hash_by;      /* with BALANCE_HASH */
			bool observe;              /* resets before the first byte count as failures of the backend */
			const struct check *check; /* how they are checked; NULL: they are not */
			uint64_t slow_start_us;    /* until one that comes back has its weight; 0: at once */
			bool closes_on_down;       /* sessions of one that a check finds down are closed */
			int keepalive_s;           /* of the connections to them */
			bool resolves;             /* each connection asks for their names anew */
			bool transparent;          /* they see the client's address in place of this machine's */
			bool forwarded;            /* flows to them are the kernel's, once they are decided */
			unsigned send_proxy;       /* the version of the PROXY header that they get first; 0: none */
			bool send_proxy_each;      /* in front of each datagram, not of a flow's first one alone */
			bool backend_family;       /* in it IPv4 addresses are IPv6 ones for a backend of IPv6 */
			bool pass_proxy;           /* they get the header that came in, where one did */
		} connect;
		struct {
			const char *text;
			struct address address;
			enum handover_format format;
		} handover;
		struct program exec;
		struct {
			bool reset;         /* RST rather than FIN */
			uint64_t tarpit_us; /* so long the client is kept waiting before; 0: it is closed at once */
		} reject;
	};
};

/* May an address that is an answer to this one's name be connected to? Not where SRV gave it a port that the service does not have. */
bool target_takes(const struct target *target, const struct backend *backend, const struct address *address);
