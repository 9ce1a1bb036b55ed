/* usher check --diff: what a reload would change, by the settings that the running usher has read and those of the file. A line each:
 *
 *	+ services `git' = {...}
 *	- listen `[::]:443'
 *	~ services `web': connect = "127.0.0.1:80" -> "127.0.0.1:8080"
 *
 * Elements of lists are recognised by their name or address, or by what they are. Refuses to compare anything but settings: a default
 * that is written out is a difference. Prints no byte that is not printable ASCII. Owns what it was told. */
#include "check_diff.h"
#include "control_client.h"
#include "escape.h"
#include "policy.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct diff {
	FILE *to;
	size_t n; /* so far */
};

static void print_text(struct diff *diff, const char *text)
{
	for (; *text; text++)
		putc(escape_printable(*text), diff->to);
}

static void print_value(struct diff *diff, const json_t *value)
{
	char *text = json_dumps(value, JSON_ENSURE_ASCII | JSON_ENCODE_ANY);

	fputs(text ? text : "?", diff->to);
	free(text);
}

static void say(struct diff *diff, char how, const char *path, const json_t *before, const json_t *after)
{
	diff->n++;
	fprintf(diff->to, "%c ", how);
	print_text(diff, path);
	if (before || after)
		fputs(" = ", diff->to);
	if (before)
		print_value(diff, before);
	if (before && after)
		fputs(" -> ", diff->to);
	if (after)
		print_value(diff, after);
	putc('\n', diff->to);
}

static void compare(struct diff *diff, const char *path, const json_t *before, const json_t *after);

static char *path_join(const char *path, const char *between, const char *name, const char *end)
{
	char *joined;

	if (asprintf(&joined, "%s%s%s%s", path, between, name, end) < 0)
		abort();
	return joined;
}

/* ---- groups ---- */

static void compare_members(struct diff *diff, const char *path, const json_t *before, const json_t *after)
{
	const char *key, *between = *path ? ": " : "";
	const json_t *value;

	json_object_foreach((json_t *)before, key, value)
	{
		char *name = path_join(path, between, key, "");
		const json_t *other = json_object_get(after, key);
		if (other)
			compare(diff, name, value, other);
		else
			say(diff, '-', name, value, NULL);
		free(name);
	}
	json_object_foreach((json_t *)after, key, value)
	{
		char *name = path_join(path, between, key, "");
		if (!json_object_get(before, key))
			say(diff, '+', name, NULL, value);
		free(name);
	}
}

/* ---- lists ---- */

/* What an element is known by. NULL: nothing. */
static const char *element_key(const json_t *element)
{
	static const char *const keys[] = { "name", "address" };
	const char *text = json_string_value(element);

	for (size_t i = 0; !text && i < sizeof(keys) / sizeof(keys[0]); i++)
		text = json_string_value(json_object_get(element, keys[i]));
	return text;
}

/* The elements by what they are known by, in their order. NULL: not all are known by something of their own. */
static json_t *elements_by_key(const json_t *list)
{
	json_t *found = json_object(), *element;
	size_t i;

	json_array_foreach(list, i, element)
	{
		const char *key = element_key(element);
		if (!key || json_object_get(found, key) || json_object_set(found, key, element) < 0) {
			json_decref(found);
			return NULL;
		}
	}
	return found;
}

static const char *next_common(void **iterator, json_t *of, const json_t *other)
{
	for (; *iterator; *iterator = json_object_iter_next(of, *iterator))
		if (json_object_get(other, json_object_iter_key(*iterator)))
			return json_object_iter_key(*iterator);
	return NULL;
}

static bool same_order(json_t *before, json_t *after)
{
	void *a = json_object_iter(before), *b = json_object_iter(after);
	const char *one, *other;

	while ((one = next_common(&a, before, after)) && (other = next_common(&b, after, before))) {
		if (strcmp(one, other) != 0)
			return false;
		a = json_object_iter_next(before, a);
		b = json_object_iter_next(after, b);
	}
	return true;
}

static void say_element(struct diff *diff, char how, const char *path, const json_t *element)
{
	say(diff, how, path, json_is_object(element) ? element : NULL, NULL);
}

static void compare_elements(struct diff *diff, const char *path, json_t *before, json_t *after)
{
	const char *key;
	const json_t *value;

	json_object_foreach(before, key, value)
	{
		char *name = path_join(path, " `", key, "'");
		const json_t *other = json_object_get(after, key);
		if (other)
			compare(diff, name, value, other);
		else
			say(diff, '-', name, NULL, NULL);
		free(name);
	}
	json_object_foreach(after, key, value)
	{
		char *name = path_join(path, " `", key, "'");
		if (!json_object_get(before, key))
			say_element(diff, '+', name, value);
		free(name);
	}
	if (!same_order(before, after)) {
		char *name = path_join(path, "", "", " in another order");
		say(diff, '~', name, NULL, NULL);
		free(name);
	}
}

/* One that stands for itself is a list of one. */
static json_t *as_list(const json_t *value)
{
	json_t *list = json_is_array(value) ? json_incref((json_t *)value) : json_array();

	if (!json_is_array(value))
		json_array_append(list, (json_t *)value);
	return list;
}

static void compare_lists(struct diff *diff, const char *path, const json_t *before, const json_t *after)
{
	json_t *lists[] = { as_list(before), as_list(after) };
	json_t *keyed[] = { elements_by_key(lists[0]), elements_by_key(lists[1]) };

	if (keyed[0] && keyed[1])
		compare_elements(diff, path, keyed[0], keyed[1]);
	else
		say(diff, '~', path, before, after);
	for (size_t i = 0; i < 2; i++) {
		json_decref(keyed[i]);
		json_decref(lists[i]);
	}
}

static void compare(struct diff *diff, const char *path, const json_t *before, const json_t *after)
{
	if (json_equal(before, after))
		return;
	if (json_is_array(before) || json_is_array(after))
		compare_lists(diff, path, before, after);
	else if (json_is_object(before) && json_is_object(after))
		compare_members(diff, path, before, after);
	else
		say(diff, '~', path, before, after);
}

/* ---- the command ---- */

static int diff_print(const char *text, char *answer, FILE *to)
{
	struct diff diff = { .to = to };
	json_t *after = json_loads(text, 0, NULL), *whole = json_loads(answer, 0, NULL);
	const json_t *before = json_object_get(whole, "settings");
	const char *error = json_string_value(json_object_get(whole, "error"));

	if (error)
		fprintf(stderr, "usher: %s\n", error);
	else if (!json_is_object(before) || !after)
		fputs("usher: the answer is not what usher says\n", stderr);
	else
		compare(&diff, "", before, after);
	bool fine = json_is_object(before) && after;
	if (fine && !diff.n)
		fputs("a reload would change nothing\n", to);
	json_decref(after);
	json_decref(whole);
	return fine ? 0 : 1;
}

int check_diff(const char *file, const char *socket)
{
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;
	int status = 2;

	int error = policy_load(&policy, file, &(struct policy_options){ .keep_settings = true }, &complaints);
	complaints_print(&complaints, stderr);
	complaints_fini(&complaints);
	if (error == 0) {
		char *answer = control_ask(socket ? socket
				: policy->control ? policy->control
						  : DEFAULT_CONTROL,
			"settings");
		status = answer ? diff_print(policy->settings, answer, stdout) : 1;
		free(answer);
	}
	policy_free(policy);
	return status;
}
