/* A live session as it crosses from one worker to another: one message over a SOCK_SEQPACKET pair, its descriptors beside it.
 *
 *	hello     from the new worker, first: struct migrant_hello, then the texts of its listeners, NUL after each
 *	taken     from the new worker, after some migrants: struct migrant_taken. How many, limits_transit.h tells
 *	migrant   from the old one, one a session: struct migrant, then in this order
 *	          the texts, NUL after each that is there | PROXY header that came in | first bytes kept for people
 *	          | bytes on their way up that the backend did not take yet | bytes on their way down
 *	          descriptors, those that are there: the client's socket, the server's (or what a program reads and writes), and
 *	          of each direction the two ends of the pipe that it splices through, with what is in it
 *
 * Both ends run on one machine; MIGRANT_FORMAT changes whenever anything here does. The old worker reads hostile bytes, so
 * the new one believes nothing: what does not add up is refused whole. */
#pragma once
#include "address.h"
#include "former.h"
#include "message.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIGRANT_FORMAT   3
#define MIGRANT_MAX      MESSAGE_MIGRANT_MAX
#define MIGRANT_TEXT_MAX 1024

enum migrant_fd {
	MIGRANT_CLIENT,
	MIGRANT_SERVER, /* or the program's output */
	MIGRANT_INPUT,  /* of a program with pipes, until it was told the end */
	MIGRANT_UP_OUT, /* the end of the pipe that is read */
	MIGRANT_UP_IN,
	MIGRANT_DOWN_OUT,
	MIGRANT_DOWN_IN,
	MIGRANT_FDS
};

enum migrant_state { MIGRANT_PROXIED, MIGRANT_DECIDING, MIGRANT_RELAYING };

/* One direction of a relay (relay.h). */
struct migrant_flow {
	uint64_t bytes;
	uint32_t uncounted, pending_len, in_pipe;
	uint8_t ended, told, discard, copy_only;
};

struct migrant_hello {
	uint32_t format;
	uint32_t texts_len;
};

struct migrant_taken {
	uint32_t format;
};

struct migrant {
	uint32_t format;
	uint32_t state; /* enum migrant_state */
	uint64_t id, accepted_us, decided_us, moved_us;
	struct address client;
	struct address peer, destination; /* of the proxy's header; peer.len 0: nobody was named */
	uint32_t server_kind;             /* enum side_kind */
	uint32_t delivery;                /* enum delivery */
	uint32_t log_level;               /* enum log_level */
	uint8_t lingering, was_silent;
	uint8_t has_fd[MIGRANT_FDS];
	struct migrant_flow up, down;
	uint32_t text_len[SESSION_TEXTS]; /* without the NUL; 0: none */
	uint32_t header_len, kept_len;
};

/* Where the parts of a message are, in the message. */
struct migrant_parts {
	const struct migrant *head;
	const char *text[SESSION_TEXTS]; /* NULL: none */
	const uint8_t *header, *kept, *up, *down;
};

/* 0, or -EBADMSG: what is refused. `message` is aligned as malloc() does it; `n_fds` descriptors came with it. */
int migrant_read(struct migrant_parts *ret, const uint8_t *message, size_t len, size_t n_fds);

/* Puts a message together in `to` (MIGRANT_MAX bytes). The lengths in the head are those of the parts; text_len is filled in.
 * The length, or -EMSGSIZE. */
ssize_t migrant_write(uint8_t *to, struct migrant *head, const struct migrant_parts *parts);

bool migrant_taken_is_sound(const uint8_t *message, size_t len);

/* The texts of a hello one after the other: NULL before the first. NULL: no more. */
bool migrant_hello_is_sound(const uint8_t *message, size_t len);
const char *migrant_hello_next(const uint8_t *message, size_t len, const char *text);
