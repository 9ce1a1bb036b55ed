/* Reads tcpmux's configuration, which is libconfig's as usher's own is: the policy's reader parses it, with
 * its words for what is wrong with the form.
 *
 * Refuses what cannot be parsed and a file without `version`. Unknown keys and incomplete entries, which
 * tcpmux passes over in silence, are left out with a warning. Texts stay the reader's, which
 * tcpmux_file_fini() frees. */
#include "tcpmux_read.h"
#include "index.h"
#include "reader.h"
#include <libconfig.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* What an entry of a list holds. NULL: no such key. */
struct shape {
	const char *list;
	const char *name, *value, *para;
	bool has_priority, needs_priority;
	size_t offset; /* of the list in struct tcpmux_file */
};

static const struct shape shapes[] = {
	{ "proto_identifier", "name", "identifier", NULL, true, true, offsetof(struct tcpmux_file, identifiers) },
	{ "internal_identifer", "name", NULL, NULL, true, false, offsetof(struct tcpmux_file, internals) },
	{ "extension_module", "name", "file", NULL, false, false, offsetof(struct tcpmux_file, modules) },
	{ "proxy_server", "proto", "channel", NULL, false, false, offsetof(struct tcpmux_file, proxies) },
	{ "proto_server", "proto", "server", "para", false, false, offsetof(struct tcpmux_file, programs) },
};
#define N_SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static const char *const scalars[] = { "version", "log_level", "bind_addr", "listen_port" };
#define N_SCALARS (sizeof(scalars) / sizeof(scalars[0]))

static const struct setting *own(const config_setting_t *at)
{
	return (const struct setting *)at;
}

static const config_setting_t *parsed(const struct setting *at)
{
	return (const config_setting_t *)at;
}

static const char *string_of(const config_setting_t *group, const char *key)
{
	const config_setting_t *at = key ? config_setting_get_member(group, key) : NULL;

	return at ? setting_text(own(at)) : NULL;
}

static bool whole_of(const config_setting_t *group, const char *key, int *ret)
{
	const config_setting_t *at = config_setting_get_member(group, key);
	int type = at ? config_setting_type(at) : CONFIG_TYPE_NONE;

	if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64 && type != CONFIG_TYPE_BOOL)
		return false;
	long long value = type == CONFIG_TYPE_BOOL ? config_setting_get_bool(at) : config_setting_get_int64(at);
	*ret = value > INT_MAX ? INT_MAX : value < INT_MIN ? INT_MIN : (int)value;
	return true;
}

/* ---- keys that nobody reads ---- */

static void keys_check(
	struct reader *reader, const config_setting_t *group, const struct index *known, const char *where)
{
	int count = config_setting_length(group);

	for (int i = 0; i < count; i++) {
		const config_setting_t *at = config_setting_get_elem(group, (unsigned)i);
		const char *name = config_setting_name(at);
		if (name && index_find(known, name) == INDEX_NONE)
			reader_warn(reader, own(at), "unknown key `%s' in %s is left out%s", name, where,
				reader_suggest(reader, name, known));
	}
}

static struct index *shape_keys(const struct shape *shape)
{
	const char *const keys[] = { shape->name, shape->value, shape->para, shape->has_priority ? "priority" : NULL,
		shape->has_priority ? "disabled" : NULL };
	struct index *index = index_new();

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (keys[i])
			index_add(index, keys[i], (uint32_t)i);
	return index;
}

static void top_keys_check(struct reader *reader, const config_setting_t *top)
{
	struct index *known = index_new();

	for (size_t i = 0; i < N_SCALARS; i++)
		index_add(known, scalars[i], (uint32_t)i);
	for (size_t i = 0; i < N_SHAPES; i++)
		index_add(known, shapes[i].list, (uint32_t)(N_SCALARS + i));
	keys_check(reader, top, known, "the configuration");
	index_free(known);
}

/* ---- lists ---- */

const struct tcpmux_entry *tcpmux_find(const struct tcpmux_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i];
	return NULL;
}

/* Behind all that go before it: ties stay in file order. */
static void entry_insert(struct tcpmux_list *list, const struct tcpmux_entry *entry)
{
	size_t at = list->count;

	if ((at & (at - 1)) == 0) { /* full at 0 and every power of two */
		list->items = reallocarray(list->items, at ? at * 2 : 1, sizeof(*list->items));
		if (!list->items)
			abort();
	}
	for (; at > 0 && list->items[at - 1].priority > entry->priority; at--)
		list->items[at] = list->items[at - 1];
	list->items[at] = *entry;
	list->count++;
}

static void entry_read(
	struct reader *reader, struct tcpmux_list *list, const struct shape *shape, const config_setting_t *at)
{
	struct tcpmux_entry entry = {
		.name = string_of(at, shape->name),
		.value = string_of(at, shape->value),
		.para = string_of(at, shape->para),
		.line = setting_line(own(at)),
	};
	int disabled = 0;
	const char *missing = !entry.name ? shape->name : shape->value && !entry.value ? shape->value : NULL;

	if (shape->has_priority) {
		bool given = whole_of(at, "priority", &entry.priority);
		if (!missing && shape->needs_priority && !given)
			missing = "priority";
		whole_of(at, "disabled", &disabled);
		entry.disabled = disabled != 0;
	}
	const struct tcpmux_entry *first = entry.name ? tcpmux_find(list, entry.name) : NULL;
	if (missing)
		reader_warn(reader, own(at), "an entry of `%s' without %s `%s' is left out", shape->list,
			strcmp(missing, "priority") == 0 ? "the whole number" : "the string", missing);
	else if (first)
		reader_warn(reader, own(at), "`%s' is in `%s' already, on line %u: this one is left out", entry.name,
			shape->list, first->line);
	else
		entry_insert(list, &entry);
}

static void list_read(
	struct reader *reader, struct tcpmux_list *list, const struct shape *shape, const config_setting_t *top)
{
	const config_setting_t *at = config_setting_get_member(top, shape->list);
	int count = at && config_setting_is_list(at) ? config_setting_length(at) : 0;
	struct index *known = shape_keys(shape);

	if (at && !config_setting_is_list(at))
		reader_error(reader, own(at), "`%s' is no list, expected ( { %s: \"...\"; ... }, ... )", shape->list,
			shape->name);
	for (int i = 0; i < count; i++) {
		const config_setting_t *entry = config_setting_get_elem(at, (unsigned)i);
		if (!config_setting_is_group(entry)) {
			reader_error(reader, own(entry),
				"`%s' holds something else than groups, expected { %s: \"...\"; ... }", shape->list,
				shape->name);
			continue;
		}
		keys_check(reader, entry, known, shape->list);
		entry_read(reader, list, shape, entry);
	}
	index_free(known);
}

/* ---- the file ---- */

static void number_read(
	struct reader *reader, struct tcpmux_number *ret, const config_setting_t *top, const char *key)
{
	const config_setting_t *at = config_setting_get_member(top, key);

	ret->given = at && whole_of(top, key, &ret->value);
	ret->line = setting_line(own(at));
	if (at && !ret->given)
		reader_error(reader, own(at), "`%s' is no whole number, expected %s", key,
			strcmp(key, "listen_port") == 0 ? "1 to 65535" : "1 (info) or 2 (debug)");
}

void tcpmux_read(
	struct tcpmux_file *ret, const char *file, const char *text, size_t len, struct complaints *complaints)
{
	struct reader *reader = ret->reader = reader_new(file, false, text, len, NULL, complaints);

	if (!reader)
		return;
	const config_setting_t *top = parsed(reader_root(reader));
	const config_setting_t *address = config_setting_get_member(top, "bind_addr");

	top_keys_check(reader, top);
	if (!string_of(top, "version"))
		reader_error(reader, own(config_setting_get_member(top, "version")),
			"no string `version', expected version = \"1.0\"");
	ret->bind_addr = string_of(top, "bind_addr");
	ret->bind_addr_line = setting_line(own(address));
	if (address && !ret->bind_addr)
		reader_error(
			reader, own(address), "`bind_addr' is no string, expected an address such as \"0.0.0.0\"");
	number_read(reader, &ret->listen_port, top, "listen_port");
	number_read(reader, &ret->log_level, top, "log_level");
	for (size_t i = 0; i < N_SHAPES; i++)
		list_read(reader, (struct tcpmux_list *)((char *)ret + shapes[i].offset), &shapes[i], top);
}

void tcpmux_file_fini(struct tcpmux_file *file)
{
	for (size_t i = 0; i < N_SHAPES; i++)
		free(((struct tcpmux_list *)((char *)file + shapes[i].offset))->items);
	reader_free(file->reader);
	*file = (struct tcpmux_file){ 0 };
}
