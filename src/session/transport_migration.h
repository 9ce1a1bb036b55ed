/* What a transport does so that its sessions can move to another worker (migrate). What every session has (number, addresses, clocks, names,
 * limits, counters, kept evidence) moves without it; bytes and descriptors of its own it packs here and unpacks there.
 *
 *	old worker    is_movable, place -> pack -> (the message is sent) -> leave
 *	new worker    is_sound -> arrive -> (what every session has, and its counts) -> unpack -> go_on
 *
 * The old worker reads hostile bytes: is_sound() believes nothing, and what does not add up is refused whole. */
#pragma once
#include "session.h"

#define MIGRATION_FDS_MAX 8 /* of one session */

/* A time that the old worker says, which has passed by now, or how long something may last: else a session would never be too old. */
static inline uint64_t migration_at_most(uint64_t said_us, uint64_t most_us)
{
	return said_us < most_us ? said_us : most_us;
}

/* Of one session, without what every session has. */
struct migration_state {
	uint8_t *bytes; /* aligned for any type */
	size_t len;
	int fds[MIGRATION_FDS_MAX];
	size_t n_fds;
};

struct transport_migration {
	/* The size of what pack() writes at the start: another one is another format of upgrades (worker_migration_format()). */
	size_t head_size;

	/* Where each socket of a listener is one worker's: sessions that came by it go to the worker that has it. Both NULL: any may have them. */
	uint32_t (*place)(const struct session *session); /* of its socket, among those of its listener */
	/* The sockets of this worker, `at` counting from 0: of which listener of its policy, and the place. False: no more. */
	bool (*socket)(const struct context *context, size_t at, uint32_t *ret_listener, uint32_t *ret_place);

	/* Nothing is under way for it that this worker alone knows. It is undecided or relayed: no other is asked about. */
	bool (*is_movable)(const struct session *session);
	/* `state->len` bytes of room; becomes how many there are. The descriptors stay the session's. 0, or -EMSGSIZE: it stays here. */
	int (*pack)(struct session *session, struct migration_state *state);
	/* It is in the other worker, or on its way, with all its descriptors: gives everything back; nothing ends. Counts first. */
	void (*leave)(struct session *session);

	/* May a session in this phase (PHASE_PROXIED, PHASE_DECIDING, PHASE_RELAYING) be this? All descriptors are there. */
	bool (*is_sound)(enum session_phase phase, const struct migration_state *state);
	/* A new one, initialised and in this phase, that does nothing yet. NULL: no memory. */
	struct session *(*arrive)(struct context *context, enum session_phase phase);
	/* Takes the state over; descriptors that it takes become -1. What every session has is there. 0 or -errno. */
	int (*unpack)(struct session *session, struct migration_state *state);
	/* It goes on, or with an -errno ends. It counts here already. */
	void (*go_on)(struct session *session, int error);
};
