/* The state of a stream that moves. Refuses whatever could make a reader look past its end, or what no relay can be in. Owns nothing. */
#include "stream_state.h"
#include <errno.h>
#include <string.h>

static bool flow_is_sound(const struct stream_state_flow *flow, bool has_pipe)
{
	return flow->pending_len <= RELAY_BUFFER_SIZE && flow->uncounted <= RELAY_BUFFER_SIZE && flow->ended <= 1 &&
		flow->told <= 1 && flow->discard <= 1 && flow->copy_only <= 1 &&
		(has_pipe ? flow->pending_len == 0 : flow->in_pipe == 0) &&
		!((flow->told || flow->discard) && (flow->pending_len || flow->in_pipe));
}

static bool fds_are_sound(const struct stream_state *head, bool relays, size_t n_fds)
{
	const uint8_t *has = head->has_fd;
	size_t n = 0;

	for (size_t i = 0; i < STREAM_FDS; i++) {
		if (has[i] > 1)
			return false;
		n += has[i];
	}
	if (n != n_fds || !has[STREAM_FD_CLIENT] || has[STREAM_FD_SERVER] != relays)
		return false;
	if (has[STREAM_FD_UP_OUT] != has[STREAM_FD_UP_IN] || has[STREAM_FD_DOWN_OUT] != has[STREAM_FD_DOWN_IN])
		return false;
	if (!relays)
		return n == 1;
	return has[STREAM_FD_INPUT] <= (head->server_kind == SIDE_PIPES);
}

int stream_state_read(
	struct stream_state_parts *ret, enum session_phase phase, const uint8_t *bytes, size_t len, size_t n_fds)
{
	const struct stream_state *head = (const struct stream_state *)bytes;

	if (len < sizeof(*head) || head->server_kind > SIDE_TERMINAL || head->lingering > 1 || head->was_silent > 1 ||
		!fds_are_sound(head, phase == PHASE_RELAYING, n_fds) ||
		!flow_is_sound(&head->up, head->has_fd[STREAM_FD_UP_OUT]) ||
		!flow_is_sound(&head->down, head->has_fd[STREAM_FD_DOWN_OUT]) ||
		len != sizeof(*head) + head->up.pending_len + head->down.pending_len)
		return -EBADMSG;
	*ret = (struct stream_state_parts){
		.head = head,
		.up = bytes + sizeof(*head),
		.down = bytes + sizeof(*head) + head->up.pending_len,
	};
	return 0;
}

static uint8_t *part_put(uint8_t *to, const void *bytes, size_t len)
{
	if (len)
		memcpy(to, bytes, len);
	return to + len;
}

ssize_t stream_state_write(uint8_t *to, size_t size, const struct stream_state_parts *parts)
{
	const struct stream_state *head = parts->head;
	size_t len = sizeof(*head) + head->up.pending_len + head->down.pending_len;

	if (len > size)
		return -EMSGSIZE;
	to = part_put(to, head, sizeof(*head));
	to = part_put(to, parts->up, head->up.pending_len);
	part_put(to, parts->down, head->down.pending_len);
	return (ssize_t)len;
}
