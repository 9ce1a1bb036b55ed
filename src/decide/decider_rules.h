/* The compiled rules: what decider_new() makes and decider_decide() reads. Only for these two files.
 *
 * Two kinds of rules:
 *   - with protocols only. It says what its protocols say, so of each protocol only the first such service
 * counts: `literals` for protocols that begin with a literal, `sources` for the others.
 *   - with attributes. It is filed under one of them, its anchor: under each name of that condition in the
 * table of the attribute, for when the values are known; and in `open_rules`, for when they are not and all
 * of them might still say YES. What it demands besides are its rest conditions. */
#pragma once
#include "decider.h"
#include "names.h"
#include "trie.h"

#define CONDITION_NONE UINT32_MAX

/* One condition. Equal ones of many rules are one: it is judged once a decision. */
struct condition {
	int attribute; /* PROTOCOL_CONDITION: the protocol is one of a set */
	size_t count;
	const char *const *names;
	const uint32_t *protocols;
};
#define PROTOCOL_CONDITION ATTRIBUTE_COUNT

struct attribute_rule {
	uint32_t service;
	int anchor;
	uint32_t rest[ATTRIBUTE_COUNT + 1]; /* by attribute, and last by protocol; CONDITION_NONE: not asked for */
};

/* A literal that begins some protocols of rules with protocols only. */
struct literal_use {
	uint32_t service;       /* the first one that it could make say YES; the literals are in this order */
	uint32_t plain_service; /* the first one that it alone makes say YES; SERVICE_NONE */
	uint32_t plain_protocol;
	uint32_t n_gated; /* protocols that also demand a pattern, by their first service */
	const uint32_t *gated;
};

/* A protocol without literals that can decide something: a built-in probe, or patterns. */
struct source {
	uint32_t protocol;
	uint32_t service; /* the first that it could decide; the sources are in this order */
	/* Bit set of the attributes with rules anchored there whose first provider this is: they have their turn with
	 * it. */
	uint32_t attributes;
	/* With another first byte neither the protocol nor any that learns one of these attributes says anything but
	 * NO. NULL: any byte may be. */
	const struct byte_set *first;
};

/* The protocols whose probes can learn an attribute. */
struct attribute_providers {
	uint32_t *protocols; /* the built-in ones first; PROTOCOL_NONE ends them */
	size_t n;
};

struct decider_rules {
	struct arena *arena;   /* everything is in it, but what is in `scratch` */
	struct arena *scratch; /* while they are made */
	const struct protocol *protocols;
	size_t n_protocols;
	uint32_t first_service; /* of all; SERVICE_NONE */

	const struct byte_set **first; /* of each protocol, as probe_first_bytes() has it */
	uint32_t *protocol_service;    /* the first service with a rule of protocols only that has it;
	                               SERVICE_NONE */

	struct trie *trie; /* NULL: no literals; ranks are indices into `literals` */
	struct literal_use *literals;
	bool has_gated;
	bool has_external;
	uint32_t wanted; /* bit set of the attributes that any rule asks for */

	struct source *sources;
	size_t n_sources;

	struct condition *conditions;
	size_t n_conditions;
	struct attribute_rule *rules;
	size_t n_rules;
	struct {
		struct attribute_providers providers;
		uint32_t service;    /* the first that is anchored here; SERVICE_NONE */
		struct names *names; /* NULL: no rule is; numbers are indices into `rules` */
		uint32_t *open_rules;
		size_t n_open_rules; /* the first rule for each different rest, in order */
	} attribute[ATTRIBUTE_COUNT];
};

/* The same value and error as decider_new(). */
int decider_rules_init(struct decider_rules *ret, struct arena *arena, const struct protocol *protocols,
	size_t n_protocols, const struct rule *rules, size_t n_rules);
