/* The bytes of a flow that moves. Refuses sizes that do not add up, numbers that a flow cannot have, and what would not be kept here. Owns
 * nothing. */
#include "flow_state.h"
#include <errno.h>
#include <string.h>

ssize_t flow_state_write(uint8_t *to, size_t size, struct flow_state *head, const struct flow_kept *kept,
	const struct flow_header *header)
{
	size_t len = sizeof(*head), header_len = header ? header->len : 0;

	if (size < len + kept->n * sizeof(struct flow_state_kept) + kept->bytes + header_len)
		return -EMSGSIZE;
	head->n_kept = kept->n;
	head->header_len = (uint32_t)header_len;
	head->header_each = header && header->each;
	head->header_is_sent = header && header->is_sent;
	memcpy(to, head, sizeof(*head));
	for (const struct kept_datagram *one = kept->first; one; one = one->next) {
		const struct flow_state_kept mark = { one->datagram.len, one->datagram.tos };
		memcpy(to + len, &mark, sizeof(mark));
		len += sizeof(mark);
		memcpy(to + len, one->datagram.bytes, mark.len);
		len += mark.len;
	}
	if (header_len)
		memcpy(to + len, header->bytes, header_len);
	return (ssize_t)(len + header_len);
}

/* The next one behind `*at`. False: there is none, or it is cut. */
static bool kept_next(const uint8_t *bytes, size_t len, size_t *at, struct datagram *ret)
{
	struct flow_state_kept mark;

	if (len - *at < sizeof(mark))
		return false;
	memcpy(&mark, bytes + *at, sizeof(mark));
	*at += sizeof(mark);
	if (mark.len > len - *at || mark.tos > UINT8_MAX)
		return false;
	*ret = (struct datagram){ .bytes = bytes + *at, .len = mark.len, .tos = (uint8_t)mark.tos };
	*at += mark.len;
	return true;
}

int flow_state_read(struct flow_state *ret, enum session_phase phase, const uint8_t *bytes, size_t len, size_t n_fds)
{
	struct flow_state head;
	size_t at = sizeof(head), kept_bytes = 0;

	if (len < sizeof(head) || n_fds != (phase == PHASE_RELAYING) ||
		(phase != PHASE_RELAYING && phase != PHASE_DECIDING))
		return -EBADMSG;
	memcpy(&head, bytes, sizeof(head));
	if (head.n_kept > EVIDENCE_DATAGRAMS_MAX || head.error > 0 || head.error < -4095 || head.whole > 1 ||
		head.failed > 1 || !datagram_id_is_sound(&head.id) || head.speaks > AFFINITY_OPENVPN ||
		(head.id.kind != AFFINITY_NONE && head.id.kind != head.speaks) || head.known_by >= AFFINITY_KINDS ||
		head.is_unproven > 1 || head.header_each + head.header_is_sent > (head.header_len > 0) ||
		head.header_len > (phase == PHASE_RELAYING ? PROXY_HEADER_OWN_MAX : 0))
		return -EBADMSG;
	for (uint32_t i = 0; i < head.n_kept; i++) {
		struct datagram datagram;
		if (!kept_next(bytes, len, &at, &datagram))
			return -EBADMSG;
		kept_bytes += datagram.len;
	}
	if (len - at != head.header_len || kept_bytes > KEPT_BYTES_MAX)
		return -EBADMSG;
	*ret = head;
	return 0;
}

int flow_state_keep(struct flow_kept *kept, struct pool *pool, const uint8_t *bytes, size_t len)
{
	size_t at = sizeof(struct flow_state);
	struct flow_state head;
	struct datagram datagram;

	memcpy(&head, bytes, sizeof(head));
	for (uint32_t i = 0; i < head.n_kept && kept_next(bytes, len, &at, &datagram); i++) {
		int error = flow_kept_add(kept, pool, &datagram, 0, datagram.len);
		if (error < 0)
			return error;
	}
	return 0;
}

int flow_state_header(struct flow_header **ret, const uint8_t *bytes, size_t len)
{
	struct flow_state head;

	memcpy(&head, bytes, sizeof(head));
	*ret = NULL;
	if (!head.header_len)
		return 0;
	*ret = flow_header_new(head.header_each, bytes + len - head.header_len, head.header_len);
	if (!*ret)
		return -ENOMEM;
	(*ret)->is_sent = head.header_is_sent;
	return 0;
}
