/* The `protocols` key: names of the user's own beside the built-in probes.
 *
 * Refuses a name used twice, a protocol that says nothing, literals without bytes and expressions that PCRE2
 * refuses. Names and bytes live in the policy's arena; the compiled expressions are freed by policy_free().
 */
#include "compile.h"
#include "evidence.h"
#include "hex.h"
#include "probe.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool string_parse(struct compiler *compiler, const struct setting *at, struct literal *ret)
{
	const char *text = setting_text(at);

	if (!*text) {
		compile_error(compiler, at, "a `string' with no bytes, expected at least one");
		return false;
	}
	ret->len = strlen(text);
	ret->bytes = arena_memdup(compiler->arena, text, ret->len);
	return true;
}

bool protocol_bytes(struct compiler *compiler, const struct setting *at, const char *key, struct literal *ret)
{
	const char *text = setting_text(at);
	uint8_t *bytes = arena_alloc(compiler->arena, strlen(text) / 2 + 1);
	size_t len = 0;

	for (const char *c = text; *c; c++) {
		if (isspace((unsigned char)*c))
			continue;
		int high = hex_value(*c), low = high < 0 ? -1 : hex_value(c[1]);
		if (low < 0) {
			compile_error(compiler, at,
				"`%s' \"%s\" is no hex at `%.8s', expected pairs of digits such as \"00 0e 38\"", key,
				text, c);
			return false;
		}
		bytes[len++] = (uint8_t)(high << 4 | low);
		c++;
	}
	if (!len) {
		compile_error(
			compiler, at, "`%s' with no bytes, expected pairs of hex digits such as \"00 0e 38\"", key);
		return false;
	}
	*ret = (struct literal){ bytes, len };
	return true;
}

static bool bytes_parse(struct compiler *compiler, const struct setting *at, struct literal *ret)
{
	return protocol_bytes(compiler, at, "bytes", ret);
}

static void literals_compile(struct compiler *compiler, struct protocol *protocol, struct literal *literals,
	const struct values *values, size_t key,
	bool (*parse)(struct compiler *, const struct setting *, struct literal *))
{
	const struct setting *at = values->value[key];
	size_t most = EVIDENCE_MAX - (size_t)values_number(values, PROTOCOL_AT);

	for (size_t i = 0; i < setting_count(at); i++) {
		const struct setting *item = setting_item(at, i);
		struct literal *literal = &literals[protocol->n_literals];
		if (!parse(compiler, item, literal))
			continue;
		if (literal->len > most)
			compile_error(compiler, item,
				"%zu bytes, expected at most %zu: no more of a connection is looked at", literal->len,
				most);
		else
			protocol->n_literals++;
	}
}

/* ---- beyond literals at the first byte ---- */

/* Patterns of which one must match. */
struct group {
	struct pattern **patterns;
	size_t n;
};

enum { GROUP_FIELDS, GROUP_TEXTS, GROUP_REGEXES, GROUP_COUNT };

static struct pattern *enough(struct pattern *pattern)
{
	if (!pattern)
		abort(); /* as everywhere in this room */
	return pattern;
}

static void group_add(struct compiler *compiler, struct group *group, struct pattern *pattern)
{
	if ((group->n & (group->n - 1)) == 0) { /* full at 0 and every power of two */
		struct pattern **more = arena_alloc(compiler->arena, (group->n ? 2 * group->n : 1) * sizeof(*more));
		if (group->n)
			memcpy(more, group->patterns, group->n * sizeof(*more));
		group->patterns = more;
	}
	group->patterns[group->n++] = pattern;
}

/* The literals become fields where they are not at the first byte or not to be there in all bits. */
static void fields_compile(
	struct compiler *compiler, struct protocol *protocol, const struct values *values, struct group *group)
{
	const struct setting *at = values->value[PROTOCOL_MASK];
	size_t offset = (size_t)values_number(values, PROTOCOL_AT);
	struct literal mask = { 0 };

	if (at && !protocol_bytes(compiler, at, "mask", &mask))
		return;
	if (!offset && !at)
		return;
	for (size_t i = 0; i < protocol->n_literals; i++) {
		const struct literal *literal = &protocol->literals[i];
		if (at && mask.len != literal->len)
			compile_error(compiler, at, "`mask' has %zu bytes, expected %zu as `bytes' has", mask.len,
				literal->len);
		else
			group_add(compiler, group,
				enough(pattern_field_new(
					compiler->arena, literal->bytes, mask.bytes, literal->len, offset)));
	}
	protocol->n_literals = 0;
}

static void texts_compile(struct compiler *compiler, const struct values *values, struct group *group)
{
	const struct setting *at = values->value[PROTOCOL_CONTAINS];
	size_t within = (size_t)values_number(values, PROTOCOL_WITHIN);

	for (size_t i = 0; i < setting_count(at); i++) {
		const struct setting *item = setting_item(at, i);
		const char *text = setting_text(item);
		size_t len = strlen(text);
		if (!len)
			compile_error(compiler, item, "a `contains' with no bytes, expected at least one");
		else if (len > within)
			compile_error(compiler, item,
				"`contains' has %zu bytes, expected at most the %zu of `within'", len, within);
		else
			group_add(compiler, group,
				enough(pattern_text_new(compiler->arena, (const uint8_t *)text, len, within)));
	}
}

static void regexes_compile(struct compiler *compiler, const struct values *values, struct group *group)
{
	const struct setting *at = values->value[PROTOCOL_REGEX];
	size_t within = (size_t)values_number(values, PROTOCOL_WITHIN);
	char error[256];

	for (size_t i = 0; i < setting_count(at); i++) {
		const struct setting *item = setting_item(at, i);
		const char *regex = setting_text(item);
		struct pattern *pattern = NULL;

		if (!*regex)
			compile_error(compiler, item, "a `regex' with no bytes, expected an expression");
		else if (!(pattern = pattern_regex_new(compiler->arena, regex, within, error, sizeof(error))))
			compile_error(compiler, item, "regex \"%s\" does not compile: %s", regex, error);
		else
			group_add(compiler, group, pattern);
	}
}

/* One of each group must match. */
static void groups_put_together(
	struct compiler *compiler, struct protocol *protocol, struct group groups[GROUP_COUNT])
{
	struct pattern *all[GROUP_COUNT];
	struct group *last = NULL, put = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < GROUP_COUNT; i++)
		if (groups[i].n) {
			last = &groups[i];
			n++;
		}
	if (n > 1) {
		n = 0;
		for (size_t i = 0; i < GROUP_COUNT; i++)
			if (groups[i].n)
				all[n++] = enough(pattern_any_new(compiler->arena, groups[i].patterns, groups[i].n));
		group_add(compiler, &put, enough(pattern_all_new(compiler->arena, all, n)));
		last = &put;
	}
	if (!last)
		return;
	protocol->patterns = last->patterns;
	protocol->n_patterns = last->n;
}

static void protocol_name(struct compiler *compiler, struct protocol *protocol, uint32_t number,
	const struct values *values, const struct setting **first)
{
	const struct setting *at = values->value[PROTOCOL_NAME];

	if (!values->given[PROTOCOL_NAME])
		compile_error(compiler, values->group, "protocol without `name', expected name = \"...\"");
	if (!at || !name_check(compiler, at, "protocol"))
		return;
	protocol->name = arena_strdup(compiler->arena, setting_text(at));
	first[number] = at;
	uint32_t known = index_add(compiler->protocols, protocol->name, number);
	if (known == number)
		return;
	/* A configuration that was right before usher knew the protocol still is. */
	if (compiler->policy->protocols[known].probe) {
		reader_warn(
			compiler->reader, at, "protocol `%s' takes the place of the built-in one", protocol->name);
		index_move(compiler->protocols, protocol->name, number);
	} else {
		compile_error(compiler, at, "protocol `%s' is there twice, first on %s", protocol->name,
			reader_place(compiler->reader, first[known], at));
	}
}

/* Keys that say something about others which are not there. */
static void protocol_check(struct compiler *compiler, const struct protocol *protocol, const struct values *values)
{
	const bool *given = values->given;
	bool has_literals = given[PROTOCOL_STRING] || given[PROTOCOL_BYTES];

	if (!has_literals && !given[PROTOCOL_CONTAINS] && !given[PROTOCOL_REGEX])
		compile_error(compiler, values->group,
			"protocol `%s' matches nothing, expected `string', `bytes', `contains' or `regex'",
			protocol->name);
	if (given[PROTOCOL_WITHIN] && !given[PROTOCOL_REGEX] && !given[PROTOCOL_CONTAINS])
		compile_error(compiler, values->group,
			"`within' of protocol `%s' goes with `regex' and `contains' only", protocol->name);
	if (given[PROTOCOL_AT_LEAST] && !given[PROTOCOL_REGEX])
		compile_error(compiler, values->group, "`at_least' of protocol `%s' goes with `regex' only",
			protocol->name);
	if (given[PROTOCOL_REGEX] && protocol->at_least > values_number(values, PROTOCOL_WITHIN))
		compile_error(compiler, values->group,
			"`at_least' of protocol `%s' is more than `within', %.0f bytes", protocol->name,
			values_number(values, PROTOCOL_WITHIN));
	if (given[PROTOCOL_AT] && !has_literals)
		compile_error(compiler, values->group, "`at' of protocol `%s' goes with `string' and `bytes' only",
			protocol->name);
	if (given[PROTOCOL_MASK] && (!given[PROTOCOL_BYTES] || given[PROTOCOL_STRING]))
		compile_error(
			compiler, values->group, "`mask' of protocol `%s' goes with `bytes' only", protocol->name);
}

static void contents_compile(struct compiler *compiler, struct protocol *protocol, const struct values *values)
{
	const struct setting *strings = values->value[PROTOCOL_STRING], *bytes = values->value[PROTOCOL_BYTES];
	struct literal *literals = arena_alloc(
		compiler->arena, (setting_count(strings) + setting_count(bytes)) * sizeof(struct literal));
	protocol->literals = literals;
	literals_compile(compiler, protocol, literals, values, PROTOCOL_STRING, string_parse);
	literals_compile(compiler, protocol, literals, values, PROTOCOL_BYTES, bytes_parse);
	struct group groups[GROUP_COUNT] = { 0 };
	fields_compile(compiler, protocol, values, &groups[GROUP_FIELDS]);
	texts_compile(compiler, values, &groups[GROUP_TEXTS]);
	regexes_compile(compiler, values, &groups[GROUP_REGEXES]);
	groups_put_together(compiler, protocol, groups);
	protocol->at_least = (size_t)values_number(values, PROTOCOL_AT_LEAST);
	protocol_check(compiler, protocol, values);
}

static void protocol_compile(
	struct compiler *compiler, uint32_t number, const struct setting *at, const struct setting **first)
{
	struct protocol *protocol = &compiler->policy->protocols[number];
	struct values values;

	values_read(compiler->reader, &values, at, &sections[SECTION_PROTOCOL]);
	protocol->name = "?";
	protocol_name(compiler, protocol, number, &values, first);
	contents_compile(compiler, protocol, &values);
}

void protocol_pattern_compile(struct compiler *compiler, struct protocol *protocol, const struct setting *at)
{
	struct values values;

	values_read(compiler->reader, &values, at, &sections[SECTION_PROTOCOL]);
	if (values.value[PROTOCOL_NAME])
		compile_error(compiler, values.value[PROTOCOL_NAME], "`name' of a pattern, expected none");
	contents_compile(compiler, protocol, &values);
}

void protocols_compile(struct compiler *compiler, const struct setting *at)
{
	struct policy *policy = compiler->policy;
	size_t count = setting_count(at);
	const struct setting **first = arena_alloc(compiler->arena, (n_probes + count) * sizeof(*first));

	policy->protocols = arena_alloc(compiler->arena, (n_probes + count) * sizeof(*policy->protocols));
	for (size_t i = 0; i < n_probes; i++) {
		policy->protocols[i] = (struct protocol){ .name = probes[i].name, .probe = &probes[i] };
		index_add(compiler->protocols, probes[i].name, (uint32_t)i);
	}
	policy->n_protocols = n_probes;
	for (size_t i = 0; i < count; i++)
		protocol_compile(compiler, (uint32_t)policy->n_protocols++, setting_item(at, i), first);
}
