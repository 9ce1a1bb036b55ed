/* What usher would do with a client's first bytes, and why. Takes its decisions with the worker's own decider, so that an
 * explanation cannot differ from what a worker does. */
#pragma once
#include "policy.h"

#define EXPLAIN_WHY_MAX 512
#define EXPLAIN_NEVER   SIZE_MAX

struct explanation {
	bool is_datagram;
	/* YES: a protocol or service takes it. NO: every one said NO. MORE: the bytes end, nobody said YES and somebody
	 * could still do so. */
	enum verdict verdict;
	const char *service;  /* NULL: none, or there is no configuration */
	const char *protocol; /* NULL: none */
	const uint8_t *bytes; /* the evidence: what was fed, up to EVIDENCE_MAX */
	size_t len;
	uint32_t ends[EVIDENCE_DATAGRAMS_MAX]; /* of datagrams, as the evidence has them */
	size_t n_datagrams;
	/* Bytes with which it was settled, of datagrams up to the end of one; EXPLAIN_NEVER: only the deadline settles it. */
	size_t decided_at;
	const struct findings *findings; /* what was learned from all of the bytes */
	char why[EXPLAIN_WHY_MAX];       /* a sentence for people; may have been cut */
};

/* How many datagrams the first `len` bytes hold; 0 of a stream. */
size_t explanation_datagrams(const struct explanation *explanation, size_t len);

struct explainer;

#define EXPLAIN_ANY_LISTENER SIZE_MAX

/* By the services of a policy's listener, as its own worker would decide (of EXPLAIN_ANY_LISTENER the first one that takes what comes: a
 * connection or datagrams), or with `policy` NULL by the built-in probes, in their order. The policy must outlive it, and its modules be
 * bound. 0 or -errno. */
int explainer_new(struct explainer **ret, const struct policy *policy, size_t listener);
void explainer_free(struct explainer *explainer); /* accepts NULL */

enum explain_end {
	EXPLAIN_OPEN,   /* the client may have sent more, later */
	EXPLAIN_CLOSED, /* it closed behind these bytes */
	EXPLAIN_RESET,
};

/* One flow: begin, then each segment or datagram as it would arrive, then end. The explanation is the explainer's, until it begins again. */
void explainer_begin(struct explainer *explainer, bool is_datagram);
void explainer_feed(struct explainer *explainer, const void *bytes, size_t len);
const struct explanation *explainer_end(struct explainer *explainer, enum explain_end how);
/* A further half of the sentence, after the end. */
void explainer_note(struct explainer *explainer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What it asks, for who wants to ask one by one. */
const struct policy *explainer_policy(const struct explainer *explainer); /* NULL: none */
size_t explainer_listener(const struct explainer *explainer);
const struct protocol *explainer_protocols(const struct explainer *explainer, size_t *ret_n);
/* What takes anything, or any word on a line of its own, says nothing of what it is: it is not asked without a policy. */
bool explainer_asks_probe(const struct probe *probe);

/* The explanation as an object of JSON, all ASCII, in one line without its end. `label` is what stands before the other members,
 * such as "\"id\": 7, ". */
void explanation_write_json(const struct explanation *explanation, const char *label, FILE *to);
