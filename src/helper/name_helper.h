/* Processes that ask the C library for names: getaddrinfo() with all the services of nsswitch.conf(5), whose modules are other people's code,
 * read whatever the network says, and may take as long as they like. So they are the resolver's children, a few, each with a sandbox of
 * its own and one question at a time. */
#pragma once
#include "nsswitch.h"
#include "resolved.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define NAME_HELPERS_MAX 4

struct name_answer {
	uint32_t name;
	int32_t error; /* 0, or as getaddrinfo() says */
	uint32_t n;
	struct {
		uint32_t family, scope;
		uint8_t bytes[16];
	} addresses[RESOLVED_ADDRESSES_MAX];
};

struct name_helpers {
	size_t n; /* that live */
	struct {
		pid_t pid;
		int channel;
		bool asked;
		uint32_t name;
	} helpers[NAME_HELPERS_MAX];
};

/* Forks `n` of them, for names of this table. By a process without privileges that is not in its sandbox yet. 0 or -errno; those that
 * were started live on. */
int name_helpers_start(struct name_helpers *helpers, size_t n, const struct nsswitch *nsswitch,
	const struct resolved *table, int log_fd);

/* False: all have something to do. */
bool name_helpers_ask(struct name_helpers *helpers, uint32_t name);

/* An answer, with the addresses that are proper ones; or that a helper is gone (-1 beside its question, where it had one). False: there is
 * nothing more for now. */
bool name_helpers_hear(struct name_helpers *helpers, struct name_answer *ret,
	struct address ret_addresses[RESOLVED_ADDRESSES_MAX], size_t *ret_n, bool *ret_gone);

/* Of what a helper wrote, which is believed as little as a name server. False: it is no answer. */
bool name_answer_read(const struct name_answer *answer, struct address ret[RESOLVED_ADDRESSES_MAX], size_t *ret_n);
