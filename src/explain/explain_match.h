/* What each matcher says by itself about the bytes of an explanation, whoever gets them in the end. */
#pragma once
#include "explainer.h"

/* With how many bytes it came to say so, of datagrams up to the end of one; MORE has no such number. */
struct matched {
	enum verdict verdict;
	size_t at;
};

/* Which of the protocols are asked at all: of those that are spoken over this transport, without a configuration all but `any',
 * else those that the listener's services name or need. `ret` has room for all of them. */
void explain_protocols_asked(const struct explainer *explainer, bool is_datagram, bool *ret);

void explain_match_protocol(
	const struct explanation *explanation, const struct protocol *protocol, struct matched *ret);

/* A service of the policy, which was read with keep_rules. 0, -ENOENT: it is not tried on this listener, or -ENOMEM. */
int explain_match_service(const struct explainer *explainer, const struct explanation *explanation, uint32_t service,
	struct matched *ret);
