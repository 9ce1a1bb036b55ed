/* Carries bytes both ways between two ends until both have finished, one was reset, or nothing moved for too long.
 *
 * A direction reads into the worker's one shared buffer and writes at once: an idle connection owns no buffer. What the
 * receiver does not take stays in a buffer of the direction's own, and the source is not read until that is gone. When
 * reads come back large the direction changes to splice through a pipe from a bounded pool, and back when the flow turns small.
 *
 * EOF on one side, once all before it is delivered, becomes a half-close of the other; the opposite direction lives on.
 * A reset becomes a reset. An end may also be a pair of pipes or a terminal (a program's stdio). */
#pragma once
#include "loop.h"
#include <stddef.h>
#include <stdint.h>

#define RELAY_BUFFER_SIZE 65536 /* the shared buffer; also the most that a direction keeps back */

/* One a worker: the shared buffer, spare buffers and pipes. */
struct relay_pool;
struct relay_paces;
struct relay_pool *relay_pool_new(void); /* NULL: no memory */
void relay_pool_free(struct relay_pool *pool);

enum relay_end {
	RELAY_RUNNING,
	RELAY_FINISHED,     /* both sides sent EOF and got the other's bytes */
	RELAY_CLIENT_RESET, /* a RST came; it was passed on */
	RELAY_SERVER_RESET,
	RELAY_IDLE, /* nothing moved for idle_us */
	RELAY_NO_MEMORY,
};

enum side_kind { SIDE_SOCKET, SIDE_PIPES, SIDE_TERMINAL };

/* A socket or terminal is read and written through `in`, and out.fd is -1; of a pair of pipes `in` is read, `out` written. */
struct relay_side {
	struct watch in;
	struct watch out;
	enum side_kind kind;
	bool is_unix; /* a read also stops behind descriptors that came along, and between two writers */
	bool written; /* something was, by the relay */
	bool prompt;  /* it has TCP_NODELAY, or cannot have it */
};

/* One direction. */
struct relay_flow {
	uint64_t bytes;     /* delivered */
	uint32_t uncounted; /* of what is still to be delivered: not the source's */
	/* 0 .. pending_at -- delivered, pending_at .. pending_len -- kept back, to deliver before anything else is read */
	uint8_t *pending;
	uint32_t pending_at, pending_len;
	uint32_t in_pipe;        /* EAGAIN from splice alone does not tell an empty pipe from a full socket */
	struct relay_pipe *pipe; /* while splicing */
	uint8_t streak;          /* large reads in a row while copying, small ones while splicing */
	bool copy_only : 1;      /* this pair of descriptors cannot be spliced */
	bool readable : 1;       /* since the last EAGAIN */
	bool writable : 1;
	bool hung_up : 1;      /* the source announced its end */
	bool keeps_urgent : 1; /* its urgent bytes stay in the stream */
	bool urgent : 1;       /* it sent urgent bytes: a short read does not mean that it is empty */
	bool broken : 1;       /* by a reset, it seems: what came before it must leave at once */
	bool ended : 1;        /* the source said EOF */
	bool told : 1;         /* and the sink was told */
	bool discard : 1;      /* the sink takes no more: what still comes is read and dropped */
};

struct relay {
	struct loop *loop;
	struct relay_pool *pool;
	struct relay_paces *paces; /* of the pool's; NULL: both directions go as fast as they can */
	uint64_t idle_us;
	void (*answered)(
		struct relay *relay); /* once, when the first byte of the server's has been delivered; NULL */
	void (*done)(struct relay *relay, enum relay_end end); /* once, never from within relay_start() */

	struct relay_side client;
	struct relay_side server;
	uint8_t *preface; /* a buffer of the pool's; see relay_preface() */
	uint32_t preface_len;
	struct relay_flow up;   /* client to server */
	struct relay_flow down; /* server to client */
	uint64_t moved_us;      /* when something last moved */
	struct timer idle;
	struct task turn; /* more to do, but others come first; or the end */
	enum relay_end end;
	bool lingering; /* only waiting for the client to stop sending */
};

/* Before relay_start(), with `pool` set: what the server gets before all that the client sends, at most RELAY_BUFFER_SIZE bytes,
 * in place of what was set before; with 0 nothing. They do not count among the client's. Without memory the relay will end
 * with RELAY_NO_MEMORY. */
void relay_preface(struct relay *relay, const uint8_t *bytes, size_t len);

/* Both sides are connected, non-blocking and watched with RELAY_EVENTS, and the caller has set everything above `client`
 * and both sides. The events are all that were seen on each side so far: edges are not repeated. */
#define RELAY_EVENTS (EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET)
void relay_start(struct relay *relay, uint32_t client_events, uint32_t server_events);

/* Nothing but its end can be told of one that is not. */
bool relay_is_running(const struct relay *relay);

/* In place of relay_start(), for one that ran in another process: the flows, `moved_us` and `lingering` are as they were there, what
 * was kept back is in buffers and pipes of this pool. */
void relay_resume(struct relay *relay);

/* Closes both sides, with a reset where `end` was one, and gives buffers and pipes back. Also stops one that is under way;
 * `done` is not called any more. */
void relay_close(struct relay *relay, enum relay_end end);
