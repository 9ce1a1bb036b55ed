/* sslh's names of TLS servers and of application protocols, which are globs of fnmatch(3), as usher's.
 *
 *     [:digit:]    0-9          [^a]    [!a]          \a    a
 *
 * Refuses, without a complaint of its own, what no client can send: sslh never matches it, and usher takes it for a
 * mistake. What it returns is the caller's. */
#include "sslh_write.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define HOST_MAX 253 /* bytes of a host name, RFC 1035 2.3.4 */
#define ALPN_MAX 255 /* of an application protocol, RFC 7301 3.1 */

/* Classes within a set, as far as names can have such bytes. */
static const struct {
	const char *name, *bytes;
} classes[] = {
	{ "[:alnum:]", "a-zA-Z0-9" },
	{ "[:alpha:]", "a-zA-Z" },
	{ "[:digit:]", "0-9" },
	{ "[:lower:]", "a-z" },
	{ "[:upper:]", "A-Z" },
	{ "[:xdigit:]", "0-9a-fA-F" },
};

/* The class that begins here; NULL. */
static const char *class_at(const char *at, size_t *ret_len)
{
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		*ret_len = strlen(classes[i].name);
		if (strncmp(at, classes[i].name, *ret_len) == 0)
			return classes[i].bytes;
	}
	return NULL;
}

/* Behind the bracket of a set, through the one that closes it; NULL: there is none. A bracket right behind the first
 * belongs to the set. */
static const char *set_write(FILE *to, const char *at)
{
	size_t len = 0;

	fputc('[', to);
	if (*at == '!' || *at == '^') {
		fputc('!', to);
		at++;
	}
	for (bool first = true; *at && (first || *at != ']'); first = false, at += len) {
		const char *bytes = class_at(at, &len);
		if (!bytes)
			len = 1;
		fprintf(to, "%.*s", bytes ? (int)strlen(bytes) : 1, bytes ? bytes : at);
	}
	fputc(']', to);
	return *at ? at + 1 : NULL;
}

/* False: it is no whole glob. */
static bool glob_write(FILE *to, const char *at)
{
	while (at && *at) {
		if (*at == '[') {
			at = set_write(to, at + 1);
		} else if (*at == '\\') {
			if (!at[1])
				return false;
			fprintf(to, strchr("*?[\\", at[1]) ? "\\%c" : "%c", at[1]);
			at += 2;
		} else {
			fputc(*at++, to);
		}
	}
	return at != NULL;
}

static bool is_host(const char *name)
{
	size_t len = strlen(name);

	if (len > HOST_MAX || name[0] == '.' || name[len - 1] == '.' || strstr(name, ".."))
		return false;
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("-_.*?[]!", *c))
			return false;
	return true;
}

char *sslh_name(const char *name, bool is_host_name)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		abort();
	bool good = glob_write(to, name);
	if (fclose(to) != 0)
		abort();
	good = good && *text && (is_host_name ? is_host(text) : size <= ALPN_MAX);
	if (good)
		return text;
	free(text);
	return NULL;
}
