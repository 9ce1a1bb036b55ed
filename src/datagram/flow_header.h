/* The PROXY header with which a backend learns of a flow's client. It is in the same datagram as what the client has sent, before it: in the first one
 * alone, or in each. */
#pragma once
#include "flow_key.h"
#include "proxy_header.h"
#include "session.h"

struct flow_header {
	bool each; /* else one datagram that the kernel takes has it */
	bool is_sent;
	uint32_t len;
	uint8_t bytes[];
};

/* Of a flow, for this backend of that target; NULL where the target wants none. 0 or -ENOMEM. */
int flow_header_make(struct flow_header **ret, const struct session *session, const struct flow_key *key,
	const struct target *target, const struct address *backend);

/* With these bytes; not sent yet. NULL: no memory. */
struct flow_header *flow_header_new(bool each, const uint8_t *bytes, uint32_t len);

/* Does the next datagram have it? `header` may be NULL. */
static inline bool flow_header_is_due(const struct flow_header *header)
{
	return header && (header->each || !header->is_sent);
}
