/* A table of sets of WAYS entries; a name can be in one set alone.
 *
 *     entry:  version (odd: it is being written) | until | n | name | addresses
 *
 * The writer makes the version odd, writes, and makes it even. A reader that finds it even and unchanged after it has read has a whole entry:
 * what is stored with release behind the odd version and loaded with acquire shows that version to who looks again (resolved.c has the argument
 * in full). */
#include "name_cache.h"
#include "shared_address.h"
#include "siphash.h"
#include <string.h>

#define WAYS     8
#define SETS     512
#define WORDS    64 /* of a name */
#define ATTEMPTS 4

struct cache_entry {
	_Alignas(64) _Atomic uint32_t version;
	_Atomic uint32_t until_ms;
	_Atomic uint32_t n;
	_Atomic uint32_t name[WORDS]; /* NUL to the end; empty: nothing is here */
	struct shared_address addresses[NAME_CACHE_ADDRESSES];
};

struct name_cache {
	struct siphash_key key;
	struct cache_entry entries[SETS][WAYS];
};

struct words {
	uint32_t word[WORDS];
};

size_t name_cache_size(void)
{
	return sizeof(struct name_cache);
}

int name_cache_init(struct name_cache *cache)
{
	return siphash_key_new(&cache->key);
}

bool name_fold(const char *name, char ret[NAME_MAX_LEN + 1])
{
	size_t len = strlen(name);

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len > NAME_MAX_LEN || !address_is_host_name(name, len))
		return false;
	for (size_t i = 0; i < len; i++)
		ret[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + ('a' - 'A') : name[i]);
	ret[len] = '\0';
	return true;
}

static struct words words_of(const char *name)
{
	struct words words = { 0 };

	memcpy(words.word, name, strnlen(name, NAME_MAX_LEN));
	return words;
}

static const struct cache_entry *set_of(const struct name_cache *cache, const char *name)
{
	return cache->entries[siphash(&cache->key, name, strlen(name)) % SETS];
}

static bool is_named(const struct cache_entry *entry, const struct words *name)
{
	for (size_t i = 0; i < WORDS; i++)
		if (word_get(&entry->name[i]) != name->word[i])
			return false;
	return true;
}

static bool is_over(uint32_t until_ms, uint32_t now_ms)
{
	return (int32_t)(until_ms - now_ms) <= 0;
}

static bool entry_read(const struct cache_entry *entry, uint32_t now_ms, struct name_cached *ret)
{
	uint32_t n = word_get(&entry->n);

	ret->is_current = !is_over(word_get(&entry->until_ms), now_ms);
	ret->n = 0;
	for (uint32_t i = 0; i < n && i < NAME_CACHE_ADDRESSES; i++)
		ret->n += shared_address_get(&entry->addresses[i], &ret->addresses[ret->n]);
	return true;
}

bool name_cache_find(const struct name_cache *cache, const char *name, uint32_t now_ms, struct name_cached *ret)
{
	const struct cache_entry *set = set_of(cache, name);
	struct words words = words_of(name);

	for (size_t way = 0; way < WAYS; way++)
		for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
			uint32_t version = word_get(&set[way].version);
			bool is_it = is_named(&set[way], &words) && entry_read(&set[way], now_ms, ret);
			if (version % 2 == 0 && word_get(&set[way].version) == version) {
				if (is_it)
					return true;
				break;
			}
		}
	return false;
}

/* ---- written ---- */

static struct cache_entry *entry_for(struct name_cache *cache, const char *name, uint32_t now_ms)
{
	struct cache_entry *set = (struct cache_entry *)set_of(cache, name), *best = set;
	struct words words = words_of(name);

	for (size_t way = 0; way < WAYS; way++) {
		struct cache_entry *entry = &set[way];
		if (is_named(entry, &words))
			return entry;
		if ((int32_t)(word_get(&entry->until_ms) - now_ms) < (int32_t)(word_get(&best->until_ms) - now_ms) ||
			word_get(&entry->name[0]) == 0)
			best = entry;
	}
	return best;
}

static void entry_begin(struct cache_entry *entry)
{
	atomic_store_explicit(&entry->version, word_get(&entry->version) | 1, memory_order_seq_cst);
}

void name_cache_put(struct name_cache *cache, const char *name, const struct address *addresses, size_t n,
	uint32_t now_ms, uint32_t keep_ms)
{
	struct cache_entry *entry = entry_for(cache, name, now_ms);
	struct words words = words_of(name);
	uint32_t kept = 0;

	entry_begin(entry);
	for (size_t i = 0; i < n && kept < NAME_CACHE_ADDRESSES; i++)
		if (address_is_ip(&addresses[i]))
			shared_address_put(&entry->addresses[kept++], &addresses[i]);
	word_put(&entry->n, kept);
	word_put(&entry->until_ms, now_ms + keep_ms);
	for (size_t i = 0; i < WORDS; i++)
		word_put(&entry->name[i], words.word[i]);
	word_put(&entry->version, word_get(&entry->version) + 1);
}

void name_cache_mend(struct name_cache *cache)
{
	for (size_t set = 0; set < SETS; set++)
		for (size_t way = 0; way < WAYS; way++) {
			struct cache_entry *entry = &cache->entries[set][way];
			if (word_get(&entry->version) % 2 == 0)
				continue;
			word_put(&entry->name[0], 0);
			word_put(&entry->version, word_get(&entry->version) + 1);
		}
}
