/* An answer to a question for SRV records (RFC 2782), read from what a name server sent: who offers the service, with the addresses that came
 * along. It is a stranger's: whatever its bytes, what is returned is sound. */
#pragma once
#include "resolved.h"
#include <stddef.h>
#include <stdint.h>

#define SRV_TARGETS_MAX   64
#define SRV_ADDRESSES_MAX 8 /* of one target */

struct srv_target {
	char host[256];
	uint16_t port, priority, weight;
	size_t n;                                    /* 0: its addresses did not come along */
	struct address addresses[SRV_ADDRESSES_MAX]; /* without a port */
};

struct srv_answer {
	bool withdrawn;  /* "decidedly not available": the one target is the root */
	size_t left_out; /* records of more than SRV_TARGETS_MAX targets: those of the highest priority numbers */
	unsigned ttl_s;  /* the lowest of all that was read */
	size_t n;
	struct srv_target targets[SRV_TARGETS_MAX]; /* the lowest priority first; each host and port once in it */
};

/* 0; -ENODATA: there is no record; -EBADMSG. */
int srv_answer_read(const uint8_t *message, size_t len, struct srv_answer *ret);

/* Its addresses, those of a target sharing its weight, without those that `takes` (NULL: it takes all) does not take. Returns how many;
 * `ret_refused` counts the others. Weights are small, and each is at least 1. */
size_t srv_answer_addresses(const struct srv_answer *answer, bool (*takes)(const void *context, uint16_t port),
	const void *context, struct resolved_address ret[RESOLVED_ADDRESSES_MAX], size_t *ret_refused);
