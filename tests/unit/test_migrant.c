/* The message in which a session moves to another worker: what is written is read again, and what does not add up is
 * refused, whichever byte of it is wrong. */
#include "evidence.h"
#include "log.h"
#include "migrant.h"
#include "proxy_header.h"
#include "target.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t state_bytes[] = "what the transport has packed", header[] = "PROXY UNKNOWN\r\n", kept[] = "SSH-";

static struct migrant relayed(void)
{
	struct migrant head = {
		.transport = TRANSPORT_STREAM,
		.phase = MIGRANT_RELAYING,
		.id = 7,
		.accepted_us = 1,
		.decided_us = 2,
		.delivery = DELIVERY_EXEC,
		.log_level = LEVEL_NOTICE,
		.state_len = sizeof(state_bytes),
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
};

static size_t write_one(uint8_t *to, struct migrant head)
{
	if (head.state_len <= MIGRANT_STATE_MAX)
		memset(migrant_state(to), 's', head.state_len);
	if (head.state_len == sizeof(state_bytes))
		memcpy(migrant_state(to), state_bytes, sizeof(state_bytes));
	ssize_t len = migrant_write(to, &head, &parts);
	assert_true(len > 0);
	return (size_t)len;
}

static void assert_read(const struct migrant_parts *read)
{
	const struct migrant written = relayed();

	assert_string_equal(read->text[TEXT_LISTENER], "127.0.0.1:443");
	assert_string_equal(read->text[TEXT_SERVICE], "web");
	assert_null(read->text[TEXT_PROTOCOL]);
	assert_string_equal(read->text[TEXT_SNI], "shop.example");
	assert_int_equal(read->head->state_len, sizeof(state_bytes));
	assert_memory_equal(read->state, state_bytes, sizeof(state_bytes));
	assert_memory_equal(read->header, header, sizeof(header));
	assert_memory_equal(read->kept, kept, sizeof(kept));
	assert_int_equal(read->head->id, 7);
	assert_int_equal(read->head->accepted_us, 1);
	assert_int_equal(read->head->decided_us, 2);
	assert_int_equal(read->head->delivery, DELIVERY_EXEC);
	assert_int_equal(read->head->log_level, LEVEL_NOTICE);
	assert_true(address_equal(&read->head->client, &written.client));
	assert_true(address_equal(&read->head->peer, &written.peer));
	assert_true(address_equal(&read->head->destination, &written.destination));
}

static void what_is_written_is_read(void **state)
{
	uint8_t *message = malloc(MIGRANT_MAX);
	struct migrant_parts read;

	for (uint32_t phase = 0; phase < MIGRANT_PHASES; phase++) {
		for (uint32_t transport = 0; transport < TRANSPORT_COUNT; transport++) {
			struct migrant head = relayed();
			head.phase = phase;
			head.transport = transport;
			size_t len = write_one(message, head);
			assert_int_equal(migrant_read(&read, message, len), 0);
			assert_int_equal(read.head->phase, phase);
			assert_int_equal(read.head->transport, transport);
			assert_read(&read);
		}
	}
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
		assert_int_equal(migrant_read(&read, cut, n), -EBADMSG);
		free(cut);
	}
	message[len] = 0;
	assert_int_equal(migrant_read(&read, message, len + 1), -EBADMSG);
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
			if (migrant_read(&read, exact, len) == 0) {
				for (size_t i = 0; i < SESSION_TEXTS; i++)
					sum += read.text[i] ? (unsigned)strlen(read.text[i]) : 0;
				sum += read.head->state_len ? read.state[read.head->state_len - 1] : 0;
				sum += read.head->header_len ? read.header[read.head->header_len - 1] : 0;
				sum += read.head->kept_len ? read.kept[read.head->kept_len - 1] : 0;
			}
			free(exact);
		}
	}
	assert_true(sum > 0);
	free(message);
}

static int judge(struct migrant head)
{
	uint8_t *message = malloc(MIGRANT_MAX);
	struct migrant_parts read;
	int error = migrant_read(&read, message, write_one(message, head));

	free(message);
	return error;
}

static void what_no_session_can_be_is_refused(void **state)
{
	struct migrant head = relayed();

	assert_int_equal(judge(head), 0);
	head.transport = TRANSPORT_COUNT;
	assert_int_equal(judge(head), -EBADMSG);
	head = relayed();
	head.phase = MIGRANT_PHASES;
	assert_int_equal(judge(head), -EBADMSG);
	head = relayed();
	head.delivery = DELIVERY_REJECT;
	assert_int_equal(judge(head), 0);
	head.delivery++;
	assert_int_equal(judge(head), -EBADMSG);
	head = relayed();
	head.log_level = LEVEL_DEBUG;
	assert_int_equal(judge(head), 0);
	head.log_level++;
	assert_int_equal(judge(head), -EBADMSG);
	for (int i = 0; i < 3; i++) {
		head = relayed();
		struct address *addresses[] = { &head.client, &head.peer, &head.destination };
		addresses[i]->len = sizeof(sa_family_t) - 1;
		assert_int_equal(judge(head), -EBADMSG);
		addresses[i]->len = sizeof(struct address) + 100;
		assert_int_equal(judge(head), -EBADMSG);
		addresses[i]->len = sizeof(head.client.in);
		addresses[i]->sa.sa_family = AF_INET6; /* with the length of another one */
		assert_int_equal(judge(head), -EBADMSG);
		addresses[i]->sa.sa_family = AF_NETLINK;
		assert_int_equal(judge(head), -EBADMSG);
		addresses[i]->len = 0;
		assert_int_equal(judge(head), 0);
	}
}

static void lengths_that_no_part_has_are_refused(void **state)
{
	uint8_t *message = malloc(MIGRANT_MAX);
	struct migrant *head = (struct migrant *)message;
	size_t len = write_one(message, relayed());
	struct migrant_parts read;

	uint32_t *lens[] = { &head->state_len, &head->header_len, &head->kept_len, &head->text_len[TEXT_LISTENER],
		&head->text_len[TEXT_HOST] };
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint32_t right = *lens[i];
		const uint32_t wrong[] = { right + 1, right - 1, (uint32_t)len, UINT32_MAX,
			UINT32_MAX - (uint32_t)len };
		for (size_t k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++) {
			*lens[i] = wrong[k];
			assert_int_equal(migrant_read(&read, message, len), -EBADMSG);
		}
		*lens[i] = right;
		assert_int_equal(migrant_read(&read, message, len), 0);
	}
	head->header_len = PROXY_HEADER_MAX + 1;
	assert_int_equal(migrant_read(&read, message, MIGRANT_MAX), -EBADMSG);
	free(message);
}

static void another_format_is_refused(void **state)
{
	uint8_t *message = malloc(MIGRANT_MAX);
	size_t len = write_one(message, relayed());
	struct migrant_parts read;

	((struct migrant *)message)->format++;
	assert_int_equal(migrant_read(&read, message, len), -EBADMSG);
	free(message);
}

static void what_fits_into_no_message_is_not_written(void **state)
{
	uint8_t *message = malloc(MIGRANT_MAX);
	struct migrant head = relayed();

	head.state_len = MIGRANT_STATE_MAX;
	assert_int_equal(migrant_write(message, &head, &parts), -EMSGSIZE);
	free(message);
}

/* A text that is too long is left out rather than refused: it is for the log. */
static void a_text_that_is_too_long_is_left_out(void **state)
{
	uint8_t *message = malloc(MIGRANT_MAX);
	struct migrant head = relayed();
	struct migrant_parts with = parts, read;
	char *host = malloc(MIGRANT_TEXT_MAX + 2);

	memset(host, 'h', MIGRANT_TEXT_MAX + 1);
	host[MIGRANT_TEXT_MAX + 1] = 0;
	with.text[TEXT_HOST] = host;
	memcpy(migrant_state(message), state_bytes, sizeof(state_bytes));
	ssize_t len = migrant_write(message, &head, &with);
	assert_true(len > 0);
	assert_int_equal(migrant_read(&read, message, (size_t)len), 0);
	assert_null(read.text[TEXT_HOST]);
	host[MIGRANT_TEXT_MAX] = 0;
	len = migrant_write(message, &head, &with);
	assert_int_equal(migrant_read(&read, message, (size_t)len), 0);
	assert_string_equal(read.text[TEXT_HOST], host);
	free(host);
	free(message);
}

static const char *hello_text(const void *of, size_t at)
{
	static const char *const texts[] = { "one", "the second", NULL };
	return texts[at];
}

static bool hello_socket(const void *of, size_t at, struct migrant_socket *ret)
{
	static const struct migrant_socket sockets[] = { { 1, 0 }, { 1, 7 }, { 0, 3 } };
	if (at < sizeof(sockets) / sizeof(sockets[0]))
		*ret = sockets[at];
	return at < sizeof(sockets) / sizeof(sockets[0]);
}

static void a_hello_names_listeners_and_sockets(void **state)
{
	uint8_t message[256];
	struct migrant_hello *head = (struct migrant_hello *)message;
	size_t len = migrant_hello_write(message, sizeof(message), NULL, hello_text, hello_socket);

	assert_int_equal(len,
		sizeof(*head) + strlen("one") + 1 + strlen("the second") + 1 + 3 * sizeof(struct migrant_socket));
	assert_true(migrant_hello_is_sound(message, len));
	assert_true(migrant_hello_names(message, "one"));
	assert_true(migrant_hello_names(message, "the second"));
	assert_false(migrant_hello_names(message, "on"));
	assert_false(migrant_hello_names(message, "three"));
	assert_true(migrant_hello_has_socket(message, "the second", 0));
	assert_true(migrant_hello_has_socket(message, "the second", 7));
	assert_true(migrant_hello_has_socket(message, "one", 3));
	assert_false(migrant_hello_has_socket(message, "one", 0));
	assert_false(migrant_hello_has_socket(message, "three", 0));
	assert_false(migrant_hello_is_sound(message, len - 1));
	assert_false(migrant_hello_is_sound(message, len + 1));
	assert_false(migrant_hello_is_sound(message, sizeof(*head) - 1));
	head->n_sockets++;
	assert_false(migrant_hello_is_sound(message, len));
	head->n_sockets--;
	head->texts_len++;
	assert_false(migrant_hello_is_sound(message, len));
	head->texts_len = UINT32_MAX;
	assert_false(migrant_hello_is_sound(message, len));
	*head = (struct migrant_hello){ MIGRANT_FORMAT, 15, 0 };
	assert_true(migrant_hello_is_sound(message, sizeof(*head) + 15));
	message[sizeof(*head) + 14] = 'x';
	assert_false(migrant_hello_is_sound(message, sizeof(*head) + 15));
	message[sizeof(*head) + 14] = 0;
	head->format++;
	assert_false(migrant_hello_is_sound(message, sizeof(*head) + 15));
	*head = (struct migrant_hello){ MIGRANT_FORMAT, 0, 0 };
	assert_true(migrant_hello_is_sound(message, sizeof(*head)));
	assert_false(migrant_hello_names(message, "one"));
}

/* A listener that did not fit is as one that is not there, and so are its sockets. */
static void a_hello_has_what_fits(void **state)
{
	uint8_t message[256];
	size_t len = migrant_hello_write(message, sizeof(struct migrant_hello) + 4 + sizeof(struct migrant_socket),
		NULL, hello_text, hello_socket);

	assert_true(migrant_hello_is_sound(message, len));
	assert_true(migrant_hello_names(message, "one"));
	assert_false(migrant_hello_names(message, "the second"));
	assert_true(migrant_hello_has_socket(message, "one", 3));
	assert_false(migrant_hello_has_socket(message, "the second", 0));
	len = migrant_hello_write(message, sizeof(struct migrant_hello) + 15, NULL, hello_text, hello_socket);
	assert_true(migrant_hello_is_sound(message, len));
	assert_true(migrant_hello_names(message, "the second"));
	assert_false(migrant_hello_has_socket(message, "one", 3));
}

static void word_that_some_were_taken_is_known_by_its_format(void **state)
{
	struct migrant_taken taken[2] = { { MIGRANT_FORMAT }, { 0 } };

	assert_true(migrant_taken_is_sound((const uint8_t *)taken, sizeof(taken[0])));
	assert_false(migrant_taken_is_sound((const uint8_t *)taken, sizeof(taken[0]) - 1));
	assert_false(migrant_taken_is_sound((const uint8_t *)taken, sizeof(taken)));
	taken[0].format++;
	assert_false(migrant_taken_is_sound((const uint8_t *)taken, sizeof(taken[0])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(a_message_cut_or_lengthened_is_refused),
		cmocka_unit_test(whichever_byte_is_wrong_nothing_outside_is_read),
		cmocka_unit_test(what_no_session_can_be_is_refused),
		cmocka_unit_test(lengths_that_no_part_has_are_refused),
		cmocka_unit_test(another_format_is_refused),
		cmocka_unit_test(what_fits_into_no_message_is_not_written),
		cmocka_unit_test(a_text_that_is_too_long_is_left_out),
		cmocka_unit_test(a_hello_names_listeners_and_sockets),
		cmocka_unit_test(a_hello_has_what_fits),
		cmocka_unit_test(word_that_some_were_taken_is_known_by_its_format),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
