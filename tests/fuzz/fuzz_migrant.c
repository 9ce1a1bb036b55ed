/* A live session's message from a worker that may have been taken over: it is refused, or each part of it lies within it, and
 * written again it is the same. And the texts of a new worker's hello.
 *
 *     byte 0      0: a migrant; else a hello
 *     the rest    the message */
#include "fuzz.h"
#include "migrant.h"
#include <stdlib.h>
#include <string.h>

static void part_check(const uint8_t *message, size_t len, const void *part, size_t part_len)
{
	const uint8_t *at = part;

	require(at >= message && part_len <= len && (size_t)(at - message) <= len - part_len);
}

static void migrant_check(const uint8_t *message, size_t len)
{
	struct migrant_parts parts;

	if (migrant_read(&parts, message, len) < 0)
		return;
	struct migrant head = *parts.head;
	for (size_t i = 0; i < SESSION_TEXTS; i++)
		if (parts.text[i]) {
			require(strlen(parts.text[i]) == head.text_len[i]);
			part_check(message, len, parts.text[i], head.text_len[i] + 1);
		}
	part_check(message, len, parts.header, head.header_len);
	part_check(message, len, parts.kept, head.kept_len);
	part_check(message, len, parts.state, head.state_len);
	char text[ADDRESS_TEXT_MAX];
	address_format(&head.client, text);
	address_format(&head.peer, text);

	uint8_t *again = malloc(MIGRANT_MAX);
	require(again != NULL);
	memcpy(migrant_state(again), parts.state, head.state_len);
	require(migrant_write(again, &head, &parts) == (ssize_t)len);
	require(memcmp(again + sizeof(head), message + sizeof(head), len - sizeof(head)) == 0);
	require(migrant_read(&parts, again, len) == 0);
	free(again);
}

/* Whatever it names first is named, and no question about it reads beyond it. */
static void hello_check(const uint8_t *message, size_t len)
{
	struct migrant_hello hello;

	if (!migrant_hello_is_sound(message, len))
		return;
	memcpy(&hello, message, sizeof(hello));
	const char *first = hello.texts_len ? (const char *)message + sizeof(hello) : "";
	require(!hello.texts_len || migrant_hello_names(message, first));
	for (uint32_t place = 0; place < 4; place++)
		migrant_hello_has_socket(message, first, place);
	migrant_hello_names(message, "udp:127.0.0.1:1");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	uint8_t *message = malloc(size > 1 ? size - 1 : 1); /* aligned, and its end is seen by the sanitizer */
	require(message != NULL);
	memcpy(message, data + 1, size - 1);
	if (data[0])
		hello_check(message, size - 1);
	else
		migrant_check(message, size - 1);
	free(message);
	return 0;
}
