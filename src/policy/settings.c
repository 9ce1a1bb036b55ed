/* Writes settings as JSON. Refuses nothing: the configuration was compiled before. Everything is in the arena. */
#include "settings.h"
#include "arena.h"
#include "escape.h"
#include "reader.h"
#include "siphash.h"
#include "text_file.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_PREFIX "file:"

static void value_write(FILE *to, const struct setting *at);

/* With what stands in the file, if it is one of addresses. */
static void text_write(FILE *to, const char *text)
{
	static const struct siphash_key key; /* it need not be secret: nobody gains by files that are alike */
	char *contents = NULL, *both = NULL;
	size_t len;

	if (strncmp(text, LIST_PREFIX, strlen(LIST_PREFIX)) == 0 &&
		text_file_load(text + strlen(LIST_PREFIX), &contents, &len) == 0 &&
		asprintf(&both, "%s (contents %016jx)", text, (uintmax_t)siphash(&key, contents, len)) < 0)
		abort();
	escape_json_write(to, both ? both : text, strlen(both ? both : text));
	free(contents);
	free(both);
}

static void real_write(FILE *to, double value)
{
	if (isfinite(value))
		fprintf(to, "%.15g", value);
	else
		fputs("null", to);
}

static void group_write(FILE *to, const struct setting *at)
{
	fputc('{', to);
	for (size_t i = 0; i < setting_member_count(at); i++) {
		const struct setting *member = setting_member(at, i);
		const char *name = setting_name(member);
		fputs(i ? ", " : "", to);
		escape_json_write(to, name, strlen(name));
		fputs(": ", to);
		value_write(to, member);
	}
	fputc('}', to);
}

static void list_write(FILE *to, const struct setting *at)
{
	fputc('[', to);
	for (size_t i = 0; i < setting_count(at) && setting_item(at, i) != at; i++) {
		fputs(i ? ", " : "", to);
		value_write(to, setting_item(at, i));
	}
	fputc(']', to);
}

static void value_write(FILE *to, const struct setting *at)
{
	switch (setting_kind(at)) {
	case SETTING_STRING:
		text_write(to, setting_text(at));
		break;
	case SETTING_WHOLE:
		fprintf(to, "%jd", (intmax_t)setting_whole(at));
		break;
	case SETTING_REAL:
		real_write(to, setting_real(at));
		break;
	case SETTING_BOOL:
		fputs(setting_bool(at) ? "true" : "false", to);
		break;
	case SETTING_OTHER:
		if (setting_is_group(at))
			group_write(to, at);
		else
			list_write(to, at);
	}
}

const char *settings_text(struct arena *arena, const struct reader *reader)
{
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);

	if (!to)
		abort();
	group_write(to, reader_root(reader));
	if (fclose(to) != 0)
		abort();
	const char *kept = arena_strdup(arena, text);
	free(text);
	return kept;
}
