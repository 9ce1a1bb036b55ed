/* Settings: their types and values, and whole groups of them checked against the tables of keys.
 *
 * Refuses unknown keys, wrong types and numbers out of range, and goes on after each, so that all of a file's
 * errors come out at once. Owns no memory: settings are the reader's. */
#include "nearest.h"
#include "reader.h"
#include <assert.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

static const config_setting_t *parsed(const struct setting *at)
{
	return (const config_setting_t *)at;
}

bool setting_is_group(const struct setting *at)
{
	return config_setting_is_group(parsed(at));
}

const char *setting_text(const struct setting *at)
{
	return config_setting_type(parsed(at)) == CONFIG_TYPE_STRING ? config_setting_get_string(parsed(at)) : NULL;
}

static bool setting_is_list(const struct setting *at)
{
	return config_setting_is_array(parsed(at)) || config_setting_is_list(parsed(at));
}

size_t setting_count(const struct setting *at)
{
	if (!at)
		return 0;
	return setting_is_list(at) ? (size_t)config_setting_length(parsed(at)) : 1;
}

const struct setting *setting_item(const struct setting *at, size_t i)
{
	return setting_is_list(at) ? (const struct setting *)config_setting_get_elem(parsed(at), (unsigned)i) : at;
}

static bool setting_is_whole(const struct setting *at)
{
	int type = config_setting_type(parsed(at));
	return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
}

static double setting_number(const struct setting *at)
{
	if (setting_is_whole(at))
		return (double)config_setting_get_int64(parsed(at));
	return config_setting_get_float(parsed(at));
}

enum setting_kind setting_kind(const struct setting *at)
{
	switch (config_setting_type(parsed(at))) {
	case CONFIG_TYPE_STRING:
		return SETTING_STRING;
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return SETTING_WHOLE;
	case CONFIG_TYPE_FLOAT:
		return SETTING_REAL;
	case CONFIG_TYPE_BOOL:
		return SETTING_BOOL;
	default:
		return SETTING_OTHER;
	}
}

int64_t setting_whole(const struct setting *at)
{
	return config_setting_get_int64(parsed(at));
}

double setting_real(const struct setting *at)
{
	return setting_number(at);
}

bool setting_bool(const struct setting *at)
{
	return config_setting_get_bool(parsed(at)) != 0;
}

const char *setting_name(const struct setting *at)
{
	return config_setting_name(parsed(at));
}

size_t setting_member_count(const struct setting *group)
{
	return (size_t)config_setting_length(parsed(group));
}

const struct setting *setting_member(const struct setting *group, size_t i)
{
	return (const struct setting *)config_setting_get_elem(parsed(group), (unsigned)i);
}

const struct setting *setting_find(const struct setting *group, const char *name)
{
	return (const struct setting *)config_setting_get_member(parsed(group), name);
}

static const char *setting_type_name(const struct setting *at)
{
	switch (config_setting_type(parsed(at))) {
	case CONFIG_TYPE_GROUP:
		return "a group";
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return "a whole number";
	case CONFIG_TYPE_FLOAT:
		return "a number with a point";
	case CONFIG_TYPE_STRING:
		return "a string";
	case CONFIG_TYPE_BOOL:
		return "true or false";
	default:
		return "a list";
	}
}

/* ---- one value against its key ---- */

/* Behind the bytes that are there. */
static const char *expected_choices(const char *choices, char *buf, size_t size, int len_there)
{
	size_t len = (size_t)len_there;
	for (const char *at = choices; *at && len < size;
		at += at[strcspn(at, " ")] ? strcspn(at, " ") + 1 : strcspn(at, " "))
		len += (size_t)snprintf(
			buf + len, size - len, "%s \"%.*s\"", at == choices ? "" : ",", (int)strcspn(at, " "), at);
	return buf;
}

static const char *expectation(const struct key *key, char *buf, size_t size)
{
	switch (key->type) {
	case KEY_STRING:
		return "a string in double quotes";
	case KEY_CHOICE:
		return expected_choices(key->choices, buf, size, snprintf(buf, size, "one of"));
	case KEY_WHOLE:
		snprintf(buf, size, "a whole number from %.0f to %.0f", key->least, key->most);
		return buf;
	case KEY_SECONDS:
		snprintf(buf, size, "seconds from %g to %.0f", key->least, key->most);
		return buf;
	case KEY_BOOL:
		return "true or false";
	case KEY_SWITCH:
		snprintf(buf, size, "true, false or a whole number from %.0f to %.0f", key->least, key->most);
		return buf;
	case KEY_NUMBER_OR_CHOICE:
		return expected_choices(key->choices, buf, size,
			snprintf(buf, size, "a whole number from %.0f to %.0f or", key->least, key->most));
	case KEY_MODE:
		return "permission bits such as 0660";
	case KEY_STRINGS:
		return "a string in double quotes or a list of them";
	case KEY_GROUP:
		return "a group { ... }";
	case KEY_GROUPS:
		return "a list of groups ( { ... }, { ... } )";
	case KEY_MIXED:
		return "a string, a group { ... } or a list ( ... ) of either";
	}
	return "";
}

static bool item_fits(const struct key *key, const struct setting *item)
{
	bool string = setting_text(item) != NULL;
	switch (key->type) {
	case KEY_STRINGS:
		return string;
	case KEY_GROUPS:
		return setting_is_group(item);
	default:
		return string || setting_is_group(item);
	}
}

/* A mode such as 0660 is a number without its leading zeros here, 660, whichever version of libconfig there is: the digits are the
 * mode. Those of a hexadecimal number are gone. */
static bool mode_parse(const struct setting *at, unsigned *ret)
{
	char digits[24];
	const char *text = setting_text(at);
	char *end;

	if (!text) {
		if (!setting_is_whole(at) || config_setting_get_format(parsed(at)) != CONFIG_FORMAT_DEFAULT)
			return false;
		snprintf(digits, sizeof(digits), "%lld", config_setting_get_int64(parsed(at)));
		text = digits;
	}
	if (strspn(text, "01234567") != strlen(text) || !*text)
		return false;
	unsigned long mode = strtoul(text, &end, 8);
	if (mode > 0777)
		return false;
	*ret = (unsigned)mode;
	return true;
}

static int choice_find(const char *choices, const char *text)
{
	assert(text); /* values_read() lets nothing but strings in here */
	size_t len = strlen(text);
	for (int place = 0; *choices; place++) {
		size_t n = strcspn(choices, " ");
		if (n == len && !memcmp(choices, text, n))
			return place;
		choices += n + (choices[n] == ' ');
	}
	return -1;
}

static bool number_in_range(const struct key *key, const struct setting *at)
{
	double number = setting_number(at);
	return number >= key->least && number <= key->most; /* no NaN passes */
}

static bool scalar_fits(const struct key *key, const struct setting *at, bool *ret_type_fits)
{
	unsigned mode;
	const char *text = setting_text(at);

	*ret_type_fits = true;
	switch (key->type) {
	case KEY_CHOICE:
		if (text)
			return choice_find(key->choices, text) >= 0;
		break;
	case KEY_NUMBER_OR_CHOICE:
		if (text)
			return choice_find(key->choices, text) >= 0;
		if (setting_is_whole(at))
			return number_in_range(key, at);
		break;
	case KEY_WHOLE:
		if (setting_is_whole(at))
			return number_in_range(key, at);
		break;
	case KEY_SECONDS:
		if (config_setting_is_number(parsed(at)))
			return number_in_range(key, at);
		break;
	case KEY_BOOL:
	case KEY_SWITCH:
		if (config_setting_type(parsed(at)) == CONFIG_TYPE_BOOL)
			return true;
		if (key->type == KEY_SWITCH && setting_is_whole(at))
			return number_in_range(key, at);
		break;
	case KEY_MODE:
		if (text || setting_is_whole(at))
			return mode_parse(at, &mode);
		break;
	case KEY_GROUP:
		if (setting_is_group(at))
			return true;
		break;
	default:
		if (text)
			return true;
		break;
	}
	*ret_type_fits = false;
	return false;
}

static bool list_fits(struct reader *reader, const struct key *key, const struct setting *at, const char *expected)
{
	size_t count = setting_count(at);

	if (key->type == KEY_GROUPS && !setting_is_list(at)) {
		reader_error(reader, at, "`%s' is %s, expected %s", key->name, setting_type_name(at), expected);
		return false;
	}
	if (!count) {
		reader_error(reader, at, "`%s' is an empty list, expected %s", key->name, expected);
		return false;
	}
	for (size_t i = count; i-- > 0;) {
		const struct setting *item = setting_item(at, i);
		if (item_fits(key, item))
			continue;
		reader_error(reader, item, "`%s' %s %s, expected %s", key->name, item == at ? "is" : "holds",
			setting_type_name(item), expected);
		if (item == at)
			return false;
		/* Out with it: those beside it are still to be checked. */
		config_setting_remove_elem((config_setting_t *)at, (unsigned)i);
	}
	return setting_count(at) > 0;
}

static bool value_fits(struct reader *reader, const struct key *key, const struct setting *at)
{
	char buf[128];
	const char *expected = expectation(key, buf, sizeof(buf));
	bool type_fits;

	if (key->type == KEY_STRINGS || key->type == KEY_GROUPS || key->type == KEY_MIXED)
		return list_fits(reader, key, at, expected);
	if (scalar_fits(key, at, &type_fits))
		return true;
	if (!type_fits)
		reader_error(reader, at, "`%s' is %s, expected %s", key->name, setting_type_name(at), expected);
	else if (setting_text(at))
		reader_error(reader, at, "`%s' is \"%s\", expected %s", key->name, setting_text(at), expected);
	else if (config_setting_get_format(parsed(at)) == CONFIG_FORMAT_HEX)
		reader_error(reader, at, "`%s' is 0x%llx, expected %s", key->name,
			config_setting_get_int64(parsed(at)), expected);
	else
		reader_error(reader, at, "`%s' is %g, expected %s", key->name, setting_number(at), expected);
	return false;
}

/* ---- a whole group ---- */

static void complain_of_key(struct reader *reader, const struct setting *at, const struct section *section)
{
	const char *name = config_setting_name(parsed(at)), *best = NULL;
	unsigned distance = NEAREST_NONE;
	char known[1024] = "";

	for (size_t i = 0; i < section->n_keys; i++) {
		unsigned d = nearest_distance(name, section->keys[i].name);
		if (d < distance) {
			best = section->keys[i].name;
			distance = d;
		}
		size_t len = strlen(known);
		snprintf(known + len, sizeof(known) - len, "%s%s", i ? ", " : "", section->keys[i].name);
	}
	reader_error(reader, at, "unknown key `%s' in %s%s%s%s, expected one of %s", name, section->name,
		best ? " (did you mean `" : "", best ? best : "", best ? "'?)" : "", known);
}

/* From `first` on and round: most who write many groups write their keys in one order. */
static size_t key_find(const struct section *section, const char *name, size_t first)
{
	for (size_t i = 0, k = first; i < section->n_keys; i++, k++) {
		k = k < section->n_keys ? k : 0;
		if (section->keys[k].name[0] == name[0] && strcmp(section->keys[k].name, name) == 0)
			return k;
	}
	return section->n_keys;
}

void values_read(
	struct reader *reader, struct values *ret, const struct setting *group, const struct section *section)
{
	size_t k = 0;

	*ret = (struct values){ .group = group, .section = section };
	int count = config_setting_length(parsed(group));
	for (int i = 0; i < count; i++) {
		const struct setting *at =
			(const struct setting *)config_setting_get_elem(parsed(group), (unsigned)i);

		k = key_find(section, config_setting_name(parsed(at)), k);
		if (k == section->n_keys) {
			complain_of_key(reader, at, section);
			continue;
		}
		ret->given[k] = true;
		if (value_fits(reader, &section->keys[k], at))
			ret->value[k] = at;
	}
}

const char *values_text(const struct values *values, size_t key)
{
	return values->value[key] ? setting_text(values->value[key]) : NULL;
}

double values_number(const struct values *values, size_t key)
{
	return values->value[key] ? setting_number(values->value[key]) : values->section->keys[key].preset;
}

unsigned values_choice(const struct values *values, size_t key)
{
	if (!values->value[key])
		return (unsigned)values->section->keys[key].preset;
	return (unsigned)choice_find(values->section->keys[key].choices, setting_text(values->value[key]));
}

bool values_mode(const struct values *values, size_t key, unsigned *ret)
{
	return values->value[key] && mode_parse(values->value[key], ret);
}

int values_switch(const struct values *values, size_t key, int preset, int yes)
{
	const struct setting *at = values->value[key];

	if (!at)
		return preset;
	if (config_setting_type(parsed(at)) == CONFIG_TYPE_BOOL)
		return setting_bool(at) ? yes : 0;
	return (int)setting_whole(at);
}
