/* Warns where two protocols in use can both be satisfied by the same bytes, and shows the shortest such bytes that it
 * knows.
 *
 * What is seen: examples of the built-in protocols that another one's probe says YES to as well, and literals of one's
 * own with an end that makes them another's, by the transports of the listeners. One's own protocol in front of a built-in one is what somebody wants who writes it, so that is left
 * alone; behind it, it loses. It refuses to guess: no warning is wrong, some are missing. Owns nothing. */
#include "compile.h"
#include "escape.h"
#include "probe_example.h"
#include <stdlib.h>
#include <string.h>

#define CANDIDATE_MAX 512

struct ambiguity {
	struct compiler *compiler;
	uint32_t *service; /* of each protocol: the first service that takes it whole; SERVICE_NONE */
};

struct candidate {
	size_t len; /* 0: none */
	uint8_t bytes[CANDIDATE_MAX];
};

static bool matches(
	const struct ambiguity *ambiguity, uint32_t protocol, const uint8_t *bytes, size_t len, bool is_datagram)
{
	static struct findings findings; /* too large for a stack; a policy is compiled by one thread */
	const uint32_t end = (uint32_t)len;
	struct evidence evidence = { .bytes = bytes, .len = len, .ends = &end, .n_datagrams = is_datagram };

	return protocol_match(&ambiguity->compiler->policy->protocols[protocol], &evidence, &findings) == VERDICT_YES;
}

/* Keeps the shortest beginning of the bytes that both say YES to, if it is the shortest so far; a datagram is whole. */
static void candidate_try(const struct ambiguity *ambiguity, uint32_t a, uint32_t b, const uint8_t *bytes, size_t len,
	bool is_datagram, struct candidate *ret)
{
	if (!matches(ambiguity, a, bytes, len, is_datagram) || !matches(ambiguity, b, bytes, len, is_datagram))
		return;
	for (size_t n = is_datagram ? len : 1; n <= len && (ret->len == 0 || n < ret->len); n++) {
		if (!matches(ambiguity, a, bytes, n, is_datagram) || !matches(ambiguity, b, bytes, n, is_datagram))
			continue;
		memcpy(ret->bytes, bytes, n);
		ret->len = n;
	}
}

/* A literal, and behind it whatever end of the example makes it one of the built-in protocol's messages. */
static void literal_try(const struct ambiguity *ambiguity, uint32_t built_in, uint32_t own,
	const struct literal *literal, const struct probe_example *example, struct candidate *ret)
{
	static struct findings findings;
	struct evidence evidence = { .bytes = literal->bytes, .len = literal->len };
	uint8_t bytes[CANDIDATE_MAX];

	if (literal->len + example->len > sizeof(bytes))
		return;
	if (!example->is_datagram &&
		protocol_match(&ambiguity->compiler->policy->protocols[built_in], &evidence, &findings) == VERDICT_NO)
		return;
	memcpy(bytes, literal->bytes, literal->len);
	for (size_t from = 0; from <= example->len; from++) {
		memcpy(bytes + literal->len, example->bytes + from, example->len - from);
		candidate_try(ambiguity, built_in, own, bytes, literal->len + example->len - from,
			example->is_datagram, ret);
	}
}

/* Does such an example get to both of the services, by a listener that there is? */
static bool is_used(const struct ambiguity *ambiguity, uint32_t a, uint32_t b, const struct probe_example *example)
{
	const struct policy *policy = ambiguity->compiler->policy;
	enum transport_kind transport = example->is_datagram ? TRANSPORT_DATAGRAM : TRANSPORT_STREAM;
	unsigned transports = policy->services[ambiguity->service[a]].transports &
		policy->services[ambiguity->service[b]].transports;

	return transports >> transport & 1 && policy_has_transport(policy, transport);
}

static void pair_examine(const struct ambiguity *ambiguity, uint32_t built_in, uint32_t other, struct candidate *ret)
{
	const struct protocol *protocols = ambiguity->compiler->policy->protocols;

	for (size_t i = 0; i < n_probe_examples; i++) {
		const struct probe_example *example = &probe_examples[i];
		if (strcmp(example->protocol, protocols[built_in].name) != 0 ||
			!is_used(ambiguity, built_in, other, example))
			continue;
		if (example->len <= CANDIDATE_MAX)
			candidate_try(
				ambiguity, built_in, other, example->bytes, example->len, example->is_datagram, ret);
		for (size_t k = 0; k < protocols[other].n_literals; k++)
			literal_try(ambiguity, built_in, other, &protocols[other].literals[k], example, ret);
	}
}

static void pair_warn(
	const struct ambiguity *ambiguity, uint32_t first, uint32_t later, const struct candidate *shown)
{
	struct compiler *compiler = ambiguity->compiler;
	const struct policy *policy = compiler->policy;
	uint32_t a = ambiguity->service[first], b = ambiguity->service[later];
	char text[4 * CANDIDATE_MAX + 1];

	escape_text(text, sizeof(text), shown->bytes, shown->len);
	reader_warn(compiler->reader, compiler->service_at[b],
		"`%s' can be `%s' as well as `%s': service `%s' (%s) takes it from service `%s'", text,
		policy->protocols[first].name, policy->protocols[later].name, policy->services[a].name,
		reader_place(compiler->reader, compiler->service_at[a], compiler->service_at[b]),
		policy->services[b].name);
}

/* Services whose rules ask for more than the protocol are made for being told apart by that. */
static void services_find(struct ambiguity *ambiguity)
{
	const struct compiler *compiler = ambiguity->compiler;

	for (size_t i = 0; i < compiler->n_drafts; i++) {
		const struct draft *draft = &compiler->drafts[i];
		bool plain = !draft->broken && draft->n_listeners == 0 && !draft->starttls;
		for (int a = 0; a < ATTRIBUTE_COUNT; a++)
			plain = plain && draft->rule.attribute[a].count == 0;
		for (size_t k = 0; plain && k < draft->rule.n_protocols; k++) {
			uint32_t *service = &ambiguity->service[draft->rule.protocols[k]];
			if (draft->rule.service < *service)
				*service = draft->rule.service;
		}
	}
}

static bool is_candidate(const struct policy *policy, uint32_t protocol)
{
	const struct protocol *known = &policy->protocols[protocol];

	return !known->is_external && !known->module && (!known->probe || known->probe->stream != probe_any);
}

/* Every literal is the built-in one's already: overlap.c says so. */
static bool is_taken_whole(const struct ambiguity *ambiguity, uint32_t built_in, uint32_t own)
{
	const struct protocol *protocol = &ambiguity->compiler->policy->protocols[own];

	for (size_t i = 0; i < protocol->n_literals; i++)
		if (!matches(ambiguity, built_in, protocol->literals[i].bytes, protocol->literals[i].len, false))
			return false;
	return protocol->n_literals > 0;
}

/* `built_in` is a built-in protocol, `other` any. */
static void pair_judge(const struct ambiguity *ambiguity, uint32_t built_in, uint32_t other)
{
	const struct policy *policy = ambiguity->compiler->policy;
	uint32_t a = ambiguity->service[built_in], b = ambiguity->service[other];
	struct candidate shown = { 0 };

	if (b == SERVICE_NONE || a == b || !is_candidate(policy, other))
		return;
	if (!policy->protocols[other].probe && (b < a || is_taken_whole(ambiguity, built_in, other)))
		return;
	pair_examine(ambiguity, built_in, other, &shown);
	if (policy->protocols[other].probe)
		pair_examine(ambiguity, other, built_in, &shown);
	if (shown.len > 0)
		pair_warn(ambiguity, a < b ? built_in : other, a < b ? other : built_in, &shown);
}

void ambiguity_warn(struct compiler *compiler)
{
	size_t n = compiler->policy->n_protocols;
	struct ambiguity ambiguity = { .compiler = compiler, .service = calloc(n + 1, sizeof(uint32_t)) };

	if (!ambiguity.service)
		abort();
	for (size_t i = 0; i < n; i++)
		ambiguity.service[i] = SERVICE_NONE;
	services_find(&ambiguity);
	for (uint32_t p = 0; p < n_probes; p++) {
		if (ambiguity.service[p] == SERVICE_NONE || !is_candidate(compiler->policy, p))
			continue;
		for (uint32_t other = p + 1; other < n; other++)
			pair_judge(&ambiguity, p, other);
	}
	free(ambiguity.service);
}
