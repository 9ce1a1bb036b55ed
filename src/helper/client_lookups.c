/* The questions for names of clients. The C library's services and search domains are left out: a stranger's name is looked up as it is, in DNS.
 * An answer is kept for as long as its TTL, within bounds; that there is none, for a few seconds; and where name servers fail, the addresses
 * that were there stay. Owns its questions; lives as long as the resolver. */
#include "client_lookups.h"
#include "log.h"
#include "log_limit.h"
#include "siphash.h"
#include "timer.h"
#include "token_bucket.h"
#include <stdlib.h>
#include <string.h>

#define ASKED_MAX    64
#define KEEP_LEAST_S 5
#define BURST        512 /* names at once, in all, */
#define EACH_US      4000
#define SOURCES      4096
#define SOURCE_BURST 64 /* and of one source */
#define SOURCE_US    50000
#define LOG_EACH_US  60000000

struct lookup_asked {
	struct client_lookups *lookups;
	char name[NAME_MAX_LEN + 2]; /* with a dot at its end; empty: it is free */
};

struct client_lookups {
	struct client_lookups_of of;
	struct siphash_key key;
	struct log_limit told;
	uint64_t full_us; /* token_bucket.h */
	uint64_t source_full_us[SOURCES];
	struct lookup_asked asked[ASKED_MAX];
};

struct client_lookups *client_lookups_new(const struct client_lookups_of *of)
{
	struct client_lookups *lookups = calloc(1, sizeof(*lookups));

	if (!lookups)
		return NULL;
	if (siphash_key_new(&lookups->key) < 0) {
		free(lookups);
		return NULL;
	}
	lookups->of = *of;
	for (size_t i = 0; i < ASKED_MAX; i++)
		lookups->asked[i].lookups = lookups;
	if (of->allows) /* else not even its memory is there */
		name_cache_mend(of->cache);
	return lookups;
}

static uint32_t now_ms(void)
{
	return (uint32_t)(clock_monotonic_us() / 1000);
}

/* Its name, without the dot. */
static void free_asked(struct lookup_asked *asked, char ret[NAME_MAX_LEN + 1])
{
	size_t len = strlen(asked->name) - 1;

	memcpy(ret, asked->name, len);
	ret[len] = '\0';
	asked->name[0] = '\0';
}

static unsigned read_addresses(
	const struct ares_addrinfo *info, struct address ret[NAME_CACHE_ADDRESSES], size_t *ret_n, unsigned max_age_s)
{
	unsigned ttl_s = max_age_s;

	*ret_n = 0;
	for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next) {
		struct address address = { .len = node->ai_addrlen };
		if (node->ai_addrlen > sizeof(address.in6) || *ret_n == NAME_CACHE_ADDRESSES)
			continue;
		memcpy(&address.sa, node->ai_addr, node->ai_addrlen);
		if (!address_is_ip(&address))
			continue;
		address_set_port(&address, 0);
		ret[(*ret_n)++] = address;
		if (node->ai_ttl >= 0 && (unsigned)node->ai_ttl < ttl_s)
			ttl_s = (unsigned)node->ai_ttl;
	}
	return ttl_s > KEEP_LEAST_S ? ttl_s : KEEP_LEAST_S;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct lookup_asked *asked = arg;
	struct client_lookups *lookups = asked->lookups;
	struct name_cached kept = { 0 };
	unsigned keep_s = KEEP_LEAST_S;
	char name[NAME_MAX_LEN + 1];

	free_asked(asked, name);
	if (status == ARES_SUCCESS && info)
		keep_s = read_addresses(info, kept.addresses, &kept.n, lookups->of.max_age_s);
	else if (status != ARES_ENODATA && status != ARES_ENOTFOUND)
		name_cache_find(lookups->of.cache, name, now_ms(), &kept);
	if (status != ARES_EDESTRUCTION) /* else who waits asks again */
		name_cache_put(lookups->of.cache, name, kept.addresses, kept.n, now_ms(), keep_s * 1000);
	if (info)
		ares_freeaddrinfo(info);
}

static bool take_tokens(struct client_lookups *lookups, uint64_t source)
{
	uint64_t now_us = clock_monotonic_us(), all_us, source_us;
	uint64_t *of_source = &lookups->source_full_us[siphash(&lookups->key, &source, sizeof(source)) % SOURCES];

	if (!token_bucket_take(*of_source, SOURCE_BURST, SOURCE_US, now_us, &source_us) ||
		!token_bucket_take(lookups->full_us, BURST, EACH_US, now_us, &all_us))
		return false;
	*of_source = source_us;
	lookups->full_us = all_us;
	return true;
}

/* A free place, or NULL: there is none, or the name is being asked for. */
static struct lookup_asked *place_for(struct client_lookups *lookups, const char *name)
{
	struct lookup_asked *place = NULL;
	size_t len = strlen(name);

	for (size_t i = 0; i < ASKED_MAX; i++) {
		struct lookup_asked *asked = &lookups->asked[i];
		if (!asked->name[0])
			place = asked;
		else if (strncmp(asked->name, name, len) == 0 && asked->name[len + 1] == '\0')
			return NULL;
	}
	return place;
}

void client_lookups_ask(struct client_lookups *lookups, ares_channel channel, const char *name, uint64_t source)
{
	static const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct name_cached cached;
	char folded[NAME_MAX_LEN + 1];

	if (!lookups->of.allows || !name_fold(name, folded) || !lookups->of.allows(lookups->of.context, folded) ||
		(name_cache_find(lookups->of.cache, folded, now_ms(), &cached) && cached.is_current))
		return;
	struct lookup_asked *asked = place_for(lookups, folded);
	if (!asked)
		return;
	if (!take_tokens(lookups, source)) {
		if (log_limit_count(&lookups->told, LOG_EACH_US, clock_monotonic_us()))
			log_warning("clients ask for more names than are looked up: 20 a second of one source, 250 "
				    "of all");
		return;
	}
	stpcpy(stpcpy(asked->name, folded), ".");
	ares_getaddrinfo(channel, asked->name, NULL, &hints, on_answer, asked);
}
