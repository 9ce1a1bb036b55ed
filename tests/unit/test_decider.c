/* The decision against a plain reading of the rules, one after the other; which probes it runs; and that it
 * allocates nothing. */
#include "../decide.h"
#include "decider.h"
#include "finding.h"
#include "names.h"
#include "samples.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

static uint64_t seed = 3;

static uint32_t draw(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(seed >> 33) % below;
}

static struct findings findings;

/* --- Protocols: the built-in ones and some of each other kind -------------------------- */

#define N_PROTOCOLS_MAX 128
static struct protocol protocols[N_PROTOCOLS_MAX];
static uint32_t n_protocols;
static struct pattern *patterns[4];

static const struct literal literals[] = {
#define LITERAL(text)                                                                                                \
	{                                                                                                            \
		(const uint8_t *)text, sizeof(text) - 1                                                              \
	}
	LITERAL("A"),
	LITERAL("AB"),
	LITERAL("ABBA"),
	LITERAL("B1"),
	LITERAL("SSH-2.0-Open"),
	LITERAL("GET "),
	LITERAL("GET /a?b"),
	LITERAL("PRI "),
	LITERAL("\x16\x03\x01"),
	LITERAL("AB1"),
	LITERAL("A1"),
	LITERAL("B"),
};

static void own(const char *name, size_t literal, size_t n_literals, size_t pattern, size_t n_patterns)
{
	protocols[n_protocols++] = (struct protocol){ .name = name,
		.literals = literals + literal,
		.n_literals = n_literals,
		.patterns = patterns + pattern,
		.n_patterns = n_patterns };
}

static int protocols_begin(void **state)
{
	static const char *const regexes[] = { "^A+1", "B$", "^.B", "^(GET|SSH)" };
	char error[100];

	for (size_t i = 0; i < LEN(regexes); i++)
		patterns[i] = pattern_regex_new(NULL, regexes[i], 6, error, sizeof(error));
	for (size_t i = 0; i < n_probes; i++)
		protocols[n_protocols++] = (struct protocol){ .name = probes[i].name, .probe = &probes[i] };
	own("a", 0, 1, 0, 0);
	own("ab or abba", 1, 2, 0, 0);
	own("b1 or ssh", 3, 2, 0, 0);
	own("get", 5, 2, 0, 0);
	own("pri or tls", 7, 2, 0, 0);
	own("ab1", 9, 1, 0, 0);
	own("ab again", 1, 1, 0, 0);
	own("gated a", 0, 1, 0, 1);
	own("gated ab or abba", 1, 2, 0, 1);
	own("gated ab1 or a1 or b", 9, 3, 0, 3);
	own("gated get", 5, 1, 3, 1);
	own("gated ab", 1, 1, 2, 1);
	own("regex a+1", 0, 0, 0, 1);
	own("regex b", 0, 0, 1, 1);
	own("regexes", 0, 0, 2, 2);
	own("nothing", 0, 0, 0, 0);
	return 0;
}

static int protocols_end(void **state)
{
	for (size_t i = 0; i < LEN(patterns); i++)
		pattern_free(patterns[i]);
	return 0;
}

/* --- A plain reading ------------------------------------------------------------------- */

static enum verdict either(enum verdict a, enum verdict b)
{
	return a > b ? a : b;
}

static enum verdict both(enum verdict a, enum verdict b)
{
	return a < b ? a : b;
}

static enum verdict plain_attribute(const struct rule *rule, int attribute, const struct evidence *evidence)
{
	enum verdict verdict = VERDICT_NO;

	for (uint32_t p = 0; p < n_protocols; p++) {
		if (!protocols[p].probe || !(protocols[p].probe->attributes >> attribute & 1))
			continue;
		protocol_match(&protocols[p], evidence, &findings);
		const struct finding *finding = &findings.attribute[attribute];
		if (!(findings.settled >> attribute & 1))
			verdict = either(verdict, VERDICT_MORE);
		for (size_t i = 0; i < finding->count; i++)
			for (size_t k = 0; k < rule->attribute[attribute].count; k++)
				if (name_matches(attribute_name_kind((enum attribute)attribute),
					    rule->attribute[attribute].names[k], finding->value[i].at,
					    finding->value[i].len))
					verdict = VERDICT_YES;
	}
	return verdict;
}

static enum verdict plain_rule(const struct rule *rule, const struct evidence *evidence)
{
	enum verdict verdict = VERDICT_YES, protocol = VERDICT_NO;

	if (evidence->len == 0)
		return VERDICT_MORE;
	for (size_t i = 0; i < rule->n_protocols; i++)
		protocol = either(protocol, protocol_match(&protocols[rule->protocols[i]], evidence, &findings));
	if (rule->n_protocols > 0)
		verdict = both(verdict, protocol);
	for (int i = 0; i < ATTRIBUTE_COUNT; i++)
		if (rule->attribute[i].count > 0)
			verdict = both(verdict, plain_attribute(rule, i, evidence));
	return verdict;
}

static void plain_decide(const struct rule *rules, size_t n, const struct evidence *evidence, struct outcome *ret)
{
	ret->yes = ret->more = SERVICE_NONE;
	for (size_t i = 0; i < n && ret->yes == SERVICE_NONE; i++)
		if (plain_rule(&rules[i], evidence) == VERDICT_YES)
			ret->yes = rules[i].service;
	for (size_t i = 0; i < n && rules[i].service < ret->yes && ret->more == SERVICE_NONE; i++)
		if (plain_rule(&rules[i], evidence) == VERDICT_MORE)
			ret->more = rules[i].service;
}

/* Whether the protocol can have made the service say YES. */
static bool plain_protocol_fits(
	const struct rule *rules, size_t n, const struct evidence *evidence, const struct outcome *outcome)
{
	if (outcome->yes == SERVICE_NONE)
		return outcome->protocol == PROTOCOL_NONE;
	if (outcome->protocol >= n_protocols ||
		protocol_match(&protocols[outcome->protocol], evidence, &findings) != VERDICT_YES)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (rules[i].service != outcome->yes || plain_rule(&rules[i], evidence) != VERDICT_YES)
			continue;
		for (size_t k = 0; k < rules[i].n_protocols; k++)
			if (rules[i].protocols[k] == outcome->protocol)
				return true;
		for (int k = 0; rules[i].n_protocols == 0 && k < ATTRIBUTE_COUNT; k++)
			if (rules[i].attribute[k].count > 0 && protocols[outcome->protocol].probe &&
				protocols[outcome->protocol].probe->attributes >> k & 1)
				return true;
	}
	return false;
}

/* --- Random rules ---------------------------------------------------------------------- */

static const char *const names[ATTRIBUTE_COUNT][6] = {
	{ "shop.example", "*.example", "db.example", "old.example", "LOCALHOST", "none.example" },
	{ "h2", "http/1.1", "postgresql", "*.1", "h3", "imap" },
	{ "web.example", "*.Example", "shop.example", "*.example.org", "localhost", "none.example" },
	{ "echo", "*.x", "HELP", "a.b", "ab1", "none.example" },
	[ATTRIBUTE_PATH] = { "/", "/shop/*", "*", "/x?", "/a", "none" },
	[ATTRIBUTE_VERSION] = { "1.3", "1.*", "1.[12]", "2", "4", "none" },
};

#define N_RULES_MAX 20

struct set {
	struct rule rules[N_RULES_MAX];
	uint32_t protocols[N_RULES_MAX][3];
	const char *names[N_RULES_MAX][ATTRIBUTE_COUNT][3];
	size_t n;
};

/* The first probes and their samples, and those that are not built in, are drawn more often than all the others, or hardly
 * any rule would match. */
#define N_FIRST_PROBES  3
#define N_FIRST_SAMPLES 14

static uint32_t protocol_draw(void)
{
	if (draw(2) == 0)
		return (uint32_t)n_probes + draw(n_protocols - (uint32_t)n_probes);
	return draw(draw(2) == 0 ? N_FIRST_PROBES : (uint32_t)n_probes);
}

static void rule_draw(struct set *set, size_t at, uint32_t service)
{
	struct rule *rule = &set->rules[at];

	*rule = (struct rule){ .service = service, .protocols = set->protocols[at] };
	if (draw(2) == 0)
		rule->n_protocols = draw(3) + 1;
	for (size_t i = 0; i < rule->n_protocols; i++)
		set->protocols[at][i] = protocol_draw();
	for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
		rule->attribute[i].names = set->names[at][i];
		if (names[i][0] && draw(4) == 0)
			rule->attribute[i].count = draw(3) + 1;
		for (size_t k = 0; k < rule->attribute[i].count; k++)
			set->names[at][i][k] = names[i][draw(6)];
	}
	if (rule->n_protocols == 0 &&
		rule->attribute[0].count + rule->attribute[1].count + rule->attribute[2].count == 0) {
		rule->n_protocols = 1;
		set->protocols[at][0] = protocol_draw();
	}
}

static void set_draw(struct set *set)
{
	uint32_t service = draw(3);

	set->n = draw(N_RULES_MAX) + 1;
	for (size_t i = 0; i < set->n; i++) {
		rule_draw(set, i, service);
		service += draw(3) > 0 ? draw(4) + 1 : 0;
	}
}

/* The start of a sample, or letters that the literals are made of. */
static size_t evidence_draw(uint8_t *bytes, size_t room)
{
	size_t len = draw(9);

	if (draw(2) == 0) {
		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t) "AB1"[draw(3)];
		return len;
	}
	const struct sample *sample = &samples[draw(draw(2) == 0 ? N_FIRST_SAMPLES : N_SAMPLES)];
	len = draw(3) == 0 ? sample->len : draw((uint32_t)sample->len);
	len = len < room ? len : room;
	memcpy(bytes, sample->bytes, len);
	return len;
}

static void same_as_a_plain_reading(void **state)
{
	static struct set set;
	uint8_t bytes[1024];
	size_t n_yes = 0, n_more = 0;

	for (int round = 0; round < 2500; round++) {
		struct decider *decider;
		set_draw(&set);
		assert_int_equal(decider_new(&decider, NULL, protocols, n_protocols, set.rules, set.n), 0);
		for (int k = 0; k < 16; k++) {
			struct evidence evidence = { bytes, evidence_draw(bytes, sizeof(bytes)) };
			struct outcome outcome, plain;
			decider_ask(decider, &evidence, &findings, &outcome);
			plain_decide(set.rules, set.n, &evidence, &plain);
			assert_int_equal(outcome.yes, plain.yes);
			assert_int_equal(outcome.more, plain.more);
			assert_true(plain_protocol_fits(set.rules, set.n, &evidence, &outcome));
			n_yes += outcome.yes != SERVICE_NONE;
			n_more += outcome.more != SERVICE_NONE;
		}
		decider_free(decider);
	}
	/* the draw is worth something */
	assert_in_range(n_yes, 6000, 36000);
	assert_in_range(n_more, 8000, 36000);
}

static void an_outcome_once_settled_stays(void **state)
{
	static struct set set;

	for (int round = 0; round < 150; round++) {
		struct decider *decider;
		set_draw(&set);
		assert_int_equal(decider_new(&decider, NULL, protocols, n_protocols, set.rules, set.n), 0);
		for (size_t i = 0; i < N_SAMPLES; i++) {
			struct outcome old = { SERVICE_NONE, 0, 0 };
			for (size_t len = 0; len <= samples[i].len; len++) {
				struct outcome outcome;
				decider_ask(
					decider, &(struct evidence){ samples[i].bytes, len }, &findings, &outcome);
				if (old.more == SERVICE_NONE) {
					assert_int_equal(outcome.more, SERVICE_NONE);
					assert_int_equal(outcome.yes, old.yes);
				}
				old = outcome;
			}
		}
		decider_free(decider);
	}
}

/* --- What runs ------------------------------------------------------------------------- */

static unsigned n_runs[3];

static enum verdict count_no(const struct evidence *evidence, struct findings *ret)
{
	n_runs[0]++;
	ret->settled |= 1U << ATTRIBUTE_SNI;
	return VERDICT_NO;
}

static enum verdict count_yes(const struct evidence *evidence, struct findings *ret)
{
	n_runs[1]++;
	ret->settled |= 1U << ATTRIBUTE_HOST;
	return VERDICT_YES;
}

static enum verdict count_more(const struct evidence *evidence, struct findings *ret)
{
	n_runs[2]++;
	return VERDICT_MORE;
}

static const struct probe counting[] = {
	{ "no", .stream = count_no, .attributes = 1U << ATTRIBUTE_SNI },
	{ "yes", .stream = count_yes, .attributes = 1U << ATTRIBUTE_HOST },
	{ "more", .stream = count_more, .attributes = 1U << ATTRIBUTE_ALPN },
};

/* Runs rules over "AB" and compares how often each of the three probes ran. */
static struct outcome count(const struct rule *rules, size_t n, unsigned no, unsigned yes, unsigned more)
{
	static const struct literal ab = { (const uint8_t *)"AB", 2 };
	const struct protocol some[] = { { .probe = &counting[0] }, { .probe = &counting[1] },
		{ .probe = &counting[2] }, { .literals = &ab, .n_literals = 1 } };
	struct decider *decider;
	struct outcome outcome;

	memset(n_runs, 0, sizeof(n_runs));
	assert_int_equal(decider_new(&decider, NULL, some, LEN(some), rules, n), 0);
	decider_ask(decider, &(struct evidence){ (const uint8_t *)"AB", 2 }, &findings, &outcome);
	decider_free(decider);
	assert_int_equal(n_runs[0], no);
	assert_int_equal(n_runs[1], yes);
	assert_int_equal(n_runs[2], more);
	return outcome;
}

static const uint32_t no[] = { 0 }, yes[] = { 1 }, more[] = { 2 }, literal[] = { 3 };
static const char *const a_name[] = { "a.example" };
#define BY_PROTOCOL(service_, set)                                                                                   \
	{                                                                                                            \
		.service = (service_), .protocols = (set), .n_protocols = 1                                          \
	}
#define BY_NAME(service_, which)                                                                                     \
	{                                                                                                            \
		.service = (service_), .attribute[which] = { a_name, 1 }                                             \
	}

static void a_probe_runs_only_where_it_can_matter(void **state)
{
	const struct rule literal_first[] = { BY_PROTOCOL(0, literal), BY_PROTOCOL(1, no), BY_PROTOCOL(2, yes),
		BY_NAME(3, ATTRIBUTE_ALPN) };
	const struct rule between[] = { BY_PROTOCOL(0, no), BY_PROTOCOL(1, literal), BY_PROTOCOL(2, yes),
		BY_PROTOCOL(3, more) };
	const struct rule twice[] = { BY_PROTOCOL(0, no), BY_NAME(1, ATTRIBUTE_SNI), BY_PROTOCOL(2, no),
		BY_PROTOCOL(3, yes), BY_PROTOCOL(4, more) };
	const struct rule last[] = { BY_PROTOCOL(0, literal) };
	struct outcome outcome = count(literal_first, LEN(literal_first), 0, 0, 0);

	assert_int_equal(outcome.yes, 0);
	assert_int_equal(outcome.protocol, 3);
	outcome = count(between, LEN(between), 1, 0, 0);
	assert_int_equal(outcome.yes, 1);
	outcome = count(twice, LEN(twice), 1, 1, 0);
	assert_int_equal(outcome.yes, 3);
	assert_int_equal(outcome.protocol, 1);
	count(last, LEN(last), 0, 0, 0);
}

static void an_earlier_more_holds_a_later_yes_back(void **state)
{
	const struct rule held[] = { BY_PROTOCOL(0, no), BY_PROTOCOL(1, more), BY_PROTOCOL(2, yes) };
	const struct rule free_to_go[] = { BY_PROTOCOL(0, no), BY_PROTOCOL(1, yes), BY_PROTOCOL(2, more) };
	const struct rule same[] = { BY_PROTOCOL(1, more), BY_PROTOCOL(1, yes) };
	const struct rule named[] = { BY_NAME(4, ATTRIBUTE_ALPN), BY_PROTOCOL(7, yes) };
	struct outcome outcome = count(held, LEN(held), 1, 1, 1);

	assert_int_equal(outcome.yes, 2);
	assert_int_equal(outcome.more, 1);
	outcome = count(free_to_go, LEN(free_to_go), 1, 1, 0);
	assert_int_equal(outcome.yes, 1);
	assert_int_equal(outcome.more, SERVICE_NONE);
	outcome = count(same, LEN(same), 0, 1, 0);
	assert_int_equal(outcome.yes, 1);
	assert_int_equal(outcome.more, SERVICE_NONE);
	outcome = count(named, LEN(named), 0, 1, 1);
	assert_int_equal(outcome.yes, 7);
	assert_int_equal(outcome.more, 4);
}

static void all_services_say_no_at_once(void **state)
{
	const struct rule none[] = { BY_PROTOCOL(0, no), BY_NAME(1, ATTRIBUTE_SNI), BY_NAME(2, ATTRIBUTE_HOST) };
	struct outcome outcome = count(none, LEN(none), 1, 1, 0);

	assert_int_equal(outcome.yes, SERVICE_NONE);
	assert_int_equal(outcome.more, SERVICE_NONE);
	assert_int_equal(outcome.protocol, PROTOCOL_NONE);
}

static void no_bytes_no_answer(void **state)
{
	const struct rule rules[] = { BY_PROTOCOL(3, literal), BY_PROTOCOL(5, no) };
	struct decider *decider;
	struct outcome outcome;

	assert_int_equal(decider_new(&decider, NULL, protocols, n_protocols, rules, LEN(rules)), 0);
	decider_ask(decider, &(struct evidence){ NULL, 0 }, &findings, &outcome);
	assert_int_equal(outcome.yes, SERVICE_NONE);
	assert_int_equal(outcome.more, 3);
	decider_free(decider);
	/* without services everything is settled */
	assert_int_equal(decider_new(&decider, NULL, protocols, n_protocols, NULL, 0), 0);
	decider_ask(decider, &(struct evidence){ NULL, 0 }, &findings, &outcome);
	assert_int_equal(outcome.more, SERVICE_NONE);
	decider_ask(decider, &(struct evidence){ (const uint8_t *)"x", 1 }, &findings, &outcome);
	assert_int_equal(outcome.yes, SERVICE_NONE);
	assert_int_equal(outcome.more, SERVICE_NONE);
	decider_free(decider);
	for (uint32_t i = 0; i < n_protocols; i++)
		assert_int_equal(
			protocol_match(&protocols[i], &(struct evidence){ NULL, 0 }, &findings), VERDICT_MORE);
	decider_free(NULL);
}

static enum verdict own_match(const char *name, const char *text)
{
	for (uint32_t i = 0; i < n_protocols; i++)
		if (strcmp(protocols[i].name, name) == 0)
			return protocol_match(
				&protocols[i], &(struct evidence){ (const uint8_t *)text, strlen(text) }, &findings);
	fail_msg("%s: no such protocol", name);
	return VERDICT_NO;
}

static void own_protocols_ask_for_a_literal_and_a_pattern(void **state)
{
	assert_int_equal(own_match("ab or abba", "A"), VERDICT_MORE);
	assert_int_equal(own_match("ab or abba", "AB"), VERDICT_YES);
	assert_int_equal(own_match("ab or abba", "B"), VERDICT_NO);
	assert_int_equal(own_match("regex a+1", "A"), VERDICT_MORE);
	assert_int_equal(own_match("regex a+1", "AA1"), VERDICT_YES);
	assert_int_equal(own_match("gated a", "A"), VERDICT_MORE);
	assert_int_equal(own_match("gated a", "A1"), VERDICT_YES);
	assert_int_equal(own_match("gated a", "AB"), VERDICT_NO);
	assert_int_equal(own_match("gated a", "B1"), VERDICT_NO);
	/* a longer literal adds nothing to a shorter one that is there */
	assert_int_equal(own_match("gated ab or abba", "AB"), VERDICT_NO);
	assert_int_equal(own_match("nothing", "A"), VERDICT_NO);
}

static void rules_that_are_none(void **state)
{
	static const char *const bad_name[] = { "a.[.example" };
	static const uint32_t far[] = { 1000 };
	static const struct literal empty = { (const uint8_t *)"", 0 };
	const struct protocol bad_protocol = { .literals = &empty, .n_literals = 1 };
	const struct rule bare = { .service = 0 };
	const struct rule named = { .attribute[ATTRIBUTE_SNI] = { bad_name, 1 } };
	const struct rule second = { .attribute = {
					     [ATTRIBUTE_SNI] = { a_name, 1 }, [ATTRIBUTE_ALPN] = { bad_name, 1 } } };
	const struct rule out_of_range = { .protocols = far, .n_protocols = 1 };
	const struct rule unordered[] = { BY_PROTOCOL(3, literal), BY_PROTOCOL(2, no) };
	struct decider *decider;

	assert_int_equal(decider_new(&decider, NULL, protocols, n_protocols, &bare, 1), -EINVAL);
	assert_int_equal(decider_new(&decider, NULL, protocols, n_protocols, &named, 1), -EINVAL);
	assert_int_equal(decider_new(&decider, NULL, protocols, n_protocols, &second, 1), -EINVAL);
	assert_int_equal(decider_new(&decider, NULL, protocols, n_protocols, &out_of_range, 1), -EINVAL);
	assert_int_equal(decider_new(&decider, NULL, protocols, n_protocols, unordered, 2), -EINVAL);
	assert_int_equal(decider_new(&decider, NULL, &bad_protocol, 1, NULL, 0), -EINVAL);
}

/* --- No allocation --------------------------------------------------------------------- */

#ifdef __SANITIZE_ADDRESS__
#define ALLOCATIONS 0 /* the sanitizer has its own */
#else
static unsigned n_allocations;
#define ALLOCATIONS n_allocations

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *at, size_t size);

void *malloc(size_t size)
{
	n_allocations++;
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	n_allocations++;
	return __libc_calloc(n, size);
}

void *realloc(void *at, size_t size)
{
	n_allocations++;
	return __libc_realloc(at, size);
}
#endif

static void datagram_decide(struct decider *decider, const struct sample *sample, struct outcome *ret)
{
	uint32_t end = (uint32_t)sample->len;

	decider_ask(
		decider, &(struct evidence){ sample->bytes, end, .ends = &end, .n_datagrams = 1 }, &findings, ret);
}

static void a_decision_allocates_nothing(void **state)
{
	static struct set set;
	struct decider *decider;
	struct outcome outcome;

	for (int round = 0; round < 50; round++) {
		set_draw(&set);
		assert_int_equal(decider_new(&decider, NULL, protocols, n_protocols, set.rules, set.n), 0);
		for (size_t i = 0; i < N_SAMPLES; i++) /* libcrypto allocates for the first packet of QUIC */
			datagram_decide(decider, &samples[i], &outcome);
		unsigned before = ALLOCATIONS;
		for (size_t i = 0; i < N_SAMPLES; i++) {
			for (size_t len = 1; len <= samples[i].len; len += 7)
				decider_ask(
					decider, &(struct evidence){ samples[i].bytes, len }, &findings, &outcome);
			datagram_decide(decider, &samples[i], &outcome);
		}
		assert_int_equal(ALLOCATIONS, before);
		decider_free(decider);
	}
}

static void expressions_wait_for_so_many_bytes(void **state)
{
	struct protocol protocol = {
		.name = "late", .patterns = patterns, .n_patterns = 1, .at_least = 4
	}; /* ^A+1 */
	static const struct {
		const char *bytes;
		enum verdict verdict;
	} cases[] = { { "A1", VERDICT_MORE }, { "B", VERDICT_MORE }, { "A1x", VERDICT_MORE }, { "A1xx", VERDICT_YES },
		{ "BBBB", VERDICT_NO }, { "AAAA", VERDICT_MORE } };

	for (size_t i = 0; i < LEN(cases); i++) {
		struct evidence evidence = { .bytes = (const uint8_t *)cases[i].bytes,
			.len = strlen(cases[i].bytes) };
		assert_int_equal(protocol_match(&protocol, &evidence, &findings), cases[i].verdict);
	}
}

/* --- Names from outside, datagrams, and corners ----------------------------------------- */

static enum verdict find_and_ask_for_more(const struct evidence *evidence, struct findings *ret)
{
	finding_add(ret, ATTRIBUTE_SNI, (const uint8_t *)"a.example", 9);
	return VERDICT_MORE;
}

static enum verdict find_and_settle(const struct evidence *evidence, struct findings *ret)
{
	finding_settle(ret, ATTRIBUTE_SNI, (const uint8_t *)"a.example", 9);
	return VERDICT_YES;
}

static struct outcome decide_by(const struct protocol *some, size_t n_some, const struct rule *rules, size_t n,
	const struct evidence *evidence)
{
	struct decider *decider;
	struct outcome outcome;

	assert_int_equal(decider_new(&decider, NULL, some, n_some, rules, n), 0);
	decider_ask(decider, evidence, &findings, &outcome);
	decider_free(decider);
	return outcome;
}

static const struct literal letters = { (const uint8_t *)"AB", 2 };
static const struct protocol named_ones[] = { { .name = "first", .is_external = true },
	{ .name = "second", .is_external = true }, { .name = "more", .probe = &counting[2] },
	{ .name = "letters", .literals = &letters, .n_literals = 1 } };
static const uint32_t first[] = { 0 }, second[] = { 1 }, waits[] = { 2 }, by_letters[] = { 3 };

static struct outcome decide_named(const struct rule *rules, size_t n, uint32_t named, bool may_be_named)
{
	const struct evidence evidence = {
		.bytes = (const uint8_t *)"AB", .len = 2, .named = named, .may_be_named = may_be_named
	};
	return decide_by(named_ones, LEN(named_ones), rules, n, &evidence);
}

static void assert_outcome(struct outcome outcome, uint32_t yes_, uint32_t more_, uint32_t protocol, bool ask)
{
	assert_int_equal(outcome.yes, yes_);
	assert_int_equal(outcome.more, more_);
	assert_int_equal(outcome.protocol, protocol);
	assert_int_equal(outcome.ask, ask);
}

static void a_name_from_outside_is_waited_for_where_it_decides(void **state)
{
	const struct rule rules[] = { BY_PROTOCOL(0, first), BY_PROTOCOL(1, second), BY_PROTOCOL(2, by_letters) };

	assert_outcome(decide_named(rules, 3, 0, false), 2, SERVICE_NONE, 3, false);
	assert_outcome(decide_named(rules, 3, 0, true), 2, 0, 3, true);
	assert_outcome(decide_named(rules, 3, 1, false), 0, SERVICE_NONE, 0, false);
	assert_outcome(decide_named(rules, 3, 2, false), 1, SERVICE_NONE, 1, false);
	assert_outcome(decide_named(rules, 3, 3, false), 2, SERVICE_NONE, 3, false);
	assert_outcome(decide_named(rules, 2, 0, false), SERVICE_NONE, SERVICE_NONE, PROTOCOL_NONE, false);
	assert_outcome(decide_named(rules + 2, 1, 0, true), 2, SERVICE_NONE, 3, false);
}

static void bytes_are_waited_for_before_a_name(void **state)
{
	const struct rule bytes_first[] = { BY_PROTOCOL(0, waits), BY_PROTOCOL(1, first) };
	const struct rule name_first[] = { BY_PROTOCOL(0, first), BY_PROTOCOL(1, waits) };
	const struct rule bytes_alone[] = { BY_PROTOCOL(0, waits) };

	assert_outcome(decide_named(bytes_first, 2, 0, true), SERVICE_NONE, 0, PROTOCOL_NONE, false);
	assert_outcome(decide_named(name_first, 2, 0, true), SERVICE_NONE, 0, PROTOCOL_NONE, true);
	assert_outcome(decide_named(name_first, 2, 0, false), SERVICE_NONE, 1, PROTOCOL_NONE, false);
	assert_outcome(decide_named(bytes_alone, 1, 0, true), SERVICE_NONE, 0, PROTOCOL_NONE, false);
}

static void the_users_own_protocols_wait_for_no_second_datagram(void **state)
{
	static const struct literal long_one = { (const uint8_t *)"ABBA", 4 };
	const struct protocol some[] = { { .literals = &long_one, .n_literals = 1 },
		{ .literals = &letters, .n_literals = 1 } };
	struct evidence evidence = { .bytes = (const uint8_t *)"AB", .len = 2 };

	assert_int_equal(protocol_match(&some[0], &evidence, &findings), VERDICT_MORE);
	assert_int_equal(protocol_match(&some[1], &evidence, &findings), VERDICT_YES);
	evidence.ends = &(const uint32_t){ 2 };
	evidence.n_datagrams = 1;
	assert_int_equal(protocol_match(&some[0], &evidence, &findings), VERDICT_NO);
	assert_int_equal(protocol_match(&some[1], &evidence, &findings), VERDICT_YES);
}

static void the_first_protocol_may_want_a_literal_and_an_expression(void **state)
{
	const struct protocol some[] = {
		{ .literals = &letters, .n_literals = 1, .patterns = patterns + 2, .n_patterns = 1 }
	};
	const struct rule rules[] = { BY_PROTOCOL(0, first) };
	const struct evidence evidence = { .bytes = (const uint8_t *)"AB", .len = 2 };

	assert_outcome(decide_by(some, 1, rules, 1, &evidence), 0, SERVICE_NONE, 0, false);
}

static void what_any_probe_has_learned_decides(void **state)
{
	static const struct probe unsure = { "unsure", .stream = find_and_ask_for_more,
		.attributes = 1U << ATTRIBUTE_SNI };
	static const struct probe sure = { "sure", .stream = find_and_settle, .attributes = 1U << ATTRIBUTE_SNI };
	const struct protocol unsure_one[] = { { .probe = &unsure } },
			      two[] = { { .probe = &counting[0] }, { .probe = &sure } };
	const struct rule rules[] = { BY_NAME(4, ATTRIBUTE_SNI) };
	const struct evidence evidence = { .bytes = (const uint8_t *)"AB", .len = 2 };

	/* Only a probe that is sure leaves behind what it has learned. */
	assert_outcome(decide_by(unsure_one, 1, rules, 1, &evidence), SERVICE_NONE, 4, PROTOCOL_NONE, false);
	assert_outcome(decide_by(two, 2, rules, 1, &evidence), 4, SERVICE_NONE, 1, false);
}

static void a_protocol_is_spoken_where_it_has_a_probe(void **state)
{
	static const struct probe over_tcp = { "tcp", count_yes, NULL, 0 }, over_udp = { "udp", NULL, count_yes, 0 };
	const struct protocol tcp = { .probe = &over_tcp }, udp = { .probe = &over_udp }, own_one = { .name = "own" };

	assert_true(protocol_is_spoken(&tcp, TRANSPORT_STREAM));
	assert_false(protocol_is_spoken(&tcp, TRANSPORT_DATAGRAM));
	assert_false(protocol_is_spoken(&udp, TRANSPORT_STREAM));
	assert_true(protocol_is_spoken(&udp, TRANSPORT_DATAGRAM));
	assert_true(protocol_is_spoken(&own_one, TRANSPORT_STREAM));
	assert_true(protocol_is_spoken(&own_one, TRANSPORT_DATAGRAM));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_as_a_plain_reading),
		cmocka_unit_test(an_outcome_once_settled_stays),
		cmocka_unit_test(a_probe_runs_only_where_it_can_matter),
		cmocka_unit_test(an_earlier_more_holds_a_later_yes_back),
		cmocka_unit_test(all_services_say_no_at_once),
		cmocka_unit_test(no_bytes_no_answer),
		cmocka_unit_test(own_protocols_ask_for_a_literal_and_a_pattern),
		cmocka_unit_test(rules_that_are_none),
		cmocka_unit_test(a_decision_allocates_nothing),
		cmocka_unit_test(expressions_wait_for_so_many_bytes),
		cmocka_unit_test(a_name_from_outside_is_waited_for_where_it_decides),
		cmocka_unit_test(bytes_are_waited_for_before_a_name),
		cmocka_unit_test(the_users_own_protocols_wait_for_no_second_datagram),
		cmocka_unit_test(the_first_protocol_may_want_a_literal_and_an_expression),
		cmocka_unit_test(what_any_probe_has_learned_decides),
		cmocka_unit_test(a_protocol_is_spoken_where_it_has_a_probe),
	};
	return cmocka_run_group_tests(tests, protocols_begin, protocols_end);
}
