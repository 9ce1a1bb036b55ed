/* Reads one line of nsswitch.conf. Refuses to follow what stands in brackets ([NOTFOUND=return]): that is the C library's, which is called
 * for every name that another service than files and dns might know. Owns nothing. */
#include "nsswitch.h"
#include "file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define FILE_MAX 65536
#define WORD                                                                                                         \
	"abcdefghijklmnopqrstuvwxyz"                                                                                 \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ"                                                                                 \
	"0123456789_-"

/* ---- the line ---- */

static void services_read(const char *at, const char *end, struct nsswitch *ret)
{
	ret->n = 0;
	while (at < end && ret->n < NSSWITCH_SERVICES_MAX) {
		size_t len = strspn(at, WORD);
		if (*at == '[') {
			const char *close = memchr(at, ']', (size_t)(end - at));
			at = close ? close + 1 : end;
		} else if (len == 0) {
			at++;
		} else {
			if (len < NSSWITCH_NAME_MAX) {
				memcpy(ret->services[ret->n], at, len);
				ret->services[ret->n++][len] = '\0';
			}
			at += len;
		}
	}
}

void nsswitch_parse(const char *text, struct nsswitch *ret)
{
	static const struct nsswitch preset = { .n = 2, .services = { "files", "dns" } };
	struct nsswitch line;

	*ret = preset;
	for (const char *at = text; *at; at += *at == '\n') {
		const char *end = at + strcspn(at, "#\n");
		at += strspn(at, " \t");
		if (at < end && strncmp(at, "hosts", 5) == 0) {
			at += 5 + strspn(at + 5, " \t");
			if (at < end && *at == ':') {
				services_read(at + 1, end, &line);
				if (line.n > 0)
					*ret = line;
			}
		}
		at = end + strcspn(end, "\n");
	}
}

void nsswitch_read(struct nsswitch *ret)
{
	char *text = NULL;
	size_t len;

	if (file_read(NSSWITCH_FILE, FILE_MAX, &text, &len) < 0)
		text = NULL;
	nsswitch_parse(text ? text : "", ret);
	free(text);
}

/* ---- names ---- */

static bool ends_in(const char *name, size_t len, const char *end)
{
	size_t n = strlen(end);
	return len >= n && strncasecmp(name + len - n, end, n) == 0;
}

/* nss-myhostname(8) */
static bool is_of_this_machine(const char *name, size_t len)
{
	static const char *const always[] = { "localhost", "localhost.localdomain", "_gateway", "_outbound",
		"_localdnsstub", "_localdnsproxy" };
	char host[256] = "";

	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		if (strlen(always[i]) == len && strncasecmp(name, always[i], len) == 0)
			return true;
	if (ends_in(name, len, ".localhost") || ends_in(name, len, ".localhost.localdomain"))
		return true;
	return gethostname(host, sizeof(host) - 1) == 0 && strlen(host) == len && strncasecmp(name, host, len) == 0;
}

bool nsswitch_is_foreign(const char *service)
{
	return strcmp(service, "files") != 0 && strcmp(service, "dns") != 0;
}

static bool may_know(const char *service, const char *name)
{
	size_t len = strlen(name);

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (!nsswitch_is_foreign(service))
		return false;
	if (strncmp(service, "mdns", 4) == 0)
		return ends_in(name, len, ".local");
	if (strcmp(service, "myhostname") == 0)
		return is_of_this_machine(name, len);
	return true;
}

enum nsswitch_way nsswitch_way(const struct nsswitch *nsswitch, const char *name)
{
	bool after_dns = false;

	for (size_t i = 0; i < nsswitch->n; i++) {
		if (may_know(nsswitch->services[i], name))
			return after_dns ? NSSWITCH_THEN : NSSWITCH_CALLED;
		after_dns = after_dns || strcmp(nsswitch->services[i], "dns") == 0;
	}
	return NSSWITCH_OWN;
}

void nsswitch_lookups(const struct nsswitch *nsswitch, char ret[3])
{
	size_t n = 0;

	for (size_t i = 0; i < nsswitch->n; i++) {
		char one = strcmp(nsswitch->services[i], "files") == 0 ? 'f'
			: strcmp(nsswitch->services[i], "dns") == 0    ? 'b'
								       : '\0';
		if (one && n < 2 && (n == 0 || ret[0] != one))
			ret[n++] = one;
	}
	if (n == 0)
		ret[n++] = 'f';
	ret[n] = '\0';
}

/* ---- for people ---- */

const char *nsswitch_describe(const struct nsswitch *nsswitch, const char *name, char ret[NSSWITCH_TEXT_MAX])
{
	enum nsswitch_way way = nsswitch_way(nsswitch, name);
	size_t used = 0;
	char lookups[3];

	ret[0] = '\0';
	if (way != NSSWITCH_CALLED) {
		nsswitch_lookups(nsswitch, lookups);
		for (const char *at = lookups; *at; at++)
			used += (size_t)snprintf(ret + used, NSSWITCH_TEXT_MAX - used, "%s%s", used ? ", then " : "",
				*at == 'f' ? "/etc/hosts" : "DNS");
	}
	if (way == NSSWITCH_OWN)
		return ret;
	used += (size_t)snprintf(
		ret + used, NSSWITCH_TEXT_MAX - used, "%sthe system's resolver (", used ? ", then " : "");
	for (size_t i = 0; i < nsswitch->n && used < NSSWITCH_TEXT_MAX - NSSWITCH_NAME_MAX - 4; i++)
		used += (size_t)snprintf(
			ret + used, NSSWITCH_TEXT_MAX - used, "%s%s", i ? " " : "", nsswitch->services[i]);
	snprintf(ret + used, NSSWITCH_TEXT_MAX - used, ")");
	return ret;
}
