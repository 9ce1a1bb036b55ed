/* What tells one flow from another: the client's address and port, and the local address and port that it speaks to. IPv4 addresses are
 * mapped into IPv6. Without gaps, so that it can be hashed and compared as bytes. */
#pragma once
#include "address.h"
#include <stdint.h>

struct flow_key {
	uint8_t client[16], local[16];
	uint16_t client_port, local_port; /* in network order */
	uint32_t scope;                   /* the interface of a link-local client */
};

sa_family_t flow_key_family(const struct flow_key *key);
void flow_key_client(const struct flow_key *key, struct address *ret);
void flow_key_local(const struct flow_key *key, struct address *ret);
void flow_key_set_client(struct flow_key *key, const struct sockaddr *client);
void flow_key_set_local(struct flow_key *key, sa_family_t family, const void *address);
