/* An IP address in words that one process writes while others read them, each word whole. */
#pragma once
#include "address.h"
#include <stdatomic.h>

struct shared_address {
	_Atomic uint32_t family; /* AF_INET or AF_INET6, and the port << 16 */
	_Atomic uint32_t scope;
	_Atomic uint32_t bytes[4]; /* in network order */
};

static inline void word_put(_Atomic uint32_t *word, uint32_t value)
{
	atomic_store_explicit(word, value, memory_order_release);
}

static inline uint32_t word_get(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_acquire);
}

void shared_address_put(struct shared_address *to, const struct address *from); /* which is an IP address */

/* False for what is no address: the writer reads what strangers send, and is not believed blindly. */
bool shared_address_get(const struct shared_address *from, struct address *ret);
