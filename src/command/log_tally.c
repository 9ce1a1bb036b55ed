/* Adds lines of a log up. Memory is bounded: so many entries of a kind, buckets for times. Refuses to keep a line. Owns its tables. */
#include "log_tally.h"
#include "address.h"
#include "hash.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OTHERS     "(others)"
#define PLACES_MIN 1024

/* ---- entries ---- */

static size_t place_of(const struct tally_group *group, const char *key, size_t len)
{
	size_t at = hash_bytes(key, len) & (group->n_places - 1);

	while (group->places[at]) {
		const char *there = group->entries[group->places[at] - 1].key;
		if (strncmp(there, key, len) == 0 && there[len] == '\0')
			break;
		at = (at + 1) & (group->n_places - 1);
	}
	return at;
}

/* At most half of the places are used. */
static int group_grow(struct tally_group *group)
{
	size_t n_places = group->n_places ? group->n_places * 2 : PLACES_MIN;
	struct tally_entry *entries = reallocarray(group->entries, n_places / 2, sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	group->entries = entries;
	uint32_t *places = calloc(n_places, sizeof(*places));
	if (!places)
		return -ENOMEM;
	free(group->places);
	group->places = places;
	group->n_places = n_places;
	group->size = n_places / 2;
	for (size_t i = 0; i < group->n; i++)
		places[place_of(group, entries[i].key, strlen(entries[i].key))] = (uint32_t)i + 1;
	return 0;
}

/* NULL: no memory. A key that is longer than there is room for is cut. */
static struct tally_entry *group_entry(struct tally_group *group, const char *key, size_t len)
{
	if (len >= TALLY_KEY_MAX)
		len = TALLY_KEY_MAX - 1;
	if (group->n == group->size && group_grow(group) < 0)
		return NULL;
	size_t at = place_of(group, key, len);
	if (!group->places[at] && group->n >= TALLY_MOST - 1) {
		key = OTHERS;
		len = strlen(key);
		at = place_of(group, key, len);
	}
	if (!group->places[at]) {
		struct tally_entry *entry = &group->entries[group->n];
		*entry = (struct tally_entry){ 0 };
		memcpy(entry->key, key, len);
		group->places[at] = (uint32_t)++group->n;
	}
	return &group->entries[group->places[at] - 1];
}

static struct tally_entry *tally_count(
	struct tally *tally, enum tally_kind kind, const char *key, size_t len, const struct log_line *line)
{
	struct tally_entry *entry = group_entry(&tally->groups[kind], key, len);

	if (entry) {
		entry->count++;
		entry->bytes_up += line->bytes_up;
		entry->bytes_down += line->bytes_down;
	}
	return entry;
}

/* ---- times ---- */

/* 0 .. 15: exact, then 16 buckets for each power of two. */
static size_t bucket_of(uint64_t us)
{
	if (us < TALLY_SUBS)
		return us;
	size_t power = 63 - (size_t)__builtin_clzll(us);
	size_t bucket = (power - 3) * TALLY_SUBS + ((us >> (power - 4)) & (TALLY_SUBS - 1));
	return bucket < TALLY_BUCKETS ? bucket : TALLY_BUCKETS - 1;
}

/* The first time that is too long for it. */
static double bucket_end(size_t bucket)
{
	if (bucket < TALLY_SUBS)
		return (double)bucket + 1;
	size_t power = bucket / TALLY_SUBS + 3;
	return (double)((TALLY_SUBS + bucket % TALLY_SUBS + 1) << (power - 4));
}

static int time_count(struct tally_times **times, uint64_t us)
{
	if (!*times)
		*times = calloc(1, sizeof(**times));
	if (!*times)
		return -ENOMEM;
	(*times)->n++;
	(*times)->buckets[bucket_of(us)]++;
	return 0;
}

double tally_percentile(const struct tally_times *times, unsigned percent)
{
	uint64_t seen = 0;

	if (!times)
		return 0;
	for (size_t i = 0; i < TALLY_BUCKETS; i++) {
		seen += times->buckets[i];
		if (seen * 100 >= times->n * percent)
			return bucket_end(i);
	}
	return bucket_end(TALLY_BUCKETS - 1);
}

/* ---- lines ---- */

/* "192.0.2.0/24" of "192.0.2.7:1234", "2001:db8:1::/48" of "[2001:db8:1::7]:1234". Returns its length; of what is no address "-". */
static size_t network_of(struct log_text client, char ret[TALLY_KEY_MAX])
{
	char text[ADDRESS_TEXT_MAX], address[INET6_ADDRSTRLEN];
	uint8_t bytes[16];
	const char *colon = client.at ? memrchr(client.at, ':', client.len) : NULL;
	size_t len = colon ? (size_t)(colon - client.at) : 0;
	const char *dot = len ? memrchr(client.at, '.', len) : NULL;

	if (len == 0 || len >= sizeof(text))
		return (size_t)snprintf(ret, TALLY_KEY_MAX, "-");
	memcpy(text, client.at, len);
	text[len] = '\0';
	if (dot && inet_pton(AF_INET, text, bytes) == 1)
		return (size_t)snprintf(ret, TALLY_KEY_MAX, "%.*s.0/24", (int)(dot - client.at), text);
	if (text[0] != '[' || text[len - 1] != ']')
		return (size_t)snprintf(ret, TALLY_KEY_MAX, "-");
	text[len - 1] = '\0';
	text[1 + strcspn(text + 1, "%")] = '\0';
	if (inet_pton(AF_INET6, text + 1, bytes) != 1)
		return (size_t)snprintf(ret, TALLY_KEY_MAX, "-");
	memset(bytes + 6, 0, sizeof(bytes) - 6);
	return (size_t)snprintf(ret, TALLY_KEY_MAX, "%s/48", inet_ntop(AF_INET6, bytes, address, sizeof(address)));
}

static int minute_count(struct tally *tally, const struct log_line *line)
{
	char minute[TALLY_KEY_MAX] = "";

	if (!line->time.at || line->time.len < 16)
		return 0;
	memcpy(minute, line->time.at, 16); /* 2026-11-21T22:10 */
	if (!tally->first[0] || strcmp(minute, tally->first) < 0)
		memcpy(tally->first, minute, sizeof(minute));
	if (strcmp(minute, tally->last) > 0)
		memcpy(tally->last, minute, sizeof(minute));
	return tally_count(tally, TALLY_MINUTE, minute, 16, line) ? 0 : -ENOMEM;
}

static int connection_count(struct tally *tally, const struct log_line *line)
{
	struct log_text none = { "-", 1 };
	struct log_text service = line->service.at ? line->service : none;
	struct log_text end = line->end.at ? line->end : none;
	char network[TALLY_KEY_MAX];

	tally->connections++;
	tally->bytes_up += line->bytes_up;
	tally->bytes_down += line->bytes_down;
	struct tally_entry *entry = tally_count(tally, TALLY_SERVICE, service.at, service.len, line);
	int r = entry ? 0 : -ENOMEM;
	bool is_measured = tally->groups[TALLY_SERVICE].n <= TALLY_MEASURED || (entry && entry->total);
	if (r == 0 && is_measured && line->has_decided)
		r = time_count(&entry->decided, line->decided_us);
	if (r == 0 && is_measured && line->has_total)
		r = time_count(&entry->total, line->total_us);
	if (r == 0 && !tally_count(tally, TALLY_END, end.at, end.len, line))
		r = -ENOMEM;
	if (r == 0 && line->rule.at && !tally_count(tally, TALLY_RULE, line->rule.at, line->rule.len, line))
		r = -ENOMEM;
	size_t len = network_of(line->client, network);
	if (r == 0 && !tally_count(tally, TALLY_NETWORK, network, len, line))
		r = -ENOMEM;
	return r == 0 ? minute_count(tally, line) : r;
}

int tally_line(struct tally *tally, const char *line, size_t len)
{
	struct log_line read;

	switch (log_line_read(line, len, &read)) {
	case LOG_LINE_CONNECTION:
		return connection_count(tally, &read);
	case LOG_LINE_BROKEN:
		tally->broken++;
		return 0;
	default:
		tally->others++;
		return 0;
	}
}

void tally_fini(struct tally *tally)
{
	for (int kind = 0; kind < TALLY_KINDS; kind++) {
		struct tally_group *group = &tally->groups[kind];
		for (size_t i = 0; i < group->n; i++) {
			free(group->entries[i].decided);
			free(group->entries[i].total);
		}
		free(group->entries);
		free(group->places);
	}
}

/* ---- the end ---- */

static int compare_keys(const void *a, const void *b)
{
	return strcmp(((const struct tally_entry *)a)->key, ((const struct tally_entry *)b)->key);
}

static int compare_counts(const void *a, const void *b)
{
	const struct tally_entry *one = a, *other = b;

	if (one->count != other->count)
		return one->count < other->count ? 1 : -1;
	return compare_keys(a, b);
}

void tally_sort(struct tally_group *group, bool by_key)
{
	if (group->n)
		qsort(group->entries, group->n, sizeof(*group->entries), by_key ? compare_keys : compare_counts);
}

static size_t prefixes_count(const struct tally_group *group, size_t len)
{
	size_t n = group->n > 0;

	for (size_t i = 1; i < group->n; i++)
		n += strncmp(group->entries[i - 1].key, group->entries[i].key, len) != 0;
	return n;
}

/* Sorted entries whose keys begin with the same `len` bytes become one. */
static void prefixes_merge(struct tally_group *group, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < group->n; i++) {
		const struct tally_entry *entry = &group->entries[i];
		struct tally_entry *last = n ? &group->entries[n - 1] : NULL;
		if (last && strncmp(last->key, entry->key, len) == 0) {
			last->count += entry->count;
			last->bytes_up += entry->bytes_up;
			last->bytes_down += entry->bytes_down;
			continue;
		}
		group->entries[n] = *entry;
		group->entries[n++].key[len] = '\0';
	}
	group->n = n;
}

void tally_coarsen(struct tally_group *group, size_t most)
{
	static const size_t lengths[] = { 16, 15, 13, 10 }; /* minute, ten, hour, day */
	size_t step = 0;

	tally_sort(group, true);
	while (step < 3 && prefixes_count(group, lengths[step]) > most)
		step++;
	prefixes_merge(group, lengths[step]);
	/* "2026-11-21T22:1" is what ten minutes begin with. */
	for (size_t i = 0; step == 1 && i < group->n; i++)
		memcpy(group->entries[i].key + 15, "0", 2);
}
