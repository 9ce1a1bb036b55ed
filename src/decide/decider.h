/* The services of one listener, compiled: evidence in, verdict out.
 *
 * Services are numbered in file order. A service has any number of rules (any-of); a rule is all-of: the
 * protocol is one of a set, and each named attribute has a value that matches one of a list. Cost does not
 * grow with the number of services that do not match: each rule is filed under its most telling condition (a
 * name in a hash table, else a literal in a trie, else a probe or a regex) and only rules found there are
 * looked at further.
 *
 * What it promises (tests hold it to this):
 *
 *   - a service that says YES is taken as soon as every earlier one says NO; an earlier MORE holds a later
 *     YES back;
 *   - verdicts never change once settled, however the bytes are cut;
 *   - a probe or regex runs only where its answer can change the outcome;
 *   - a decision allocates nothing and changes nothing in the decider. What it notes while it is taken is in its caller's
 *     scratch: one decision at a time for each. */
#pragma once
#include "address.h"
#include "evidence.h"
#include "names.h"
#include "pattern.h"
#include "probe.h"

#define SERVICE_NONE  UINT32_MAX
#define PROTOCOL_NONE UINT32_MAX

struct literal {
	const uint8_t *bytes;
	size_t len; /* >= 1 */
};

struct module_probe;

/* A protocol: a built-in probe, a module's probe, the user's own, or a name that only an external identifier
 * gives. The user's own with both literals and patterns wants one of each; the patterns are asked once a
 * literal is there, and until then the answer is the literals'. */
struct protocol {
	const char *name;
	const struct probe *probe;         /* NULL for others */
	const struct module_probe *module; /* likewise */
	bool is_external;
	const struct literal *literals;
	size_t n_literals;
	struct pattern *const *patterns;
	size_t n_patterns;
	size_t at_least; /* bytes that must have come before the patterns are asked */
};

/* Can clients speak it over this transport? */
bool protocol_is_spoken(const struct protocol *protocol, enum transport_kind transport);

struct rule {
	uint32_t service;          /* rules are given in ascending order of it */
	const uint32_t *protocols; /* indices into the protocols; none: any */
	size_t n_protocols;
	struct {
		const char *const *names; /* as names_insert() takes them; none: any */
		size_t count;
	} attribute[ATTRIBUTE_COUNT];
};

/* Hosts, and what else is the same in any case, or text. */
enum name_kind attribute_name_kind(enum attribute attribute);

struct arena;
struct decider;

/* In the arena, and freed with it, or without one (NULL) in one of its own. Copies what it needs except the protocols, which must outlive it. 0, -EINVAL (a rule without any condition,
 * a bad name) or -ENOMEM. */
int decider_new(struct decider **ret, struct arena *arena, const struct protocol *protocols, size_t n_protocols,
	const struct rule *rules, size_t n_rules);
void decider_free(struct decider *decider); /* accepts NULL */

/* The scratch of decisions, for deciders that it was made to fit. */
struct decider_scratch;

struct decider_scratch *decider_scratch_new(void);                                       /* NULL: no memory */
int decider_scratch_fit(struct decider_scratch *scratch, const struct decider *decider); /* 0 or -ENOMEM */
void decider_scratch_free(struct decider_scratch *scratch);                              /* accepts NULL */

struct outcome {
	/* The first service that says YES; SERVICE_NONE. */
	uint32_t yes;
	/* The first service that says MORE before `yes`; SERVICE_NONE: the outcome is settled. */
	uint32_t more;
	/* A protocol that made `yes` say so: one of the rule's, or for a rule without any the one that
	 * learned its attribute. Where several of a service say YES it may be any of them. PROTOCOL_NONE. */
	uint32_t protocol;
	/* Not settled, and what is missing first is the answer of an external identifier. */
	bool ask;
};

/* Settled when outcome->more is SERVICE_NONE: `yes` is taken, or with no `yes` every service said NO.
 * With no bytes at all every service says MORE. Fills the findings as a side effect. */
void decider_decide(const struct decider *decider, const struct evidence *evidence, struct findings *findings,
	struct decider_scratch *scratch, struct outcome *ret);

/* One protocol's own verdict, for explaining. Resets the findings first. */
enum verdict protocol_match(
	const struct protocol *protocol, const struct evidence *evidence, struct findings *findings);
