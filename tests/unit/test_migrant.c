/* The message in which a connection moves to another worker: what is written is read again, and what does not add up is
 * refused, whichever byte of it is wrong. */
#include "migrant.h"
#include "relay.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t up[] = "on its way up", down[] = "down", header[] = "PROXY UNKNOWN\r\n", kept[] = "SSH-";

static struct migrant relayed(void)
{
	struct migrant head = {
		.state = MIGRANT_RELAYING,
		.id = 7,
		.accepted_us = 1,
		.decided_us = 2,
		.moved_us = 3,
		.server_kind = SIDE_SOCKET,
		.has_fd = { [MIGRANT_CLIENT] = 1, [MIGRANT_SERVER] = 1 },
		.up = { .bytes = 100, .pending_len = sizeof(up) },
		.down = { .bytes = 200, .pending_len = sizeof(down) },
		.header_len = sizeof(header),
		.kept_len = sizeof(kept),
	};
	address_parse(&head.client, "192.0.2.1:1000");
	address_parse(&head.peer, "[2001:db8::1]:2000");
	address_parse(&head.destination, "unix:/run/x");
	return head;
}

static const struct migrant_parts parts = {
	.text = { [TEXT_LISTENER] = "127.0.0.1:443", [TEXT_SERVICE] = "web", [TEXT_SNI] = "shop.example" },
	.header = header,
	.kept = kept,
	.up = up,
	.down = down,
};

static size_t write_one(uint8_t *to, struct migrant head)
{
	ssize_t len = migrant_write(to, &head, &parts);
	assert_true(len > 0);
	return (size_t)len;
}

static void what_is_written_is_read(void **state)
{
	uint8_t *message = malloc(MIGRANT_MAX);
	size_t len = write_one(message, relayed());
	struct migrant_parts read;

	assert_int_equal(migrant_read(&read, message, len, 2), 0);
	assert_string_equal(read.text[TEXT_LISTENER], "127.0.0.1:443");
	assert_string_equal(read.text[TEXT_SERVICE], "web");
	assert_null(read.text[TEXT_PROTOCOL]);
	assert_string_equal(read.text[TEXT_SNI], "shop.example");
	assert_memory_equal(read.up, up, sizeof(up));
	assert_memory_equal(read.down, down, sizeof(down));
	assert_memory_equal(read.header, header, sizeof(header));
	assert_memory_equal(read.kept, kept, sizeof(kept));
	assert_int_equal(read.head->id, 7);
	struct migrant written = relayed();
	assert_true(address_equal(&read.head->client, &written.client));
	free(message);
}

static void a_message_cut_or_lengthened_is_refused(void **state)
{
	uint8_t *message = malloc(MIGRANT_MAX);
	size_t len = write_one(message, relayed());
	struct migrant_parts read;

	for (size_t n = 0; n < len; n++) {
		uint8_t *cut = malloc(n ? n : 1); /* so that a sanitizer sees who reads past its end */
		memcpy(cut, message, n);
		assert_int_equal(migrant_read(&read, cut, n, 2), -EBADMSG);
		free(cut);
	}
	message[len] = 0;
	assert_int_equal(migrant_read(&read, message, len + 1, 2), -EBADMSG);
	free(message);
}

/* Refused, or everything that it points to lies in the message. */
static void whichever_byte_is_wrong_nothing_outside_is_read(void **state)
{
	uint8_t *message = malloc(MIGRANT_MAX);
	size_t len = write_one(message, relayed());
	struct migrant_parts read;
	unsigned sum = 0;

	for (size_t at = 0; at < len; at++) {
		for (int value = 0; value < 256; value += 51) {
			uint8_t *exact = malloc(len);
			memcpy(exact, message, len);
			exact[at] = (uint8_t)value;
			if (migrant_read(&read, exact, len, 2) == 0) {
				for (size_t i = 0; i < SESSION_TEXTS; i++)
					sum += read.text[i] ? (unsigned)strlen(read.text[i]) : 0;
				sum += read.head->up.pending_len ? read.up[read.head->up.pending_len - 1] : 0;
				sum += read.head->down.pending_len ? read.down[read.head->down.pending_len - 1] : 0;
			}
			free(exact);
		}
	}
	assert_true(sum > 0);
	free(message);
}

static int judge(struct migrant head, size_t n_fds)
{
	uint8_t *message = malloc(MIGRANT_MAX);
	struct migrant_parts read;
	int error = migrant_read(&read, message, write_one(message, head), n_fds);

	free(message);
	return error;
}

static void what_no_connection_can_be_is_refused(void **state)
{
	struct migrant head = relayed();

	assert_int_equal(judge(head, 2), 0);
	assert_int_equal(judge(head, 1), -EBADMSG);
	assert_int_equal(judge(head, 3), -EBADMSG);
	head.has_fd[MIGRANT_SERVER] = 0;
	assert_int_equal(judge(head, 1), -EBADMSG); /* relays to nobody */
	head = relayed();
	head.state = MIGRANT_DECIDING;
	assert_int_equal(judge(head, 2), -EBADMSG); /* has a server already */
	head = relayed();
	head.has_fd[MIGRANT_UP_OUT] = 1;
	assert_int_equal(judge(head, 3), -EBADMSG); /* half a pipe */
	head.has_fd[MIGRANT_UP_IN] = 1;
	assert_int_equal(judge(head, 4), -EBADMSG); /* copies and splices */
	head = relayed();
	head.up.in_pipe = 1;
	assert_int_equal(judge(head, 2), -EBADMSG); /* in no pipe */
	head = relayed();
	head.down.told = 1;
	assert_int_equal(judge(head, 2), -EBADMSG); /* the end before the last bytes */
	head = relayed();
	head.has_fd[MIGRANT_INPUT] = 1;
	assert_int_equal(judge(head, 3), -EBADMSG); /* a socket has no second one */
	head.server_kind = SIDE_PIPES;
	assert_int_equal(judge(head, 3), 0);
	head = relayed();
	head.client.len = sizeof(head.client.in) - 1;
	assert_int_equal(judge(head, 2), -EBADMSG);
	head = relayed();
	head.client.len = sizeof(head.client) + 100;
	assert_int_equal(judge(head, 2), -EBADMSG);
}

static void a_hello_names_the_listeners(void **state)
{
	struct {
		struct migrant_hello head;
		char texts[8];
	} hello = { { MIGRANT_FORMAT, 8 }, "one\0two" };
	const uint8_t *message = (const uint8_t *)&hello;

	assert_true(migrant_hello_is_sound(message, sizeof(hello)));
	const char *one = migrant_hello_next(message, sizeof(hello), NULL);
	assert_string_equal(one, "one");
	const char *two = migrant_hello_next(message, sizeof(hello), one);
	assert_string_equal(two, "two");
	assert_null(migrant_hello_next(message, sizeof(hello), two));
	assert_false(migrant_hello_is_sound(message, sizeof(hello) - 1));
	hello.texts[7] = 'x';
	assert_false(migrant_hello_is_sound(message, sizeof(hello)));
	hello.texts[7] = 0;
	hello.head.format++;
	assert_false(migrant_hello_is_sound(message, sizeof(hello)));
	hello.head = (struct migrant_hello){ MIGRANT_FORMAT, 0 };
	assert_true(migrant_hello_is_sound(message, sizeof(hello.head)));
	assert_null(migrant_hello_next(message, sizeof(hello.head), NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(a_message_cut_or_lengthened_is_refused),
		cmocka_unit_test(whichever_byte_is_wrong_nothing_outside_is_read),
		cmocka_unit_test(what_no_connection_can_be_is_refused),
		cmocka_unit_test(a_hello_names_the_listeners),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
