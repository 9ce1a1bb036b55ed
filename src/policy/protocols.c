/* The `protocols` key: names of the user's own beside the built-in probes.
 *
 * Refuses a name that exists, a protocol that says nothing, literals without bytes and expressions that PCRE2
 * refuses. Names and bytes live in the policy's arena; the compiled expressions are freed by policy_free().
 */
#include "compile.h"
#include "evidence.h"
#include "probe.h"
#include <ctype.h>
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

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool bytes_parse(struct compiler *compiler, const struct setting *at, struct literal *ret)
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
				"`bytes' \"%s\" is no hex at `%.8s', expected pairs of digits such as \"00 "
				"0e 38\"",
				text, c);
			return false;
		}
		bytes[len++] = (uint8_t)(high << 4 | low);
		c++;
	}
	if (!len) {
		compile_error(
			compiler, at, "`bytes' with no bytes, expected pairs of hex digits such as \"00 0e 38\"");
		return false;
	}
	*ret = (struct literal){ bytes, len };
	return true;
}

static void literals_compile(struct compiler *compiler, struct protocol *protocol, struct literal *literals,
	const struct setting *at, bool (*parse)(struct compiler *, const struct setting *, struct literal *))
{
	for (size_t i = 0; i < setting_count(at); i++) {
		const struct setting *item = setting_item(at, i);
		struct literal *literal = &literals[protocol->n_literals];
		if (!parse(compiler, item, literal))
			continue;
		if (literal->len > EVIDENCE_MAX)
			compile_error(compiler, item,
				"%zu bytes, expected at most %d: no more of a connection is looked at", literal->len,
				EVIDENCE_MAX);
		else
			protocol->n_literals++;
	}
}

static void patterns_compile(
	struct compiler *compiler, struct protocol *protocol, const struct setting *at, size_t within)
{
	struct pattern **patterns = arena_alloc(compiler->arena, setting_count(at) * sizeof(struct pattern *));
	char error[256];

	protocol->patterns = patterns;
	for (size_t i = 0; i < setting_count(at); i++) {
		const struct setting *item = setting_item(at, i);
		const char *regex = setting_text(item);
		struct pattern *pattern = NULL;

		if (!*regex)
			compile_error(compiler, item, "a `regex' with no bytes, expected an expression");
		else if (!(pattern = pattern_new(regex, within, error, sizeof(error))))
			compile_error(compiler, item, "regex \"%s\" does not compile: %s", regex, error);
		else
			patterns[protocol->n_patterns++] = pattern;
	}
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

static void protocol_compile(
	struct compiler *compiler, uint32_t number, const struct setting *at, const struct setting **first)
{
	struct protocol *protocol = &compiler->policy->protocols[number];
	struct values values;

	values_read(compiler->reader, &values, at, &sections[SECTION_PROTOCOL]);
	protocol->name = "?";
	protocol_name(compiler, protocol, number, &values, first);

	const struct setting *strings = values.value[PROTOCOL_STRING], *bytes = values.value[PROTOCOL_BYTES];
	struct literal *literals = arena_alloc(
		compiler->arena, (setting_count(strings) + setting_count(bytes)) * sizeof(struct literal));
	protocol->literals = literals;
	literals_compile(compiler, protocol, literals, strings, string_parse);
	literals_compile(compiler, protocol, literals, bytes, bytes_parse);
	patterns_compile(
		compiler, protocol, values.value[PROTOCOL_REGEX], (size_t)values_number(&values, PROTOCOL_WITHIN));

	if (!values.given[PROTOCOL_STRING] && !values.given[PROTOCOL_BYTES] && !values.given[PROTOCOL_REGEX])
		compile_error(compiler, at, "protocol `%s' matches nothing, expected `string', `bytes' or `regex'",
			protocol->name);
	protocol->at_least = (size_t)values_number(&values, PROTOCOL_AT_LEAST);
	for (size_t key = PROTOCOL_WITHIN; key <= PROTOCOL_AT_LEAST; key++)
		if (values.given[key] && !values.given[PROTOCOL_REGEX])
			compile_error(compiler, at, "`%s' of protocol `%s' goes with `regex' only",
				values.section->keys[key].name, protocol->name);
	if (values.value[PROTOCOL_REGEX] && protocol->at_least > values_number(&values, PROTOCOL_WITHIN))
		compile_error(compiler, at, "`at_least' of protocol `%s' is more than `within', %.0f bytes",
			protocol->name, values_number(&values, PROTOCOL_WITHIN));
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
