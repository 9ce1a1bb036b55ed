/* SipHash-2-4. Refuses nothing, allocates nothing and owns nothing. */
#include "siphash.h"
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

struct state {
	uint64_t a, b, c, d;
};

static inline uint64_t rotate(uint64_t value, int by)
{
	return value << by | value >> (64 - by);
}

static inline void round_once(struct state *s)
{
	s->a += s->b;
	s->b = rotate(s->b, 13) ^ s->a;
	s->a = rotate(s->a, 32);
	s->c += s->d;
	s->d = rotate(s->d, 16) ^ s->c;
	s->a += s->d;
	s->d = rotate(s->d, 21) ^ s->a;
	s->c += s->b;
	s->b = rotate(s->b, 17) ^ s->c;
	s->c = rotate(s->c, 32);
}

static inline void compress(struct state *s, uint64_t word)
{
	s->d ^= word;
	round_once(s);
	round_once(s);
	s->a ^= word;
}

int siphash_key_new(struct siphash_key *ret)
{
	struct siphash_key key;

	if (getrandom(&key, sizeof(key), 0) != sizeof(key))
		return -errno;
	*ret = key;
	return 0;
}

uint64_t siphash(const struct siphash_key *key, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	struct state s = {
		key->words[0] ^ 0x736f6d6570736575,
		key->words[1] ^ 0x646f72616e646f6d,
		key->words[0] ^ 0x6c7967656e657261,
		key->words[1] ^ 0x7465646279746573,
	};
	uint64_t word;
	size_t left = len;

	for (; left >= sizeof(word); at += sizeof(word), left -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		compress(&s, le64toh(word));
	}
	word = 0;
	memcpy(&word, at, left);
	compress(&s, le64toh(word) | (uint64_t)len << 56);
	s.c ^= 0xff;
	for (int i = 0; i < 4; i++)
		round_once(&s);
	return s.a ^ s.b ^ s.c ^ s.d;
}
