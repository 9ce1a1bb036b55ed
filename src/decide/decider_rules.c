/* Compiles rules for the decider; decider_rules.h draws what comes out.
 *
 * Refuses rules without conditions, names that names_insert() refuses, empty literals, indices out of range,
 * and services that are not in order. Everything it makes is in the arena; protocols stay the caller's. */
#include "decider_rules.h"

#include "arena.h"
#include "module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The most telling attribute first: it becomes the anchor of a rule that has several. */
static const enum attribute anchor_order[] = { ATTRIBUTE_SNI, ATTRIBUTE_HOST, ATTRIBUTE_SERVICE, ATTRIBUTE_DATABASE,
	ATTRIBUTE_USER, ATTRIBUTE_COOKIE, ATTRIBUTE_JA4, ATTRIBUTE_PATH, ATTRIBUTE_ALPN, ATTRIBUTE_UPGRADE,
	ATTRIBUTE_VERSION };
_Static_assert(sizeof(anchor_order) / sizeof(anchor_order[0]) == ATTRIBUTE_COUNT, "each attribute can be the anchor");

static uint32_t lower(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static int compare_u32(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

/* Bit set of the attributes that any of the rules asks for. */
static uint32_t attributes_asked(const struct rule *rules, size_t n_rules)
{
	uint32_t asked = 0;

	for (size_t i = 0; i < n_rules; i++)
		for (int k = 0; k < ATTRIBUTE_COUNT; k++)
			if (rules[i].attribute[k].count > 0)
				asked |= 1U << k;
	return asked;
}

static int rules_check(const struct protocol *protocols, size_t n_protocols, const struct rule *rules, size_t n_rules)
{
	for (size_t i = 0; i < n_protocols; i++)
		for (size_t k = 0; k < protocols[i].n_literals; k++)
			if (protocols[i].literals[k].len == 0)
				return -EINVAL;
	for (size_t i = 0; i < n_rules; i++) {
		if (rules[i].service == SERVICE_NONE || (i > 0 && rules[i].service < rules[i - 1].service))
			return -EINVAL;
		if (rules[i].n_protocols == 0 && attributes_asked(&rules[i], 1) == 0)
			return -EINVAL;
		for (size_t k = 0; k < rules[i].n_protocols; k++)
			if (rules[i].protocols[k] >= n_protocols)
				return -EINVAL;
	}
	return 0;
}

/* ---- rules of protocols only ---- */

static void protocol_services_find(struct decider_rules *ret, const struct rule *rules, size_t n_rules)
{
	ret->protocol_service = arena_alloc(ret->arena, (ret->n_protocols + 1) * sizeof(uint32_t));
	for (size_t i = 0; i < ret->n_protocols; i++)
		ret->protocol_service[i] = SERVICE_NONE;
	for (size_t i = 0; i < n_rules; i++) {
		if (attributes_asked(&rules[i], 1) != 0)
			continue;
		for (size_t k = 0; k < rules[i].n_protocols; k++) {
			uint32_t *service = &ret->protocol_service[rules[i].protocols[k]];
			*service = lower(*service, rules[i].service);
		}
	}
}

/* A literal of one protocol, while they are sorted. */
struct claim {
	const struct literal *literal;
	uint32_t protocol;
	uint32_t service;
	bool is_gated;
};

static int literal_compare(const struct literal *a, const struct literal *b)
{
	int r = memcmp(a->bytes, b->bytes, a->len < b->len ? a->len : b->len);

	return r != 0 ? r : (a->len > b->len) - (a->len < b->len);
}

static int claim_compare_protocol(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int r = compare_u32(x->protocol, y->protocol);

	return r != 0 ? r : literal_compare(x->literal, y->literal);
}

static int claim_compare_literal(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int r = literal_compare(x->literal, y->literal);

	if (r == 0)
		r = compare_u32(x->service, y->service);
	return r != 0 ? r : compare_u32(x->protocol, y->protocol);
}

static bool literal_begins(const struct literal *a, const struct literal *b)
{
	return a->len <= b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

/* All literals that count. Where one begins another of the same protocol the longer one adds nothing, and
 * would say MORE when the protocol has said YES. In sorted order what begins with a literal directly follows
 * it. */
static size_t claims_collect(const struct decider_rules *rules, struct claim **ret)
{
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < rules->n_protocols; i++)
		n += rules->protocols[i].n_literals;
	struct claim *claims = arena_alloc(rules->scratch, (n + 1) * sizeof(*claims));
	n = 0;
	for (uint32_t i = 0; i < rules->n_protocols; i++) {
		const struct protocol *protocol = &rules->protocols[i];
		if (protocol->probe || rules->protocol_service[i] == SERVICE_NONE)
			continue;
		for (size_t k = 0; k < protocol->n_literals; k++)
			claims[n++] = (struct claim){ &protocol->literals[k], i, rules->protocol_service[i],
				protocol->n_patterns > 0 };
	}
	qsort(claims, n, sizeof(*claims), claim_compare_protocol);
	for (size_t i = 0; i < n; i++) {
		if (kept > 0 && claims[kept - 1].protocol == claims[i].protocol &&
			literal_begins(claims[kept - 1].literal, claims[i].literal))
			continue;
		claims[kept++] = claims[i];
	}
	qsort(claims, kept, sizeof(*claims), claim_compare_literal);
	*ret = claims;
	return kept;
}

/* A literal_use and its bytes, while they are sorted. */
struct draft {
	struct literal_use use;
	const struct literal *literal;
};

static int draft_compare(const void *a, const void *b)
{
	return compare_u32(((const struct draft *)a)->use.service, ((const struct draft *)b)->use.service);
}

/* Makes one draft of the claims [0 .. n) to the same literal. */
static void draft_fill(struct draft *draft, const struct claim *claims, size_t n, struct arena *arena)
{
	uint32_t *gated = arena_alloc(arena, n * sizeof(*gated));

	draft->literal = claims[0].literal;
	draft->use =
		(struct literal_use){ .service = claims[0].service, .plain_service = SERVICE_NONE, .gated = gated };
	for (size_t i = 0; i < n; i++) {
		if (claims[i].is_gated) {
			gated[draft->use.n_gated++] = claims[i].protocol;
		} else if (draft->use.plain_service == SERVICE_NONE) {
			draft->use.plain_service = claims[i].service;
			draft->use.plain_protocol = claims[i].protocol;
		}
	}
}

static int literals_compile(struct decider_rules *rules)
{
	struct claim *claims;
	size_t n_claims = claims_collect(rules, &claims), n = 0;

	if (n_claims == 0)
		return 0;
	struct draft *drafts = arena_alloc(rules->scratch, n_claims * sizeof(*drafts));
	for (size_t i = 0, end; i < n_claims; i = end) {
		for (end = i + 1; end < n_claims; end++)
			if (literal_compare(claims[i].literal, claims[end].literal) != 0)
				break;
		draft_fill(&drafts[n++], claims + i, end - i, rules->arena);
	}
	qsort(drafts, n, sizeof(*drafts), draft_compare);
	rules->literals = arena_alloc(rules->arena, n * sizeof(*rules->literals));
	rules->trie = trie_new(rules->arena);
	if (!rules->trie)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		rules->literals[i] = drafts[i].use;
		rules->has_gated |= drafts[i].use.n_gated > 0;
		if (trie_insert(rules->trie, drafts[i].literal->bytes, drafts[i].literal->len, i) != 0)
			return -ENOMEM;
	}
	return trie_index(rules->trie);
}

/* ---- rules with attributes ---- */

/* A condition, while equal ones are brought together. */
struct asked {
	struct condition condition;
	uint32_t number; /* among those that are asked, and then among all that differ */
};

/* What is asked of all rules. */
struct asked_list {
	struct asked *list;
	size_t n;
	uint32_t last[ATTRIBUTE_COUNT + 1]; /* of each kind; CONDITION_NONE: nothing yet */
};

static int condition_compare(const struct condition *a, const struct condition *b)
{
	int r = (a->attribute > b->attribute) - (a->attribute < b->attribute);

	if (r == 0)
		r = (a->count > b->count) - (a->count < b->count);
	for (size_t i = 0; r == 0 && i < a->count; i++)
		r = a->attribute == PROTOCOL_CONDITION ? compare_u32(a->protocols[i], b->protocols[i])
						       : strcmp(a->names[i], b->names[i]);
	return r;
}

static int asked_compare(const void *a, const void *b)
{
	return condition_compare(&((const struct asked *)a)->condition, &((const struct asked *)b)->condition);
}

/* The arena's copy of a condition of the caller's. */
static struct condition condition_copy(const struct condition *condition, struct arena *arena)
{
	struct condition copy = *condition;

	if (condition->attribute == PROTOCOL_CONDITION) {
		copy.protocols =
			arena_memdup(arena, condition->protocols, condition->count * sizeof(*condition->protocols));
		return copy;
	}
	const char **names = arena_alloc(arena, condition->count * sizeof(*names));
	for (size_t i = 0; i < condition->count; i++)
		names[i] = arena_strdup(arena, condition->names[i]);
	copy.names = names;
	return copy;
}

static uint32_t *conditions_number(struct decider_rules *rules, struct asked_list *asked)
{
	uint32_t *numbers = arena_alloc(rules->scratch, (asked->n + 1) * sizeof(*numbers));

	qsort(asked->list, asked->n, sizeof(*asked->list), asked_compare);
	rules->conditions = arena_alloc(rules->arena, (asked->n + 1) * sizeof(*rules->conditions));
	for (size_t i = 0; i < asked->n; i++) {
		if (i == 0 || asked_compare(&asked->list[i - 1], &asked->list[i]) != 0)
			rules->conditions[rules->n_conditions++] =
				condition_copy(&asked->list[i].condition, rules->arena);
		numbers[asked->list[i].number] = (uint32_t)rules->n_conditions - 1;
	}
	return numbers;
}

/* Its number among those that are asked. Rules that follow one another often ask the same: that is one. */
static uint32_t condition_ask(struct asked_list *asked, const struct condition *condition)
{
	uint32_t *last = &asked->last[condition->attribute];

	if (*last == CONDITION_NONE || condition_compare(&asked->list[*last].condition, condition) != 0) {
		*last = (uint32_t)asked->n++;
		asked->list[*last] = (struct asked){ *condition, *last };
	}
	return *last;
}

/* Takes the rule's conditions apart: the anchor, and the rest, with their numbers among those that are asked. */
static void rule_split(struct attribute_rule *ret, const struct rule *rule, struct asked_list *asked)
{
	*ret = (struct attribute_rule){ .service = rule->service, .anchor = -1 };
	for (int i = 0; i <= ATTRIBUTE_COUNT; i++)
		ret->rest[i] = CONDITION_NONE;
	for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
		enum attribute attribute = anchor_order[i];
		if (rule->attribute[attribute].count == 0)
			continue;
		if (ret->anchor < 0) {
			ret->anchor = (int)attribute;
			continue;
		}
		ret->rest[attribute] = condition_ask(asked,
			&(struct condition){ .attribute = (int)attribute,
				.count = rule->attribute[attribute].count,
				.names = rule->attribute[attribute].names });
	}
	if (rule->n_protocols > 0)
		ret->rest[PROTOCOL_CONDITION] = condition_ask(asked,
			&(struct condition){ .attribute = PROTOCOL_CONDITION,
				.count = rule->n_protocols,
				.protocols = rule->protocols });
}

/* Files a rule under each name of its anchor. */
static int rule_file(struct decider_rules *ret, const struct rule *rule, uint32_t number)
{
	int anchor = ret->rules[number].anchor;
	int r = 0;

	ret->attribute[anchor].service = lower(ret->attribute[anchor].service, rule->service);
	for (size_t i = 0; r == 0 && i < rule->attribute[anchor].count; i++)
		r = names_insert(ret->attribute[anchor].names, rule->attribute[anchor].names[i], number);
	return r;
}

/* names_insert() sees only the anchors. */
static int condition_check(const struct condition *condition)
{
	for (size_t i = 0; condition->attribute != PROTOCOL_CONDITION && i < condition->count; i++)
		if (!name_is_valid(attribute_name_kind((enum attribute)condition->attribute), condition->names[i]))
			return -EINVAL;
	return 0;
}

static int rest_compare(const void *a, const void *b, void *context)
{
	const struct decider_rules *rules = context;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int r = memcmp(rules->rules[x].rest, rules->rules[y].rest, sizeof(rules->rules[x].rest));

	return r != 0 ? r : compare_u32(x, y);
}

static int number_compare(const void *a, const void *b)
{
	return compare_u32(*(const uint32_t *)a, *(const uint32_t *)b);
}

/* While the attribute is not known, of all rules with the same rest the first decides what the others may
 * say. */
static void open_rules_find(struct decider_rules *rules, int anchor)
{
	uint32_t *open = arena_alloc(rules->scratch, (rules->n_rules + 1) * sizeof(*open));
	size_t n = 0, kept = 0;

	for (uint32_t i = 0; i < rules->n_rules; i++)
		if (rules->rules[i].anchor == anchor)
			open[n++] = i;
	qsort_r(open, n, sizeof(*open), rest_compare, rules);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 ||
			memcmp(rules->rules[open[kept - 1]].rest, rules->rules[open[i]].rest,
				sizeof(rules->rules[0].rest)) != 0)
			open[kept++] = open[i];
	qsort(open, kept, sizeof(*open), number_compare);
	rules->attribute[anchor].open_rules = arena_memdup(rules->arena, open, kept * sizeof(*open));
	rules->attribute[anchor].n_open_rules = kept;
}

/* Room for all names at once: a table that grows is written again and again. */
static int names_make(struct decider_rules *ret, const struct rule *rules, size_t n_rules)
{
	size_t n[ATTRIBUTE_COUNT] = { 0 };
	int r = 0;

	for (size_t i = 0; i < n_rules; i++)
		for (int k = 0; k < ATTRIBUTE_COUNT; k++)
			if (rules[i].attribute[anchor_order[k]].count > 0) {
				n[anchor_order[k]] += rules[i].attribute[anchor_order[k]].count;
				break;
			}
	for (int i = 0; r == 0 && i < ATTRIBUTE_COUNT; i++) {
		if (n[i] == 0)
			continue;
		ret->attribute[i].names = names_new(ret->arena, attribute_name_kind((enum attribute)i));
		r = ret->attribute[i].names ? names_reserve(ret->attribute[i].names, n[i]) : -ENOMEM;
	}
	return r;
}

static void conditions_find(struct decider_rules *ret, struct asked_list *asked)
{
	const uint32_t *numbers = conditions_number(ret, asked);

	for (size_t i = 0; i < ret->n_rules; i++)
		for (int k = 0; k <= ATTRIBUTE_COUNT; k++) {
			uint32_t *rest = &ret->rules[i].rest[k];
			if (*rest != CONDITION_NONE)
				*rest = numbers[*rest];
		}
}

static int attribute_rules_compile(struct decider_rules *ret, const struct rule *rules, size_t n_rules)
{
	struct asked_list asked = { 0 };
	int r = names_make(ret, rules, n_rules);

	ret->rules = arena_alloc(ret->arena, (n_rules + 1) * sizeof(*ret->rules));
	asked.list = arena_alloc(ret->scratch, (n_rules + 1) * (ATTRIBUTE_COUNT + 1) * sizeof(*asked.list));
	for (int i = 0; i <= ATTRIBUTE_COUNT; i++)
		asked.last[i] = CONDITION_NONE;
	for (size_t i = 0; r == 0 && i < n_rules; i++) {
		if (attributes_asked(&rules[i], 1) == 0)
			continue;
		rule_split(&ret->rules[ret->n_rules], &rules[i], &asked);
		r = rule_file(ret, &rules[i], (uint32_t)ret->n_rules++);
	}
	if (r != 0)
		return r;
	conditions_find(ret, &asked);
	for (size_t i = 0; r == 0 && i < ret->n_conditions; i++)
		r = condition_check(&ret->conditions[i]);
	for (int i = 0; i < ATTRIBUTE_COUNT; i++)
		if (ret->attribute[i].names)
			open_rules_find(ret, i);
	return r;
}

/* ---- both ---- */

static int source_compare(const void *a, const void *b)
{
	const struct source *x = a, *y = b;
	int r = compare_u32(x->service, y->service);

	return r != 0 ? r : compare_u32(x->protocol, y->protocol);
}

/* Of a protocol, and of all that learn the attributes that have their turn with it; NULL: any. */
static const struct byte_set *source_first(const struct decider_rules *rules, const struct source *source)
{
	struct byte_set *set = arena_alloc(rules->arena, sizeof(*set));

	if (!rules->first[source->protocol])
		return NULL;
	*set = *rules->first[source->protocol];
	for (uint32_t left = source->attributes; left; left &= left - 1) {
		const struct attribute_providers *providers = &rules->attribute[__builtin_ctz(left)].providers;
		for (size_t i = 0; i < providers->n; i++) {
			const struct byte_set *other = rules->first[providers->protocols[i]];
			if (!other)
				return NULL;
			byte_set_add(set, other);
		}
	}
	return set;
}

static void sources_order(struct decider_rules *rules)
{
	rules->sources = arena_alloc(rules->arena, (rules->n_protocols + 1) * sizeof(*rules->sources));
	for (uint32_t i = 0; i < rules->n_protocols; i++) {
		struct source source = { .protocol = i, .service = rules->protocol_service[i] };
		for (int k = 0; k < ATTRIBUTE_COUNT; k++) {
			if (rules->attribute[k].providers.protocols[0] != i ||
				rules->attribute[k].service == SERVICE_NONE)
				continue;
			source.service = lower(source.service, rules->attribute[k].service);
			source.attributes |= 1U << k;
		}
		const struct protocol *protocol = &rules->protocols[i];
		if (protocol->n_literals > 0 && !protocol->probe)
			continue; /* the trie brings it up */
		rules->has_external |= protocol->is_external;
		if (source.service == SERVICE_NONE)
			continue;
		source.first = source_first(rules, &source);
		rules->sources[rules->n_sources++] = source;
	}
	qsort(rules->sources, rules->n_sources, sizeof(*rules->sources), source_compare);
}

static void first_bytes_find(struct decider_rules *rules)
{
	rules->first = arena_alloc(rules->arena, (rules->n_protocols + 1) * sizeof(*rules->first));
	for (size_t i = 0; i < rules->n_protocols; i++) {
		const struct probe *probe = rules->protocols[i].probe;
		const struct byte_set *first = probe ? probe_first_bytes(probe) : NULL;
		if (first) /* a copy: the process that decides may not be the one that compiles */
			rules->first[i] = arena_memdup(rules->arena, first, sizeof(*first));
	}
}

static bool protocol_learns(const struct protocol *protocol, int attribute)
{
	return (protocol->probe && protocol->probe->attributes >> attribute & 1) ||
		(protocol->module && protocol->module->attributes >> attribute & 1);
}

/* Built-in ones come first among the protocols. */
static void providers_find(struct decider_rules *rules, int attribute)
{
	struct attribute_providers *providers = &rules->attribute[attribute].providers;

	providers->protocols = arena_alloc(rules->arena, (rules->n_protocols + 1) * sizeof(*providers->protocols));
	for (uint32_t i = 0; i < rules->n_protocols; i++)
		if (protocol_learns(&rules->protocols[i], attribute))
			providers->protocols[providers->n++] = i;
	providers->protocols[providers->n] = PROTOCOL_NONE;
}

static int rules_compile(struct decider_rules *ret, const struct rule *rules, size_t n_rules)
{
	for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
		providers_find(ret, i);
		ret->attribute[i].service = SERVICE_NONE;
	}
	ret->wanted = attributes_asked(rules, n_rules);
	first_bytes_find(ret);
	protocol_services_find(ret, rules, n_rules);
	int r = literals_compile(ret);
	if (r == 0)
		r = attribute_rules_compile(ret, rules, n_rules);
	if (r == 0)
		sources_order(ret);
	return r;
}

int decider_rules_init(struct decider_rules *ret, struct arena *arena, const struct protocol *protocols,
	size_t n_protocols, const struct rule *rules, size_t n_rules)
{
	int r = rules_check(protocols, n_protocols, rules, n_rules);

	if (r != 0)
		return r;
	*ret = (struct decider_rules){
		.arena = arena,
		.scratch = arena_new(),
		.protocols = protocols,
		.n_protocols = n_protocols,
		.first_service = n_rules > 0 ? rules[0].service : SERVICE_NONE,
	};
	r = rules_compile(ret, rules, n_rules);
	arena_free(ret->scratch);
	ret->scratch = NULL;
	if (r != 0)
		return r;
	return 0;
}
