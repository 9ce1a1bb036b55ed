/* The key of a flow, to and from the kernel's addresses. Refuses nothing and owns nothing. */
#include "flow_key.h"
#include <string.h>

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

/* Listening sockets of IPv6 are of IPv6 alone: nothing that they receive is mapped. */
sa_family_t flow_key_family(const struct flow_key *key)
{
	return memcmp(key->client, mapped, sizeof(mapped)) == 0 ? AF_INET : AF_INET6;
}

static void get_address(
	sa_family_t family, const uint8_t bytes[16], uint16_t port, uint32_t scope, struct address *ret)
{
	*ret = (struct address){ .len = sizeof(ret->in6) };
	if (family == AF_INET) {
		ret->len = sizeof(ret->in);
		ret->in.sin_family = AF_INET;
		ret->in.sin_port = port;
		memcpy(&ret->in.sin_addr, bytes + sizeof(mapped), sizeof(ret->in.sin_addr));
		return;
	}
	ret->in6.sin6_family = AF_INET6;
	ret->in6.sin6_port = port;
	ret->in6.sin6_scope_id = scope;
	memcpy(&ret->in6.sin6_addr, bytes, sizeof(ret->in6.sin6_addr));
}

void flow_key_client(const struct flow_key *key, struct address *ret)
{
	get_address(flow_key_family(key), key->client, key->client_port, key->scope, ret);
}

void flow_key_local(const struct flow_key *key, struct address *ret)
{
	get_address(flow_key_family(key), key->local, key->local_port, key->scope, ret);
}

static void set_bytes(uint8_t to[16], sa_family_t family, const void *address)
{
	if (family == AF_INET6) {
		memcpy(to, address, 16);
		return;
	}
	memcpy(to, mapped, sizeof(mapped));
	memcpy(to + sizeof(mapped), address, 4);
}

void flow_key_set_client(struct flow_key *key, const struct sockaddr *client)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (client->sa_family == AF_INET) {
		memcpy(&in, client, sizeof(in));
		set_bytes(key->client, AF_INET, &in.sin_addr);
		key->client_port = in.sin_port;
		key->scope = 0;
		return;
	}
	memcpy(&in6, client, sizeof(in6));
	set_bytes(key->client, AF_INET6, &in6.sin6_addr);
	key->client_port = in6.sin6_port;
	key->scope = in6.sin6_scope_id;
}

void flow_key_set_local(struct flow_key *key, sa_family_t family, const void *address)
{
	set_bytes(key->local, family, address);
}
