/* What every matcher promises, checked at every cut of some bytes: once it said YES or NO it says so of every
 * longer prefix, and an attribute that has settled keeps its values. For unit tests and fuzz targets alike.
 */
#pragma once
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An answer in a form that outlives the evidence. */
struct answer {
	enum verdict verdict;
	struct {
		bool settled;
		size_t len;
		uint8_t values[FINDING_VALUES_MAX * 256]; /* each behind its length; of a long one the beginning */
	} attribute[ATTRIBUTE_COUNT];
};

/* NULL: not settled; "": absent; several with spaces between. */
static inline const char *answer_text(const struct answer *answer, enum attribute attribute)
{
	static char text[FINDING_VALUES_MAX * 256];
	const uint8_t *values = answer->attribute[attribute].values;
	size_t n = 0;

	if (!answer->attribute[attribute].settled)
		return NULL;
	for (size_t at = 0; at < answer->attribute[attribute].len; at += 1 + values[at]) {
		if (n > 0)
			text[n++] = ' ';
		memcpy(text + n, values + at + 1, values[at]);
		n += values[at];
	}
	text[n] = 0;
	return text;
}

static void answer_keep(struct answer *ret, enum verdict verdict, const struct findings *findings)
{
	ret->verdict = verdict;
	for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
		const struct finding *finding = &findings->attribute[i];
		ret->attribute[i].settled = findings->settled >> i & 1;
		ret->attribute[i].len = 0;
		for (size_t k = 0; k < finding->count; k++) {
			uint8_t *at = ret->attribute[i].values + ret->attribute[i].len;
			size_t len = finding->value[k].len;
			if (len == 0 || len > 2048)
				abort();
			*at = (uint8_t)(len > 255 ? 255 : len);
			memcpy(at + 1, finding->value[k].at, *at);
			for (size_t more = 255; more < len; more++) /* and all the rest in its last byte */
				at[255] = (uint8_t)(at[255] * 31 + finding->value[k].at[more]);
			ret->attribute[i].len += 1 + *at;
		}
	}
}

static bool answer_equal(const struct answer *a, const struct answer *b, int attribute)
{
	return a->attribute[attribute].settled == b->attribute[attribute].settled &&
		a->attribute[attribute].len == b->attribute[attribute].len &&
		memcmp(a->attribute[attribute].values, b->attribute[attribute].values, a->attribute[attribute].len) ==
		0;
}

/* What all of them have been told before. */
static uint8_t cuts_greeting;

/* Runs the probe over a copy that ends where the evidence does, so that a sanitizer sees every byte read
 * behind it. `n` datagrams, or none: a stream. */
static void answer_make(struct answer *ret, const struct probe *probe, const uint8_t *bytes, size_t len,
	const uint32_t *ends, size_t n)
{
	static struct findings findings;
	uint8_t *copy = malloc(len > 0 ? len : 1);

	if (!copy)
		abort();
	if (len > 0)
		memcpy(copy, bytes, len);
	findings_reset(&findings);
	findings.wanted = UINT32_MAX;
	struct evidence evidence = {
		.bytes = copy, .len = len, .ends = ends, .n_datagrams = n, .greeting = cuts_greeting
	};
	enum verdict verdict = probe_run(probe, &evidence, &findings);
	if (findings.scratch_used > sizeof(findings.scratch))
		abort();
	answer_keep(ret, verdict, &findings);
	free(copy);
}

static inline void answer_get(struct answer *ret, const struct probe *probe, const uint8_t *bytes, size_t len)
{
	answer_make(ret, probe, bytes, len, NULL, 0);
}

/* The bytes as one datagram. */
static inline void datagram_answer_get(
	struct answer *ret, const struct probe *probe, const uint8_t *bytes, size_t len)
{
	uint32_t end = (uint32_t)len;

	answer_make(ret, probe, bytes, len, &end, 1);
}

/* What is wrong with the newer answer, to `len` bytes; NULL: nothing. */
static const char *answer_check(const struct probe *probe, const struct answer *old, const struct answer *new)
{
	if (old->verdict != VERDICT_MORE && new->verdict != old->verdict)
		return "a verdict was taken back";
	for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
		bool learns = probe->attributes >> i & 1;
		if (!learns && (new->attribute[i].settled || new->attribute[i].len > 0))
			return "an attribute of another probe was touched";
		if (!new->attribute[i].settled &&new->attribute[i].len > 0)
			return "values before they settled";
		if (new->verdict != VERDICT_YES &&new->attribute[i].len > 0)
			return "values without YES";
		if (learns && new->attribute[i].settled != (new->verdict == VERDICT_NO) &&
			new->verdict != VERDICT_YES)
			return "an attribute settled with MORE, or not with NO";
		if (old->attribute[i].settled && !answer_equal(old, new, i))
			return "a settled attribute changed";
	}
	return NULL;
}

/* Every cut if there are at most `dense` bytes, else about so many, evenly spread, and those at the ends. */
static inline const char *cuts_check(const struct probe *probe, const uint8_t *bytes, size_t len, size_t dense)
{
	static struct answer answers[2];
	size_t step = 1 + len / dense, n = 0;

	if (!probe->stream)
		return NULL; /* of any stream it says NO */
	answer_get(&answers[0], probe, bytes, 0);
	if (answers[0].verdict != VERDICT_MORE)
		return "no bytes, and not MORE";
	for (size_t at = 1; at <= len; at += at < 64 || len - at < 64 || len - at <= step ? 1 : step) {
		const struct answer *old = &answers[n % 2];
		struct answer *new = &answers[++n % 2];
		answer_get(new, probe, bytes, at);
		const char *error = answer_check(probe, old, new);
		if (error) {
			fprintf(stderr, "%s: at %zu of %zu bytes: %s\n", probe->name, at, len, error);
			return error;
		}
	}
	return NULL;
}

/* What a flow's first `n` datagrams are answered, for each `n`: as the cuts of a stream. */
static inline const char *flow_check(const struct probe *probe, const uint8_t *bytes, const uint32_t *ends, size_t n)
{
	static struct answer answers[2];

	for (size_t i = 1; i <= n; i++) {
		const struct answer *old = &answers[(i - 1) % 2];
		struct answer *new = &answers[i % 2];
		answer_make(new, probe, bytes, ends[i - 1], ends, i);
		const char *error = i > 1 ? answer_check(probe, old, new) : NULL;
		if (!error)
			continue;
		fprintf(stderr, "%s: at datagram %zu of %zu: %s\n", probe->name, i, n, error);
		return error;
	}
	return NULL;
}

/* The bytes as one datagram. It is whole, so there is nothing to wait for, and what can be learned is settled; unless the probe
 * spans datagrams. */
static inline const char *datagram_check(const struct probe *probe, const uint8_t *bytes, size_t len)
{
	static struct answer answer;
	const char *error = NULL;
	uint32_t ends[] = { (uint32_t)(len / 2), (uint32_t)len };

	if (probe->spans_datagrams)
		return flow_check(probe, bytes, len > 1 ? ends : ends + 1, len > 1 ? 2 : 1);
	datagram_answer_get(&answer, probe, bytes, len);
	if (answer.verdict == VERDICT_MORE)
		error = "a datagram, and MORE";
	for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
		if (answer.attribute[i].settled != (probe->attributes >> i & 1))
			error = "a datagram, and an attribute that is not settled, or another probe's";
		if (answer.verdict != VERDICT_YES && answer.attribute[i].len > 0)
			error = "values without YES";
	}
	if (error)
		fprintf(stderr, "%s: %zu bytes: %s\n", probe->name, len, error);
	return error;
}
