/* Any text as an entry of a list of addresses and as opening hours. An entry that is accepted covers its own first address
 * and no more than its length says; hours that are accepted are open some time of the week and repeat every week. */
#include "access.h"
#include "fuzz.h"
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW       1780000000
#define WEEK      (7 * 86400)
#define LINES_MAX 64

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	setenv("TZ", "UTC", 1);
	return 0;
}

/* The address that stands before the slash. */
static bool own_address(const char *text, struct address *ret)
{
	char host[INET6_ADDRSTRLEN];
	size_t len = strcspn(text, "/");

	if (len >= sizeof(host))
		return false;
	memcpy(host, text, len);
	host[len] = '\0';
	*ret = (struct address){ 0 };
	if (inet_pton(AF_INET, host, &ret->in.sin_addr) == 1) {
		ret->in.sin_family = AF_INET;
		ret->len = sizeof(ret->in);
	} else if (inet_pton(AF_INET6, host, &ret->in6.sin6_addr) == 1) {
		ret->in6.sin6_family = AF_INET6;
		ret->len = sizeof(ret->in6);
	} else {
		return false;
	}
	return true;
}

static void check_entry(struct address_set *all, const char *text)
{
	struct address_set *alone = address_set_new();
	char why[ADDRESS_SET_WHY_MAX] = "";
	struct address address;

	int error = address_set_insert(alone, text, why);
	require((error < 0) == (why[0] != '\0') && strlen(why) < sizeof(why));
	require((address_set_insert(all, text, why) < 0) == (error < 0));
	if (error == 0) {
		require(own_address(text, &address));
		require(address_set_contains(alone, &address) && address_set_contains(all, &address));
		/* The other half of the address space, unless the entry is all of it. */
		const char *slash = strchr(text, '/');
		bool v4 = address.sa.sa_family == AF_INET;
		if (v4 && (!slash || atoi(slash + 1) > 0)) {
			address.in.sin_addr.s_addr ^= htonl(0x80000000);
			require(!address_set_contains(alone, &address));
		}
	}
	address_set_free(alone);
}

static void check_hours(const char *text)
{
	struct arena *arena = arena_new();
	struct schedule *schedule = schedule_new(arena);
	char why[SCHEDULE_WHY_MAX] = "";
	bool utc = !strstr(text, "/"); /* no zone whose clocks are changed */
	int open = 0;

	int error = schedule_add(schedule, text, NOW, why);
	require((error < 0) == (why[0] != '\0') && strlen(why) < sizeof(why));
	for (int s = 0; s < WEEK; s += 60) {
		bool covered = schedule_covers(schedule, NOW + s);
		open += covered;
		if (utc && error < 0)
			require(!covered);
		else if (utc && strchr(text, ':') && strlen(text) < 24)
			require(covered == schedule_covers(schedule, NOW + s + WEEK));
	}
	require((open > 0) == (error == 0));
	arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct address_set *all = address_set_new();
	char *text = malloc(size + 1), *rest = text, *line;
	int lines = 0;

	if (!text)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	while ((line = strsep(&rest, "\n")) && lines++ < LINES_MAX)
		check_entry(all, line);
	address_set_free(all);
	free(text);

	text = strndup((const char *)data, size);
	if (text && strlen(text) < 200)
		check_hours(text);
	free(text);
	return 0;
}
