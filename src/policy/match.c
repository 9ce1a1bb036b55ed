/* The `match` of a service: into rules, each with the listeners that it applies to, and into words.
 *
 * Refuses names of protocols and listeners that do not exist, and host names that no client can send.
 * Everything lives in the policy's arena but the list of drafts, which is the compiler's. */
#include "compile.h"
#include "synonyms.h"
#include <stdlib.h>
#include <string.h>

struct draft *draft_add(struct compiler *compiler, uint32_t service)
{
	size_t n = compiler->n_drafts;

	if ((n & (n - 1)) == 0) { /* full at 0 and every power of two */
		compiler->drafts = reallocarray(compiler->drafts, n ? n * 2 : 1, sizeof(struct draft));
		if (!compiler->drafts)
			abort();
	}
	compiler->n_drafts++;
	compiler->drafts[n] = (struct draft){ .rule.service = service };
	return &compiler->drafts[n];
}

/* By meaning before spelling: `ssl' is three letters as `ssh' is, and not that. */
static const char *suggestion(struct compiler *compiler, const char *name, const struct index *index)
{
	const char *hint = index == compiler->protocols ? synonym_hint(name) : NULL;

	return hint ? hint : reader_suggest(compiler->reader, name, index);
}

/* References of a setting (one or a list) as numbers; *ret_count may come out smaller where some were
 * unknown. */
static const uint32_t *references(struct compiler *compiler, const struct setting *at, const struct index *index,
	const char *what, size_t *ret_count)
{
	size_t count = setting_count(at);
	uint32_t *numbers = arena_alloc(compiler->arena, count * sizeof(*numbers));

	*ret_count = 0;
	for (size_t i = 0; i < count; i++) {
		const struct setting *item = setting_item(at, i);
		const char *name = setting_text(item);
		uint32_t number = index_find(index, name);
		if (number != INDEX_NONE)
			numbers[(*ret_count)++] = number;
		else if (index != compiler->protocols || !compiler->protocols_missing)
			compile_error(
				compiler, item, "unknown %s `%s'%s", what, name, suggestion(compiler, name, index));
	}
	return numbers;
}

uint32_t protocol_add(struct compiler *compiler, const struct protocol *protocol)
{
	struct policy *policy = compiler->policy;

	if (policy->n_protocols >= compiler->protocols_room) {
		compiler->protocols_room = 2 * policy->n_protocols + 16;
		struct protocol *more = arena_alloc(compiler->arena, compiler->protocols_room * sizeof(*more));
		memcpy(more, policy->protocols, policy->n_protocols * sizeof(*more));
		policy->protocols = more;
	}
	policy->protocols[policy->n_protocols] = *protocol;
	return (uint32_t)policy->n_protocols++;
}

/* The number of a name that identifiers give, which may be that of another protocol too. */
static uint32_t external_number(struct compiler *compiler, const char *name)
{
	uint32_t known = index_find(compiler->externals, name);

	if (known != INDEX_NONE)
		return known;
	const struct protocol external = { .name = arena_strdup(compiler->arena, name), .is_external = true };
	return index_add(compiler->externals, external.name, protocol_add(compiler, &external));
}

/* A name that nothing here knows may be one that an identifier gives. */
static void externals_add(struct compiler *compiler, const struct setting *at)
{
	for (size_t i = 0; i < setting_count(at); i++) {
		const struct setting *item = setting_item(at, i);
		const char *name = setting_text(item);
		if (index_find(compiler->protocols, name) != INDEX_NONE || !name_check(compiler, item, "protocol"))
			continue;
		uint32_t number = external_number(compiler, name);
		index_add(compiler->protocols, compiler->policy->protocols[number].name, number);
	}
}

/* `identified`: names that only identifiers can give, whatever else is called so. */
static const uint32_t *external_references(struct compiler *compiler, const struct setting *at, size_t *ret_count)
{
	size_t count = setting_count(at);
	uint32_t *numbers = arena_alloc(compiler->arena, count * sizeof(*numbers));

	*ret_count = 0;
	if (at && !compiler->policy->n_identifiers) {
		compile_error(compiler, at,
			"`identified' without a program to ask, expected identifiers = ( { program = ...; } );");
		return numbers;
	}
	for (size_t i = 0; i < count; i++)
		if (name_check(compiler, setting_item(at, i), "protocol"))
			numbers[(*ret_count)++] = external_number(compiler, setting_text(setting_item(at, i)));
	return numbers;
}

static const uint32_t *protocol_references(struct compiler *compiler, const struct setting *at, size_t *ret_count)
{
	if (compiler->policy->n_identifiers)
		externals_add(compiler, at);
	return references(compiler, at, compiler->protocols, "protocol", ret_count);
}

/* RFC 1078: a word of printable characters. */
static const char *service_fault(const char *name, size_t len)
{
	for (const char *c = name; *c; c++)
		if (*c <= ' ' || *c > '~' || *c == '*')
			return "is no name of a TCPMUX service, expected printable characters without space and `*'";
	return len > 63 ? "is too long, expected at most 63 bytes" : NULL;
}

/* A name, or a glob of names. */
static const char *host_fault(const char *name, enum attribute attribute)
{
	size_t len = strlen(name);
	bool is_glob = name_is_glob(NAME_HOST, name);

	if (attribute == ATTRIBUTE_HOST && name[0] == '[' && name[len - 1] == ']' && strchr(name, ':'))
		return NULL;
	if (len > 253)
		return "is no host name, expected 1 to 253 bytes";
	if (strchr(name, ':'))
		return "has a port, expected the name alone";
	if (name[0] == '.' || name[len - 1] == '.' || strstr(name, ".."))
		return "has an empty label, expected no dot at either end and no two in a row";
	for (const char *c = name; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *c) &&
			!(is_glob && strchr("*?[]!", *c)))
			return "is no host name, expected letters, digits, `-', `_' and `.' (an "
			       "international name in its xn-- form)";
	return NULL;
}

/* Why a client can never send this name; NULL: it can. */
static const char *name_fault(const char *name, enum attribute attribute)
{
	if (!*name)
		return "is empty";
	if (attribute == ATTRIBUTE_SERVICE)
		return service_fault(name, strlen(name));
	if (attribute == ATTRIBUTE_SNI || attribute == ATTRIBUTE_HOST)
		return host_fault(name, attribute);
	return strlen(name) > 255 ? "is too long, expected at most 255 bytes" : NULL;
}

static void attribute_compile(
	struct compiler *compiler, struct draft *draft, enum attribute attribute, const struct setting *at)
{
	size_t count = setting_count(at);
	const char **names = arena_alloc(compiler->arena, count * sizeof(*names));

	draft->rule.attribute[attribute].names = names;
	for (size_t i = 0; i < count; i++) {
		const struct setting *item = setting_item(at, i);
		const char *fault = name_fault(setting_text(item), attribute);
		if (fault) {
			compile_error(
				compiler, item, "%s `%s' %s", attribute_names[attribute], setting_text(item), fault);
			draft->broken = true;
			continue;
		}
		if (!name_is_whole(attribute_name_kind(attribute), setting_text(item))) {
			compile_error(compiler, item,
				"%s `%s' is no glob, expected `]' behind `[' and a byte behind `\\'",
				attribute_names[attribute], setting_text(item));
			draft->broken = true;
			continue;
		}
		names[draft->rule.attribute[attribute].count++] = arena_strdup(compiler->arena, setting_text(item));
	}
}

/* A host alone is a web server's or a chat server's, as ever: others who name one in their first bytes, such as telephones, are
 * not to end up there unasked. What modules learn counts. */
static void host_implies(struct compiler *compiler, struct draft *draft)
{
	const struct policy *policy = compiler->policy;
	struct rule *rule = &draft->rule;

	if (!rule->attribute[ATTRIBUTE_HOST].count || rule->n_protocols || draft->broken)
		return;
	uint32_t *numbers = arena_alloc(compiler->arena, policy->n_protocols * sizeof(*numbers));
	for (uint32_t i = 0; i < policy->n_protocols; i++) {
		const struct protocol *protocol = &policy->protocols[i];
		if ((protocol->probe &&
			    (protocol->probe->stream == probe_http || protocol->probe->stream == probe_xmpp)) ||
			(protocol->module && protocol->module->attributes >> ATTRIBUTE_HOST & 1))
			numbers[rule->n_protocols++] = i;
	}
	rule->protocols = numbers;
	draft->implied = true;
}

static void group_compile(struct compiler *compiler, uint32_t service, const struct setting *at)
{
	struct draft *draft = draft_add(compiler, service);
	struct values values;
	bool given = false;

	values_read(compiler->reader, &values, at, &sections[SECTION_MATCH]);
	const struct setting *named = values.value[MATCH_IDENTIFIED];
	if (named)
		draft->rule.protocols = external_references(compiler, named, &draft->rule.n_protocols);
	else
		draft->rule.protocols =
			protocol_references(compiler, values.value[MATCH_PROTOCOL], &draft->rule.n_protocols);
	if (named && values.given[MATCH_PROTOCOL])
		compile_error(compiler, named, "both `identified' and `protocol', expected one of them");
	draft->listeners = references(
		compiler, values.value[MATCH_LISTENER], compiler->listeners, "listener", &draft->n_listeners);
	for (size_t a = 0; MATCH_SNI + a < MATCH_LISTENER; a++)
		attribute_compile(compiler, draft, a, values.value[MATCH_SNI + a]);

	for (size_t key = 0; key < MATCH_COUNT; key++) {
		given |= key != MATCH_LISTENER && values.given[key];
		draft->broken |= values.given[key] && !values.value[key];
	}
	draft->broken |= draft->rule.n_protocols < setting_count(named ? named : values.value[MATCH_PROTOCOL]) ||
		draft->n_listeners < setting_count(values.value[MATCH_LISTENER]);
	host_implies(compiler, draft);
	if (given)
		return;
	draft->broken = true;
	compile_error(compiler, at, "%s, expected `protocol', `identified' or what a protocol tells, such as `sni'%s",
		values.given[MATCH_LISTENER] ? "a `listener' alone does not tell a service" : "an empty `match'",
		values.given[MATCH_LISTENER] ? " beside it" : "");
}

/* The strings of a list are one rule: any of these protocols. */
static void names_compile(struct compiler *compiler, uint32_t service, const struct setting *at)
{
	size_t count = setting_count(at), n = 0;
	uint32_t *numbers = arena_alloc(compiler->arena, count * sizeof(*numbers));

	for (size_t i = 0; i < count; i++) {
		const struct setting *item = setting_item(at, i);
		size_t found;
		if (setting_is_group(item))
			continue;
		const uint32_t *number = protocol_references(compiler, item, &found);
		if (found)
			numbers[n++] = *number;
	}
	if (!n)
		return;
	struct draft *draft = draft_add(compiler, service);
	draft->rule.protocols = numbers;
	draft->rule.n_protocols = n;
}

/* ---- words for people ---- */

#define WORDS_MAX 3 /* of one list that are shown */

static void words_add(struct compiler *compiler, const char *text)
{
	size_t len = strlen(text);

	if (compiler->words_len + len >= compiler->words_room) {
		compiler->words_room = 2 * (compiler->words_len + len) + 256;
		compiler->words = realloc(compiler->words, compiler->words_room);
		if (!compiler->words)
			abort();
	}
	memcpy(compiler->words + compiler->words_len, text, len);
	compiler->words_len += len;
}

static void words_add_pair(struct compiler *compiler, const char *one, const char *other)
{
	words_add(compiler, one);
	words_add(compiler, other);
}

static void words_add_rest(struct compiler *compiler, size_t count)
{
	char text[32];

	if (count <= WORDS_MAX)
		return;
	snprintf(text, sizeof(text), ",+%zu", count - WORDS_MAX);
	words_add(compiler, text);
}

static void words_rule(struct compiler *compiler, const struct draft *draft)
{
	const struct rule *rule = &draft->rule;
	const struct policy *policy = compiler->policy;
	bool plain = true, first = true;

	for (size_t a = 0; a < ATTRIBUTE_COUNT; a++)
		plain = plain && !rule->attribute[a].count;
	plain = plain && !draft->n_listeners;
	for (size_t i = 0; i < rule->n_protocols && !draft->implied; i++, first = false)
		words_add_pair(compiler,
			first           ? ""
				: plain ? " | "
					: ",",
			policy->protocols[rule->protocols[i]].name);
	for (size_t a = 0; a < ATTRIBUTE_COUNT; a++) {
		size_t count = rule->attribute[a].count;
		if (!count)
			continue;
		words_add_pair(compiler, first ? "" : " ", attribute_names[a]);
		first = false;
		for (size_t i = 0; i < count && i < WORDS_MAX; i++)
			words_add_pair(compiler, i ? "," : "=", rule->attribute[a].names[i]);
		words_add_rest(compiler, count);
	}
	for (size_t i = 0; i < draft->n_listeners && i < WORDS_MAX; i++)
		words_add_pair(compiler, i ? "," : " listener=", policy->listeners[draft->listeners[i]].text);
	words_add_rest(compiler, draft->n_listeners);
}

static const char *words_make(struct compiler *compiler, size_t first_draft)
{
	compiler->words_len = 0;
	for (size_t i = first_draft; i < compiler->n_drafts; i++) {
		words_add(compiler, i > first_draft ? " | " : "");
		words_rule(compiler, &compiler->drafts[i]);
	}
	return compiler->words_len ? arena_strndup(compiler->arena, compiler->words, compiler->words_len) : "";
}

void match_compile(struct compiler *compiler, uint32_t service, const struct setting *at)
{
	size_t first_draft = compiler->n_drafts;

	names_compile(compiler, service, at);
	for (size_t i = 0; i < setting_count(at); i++)
		if (setting_is_group(setting_item(at, i)))
			group_compile(compiler, service, setting_item(at, i));
	compiler->policy->services[service].match = words_make(compiler, first_draft);
}
