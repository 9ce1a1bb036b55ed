/* Reads the policy of usher-access with the means that read usher's own configuration, so that both say the same of the
 * same mistake. Refuses a policy with any error in it. Everything is in the policy's arena. */
#include "access_policy.h"
#include "access_read.h"
#include "text_file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STATE_PRESET "/run/usher-access.rates"

enum top { TOP_RULES, TOP_STATE, TOP_KEYS };
enum rule { RULE_PROTOCOL, RULE_ACCESS, RULE_KEYS = RULE_ACCESS + ACCESS_COUNT_ALONE };

static const struct key top_keys[TOP_KEYS] = {
	[TOP_RULES] = { "rules", KEY_GROUPS },
	[TOP_STATE] = { "state", KEY_STRING },
};

static const struct key rule_keys[RULE_KEYS] = {
	[RULE_PROTOCOL] = { "protocol", KEY_STRINGS },
	[RULE_ACCESS + ACCESS_ALLOW] = { "allow", KEY_STRINGS },
	[RULE_ACCESS + ACCESS_DENY] = { "deny", KEY_STRINGS },
	[RULE_ACCESS + ACCESS_HOURS] = { "hours", KEY_STRINGS },
	[RULE_ACCESS + ACCESS_RATE] = { "rate", KEY_STRING },
	[RULE_ACCESS + ACCESS_REFUSE] = { "refuse", KEY_CHOICE, .choices = "close reset" },
};

static const struct section top_section = { "the policy", top_keys, TOP_KEYS };
static const struct section rule_section = { "a rule", rule_keys, RULE_KEYS };

static void rule_read(
	struct access_policy *policy, struct reader *reader, struct access_rule *rule, const struct setting *at)
{
	struct values values;

	values_read(reader, &values, at, &rule_section);
	if (!values.given[RULE_PROTOCOL])
		reader_error(reader, at,
			"rule without `protocol', expected one or a list of names, or \"*\" for all others");
	size_t count = setting_count(values.value[RULE_PROTOCOL]);
	const char **protocols = arena_alloc(policy->arena, count * sizeof(*protocols));
	for (size_t i = 0; i < count; i++)
		protocols[i] =
			arena_strdup(policy->arena, setting_text(setting_item(values.value[RULE_PROTOCOL], i)));
	rule->protocols = protocols;
	rule->n_protocols = count;
	access_read(reader, policy->arena, &values, RULE_ACCESS, ACCESS_COUNT_ALONE, &rule->access);
}

static void policy_read(struct access_policy *policy, struct reader *reader)
{
	struct values values;

	values_read(reader, &values, reader_root(reader), &top_section);
	if (!values.given[TOP_RULES])
		reader_error(reader, NULL, "no `rules', expected rules = ( { protocol = ...; allow = ...; } );");
	policy->n_rules = setting_count(values.value[TOP_RULES]);
	struct access_rule *rules = arena_alloc(policy->arena, policy->n_rules * sizeof(*rules));
	for (size_t i = 0; i < policy->n_rules; i++)
		rule_read(policy, reader, &rules[i], setting_item(values.value[TOP_RULES], i));
	policy->rules = rules;
	policy->state =
		arena_strdup(policy->arena, values.value[TOP_STATE] ? values_text(&values, TOP_STATE) : STATE_PRESET);
	if (policy->state[0] != '/')
		reader_error(reader, values.value[TOP_STATE], "`state' is \"%s\", expected an absolute path",
			policy->state);
}

int access_policy_load_text(
	struct access_policy **ret, const char *file, const char *text, size_t len, struct complaints *complaints)
{
	size_t errors = complaints->errors;
	struct arena *arena = arena_new();
	struct access_policy *policy = arena_alloc(arena, sizeof(*policy));

	policy->arena = arena;
	struct reader *reader = reader_new(file, true, text, len, NULL, complaints);
	if (reader)
		policy_read(policy, reader);
	reader_free(reader);
	if (complaints->errors > errors) {
		access_policy_free(policy);
		return -EINVAL;
	}
	*ret = policy;
	return 0;
}

int access_policy_load(struct access_policy **ret, const char *file, struct complaints *complaints)
{
	size_t len;
	char *text = text_file_read(file, &len, complaints);
	int error = text ? access_policy_load_text(ret, file, text, len, complaints) : -EINVAL;

	free(text);
	return error;
}

void access_policy_free(struct access_policy *policy)
{
	if (policy)
		arena_free(policy->arena);
}

const struct access_rule *access_policy_find(const struct access_policy *policy, const char *protocol)
{
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct access_rule *rule = &policy->rules[i];
		for (size_t k = 0; k < rule->n_protocols; k++)
			if (strcmp(rule->protocols[k], "*") == 0 || strcmp(rule->protocols[k], protocol) == 0)
				return rule;
	}
	return NULL;
}
