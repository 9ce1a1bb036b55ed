/* The bytes of a handover, as usher writes and reads them.
 *
 * Refuses an acknowledgement of what was not sent or was acknowledged before, and every record that is neither the
 * hello nor an acknowledgement: so whoever is at the other end can make usher read no more than 16 bytes a message. A
 * receiver that says something else from the start has announced nothing and is not read. Owns no memory. */
#include "handover_message.h"
#include <errno.h>
#include <string.h>

struct writer {
	uint8_t *message;
	size_t len;
};

static void put16(uint8_t *bytes, size_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static void message_add(struct writer *w, enum usher_attribute type, const void *value, size_t len)
{
	if (len > USHER_ATTRIBUTE_MAX || w->len + 4 + len > USHER_MESSAGE_MAX) {
		w->message[5] |= USHER_FLAG_INCOMPLETE;
		return;
	}
	put16(w->message + w->len, type);
	put16(w->message + w->len + 2, len);
	memcpy(w->message + w->len + 4, value, len);
	w->len += 4 + len;
}

static void message_add_number(struct writer *w, enum usher_attribute type, uint64_t number)
{
	uint8_t value[8];

	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(number >> (56 - 8 * i));
	if (number)
		message_add(w, type, value, sizeof(value));
}

static void message_add_text(struct writer *w, enum usher_attribute type, const char *text)
{
	if (text && *text)
		message_add(w, type, text, strlen(text));
}

static void message_add_address(struct writer *w, enum usher_attribute type, const struct address *address)
{
	char text[ADDRESS_TEXT_MAX];

	if (address && address->len)
		message_add_text(w, type, address_format(address, text));
}

/* What a receiver is likeliest to need comes first: that is never left out for want of room. */
size_t handover_message_write(uint8_t message[USHER_MESSAGE_MAX], enum handover_format format,
	const struct facts *facts, uint64_t number, bool is_flow)
{
	static const uint32_t magic = USHER_TCPMUX_MAGIC;
	struct writer w = { .message = message, .len = USHER_HEADER_SIZE };

	if (format == HANDOVER_TCPMUX) {
		memcpy(message, &magic, sizeof(magic));
		return sizeof(magic);
	}
	memcpy(message, USHER_MAGIC, 4);
	message[4] = USHER_VERSION;
	message[5] = USHER_FLAG_ACKNOWLEDGE | (is_flow ? USHER_FLAG_DATAGRAMS : 0);
	message_add_number(&w, USHER_ATTRIBUTE_ID, facts->id);
	message_add_number(&w, USHER_ATTRIBUTE_NUMBER, number);
	message_add_text(&w, USHER_ATTRIBUTE_SERVICE, facts->service);
	message_add_text(&w, USHER_ATTRIBUTE_PROTOCOL, facts->protocol);
	message_add_text(&w, USHER_ATTRIBUTE_SNI, facts->sni);
	message_add_address(&w, USHER_ATTRIBUTE_CLIENT, facts->client);
	message_add_address(&w, USHER_ATTRIBUTE_LOCAL, facts->local);
	message_add_text(&w, USHER_ATTRIBUTE_ALPN, facts->alpn);
	message_add_text(&w, USHER_ATTRIBUTE_HOST, facts->host);
	put16(message + 6, w.len);
	return w.len;
}

static const uint8_t hello[USHER_HEADER_SIZE] = { 'U', 'S', 'H', 'R', USHER_VERSION, USHER_ANSWER_HELLO, 0,
	USHER_HEADER_SIZE };
static const uint8_t acknowledgement[USHER_HEADER_SIZE] = { 'U', 'S', 'H', 'R', USHER_VERSION,
	USHER_ANSWER_ACKNOWLEDGEMENT, 0, USHER_ACKNOWLEDGEMENT_SIZE };

static uint64_t record_number(const uint8_t bytes[USHER_ACKNOWLEDGEMENT_SIZE])
{
	uint64_t n = 0;

	for (size_t i = USHER_HEADER_SIZE; i < USHER_ACKNOWLEDGEMENT_SIZE; i++)
		n = n << 8 | bytes[i];
	return n;
}

int handover_receipt_read(const uint8_t bytes[USHER_ACKNOWLEDGEMENT_SIZE], uint64_t *ret_number)
{
	static const uint8_t receipt[USHER_HEADER_SIZE] = { 'U', 'S', 'H', 'R', USHER_VERSION, USHER_ANSWER_RECEIPT,
		0, USHER_ACKNOWLEDGEMENT_SIZE };

	*ret_number = record_number(bytes);
	return memcmp(bytes, receipt, sizeof(receipt)) == 0 ? 0 : -EPROTO;
}

static int acknowledgement_read(struct handover_answers *answers, uint64_t n_sent)
{
	uint64_t n = record_number(answers->bytes);

	if (n <= answers->n_acknowledged || n > n_sent)
		return -EPROTO;
	answers->n_acknowledged = n;
	return 0;
}

/* One byte more of the record that is being read. */
static int answers_add(struct handover_answers *answers, uint8_t byte, uint64_t n_sent)
{
	const uint8_t *header = answers->announced ? acknowledgement : hello;

	if (answers->have < USHER_HEADER_SIZE && byte != header[answers->have]) {
		answers->deaf = !answers->announced;
		return answers->announced ? -EPROTO : 0;
	}
	answers->bytes[answers->have++] = byte;
	if (!answers->announced) {
		answers->announced = answers->have == sizeof(hello);
		answers->have %= sizeof(hello);
		return 0;
	}
	if (answers->have < USHER_ACKNOWLEDGEMENT_SIZE)
		return 0;
	answers->have = 0;
	return acknowledgement_read(answers, n_sent);
}

int handover_answers_read(struct handover_answers *answers, const uint8_t *bytes, size_t len, uint64_t n_sent)
{
	int error = 0;

	for (size_t i = 0; i < len && !answers->deaf && error == 0; i++)
		error = answers_add(answers, bytes[i], n_sent);
	return error;
}
