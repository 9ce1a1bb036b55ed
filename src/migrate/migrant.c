/* The message that a live session crosses in. Refuses whatever could make a reader look past its end; what its transport has packed the
 * transport judges. Owns nothing. */
#include "migrant.h"
#include "evidence.h"
#include "log.h"
#include "proxy_header.h"
#include "target.h"
#include <errno.h>
#include <string.h>

static bool head_is_sound(const struct migrant *head)
{
	return head->format == MIGRANT_FORMAT && head->transport < TRANSPORT_COUNT && head->phase < MIGRANT_PHASES &&
		head->delivery <= DELIVERY_REJECT && head->log_level <= LEVEL_DEBUG &&
		address_is_valid(&head->client) && address_is_valid(&head->peer) &&
		address_is_valid(&head->destination) && head->kept_len <= EVIDENCE_MAX &&
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

int migrant_read(struct migrant_parts *ret, const uint8_t *message, size_t len)
{
	const struct migrant *head = (const struct migrant *)message;
	const uint8_t *at = message + sizeof(*head), *end = message + len;

	*ret = (struct migrant_parts){ .head = head };
	if (len < sizeof(*head) || len > MIGRANT_MAX || !head_is_sound(head))
		return -EBADMSG;
	ret->state = part_take(&at, end, head->state_len);
	if (!ret->state)
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
	return ret->kept && at == end ? 0 : -EBADMSG;
}

uint8_t *migrant_state(uint8_t *message)
{
	return message + sizeof(struct migrant);
}

static uint8_t *part_put(uint8_t *to, const void *bytes, size_t len)
{
	if (len)
		memcpy(to, bytes, len);
	return to + len;
}

ssize_t migrant_write(uint8_t *to, struct migrant *head, const struct migrant_parts *parts)
{
	size_t len = sizeof(*head) + head->state_len + head->header_len + head->kept_len;

	head->format = MIGRANT_FORMAT;
	for (size_t i = 0; i < SESSION_TEXTS; i++) {
		size_t text_len = parts->text[i] ? strlen(parts->text[i]) : 0;
		head->text_len[i] = (uint32_t)(text_len <= MIGRANT_TEXT_MAX ? text_len : 0);
		len += head->text_len[i] ? text_len + 1 : 0;
	}
	if (len > MIGRANT_MAX)
		return -EMSGSIZE;
	uint8_t *at = part_put(to, head, sizeof(*head)) + head->state_len;
	for (size_t i = 0; i < SESSION_TEXTS; i++)
		if (head->text_len[i])
			at = part_put(at, parts->text[i], head->text_len[i] + 1);
	at = part_put(at, parts->header, head->header_len);
	at = part_put(at, parts->kept, head->kept_len);
	return at - to;
}

bool migrant_taken_is_sound(const uint8_t *message, size_t len)
{
	const struct migrant_taken *taken = (const struct migrant_taken *)message;

	return len == sizeof(*taken) && taken->format == MIGRANT_FORMAT;
}

/* ---- hello ---- */

size_t migrant_hello_write(uint8_t *to, size_t size, const void *of, const char *(*text)(const void *of, size_t at),
	bool (*socket)(const void *of, size_t at, struct migrant_socket *ret))
{
	struct migrant_hello hello = { .format = MIGRANT_FORMAT };
	struct migrant_socket one;
	size_t len = sizeof(hello), n_texts = 0;

	for (const char *next; (next = text(of, n_texts)) && strlen(next) + 1 <= size - len; n_texts++)
		len = (size_t)(part_put(to + len, next, strlen(next) + 1) - to);
	hello.texts_len = (uint32_t)(len - sizeof(hello));
	for (size_t at = 0; size - len >= sizeof(one) && socket(of, at, &one); at++)
		if (one.listener < n_texts) {
			len = (size_t)(part_put(to + len, &one, sizeof(one)) - to);
			hello.n_sockets++;
		}
	memcpy(to, &hello, sizeof(hello));
	return len;
}

static struct migrant_hello hello_of(const uint8_t *message)
{
	struct migrant_hello hello;

	memcpy(&hello, message, sizeof(hello));
	return hello;
}

bool migrant_hello_is_sound(const uint8_t *message, size_t len)
{
	if (len < sizeof(struct migrant_hello))
		return false;
	struct migrant_hello hello = hello_of(message);
	size_t behind = len - sizeof(hello);

	return hello.format == MIGRANT_FORMAT && hello.texts_len <= behind &&
		behind - hello.texts_len == hello.n_sockets * sizeof(struct migrant_socket) &&
		(hello.texts_len == 0 || message[sizeof(hello) + hello.texts_len - 1] == 0);
}

/* The number of the listener among the texts; UINT32_MAX: it is none of them. */
static uint32_t hello_listener(const uint8_t *message, const char *listener)
{
	const char *text = (const char *)message + sizeof(struct migrant_hello);
	const char *end = text + hello_of(message).texts_len;

	for (uint32_t number = 0; text < end; number++, text += strlen(text) + 1)
		if (strcmp(text, listener) == 0)
			return number;
	return UINT32_MAX;
}

bool migrant_hello_names(const uint8_t *message, const char *listener)
{
	return hello_listener(message, listener) != UINT32_MAX;
}

bool migrant_hello_has_socket(const uint8_t *message, const char *listener, uint32_t place)
{
	struct migrant_hello hello = hello_of(message);
	uint32_t number = hello_listener(message, listener);
	const uint8_t *at = message + sizeof(hello) + hello.texts_len;

	for (uint32_t i = 0; number != UINT32_MAX && i < hello.n_sockets; i++, at += sizeof(struct migrant_socket)) {
		struct migrant_socket socket;
		memcpy(&socket, at, sizeof(socket));
		if (socket.listener == number && socket.place == place)
			return true;
	}
	return false;
}
