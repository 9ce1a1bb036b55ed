/* A live session as it crosses from one worker to another: one message over a SOCK_SEQPACKET pair, its descriptors beside it.
 *
 *	hello     from the new worker, first: struct migrant_hello, then the texts of its listeners, NUL after each, then a struct
 *	          migrant_socket for each of its sockets by which flows come
 *	taken     from the new worker, after some migrants: struct migrant_taken. How many, limits_transit.h tells
 *	moved     from the old one: struct migrant_flows_moved. No flow is left there that came by one of these sockets, and it reads no
 *	          datagrams any more
 *	migrant   from the old one, one a session: struct migrant, then in this order
 *	          what its transport has packed | the texts, NUL after each that is there | PROXY header that came in
 *	          | first bytes kept for people
 *	          descriptors: the transport's
 *
 * Both ends run on one machine; MIGRANT_FORMAT changes whenever anything here does, and the size of what a transport packs counts with it
 * (worker_migration_format()). The old worker reads hostile bytes, so the new one believes nothing: what does not add up is refused
 * whole. */
#pragma once
#include "address.h"
#include "former.h"
#include "message.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIGRANT_FORMAT   11
#define MIGRANT_MAX      MESSAGE_MIGRANT_MAX
#define MIGRANT_TEXT_MAX 1024

enum migrant_phase { MIGRANT_PROXIED, MIGRANT_DECIDING, MIGRANT_RELAYING, MIGRANT_PHASES };

struct migrant_hello {
	uint32_t format;
	uint32_t texts_len;
	uint32_t n_sockets;
};

struct migrant_socket {
	uint32_t listener; /* its number among the texts */
	uint32_t place;    /* among the sockets of the listener */
};

struct migrant_taken {
	uint32_t format;
};

struct migrant_flows_moved {
	uint32_t format;
};

struct migrant {
	uint32_t format;
	uint32_t transport; /* enum transport_kind */
	uint32_t phase;     /* enum migrant_phase */
	uint32_t delivery;  /* enum delivery */
	uint32_t log_level; /* enum log_level */
	uint32_t state_len, header_len, kept_len;
	uint32_t text_len[SESSION_TEXTS]; /* without the NUL; 0: none */
	uint64_t id, accepted_us, decided_us;
	uint64_t backend; /* the key of the one that it counts for (backend_table.h); 0: none */
	struct address client;
	struct address peer, destination; /* of the proxy's header; peer.len 0: nobody was named */
};

/* Where the parts of a message are, in the message. */
struct migrant_parts {
	const struct migrant *head;
	const char *text[SESSION_TEXTS]; /* NULL: none */
	const uint8_t *state, *header, *kept;
};

/* 0, or -EBADMSG: what is refused. `message` is aligned as malloc() does it. */
int migrant_read(struct migrant_parts *ret, const uint8_t *message, size_t len);

/* Where the transport's state lies in a message, and the most that there is room for. */
uint8_t *migrant_state(uint8_t *message);
#define MIGRANT_STATE_MAX (MIGRANT_MAX - sizeof(struct migrant))

/* Puts a message together in `to` (MIGRANT_MAX bytes), around the transport's state, which is there. The lengths in the head are those of
 * the parts; format and text_len are filled in. The length, or -EMSGSIZE. */
ssize_t migrant_write(uint8_t *to, struct migrant *head, const struct migrant_parts *parts);

bool migrant_taken_is_sound(const uint8_t *message, size_t len);

/* A hello, which is aligned as malloc() does it, of the listeners `text` and the sockets `socket` (NULL: no more; `at` counts from 0). What does
 * not fit is left out, with what is behind it. The length. */
size_t migrant_hello_write(uint8_t *to, size_t size, const void *of, const char *(*text)(const void *of, size_t at),
	bool (*socket)(const void *of, size_t at, struct migrant_socket *ret));
bool migrant_hello_is_sound(const uint8_t *message, size_t len);
/* Of one that is sound: does it name the listener, or this socket of it? */
bool migrant_hello_names(const uint8_t *message, const char *listener);
bool migrant_hello_has_socket(const uint8_t *message, const char *listener, uint32_t place);
