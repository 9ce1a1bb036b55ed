/* The two formats of a handover (include/usher/handover.h), from usher's side: messages written, answers read. */
#pragma once
#include "facts.h"
#include "target.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <usher/handover.h>

/* Returns its length. `number` is a datagram's; 0: none. `is_flow`: a socket of UDP goes with it. */
size_t handover_message_write(uint8_t message[USHER_MESSAGE_MAX], enum handover_format format,
	const struct facts *facts, uint64_t number, bool is_flow);

/* What the receiver of one channel has said so far. All zero to begin with. */
struct handover_answers {
	bool announced; /* it acknowledges */
	bool deaf;      /* its first bytes were no hello: it announces nothing, and nothing of it is read */
	uint64_t n_acknowledged;
	size_t have;
	uint8_t bytes[USHER_ACKNOWLEDGEMENT_SIZE]; /* of a record that is not whole yet */
};

/* Takes bytes as they came, cut anywhere. `n_sent`: messages that it may have by now. 0, or -EPROTO: it announced, and
 * then said what it must not; what comes behind that means nothing. */
int handover_answers_read(struct handover_answers *answers, const uint8_t *bytes, size_t len, uint64_t n_sent);

/* A receipt for one datagram: 0 and its number, or -EPROTO. */
int handover_receipt_read(const uint8_t bytes[USHER_ACKNOWLEDGEMENT_SIZE], uint64_t *ret_number);
