/* Lists the files of a configuration. Refuses to say what is wrong with them: whoever compiles it does. Owns the list. */
#include "sources.h"
#include "includes.h"
#include "reader.h"
#include "text_file.h"
#include <stdlib.h>
#include <string.h>

#define LIST_PREFIX "file:/"

void sources_add(struct sources *sources, const char *path, bool is_pattern)
{
	if (!sources)
		return;
	sources->list = reallocarray(sources->list, sources->n + 1, sizeof(*sources->list));
	char *copy = strdup(path);
	if (!sources->list || !copy)
		abort();
	sources->list[sources->n++] = (struct source){ copy, is_pattern };
}

void sources_free(struct sources *sources)
{
	for (size_t i = 0; i < sources->n; i++)
		free(sources->list[i].path);
	free(sources->list);
	*sources = (struct sources){ 0 };
}

static void lists_add(struct sources *sources, const struct setting *at)
{
	const char *text = setting_text(at);

	if (text && strncmp(text, LIST_PREFIX, strlen(LIST_PREFIX)) == 0)
		sources_add(sources, strchr(text, '/'), false);
	if (setting_is_group(at))
		for (size_t i = 0; i < setting_member_count(at); i++)
			lists_add(sources, setting_member(at, i));
	else if (setting_kind(at) == SETTING_OTHER)
		for (size_t i = 0; i < setting_count(at); i++)
			if (setting_item(at, i) != at)
				lists_add(sources, setting_item(at, i));
}

void sources_read(const char *file, struct sources *ret)
{
	struct complaints unheard = { 0 };
	size_t len;

	*ret = (struct sources){ 0 };
	sources_add(ret, file, false);
	char *text = text_file_read(file, &len, &unheard);
	struct reader *reader = text ? reader_new(file, true, text, len, ret, &unheard) : NULL;
	if (reader)
		lists_add(ret, reader_root(reader));
	reader_free(reader);
	free(text);
	complaints_fini(&unheard);
}
