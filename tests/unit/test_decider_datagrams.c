/* The decision over flows: who sees which datagrams, and what waits for them. */
#include "../decide.h"
#include "decider.h"
#include "module.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))
#define LITERAL(text)                                                                                                \
	{                                                                                                            \
		(const uint8_t *)(text), sizeof(text) - 1                                                            \
	}

static const uint32_t numbers[] = { 0, 1 };
static struct findings findings;

/* YES to two datagrams, with the second one as the server name. */
static enum verdict two_match(const struct evidence *evidence, struct findings *ret)
{
	if (evidence->n_datagrams < 2)
		return VERDICT_MORE;
	struct finding *sni = &ret->attribute[ATTRIBUTE_SNI];
	sni->value[0].at = evidence->bytes + evidence->ends[0];
	sni->value[0].len = evidence->ends[1] - evidence->ends[0];
	sni->count = 1;
	ret->settled |= 1U << ATTRIBUTE_SNI;
	return VERDICT_YES;
}

static enum verdict one_match(const struct evidence *evidence, struct findings *ret)
{
	return evidence->n_datagrams == 1 && evidence->len == 2 && evidence->search_over ? VERDICT_YES : VERDICT_NO;
}

/* A module's probe that knows no more than two bytes. */
static enum usher_verdict module_match(
	void *context, const struct usher_evidence *evidence, struct usher_findings *ret)
{
	return evidence->len == 2 ? *(enum usher_verdict *)context : USHER_NO;
}

static const struct probe spanning = { "two", .datagram = two_match, .spans_datagrams = true,
	.attributes = 1U << ATTRIBUTE_SNI };
static const struct probe single = { "one", .datagram = one_match };

static void only_marked_probes_see_further_datagrams(void **state)
{
	static const struct literal texts[] = { LITERAL("A"), LITERAL("ABX") };
	char error[100];
	struct pattern *made[] = {
		pattern_text_new(NULL, (const uint8_t *)"XY", 2, 100),
		pattern_regex_new(NULL, "^AB$", 100, error, sizeof(error)),
		pattern_regex_new(NULL, "^AB[^X]", 100, error, sizeof(error)),
		pattern_field_new(NULL, (const uint8_t *)"X", NULL, 1, 2),
	};
	enum usher_verdict said[] = { USHER_YES, USHER_MORE };
	const struct module_probe modules[] = {
		{ .name = "yes", .run = module_match, .context = &said[0] },
		{ .name = "more", .run = module_match, .context = &said[1] },
	};
	const struct {
		struct protocol protocol;
		enum verdict first, both;
	} cases[] = {
		{ { .module = &modules[0] }, VERDICT_YES, VERDICT_YES },
		{ { .module = &modules[1] }, VERDICT_NO, VERDICT_NO },
		{ { .probe = &spanning }, VERDICT_MORE, VERDICT_YES },
		{ { .probe = &single }, VERDICT_YES, VERDICT_YES },
		{ { .literals = texts, .n_literals = 1 }, VERDICT_YES, VERDICT_YES },
		{ { .literals = texts + 1, .n_literals = 1 }, VERDICT_NO, VERDICT_NO },
		{ { .patterns = made, .n_patterns = 1 }, VERDICT_NO, VERDICT_NO },
		{ { .patterns = made + 1, .n_patterns = 1 }, VERDICT_YES, VERDICT_YES },
		{ { .patterns = made + 2, .n_patterns = 1 }, VERDICT_NO, VERDICT_NO },
		{ { .patterns = made + 3, .n_patterns = 1 }, VERDICT_NO, VERDICT_NO },
		{ { .patterns = made + 1, .n_patterns = 1, .at_least = 3 }, VERDICT_NO, VERDICT_NO },
	};
	const struct rule rule = { .service = 0, .protocols = &numbers[0], .n_protocols = 1 };
	const uint32_t ends[] = { 2, 4 };

	for (size_t i = 0; i < LEN(cases); i++) {
		struct decider *decider;
		assert_int_equal(decider_new(&decider, NULL, &cases[i].protocol, 1, &rule, 1), 0);
		for (size_t n = 1; n <= 2; n++) {
			const enum verdict want = n == 1 ? cases[i].first : cases[i].both;
			struct evidence evidence = {
				.bytes = (const uint8_t *)"ABXY", .len = ends[n - 1], .ends = ends, .n_datagrams = n
			};
			struct outcome outcome;
			assert_int_equal(protocol_match(&cases[i].protocol, &evidence, &findings), want);
			decider_ask(decider, &evidence, &findings, &outcome);
			assert_int_equal(outcome.yes, want == VERDICT_YES ? 0 : SERVICE_NONE);
			assert_int_equal(outcome.more, want == VERDICT_MORE ? 0 : SERVICE_NONE);
		}
		decider_free(decider);
	}
	for (size_t i = 0; i < LEN(made); i++)
		pattern_free(made[i]);
}

static void a_probe_that_waits_for_a_datagram_holds_later_services_back(void **state)
{
	static const struct literal ab = LITERAL("AB");
	static const char *const x_name[] = { "x.example" };
	const struct protocol some[] = { { .probe = &spanning }, { .literals = &ab, .n_literals = 1 } };
	const struct rule rules[] = {
		{ .service = 0, .attribute[ATTRIBUTE_SNI] = { x_name, 1 } },
		{ .service = 1, .protocols = &numbers[1], .n_protocols = 1 },
	};
	const uint32_t ends[] = { 3, 12 };
	struct decider *decider;
	struct outcome outcome;
	struct evidence evidence = {
		.bytes = (const uint8_t *)"ABCx.example", .len = 3, .ends = ends, .n_datagrams = 1
	};

	assert_int_equal(decider_new(&decider, NULL, some, 2, rules, 2), 0);
	decider_ask(decider, &evidence, &findings, &outcome);
	assert_int_equal(outcome.more, 0);
	assert_int_equal(outcome.yes, 1);
	assert_false(outcome.ask);
	evidence.len = ends[1];
	evidence.n_datagrams = 2;
	decider_ask(decider, &evidence, &findings, &outcome);
	assert_int_equal(outcome.more, SERVICE_NONE);
	assert_int_equal(outcome.yes, 0);
	evidence.bytes = (const uint8_t *)"ABCy.example";
	decider_ask(decider, &evidence, &findings, &outcome);
	assert_int_equal(outcome.more, SERVICE_NONE);
	assert_int_equal(outcome.yes, 1);
	decider_free(decider);
}

/* What waits for an identifier is not what waits for datagrams. */
static void an_identifier_is_asked_about_a_datagram(void **state)
{
	const struct protocol some[] = { { .is_external = true }, { .probe = &spanning } };
	const struct rule rules[] = {
		{ .service = 0, .protocols = &numbers[0], .n_protocols = 1 },
		{ .service = 1, .protocols = &numbers[1], .n_protocols = 1 },
	};
	const uint32_t ends[] = { 2 };
	struct decider *decider;
	struct outcome outcome;
	struct evidence evidence = {
		.bytes = (const uint8_t *)"AB", .len = 2, .ends = ends, .n_datagrams = 1, .may_be_named = true
	};

	assert_int_equal(decider_new(&decider, NULL, some, 2, rules, 2), 0);
	decider_ask(decider, &evidence, &findings, &outcome);
	assert_int_equal(outcome.more, 0);
	assert_true(outcome.ask);
	evidence.may_be_named = false;
	decider_ask(decider, &evidence, &findings, &outcome);
	assert_int_equal(outcome.more, 1);
	assert_false(outcome.ask);
	evidence.named = 1;
	decider_ask(decider, &evidence, &findings, &outcome);
	assert_int_equal(outcome.yes, 0);
	assert_int_equal(outcome.more, SERVICE_NONE);
	decider_free(decider);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_marked_probes_see_further_datagrams),
		cmocka_unit_test(a_probe_that_waits_for_a_datagram_holds_later_services_back),
		cmocka_unit_test(an_identifier_is_asked_about_a_datagram),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
