/* What each protocol is to the others of this room. The header of one room's inside. */
#pragma once
#include "starttls.h"

/* One message at `bytes`, of which at most STARTTLS_MESSAGE_MAX bytes are shown. *ret_taken is its length, where the step is not MORE. */
typedef enum starttls_step starttls_hear(
	struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken);

struct starttls_protocol {
	const char *name;
	struct probe probe;
	starttls_hear *hear_client, *hear_server;
	void (*meet_server)(struct starttls *starttls);
};

extern const struct starttls_protocol starttls_postgres;

/* It is said behind what is to be said already, as far as there is room. */
void starttls_say(struct starttls *starttls, const void *bytes, size_t len);
