/* Lists of addresses and networks, also in files.
 *
 * Refuses what is no address, told with the line of the file where it stands in one. Everything is in the policy's
 * arena. */
#include "address_list.h"
#include "text_file.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FILE_PREFIX     "file:"
#define FILE_PREFIX_LEN (sizeof(FILE_PREFIX) - 1)
#define FILE_ERRORS_MAX 20 /* of one file: the rest is not looked at */
#define TEXT_MAX        72 /* of a list as it is shown to people */
#define UNIX_CLIENTS    "unix:"

struct list_reader {
	struct reader *reader;
	struct address_set *set;
	bool wrong; /* some entry was complained about */
};

/* One line of a file, without its comment and the blanks around it. False: complained. */
static bool line_read(struct list_reader *list, const char *path, unsigned number, char *line)
{
	char why[ADDRESS_SET_WHY_MAX];

	line[strcspn(line, "#\r\n")] = '\0';
	line += strspn(line, " \t");
	size_t len = strlen(line);
	while (len && strchr(" \t", line[len - 1]))
		line[--len] = '\0';
	if (!len || address_set_insert(list->set, line, why) == 0)
		return true;
	reader_error_in(list->reader, path, number, "%s", why);
	list->wrong = true;
	return false;
}

static void file_lines_read(struct list_reader *list, const char *path, char *text)
{
	unsigned number = 0, errors = 0;
	char *line;

	while (errors < FILE_ERRORS_MAX && (line = strsep(&text, "\n")))
		errors += !line_read(list, path, ++number, line);
	if (errors == FILE_ERRORS_MAX)
		reader_error_in(list->reader, path, number, "too many errors, the rest of the file was not read");
}

static void list_file_read(struct list_reader *list, const struct setting *at, const char *path)
{
	char *text = NULL, fault[128];
	size_t len;

	if (path[0] != '/') {
		reader_error(list->reader, at, "`file:%.80s', expected an absolute path behind `file:'", path);
		list->wrong = true;
		return;
	}
	int error = text_file_load(path, &text, &len);
	if (error == 0) {
		file_lines_read(list, path, text);
	} else {
		reader_error(list->reader, at, "`%s' %s", path, text_file_fault(error, fault, sizeof(fault)));
		list->wrong = true;
	}
	free(text);
}

/* The strings of a list as one text; past a certain length only their number. */
const char *setting_list_text(struct arena *arena, const struct setting *at)
{
	size_t count = setting_count(at);
	const char *text = NULL;

	for (size_t i = 0; i < count; i++) {
		if (text && strlen(text) > TEXT_MAX)
			return arena_printf(arena, "%s, and %zu more", text, count - i);
		text = arena_printf(
			arena, "%s%s%s", text ? text : "", text ? ", " : "", setting_text(setting_item(at, i)));
	}
	return text;
}

bool address_list_read(struct reader *reader, struct arena *arena, const struct setting *at, bool with_unix,
	struct address_list *ret)
{
	struct list_reader list = { .reader = reader, .set = address_set_new() };
	char why[ADDRESS_SET_WHY_MAX];

	*ret = (struct address_list){ 0 };
	for (size_t i = 0; i < setting_count(at); i++) {
		const struct setting *item = setting_item(at, i);
		const char *text = setting_text(item);
		assert(text); /* the reader lets nothing but strings in here */
		if (with_unix && strcmp(text, UNIX_CLIENTS) == 0) {
			ret->unix_clients = true;
		} else if (strncmp(text, FILE_PREFIX, FILE_PREFIX_LEN) == 0) {
			list_file_read(&list, item, text + FILE_PREFIX_LEN);
		} else if (address_set_insert(list.set, text, why) < 0) {
			reader_error(reader, item, "%s", why);
			list.wrong = true;
		}
	}
	ret->set = address_set_keep(list.set, arena);
	address_set_free(list.set);
	ret->text = setting_list_text(arena, at);
	assert(ret->text);
	if (strstr(ret->text, FILE_PREFIX))
		ret->text = arena_printf(arena, "%s (%zu entries in all)", ret->text, address_set_count(ret->set));
	return !list.wrong;
}
