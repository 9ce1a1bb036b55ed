/* Which service and backend a datagram belongs to that no flow knows and no rule recognises, or that a rule recognises in the middle of a
 * session: by the id that it carries, or by its client's address (affinity.h).
 *
 * Answers never go to another address because a datagram says so: the datagram makes a flow of its own, with a socket of its own to the same
 * backend, and the backend decides whether its peer has moved. Ids are learned from what backends send, and noted when the client has
 * said something after that: neither a client's claim nor a flood of forged addresses fills the table. Refuses services that the
 * listener does not lead to. Owns nothing. */
#include "affinity.h"
#include "datagrams_parts.h"
#include "flow.h"
#include "hash.h"
#include "upstream.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *const affinity_kind_names[AFFINITY_KINDS] = {
	[AFFINITY_QUIC] = "connection_id",
	[AFFINITY_WIREGUARD] = "receiver_index",
	[AFFINITY_OPENVPN] = "peer_id",
	[AFFINITY_OPENVPN_CLIENT] = "peer_id",
	[AFFINITY_ADDRESS] = "client",
	[AFFINITY_HOST] = "client_address",
};

static const struct {
	const char *probe;
	enum affinity_kind kind;
} protocols_with_ids[] = {
	{ "quic", AFFINITY_QUIC },
	{ "wireguard", AFFINITY_WIREGUARD },
	{ "openvpn", AFFINITY_OPENVPN },
};

enum affinity_kind flow_affinity_kind(const struct policy *policy, uint32_t protocol)
{
	const struct probe *probe = protocol == PROTOCOL_NONE ? NULL : policy->protocols[protocol].probe;

	for (size_t i = 0; probe && i < sizeof(protocols_with_ids) / sizeof(protocols_with_ids[0]); i++)
		if (strcmp(probe->name, protocols_with_ids[i].probe) == 0)
			return protocols_with_ids[i].kind;
	return AFFINITY_NONE;
}

int flow_affinity_init(struct datagrams *datagrams)
{
	const struct policy *policy = datagrams->context->policy;

	datagrams->service_hashes = calloc(policy->n_services + 1, sizeof(datagrams->service_hashes[0]));
	if (!datagrams->service_hashes)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_services; i++)
		datagrams->service_hashes[i] = hash_name(policy->services[i].name);
	for (size_t i = 0; i < AFFINITY_KINDS; i++)
		datagrams->protocols[i] = PROTOCOL_NONE;
	for (uint32_t i = 0; i < policy->n_protocols; i++)
		datagrams->protocols[flow_affinity_kind(policy, i)] = i;
	datagrams->protocols[AFFINITY_NONE] = PROTOCOL_NONE;
	return 0;
}

static uint64_t now_s(const struct datagrams *datagrams)
{
	return datagrams->context->loop.now_us / 1000000;
}

/* ---- keys ---- */

struct key_bytes {
	uint64_t listener;
	uint8_t client[16], local[16];
	uint32_t scope;
	uint16_t port;
	uint8_t id[AFFINITY_ID_MAX - 2];
};
_Static_assert(sizeof(struct key_bytes) <= AFFINITY_KEY_MAX && AFFINITY_ID_MAX - 2 >= 3, "all of it is hashed");

/* What an id is found by: of QUIC and WireGuard it alone, for they are random. OpenVPN's servers count from 0: their ids are a listener's, or a
 * client address's. */
static uint64_t key_of(const struct datagram_listener *listener, const struct flow_key *flow, enum affinity_kind kind,
	const struct datagram_id *id)
{
	const struct affinity *affinity = listener->datagrams->context->shared->affinity;
	struct key_bytes bytes = { .listener = listener->limits_key };

	if (kind == AFFINITY_QUIC || kind == AFFINITY_WIREGUARD)
		return affinity_key(affinity, kind, id->bytes, id->len);
	if (kind == AFFINITY_OPENVPN || kind == AFFINITY_OPENVPN_CLIENT)
		memcpy(bytes.id, id->bytes, sizeof(bytes.id));
	if (kind != AFFINITY_OPENVPN) {
		memcpy(bytes.client, flow->client, sizeof(bytes.client));
		memcpy(bytes.local, flow->local, sizeof(bytes.local));
		bytes.scope = flow->scope;
	}
	if (kind == AFFINITY_ADDRESS)
		bytes.port = flow->client_port;
	return affinity_key(affinity, kind, &bytes, sizeof(bytes));
}

/* ---- found ---- */

/* Of a datagram that came in here. */
struct question {
	const struct datagram_listener *listener;
	const struct flow_key *key;
};

static uint32_t service_of(const struct datagram_listener *listener, uint64_t hash)
{
	const struct policy *policy = listener->datagrams->context->policy;
	const uint8_t *reaches = listener->policy->reaches;

	for (uint32_t i = 0; i < policy->n_services; i++)
		if (listener->datagrams->service_hashes[i] == hash)
			return reaches[i / 8] >> i % 8 & 1 ? i : SERVICE_NONE;
	return SERVICE_NONE;
}

/* The service; SERVICE_NONE: nothing is known by that. */
static uint32_t find(const struct question *question, enum affinity_kind kind, const struct datagram_id *id,
	struct flow_known *ret)
{
	const struct datagrams *datagrams = question->listener->datagrams;
	struct affinity_place place;

	if (!affinity_find(datagrams->context->shared->affinity, kind,
		    key_of(question->listener, question->key, kind, id), now_s(datagrams), &place))
		return SERVICE_NONE;
	*ret = (struct flow_known){ .by = kind, .speaks = place.kind, .backend = place.backend };
	if (id)
		ret->id = *id;
	return service_of(question->listener, place.service);
}

/* `only`: ids of this protocol; NONE: any. */
static uint32_t find_by_ids(const struct question *question, enum affinity_kind only, const uint8_t *bytes,
	size_t len, struct flow_known *ret)
{
	const struct affinity *affinity = question->listener->datagrams->context->shared->affinity;
	struct datagram_id ids[DATAGRAM_IDS_MAX];
	uint32_t service = SERVICE_NONE;
	size_t n = datagram_ids_of_client(bytes, len, affinity_lengths(affinity), ids);

	for (size_t i = 0; i < n && service == SERVICE_NONE; i++) {
		if (only != AFFINITY_NONE && ids[i].kind != only)
			continue;
		if (ids[i].kind == AFFINITY_OPENVPN)
			service = find(question, AFFINITY_OPENVPN_CLIENT, &ids[i], ret);
		if (service == SERVICE_NONE)
			service = find(question, (enum affinity_kind)ids[i].kind, &ids[i], ret);
	}
	return service;
}

void flow_recall(const struct datagram_listener *listener, const struct flow_key *key, const uint8_t *bytes,
	size_t len, uint32_t *service, uint32_t *protocol, struct flow_known *ret)
{
	const struct question question = { listener, key };
	const struct datagrams *datagrams = listener->datagrams;
	struct flow_known known;

	*ret = (struct flow_known){ 0 };
	if (*service != SERVICE_NONE) {
		enum affinity_kind kind = flow_affinity_kind(datagrams->context->policy, *protocol);
		if (kind != AFFINITY_NONE && find_by_ids(&question, kind, bytes, len, &known) == *service)
			*ret = known;
		return;
	}
	*protocol = PROTOCOL_NONE;
	*service = find_by_ids(&question, AFFINITY_NONE, bytes, len, &known);
	if (*service == SERVICE_NONE)
		*service = find(&question, AFFINITY_ADDRESS, NULL, &known);
	if (*service == SERVICE_NONE && listener->policy->on_unknown != SERVICE_NONE) {
		*service = listener->policy->on_unknown;
		return;
	}
	if (*service == SERVICE_NONE)
		*service = find(&question, AFFINITY_HOST, NULL, &known);
	if (*service == SERVICE_NONE)
		return;
	*protocol = datagrams->protocols[known.speaks];
	*ret = known;
}

/* ---- learned ---- */

static bool is_proven(const struct flow *flow)
{
	return flow->session.phase == PHASE_RELAYING && flow->answered_us && !flow->session.is_unproven;
}

static void note(struct flow *flow, enum affinity_kind kind)
{
	const struct affinity_place place = {
		.service = hash_name(session_service_name(&flow->session)),
		.backend = flow->backend_hash,
		.kind = flow->speaks,
	};

	affinity_note(flow->session.context->shared->affinity, kind,
		key_of(flow->listener, &flow->place.key, kind, &flow->id), &place, now_s(flow->datagrams));
}

static void note_id(struct flow *flow)
{
	if (flow->id.kind == AFFINITY_NONE)
		return;
	if (flow->id.kind == AFFINITY_QUIC)
		affinity_note_length(flow->session.context->shared->affinity, flow->id.len);
	if (flow->id.kind == AFFINITY_OPENVPN)
		note(flow, AFFINITY_OPENVPN_CLIENT);
	note(flow, (enum affinity_kind)flow->id.kind);
}

void flow_note(struct flow *flow)
{
	if (!is_proven(flow))
		return;
	note_id(flow);
	note(flow, AFFINITY_ADDRESS);
	note(flow, AFFINITY_HOST);
}

static void learn(struct flow *flow, const uint8_t *bytes, size_t len)
{
	struct datagram_id id;

	if (!datagram_id_of_server(flow->speaks, bytes, len, &id) || datagram_id_equal(&id, &flow->id))
		return;
	flow->id = id;
	if (is_proven(flow))
		note_id(flow);
}

/* Of several that were joined the first, and the last, which may be shorter: a message of WireGuard with an index has a length that its data
 * never has; the other protocols repeat their ids. */
void flow_learn(struct flow *flow, const struct datagram *answer)
{
	size_t n = datagram_count(answer);

	learn(flow, answer->bytes, n > 1 ? answer->segment : answer->len);
	if (n > 1)
		learn(flow, answer->bytes + (n - 1) * answer->segment, answer->len - (n - 1) * answer->segment);
}

void flow_connected(struct flow *flow, const struct address *to)
{
	flow->backend_hash = affinity_backend(to);
	uint64_t known = flow->opening->known.backend;
	if (known && !affinity_is_backend(known, flow->backend_hash))
		flow->id = (struct datagram_id){ 0 }; /* another one now, which did not choose it */
}
