/* What a stream is beside what every session is, as it moves to another worker:
 *
 *	struct stream_state | bytes on their way up that the backend did not take yet | bytes on their way down
 *
 * and its descriptors, those that are there, in the order of enum stream_fd. */
#pragma once
#include "relay.h"
#include "transport_migration.h"

enum stream_fd {
	STREAM_FD_CLIENT,
	STREAM_FD_SERVER, /* or the program's output */
	STREAM_FD_INPUT,  /* of a program with pipes, until it was told the end */
	STREAM_FD_UP_OUT, /* the end of the pipe that is read, with what is in it */
	STREAM_FD_UP_IN,
	STREAM_FD_DOWN_OUT,
	STREAM_FD_DOWN_IN,
	STREAM_FDS
};
_Static_assert((int)STREAM_FDS <= MIGRATION_FDS_MAX, "all fit");

/* One direction of a relay (relay.h). */
struct stream_state_flow {
	uint64_t bytes;
	uint64_t paced_ns; /* struct pace's full_ns */
	uint32_t uncounted, pending_len, in_pipe;
	uint8_t ended, told, discard, copy_only;
};

struct stream_state {
	uint64_t moved_us;
	uint32_t server_kind; /* enum side_kind */
	uint8_t has_fd[STREAM_FDS];
	uint8_t lingering, was_silent;
	struct stream_state_flow up, down;
};

/* Where the parts are, in the bytes. */
struct stream_state_parts {
	const struct stream_state *head;
	const uint8_t *up, *down;
};

/* 0, or -EBADMSG: no stream in this phase can be that. `bytes` are aligned; `n_fds` descriptors came with them. */
int stream_state_read(
	struct stream_state_parts *ret, enum session_phase phase, const uint8_t *bytes, size_t len, size_t n_fds);

/* The lengths in the head are those of the parts. How many bytes, or -EMSGSIZE: more than `size`. */
ssize_t stream_state_write(uint8_t *to, size_t size, const struct stream_state_parts *parts);
