/* The policy of usher-access, see usher-access(8): rules by protocol, with the keys that services of usher have. */
#pragma once
#include "access.h"
#include "arena.h"
#include "complaint.h"
#include <stddef.h>

struct access_rule {
	const char *const *protocols; /* "*": any */
	size_t n_protocols;
	struct access access;
};

struct access_policy {
	struct arena *arena; /* of all of it, this structure too */
	const struct access_rule *rules;
	size_t n_rules;
	const char *state; /* the file that keeps rates */
};

/* 0, or -EINVAL with at least one error among the complaints. */
int access_policy_load(struct access_policy **ret, const char *file, struct complaints *complaints);
int access_policy_load_text(
	struct access_policy **ret, const char *file, const char *text, size_t len, struct complaints *complaints);
void access_policy_free(struct access_policy *policy); /* accepts NULL */

/* The first rule that names the protocol, or any; NULL: none. */
const struct access_rule *access_policy_find(const struct access_policy *policy, const char *protocol);
