/* Addresses to words and back. Refuses to say whether all words are of one address: that is for who has the version. */
#include "shared_address.h"
#include <string.h>

void shared_address_put(struct shared_address *to, const struct address *from)
{
	bool v6 = from->sa.sa_family == AF_INET6;
	uint32_t bytes[4] = { 0 };

	if (v6)
		memcpy(bytes, &from->in6.sin6_addr, 16);
	else
		memcpy(bytes, &from->in.sin_addr, 4);
	word_put(&to->family, from->sa.sa_family | (uint32_t)address_port(from) << 16);
	word_put(&to->scope, v6 ? from->in6.sin6_scope_id : 0);
	for (int i = 0; i < 4; i++)
		word_put(&to->bytes[i], bytes[i]);
}

bool shared_address_get(const struct shared_address *from, struct address *ret)
{
	uint32_t head = word_get(&from->family), scope = word_get(&from->scope), bytes[4];
	uint32_t family = head & UINT16_MAX;

	for (int i = 0; i < 4; i++)
		bytes[i] = word_get(&from->bytes[i]);
	if (family != AF_INET && family != AF_INET6)
		return false;
	*ret = (struct address){ 0 };
	if (family == AF_INET6) {
		ret->len = sizeof(ret->in6);
		ret->in6.sin6_family = AF_INET6;
		ret->in6.sin6_scope_id = scope;
		memcpy(&ret->in6.sin6_addr, bytes, 16);
	} else {
		ret->len = sizeof(ret->in);
		ret->in.sin_family = AF_INET;
		memcpy(&ret->in.sin_addr, bytes, 4);
	}
	address_set_port(ret, (uint16_t)(head >> 16));
	return true;
}
