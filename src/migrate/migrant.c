/* The message that a live session crosses in. Refuses whatever could make a reader look past its end, or what no relay can be
 * in. Owns nothing. */
#include "migrant.h"
#include "evidence.h"
#include "log.h"
#include "proxy_header.h"
#include "relay.h"
#include "target.h"
#include <errno.h>
#include <string.h>

static bool flow_is_sound(const struct migrant_flow *flow, bool has_pipe)
{
	return flow->pending_len <= RELAY_BUFFER_SIZE && flow->uncounted <= RELAY_BUFFER_SIZE && flow->ended <= 1 &&
		flow->told <= 1 && flow->discard <= 1 && flow->copy_only <= 1 &&
		(has_pipe ? flow->pending_len == 0 : flow->in_pipe == 0) &&
		!((flow->told || flow->discard) && (flow->pending_len || flow->in_pipe));
}

static bool fds_are_sound(const struct migrant *head, size_t n_fds)
{
	const uint8_t *has = head->has_fd;
	bool relays = head->state == MIGRANT_RELAYING;
	size_t n = 0;

	for (size_t i = 0; i < MIGRANT_FDS; i++) {
		if (has[i] > 1)
			return false;
		n += has[i];
	}
	if (n != n_fds || !has[MIGRANT_CLIENT] || has[MIGRANT_SERVER] != relays)
		return false;
	if (has[MIGRANT_UP_OUT] != has[MIGRANT_UP_IN] || has[MIGRANT_DOWN_OUT] != has[MIGRANT_DOWN_IN])
		return false;
	if (!relays)
		return n == 1;
	return has[MIGRANT_INPUT] <= (head->server_kind == SIDE_PIPES);
}

static bool head_is_sound(const struct migrant *head, size_t n_fds)
{
	return head->format == MIGRANT_FORMAT && head->state <= MIGRANT_RELAYING &&
		head->server_kind <= SIDE_TERMINAL && head->delivery <= DELIVERY_REJECT &&
		head->log_level <= LEVEL_DEBUG && head->lingering <= 1 && head->was_silent <= 1 &&
		address_is_valid(&head->client) && address_is_valid(&head->peer) &&
		address_is_valid(&head->destination) && fds_are_sound(head, n_fds) &&
		flow_is_sound(&head->up, head->has_fd[MIGRANT_UP_OUT]) &&
		flow_is_sound(&head->down, head->has_fd[MIGRANT_DOWN_OUT]) && head->kept_len <= EVIDENCE_MAX &&
		head->header_len <= PROXY_HEADER_MAX && head->text_len[TEXT_LISTENER] > 0;
}

/* The next part of the message: NULL where it does not fit. */
static const uint8_t *part_take(const uint8_t **at, const uint8_t *end, size_t len)
{
	const uint8_t *part = *at;

	if (len > (size_t)(end - part))
		return NULL;
	*at += len;
	return part;
}

int migrant_read(struct migrant_parts *ret, const uint8_t *message, size_t len, size_t n_fds)
{
	const struct migrant *head = (const struct migrant *)message;
	const uint8_t *at = message + sizeof(*head), *end = message + len;

	*ret = (struct migrant_parts){ .head = head };
	if (len < sizeof(*head) || len > MIGRANT_MAX || !head_is_sound(head, n_fds))
		return -EBADMSG;
	for (size_t i = 0; i < SESSION_TEXTS; i++) {
		size_t text_len = head->text_len[i];
		if (text_len == 0)
			continue;
		if (text_len > MIGRANT_TEXT_MAX)
			return -EBADMSG;
		const uint8_t *text = part_take(&at, end, text_len + 1);
		if (!text || memchr(text, 0, text_len + 1) != text + text_len)
			return -EBADMSG;
		ret->text[i] = (const char *)text;
	}
	ret->header = part_take(&at, end, head->header_len);
	ret->kept = ret->header ? part_take(&at, end, head->kept_len) : NULL;
	ret->up = ret->kept ? part_take(&at, end, head->up.pending_len) : NULL;
	ret->down = ret->up ? part_take(&at, end, head->down.pending_len) : NULL;
	return ret->down && at == end ? 0 : -EBADMSG;
}

static uint8_t *part_put(uint8_t *to, const void *bytes, size_t len)
{
	if (len)
		memcpy(to, bytes, len);
	return to + len;
}

ssize_t migrant_write(uint8_t *to, struct migrant *head, const struct migrant_parts *parts)
{
	size_t len =
		sizeof(*head) + head->header_len + head->kept_len + head->up.pending_len + head->down.pending_len;

	head->format = MIGRANT_FORMAT;
	for (size_t i = 0; i < SESSION_TEXTS; i++) {
		size_t text_len = parts->text[i] ? strlen(parts->text[i]) : 0;
		head->text_len[i] = (uint32_t)(text_len <= MIGRANT_TEXT_MAX ? text_len : 0);
		len += head->text_len[i] ? text_len + 1 : 0;
	}
	if (len > MIGRANT_MAX)
		return -EMSGSIZE;
	uint8_t *at = part_put(to, head, sizeof(*head));
	for (size_t i = 0; i < SESSION_TEXTS; i++)
		if (head->text_len[i])
			at = part_put(at, parts->text[i], head->text_len[i] + 1);
	at = part_put(at, parts->header, head->header_len);
	at = part_put(at, parts->kept, head->kept_len);
	at = part_put(at, parts->up, head->up.pending_len);
	at = part_put(at, parts->down, head->down.pending_len);
	return at - to;
}

bool migrant_hello_is_sound(const uint8_t *message, size_t len)
{
	const struct migrant_hello *hello = (const struct migrant_hello *)message;

	return len >= sizeof(*hello) && hello->format == MIGRANT_FORMAT && hello->texts_len == len - sizeof(*hello) &&
		(hello->texts_len == 0 || message[len - 1] == 0);
}

const char *migrant_hello_next(const uint8_t *message, size_t len, const char *text)
{
	const char *end = (const char *)message + len;
	const char *next = text ? text + strlen(text) + 1 : (const char *)message + sizeof(struct migrant_hello);

	return next < end ? next : NULL;
}
