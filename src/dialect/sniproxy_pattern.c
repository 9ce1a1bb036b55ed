/* Expands a regular expression to globs: what is one byte of any kind becomes `?', what is any run becomes `*', alternatives and what may be
 * absent become several globs, and an end without an anchor gets a `*'. Refuses what globs do not have: repetitions of anything but `.'.
 *
 *     example\.com      *example.com*            ^(www\.)?example\.com$     example.com, www.example.com
 *     .*\.example\.com$ *.example.com            ^.+\.[a-z]x\.test$         ?*.[a-z]x.test */
#include "sniproxy_pattern.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define GLOB_MAX  250
#define DEPTH_MAX 16
#define BEGIN     '\1'
#define END       '\2'

struct parsing {
	const char *at;
	const char *why; /* it is refused; NULL */
	unsigned depth;
};

static void globs_add(struct parsing *parsing, struct sniproxy_globs *globs, const char *one, const char *other)
{
	size_t len = strlen(one) + strlen(other);

	if (globs->n == SNIPROXY_GLOBS_MAX || len > GLOB_MAX) {
		parsing->why = "it stands for too many names";
		return;
	}
	char *text = malloc(len + 1);
	if (!text)
		abort();
	stpcpy(stpcpy(text, one), other);
	globs->items[globs->n++] = text;
}

void sniproxy_globs_fini(struct sniproxy_globs *globs)
{
	for (size_t i = 0; i < globs->n; i++)
		free(globs->items[i]);
	globs->n = 0;
}

/* Each of those before it, with each of these behind it. */
static void globs_append(struct parsing *parsing, struct sniproxy_globs *globs, const struct sniproxy_globs *more)
{
	struct sniproxy_globs all = { .n = 0 };

	for (size_t i = 0; i < globs->n && !parsing->why; i++)
		for (size_t k = 0; k < more->n && !parsing->why; k++)
			globs_add(parsing, &all, globs->items[i], more->items[k]);
	sniproxy_globs_fini(globs);
	*globs = all;
}

static void read_alternatives(struct parsing *parsing, struct sniproxy_globs *ret);

/* "[^a-z]", to "[!a-z]". */
static void read_class(struct parsing *parsing, struct sniproxy_globs *ret)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	const char *from = parsing->at + 1;
	bool is_not = *from == '^';
	size_t len = strspn(from + is_not, allowed);
	char text[GLOB_MAX + 4] = "[";

	if (from[is_not + len] != ']' || len == 0 || len > GLOB_MAX - 4) {
		parsing->why = "its set has something else than letters, digits, `-', `_' and `.'";
		return;
	}
	strncat(strcat(text, is_not ? "!" : ""), from + is_not, len);
	globs_add(parsing, ret, strcat(text, "]"), "");
	parsing->at = from + is_not + len + 1;
}

static void read_group(struct parsing *parsing, struct sniproxy_globs *ret)
{
	parsing->at++;
	if (strncmp(parsing->at, "?:", 2) == 0)
		parsing->at += 2;
	else if (*parsing->at == '?')
		parsing->why = "it looks ahead or behind";
	if (++parsing->depth > DEPTH_MAX)
		parsing->why = "it is too deep";
	if (!parsing->why)
		read_alternatives(parsing, ret);
	parsing->depth--;
	if (!parsing->why && *parsing->at != ')')
		parsing->why = "a `(' has no `)'";
	parsing->at += !parsing->why;
}

static void read_escape(struct parsing *parsing, struct sniproxy_globs *ret)
{
	char c = parsing->at[1];

	if (c == 'd')
		globs_add(parsing, ret, "[0-9]", "");
	else if (c && strchr(".-_", c))
		globs_add(parsing, ret, (const char[]){ c, 0 }, "");
	else
		parsing->why = "it has an escape other than `\\.', `\\-' and `\\d'";
	parsing->at += 2;
}

static void read_atom(struct parsing *parsing, struct sniproxy_globs *ret)
{
	char c = *parsing->at;

	if (c == '[') {
		read_class(parsing, ret);
	} else if (c == '(') {
		read_group(parsing, ret);
	} else if (c == '\\') {
		read_escape(parsing, ret);
	} else if (c == '^' || c == '$') {
		globs_add(parsing, ret, (const char[]){ c == '^' ? BEGIN : END, 0 }, "");
		parsing->at++;
	} else if (c == '.') {
		globs_add(parsing, ret, parsing->at[1] == '*' ? "*" : parsing->at[1] == '+' ? "?*" : "?", "");
		parsing->at += parsing->at[1] == '*' || parsing->at[1] == '+' ? 2 : 1;
	} else if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
		c == '_') {
		globs_add(parsing, ret, (const char[]){ c, 0 }, "");
		parsing->at++;
	} else {
		parsing->why = "it has a byte that no host name has";
	}
}

static void read_sequence(struct parsing *parsing, struct sniproxy_globs *ret)
{
	globs_add(parsing, ret, "", "");
	while (!parsing->why && *parsing->at && !strchr("|)", *parsing->at)) {
		struct sniproxy_globs atom = { .n = 0 };
		read_atom(parsing, &atom);
		if (!parsing->why && *parsing->at == '?') {
			globs_add(parsing, &atom, "", "");
			parsing->at++;
		}
		if (!parsing->why && *parsing->at && strchr("*+?{", *parsing->at))
			parsing->why = "it repeats something else than `.'";
		if (!parsing->why)
			globs_append(parsing, ret, &atom);
		sniproxy_globs_fini(&atom);
	}
}

static void read_alternatives(struct parsing *parsing, struct sniproxy_globs *ret)
{
	for (;;) {
		struct sniproxy_globs one = { .n = 0 };
		read_sequence(parsing, &one);
		for (size_t i = 0; i < one.n && !parsing->why; i++)
			globs_add(parsing, ret, one.items[i], "");
		sniproxy_globs_fini(&one);
		if (parsing->why || *parsing->at != '|')
			return;
		parsing->at++;
	}
}

/* Anchors to nothing, their absence to `*'; one `*' for several. */
static const char *finish(char **glob)
{
	char *text = calloc(1, strlen(*glob) + 3), *to = text;
	const char *from = *glob;
	size_t len = strlen(from);

	if (!text)
		abort();
	bool begins = len > 0 && from[0] == BEGIN, ends = len > 0 && from[len - 1] == END;
	if (!begins)
		*to++ = '*';
	for (size_t i = begins; i + ends < len; i++)
		if (from[i] != '*' || to == text || to[-1] != '*')
			*to++ = from[i];
	if (!ends && (to == text || to[-1] != '*'))
		*to++ = '*';
	free(*glob);
	*glob = text;
	return strchr(text, BEGIN) || strchr(text, END) ? "an anchor is within it" : *text ? NULL : "it is empty";
}

const char *sniproxy_pattern(const char *pattern, struct sniproxy_globs *ret)
{
	struct parsing parsing = { .at = pattern };

	*ret = (struct sniproxy_globs){ .n = 0 };
	read_alternatives(&parsing, ret);
	if (!parsing.why && *parsing.at)
		parsing.why = "a `)' is too many";
	for (size_t i = 0; i < ret->n && !parsing.why; i++)
		parsing.why = finish(&ret->items[i]);
	return parsing.why;
}
