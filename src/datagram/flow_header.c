/* Makes the header of a flow. Refuses version 1, which has no datagrams: the policy has none for them. Owns nothing: it is the flow's. */
#include "flow_header.h"
#include "target.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct flow_header *flow_header_new(bool each, const uint8_t *bytes, uint32_t len)
{
	struct flow_header *header = malloc(sizeof(*header) + len);

	if (!header)
		return NULL;
	*header = (struct flow_header){ .each = each, .len = len };
	memcpy(header->bytes, bytes, len);
	return header;
}

/* It tells what a connection's header tells. */
int flow_header_make(struct flow_header **ret, const struct session *session, const struct flow_key *key,
	const struct target *target, const struct address *backend)
{
	const struct address unmapped = address_unmapped(backend);
	const struct proxy_additions additions = {
		.alpn = session->offers_one_alpn ? session->alpn : NULL,
		.authority = session->sni ? session->sni : session->host,
		.id = session->id,
		.in6 = target->connect.backend_family && unmapped.sa.sa_family == AF_INET6,
		.datagrams = true,
	};
	struct proxy_header header = { .source = session->client };
	uint8_t bytes[PROXY_HEADER_OWN_MAX];

	*ret = NULL;
	if (!target->connect.send_proxy)
		return 0;
	flow_key_local(key, &header.destination);
	size_t len = proxy_header_write(bytes, 2, &header, &additions);
	*ret = flow_header_new(target->connect.send_proxy_each, bytes, (uint32_t)len);
	return *ret ? 0 : -ENOMEM;
}
