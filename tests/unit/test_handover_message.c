/* The bytes of a handover alone: what fits into a message, and what is read of answers and receipts. */
#include "handover_message.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define FIXED (8 + 12) /* the header and an id */

#define LEFT (USHER_MESSAGE_MAX - FIXED - 3 * (4 + USHER_ATTRIBUTE_MAX))

static uint8_t message[USHER_MESSAGE_MAX + 16];
static char full[USHER_ATTRIBUTE_MAX + 1], host[USHER_ATTRIBUTE_MAX + 2];

/* With a host's name of so many bytes, behind so many names that are as long as they may be. */
static size_t message_write(size_t n_full, size_t host_len)
{
	memset(full, 'a', USHER_ATTRIBUTE_MAX);
	memset(host, 'b', sizeof(host));
	host[host_len] = '\0';
	const struct facts facts = { .id = 7,
		.service = n_full > 0 ? full : NULL,
		.protocol = n_full > 1 ? full : NULL,
		.sni = n_full > 2 ? full : NULL,
		.alpn = n_full > 3 ? full : NULL,
		.host = host };
	memset(message, 0xee, sizeof(message));
	size_t len = handover_message_write(message, HANDOVER_USHER, &facts, 0, false);
	assert_int_equal(message[USHER_MESSAGE_MAX], 0xee);
	assert_int_equal(message[6] << 8 | message[7], len);
	return len;
}

static void a_message_can_be_filled_to_the_last_byte(void **state)
{
	static const struct {
		size_t n_full, host, len;
		bool incomplete;
	} cases[] = {
		{ 0, 0, FIXED, false }, { 0, 1, FIXED + 5, false },
		{ 0, USHER_ATTRIBUTE_MAX, FIXED + 4 + USHER_ATTRIBUTE_MAX, false },
		{ 0, USHER_ATTRIBUTE_MAX + 1, FIXED, true }, { 3, LEFT - 4 - 1, USHER_MESSAGE_MAX - 1, false },
		{ 3, LEFT - 4, USHER_MESSAGE_MAX, false }, { 3, LEFT - 4 + 1, USHER_MESSAGE_MAX - LEFT, true },
		{ 4, 10, USHER_MESSAGE_MAX - LEFT + 14, true }, /* what follows one that is too long may fit */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(message_write(cases[i].n_full, cases[i].host), cases[i].len);
		assert_int_equal(
			message[5], USHER_FLAG_ACKNOWLEDGE | (cases[i].incomplete ? USHER_FLAG_INCOMPLETE : 0));
	}
}

static void a_receipt_has_a_number(void **state)
{
	uint8_t bytes[] = { 'U', 'S', 'H', 'R', 1, USHER_ANSWER_RECEIPT, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8 };
	uint64_t number;

	assert_int_equal(handover_receipt_read(bytes, &number), 0);
	assert_int_equal(number, 0x0102030405060708ULL);
	for (size_t i = 0; i < 8; i++) {
		bytes[i] ^= 1;
		assert_int_equal(handover_receipt_read(bytes, &number), -EPROTO);
		bytes[i] ^= 1;
	}
}

static const uint8_t hello[] = { 'U', 'S', 'H', 'R', 1, USHER_ANSWER_HELLO, 0, 8 };

static void what_is_no_hello_is_not_read(void **state)
{
	for (size_t i = 0; i < sizeof(hello); i++) {
		struct handover_answers answers = { 0 };
		uint8_t other[sizeof(hello)];
		memcpy(other, hello, sizeof(hello));
		other[i] ^= 1;
		assert_int_equal(handover_answers_read(&answers, other, sizeof(other), 1), 0);
		assert_true(answers.deaf);
		assert_false(answers.announced);
		assert_int_equal(answers.have, i);
		assert_int_equal(handover_answers_read(&answers, hello, sizeof(hello), 1), 0);
		assert_false(answers.announced);
	}
}

static void acknowledgements_count_upwards(void **state)
{
	static const struct {
		uint8_t number;
		int error;
	} cases[] = { { 1, 0 }, { 1, -EPROTO }, { 3, 0 }, { 2, -EPROTO }, { 5, 0 }, { 6, -EPROTO } };
	struct handover_answers answers = { 0 };
	uint8_t bytes[] = { 'U', 'S', 'H', 'R', 1, USHER_ANSWER_ACKNOWLEDGEMENT, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0 };

	assert_int_equal(handover_answers_read(&answers, hello, sizeof(hello), 5), 0);
	assert_true(answers.announced);
	assert_false(answers.deaf);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bytes[15] = cases[i].number;
		assert_int_equal(handover_answers_read(&answers, bytes, 15, 5), 0);
		assert_int_equal(handover_answers_read(&answers, bytes + 15, 1, 5), cases[i].error);
		assert_int_equal(answers.n_acknowledged, cases[i].error ? cases[i - 1].number : cases[i].number);
	}
	bytes[7] = 17;
	assert_int_equal(handover_answers_read(&answers, bytes, 16, 5), -EPROTO);
	assert_false(answers.deaf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_can_be_filled_to_the_last_byte),
		cmocka_unit_test(a_receipt_has_a_number),
		cmocka_unit_test(what_is_no_hello_is_not_read),
		cmocka_unit_test(acknowledgements_count_upwards),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
