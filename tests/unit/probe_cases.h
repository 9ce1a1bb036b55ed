/* Tables of bytes and what a probe must say of them: the verdict, the byte that settles it, and what it learns. */
#pragma once
#include "cuts.h"

/* Everything between the quotes of a literal, zero bytes too. "" ends an escape before a letter or digit. */
#define CASE_YES(literal, decided_at, values)                                                                        \
	{                                                                                                            \
		(const uint8_t *)(literal), sizeof(literal) - 1, VERDICT_YES, decided_at, values                     \
	}
#define CASE_NO(literal, decided_at)                                                                                 \
	{                                                                                                            \
		(const uint8_t *)(literal), sizeof(literal) - 1, VERDICT_NO, decided_at, ""                          \
	}
#define CASE_MORE(literal)                                                                                           \
	{                                                                                                            \
		(const uint8_t *)(literal), sizeof(literal) - 1, VERDICT_MORE, 0, ""                                 \
	}

struct probe_case {
	const uint8_t *bytes;
	size_t len;
	enum verdict verdict;
	size_t decided_at;  /* the shortest beginning of which it says so */
	const char *values; /* with YES: "user=alice database=shop", and "user?" for one that is not settled yet */
};

static inline void values_write(char *dst, size_t size, const struct probe *probe, const struct answer *answer)
{
	size_t at = 0;

	dst[0] = 0;
	for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
		if (!(probe->attributes >> i & 1))
			continue;
		if (!answer->attribute[i].settled)
			at += (size_t)snprintf(dst + at, size - at, "%s%s?", at ? " " : "", attribute_names[i]);
		for (size_t k = 0; k < answer->attribute[i].len; k += 1 + answer->attribute[i].values[k])
			at += (size_t)snprintf(dst + at, size - at, "%s%s=%.*s", at ? " " : "", attribute_names[i],
				answer->attribute[i].values[k], answer->attribute[i].values + k + 1);
	}
}

/* How many of the cases went otherwise; it says which. */
static inline int cases_check(const char *name, const struct probe_case *cases, size_t n)
{
	static const char *const words[] = { "no", "more", "yes" };
	const struct probe *probe = probe_find(name);
	static struct answer answer;
	char values[2048];
	int wrong = 0;

	for (size_t i = 0; i < n; i++) {
		const struct probe_case *one = &cases[i];
		size_t decided_at = 0;
		if (cuts_check(probe, one->bytes, one->len, 2000))
			wrong++;
		do
			answer_get(&answer, probe, one->bytes, ++decided_at);
		while (answer.verdict == VERDICT_MORE && decided_at < one->len);
		answer_get(&answer, probe, one->bytes, one->len);
		values_write(values, sizeof(values), probe, &answer);
		if (answer.verdict == one->verdict &&
			(one->verdict == VERDICT_MORE || decided_at == one->decided_at) &&
			(one->verdict != VERDICT_YES || strcmp(values, one->values) == 0))
			continue;
		fprintf(stderr, "%s, case %zu: %s at %zu, \"%s\"; wanted %s at %zu, \"%s\"\n", name, i,
			words[answer.verdict], decided_at, values, words[one->verdict], one->decided_at, one->values);
		wrong++;
	}
	return wrong;
}

/* The same of datagrams; `decided_at` is not looked at. */
static inline int datagrams_check(const char *name, const struct probe_case *cases, size_t n)
{
	const struct probe *probe = probe_find(name);
	static struct answer answer;
	char values[2048];
	int wrong = 0;

	for (size_t i = 0; i < n; i++) {
		for (size_t len = 1; len <= cases[i].len; len++)
			if (datagram_check(probe, cases[i].bytes, len))
				wrong++;
		datagram_answer_get(&answer, probe, cases[i].bytes, cases[i].len);
		values_write(values, sizeof(values), probe, &answer);
		if (answer.verdict == cases[i].verdict &&
			(answer.verdict != VERDICT_YES || strcmp(values, cases[i].values) == 0))
			continue;
		fprintf(stderr, "%s, datagram %zu: %d, \"%s\"\n", name, i, answer.verdict, values);
		wrong++;
	}
	return wrong;
}

#define CASES_CHECK(name, cases) assert_int_equal(cases_check(name, cases, sizeof(cases) / sizeof((cases)[0])), 0)
#define DATAGRAMS_CHECK(name, cases)                                                                                 \
	assert_int_equal(datagrams_check(name, cases, sizeof(cases) / sizeof((cases)[0])), 0)
