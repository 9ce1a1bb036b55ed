/* Names and records of a DNS message that has arrived whole. A name is followed through its pointers, each of which must
 * point to what is before it, so that none is followed twice. Refuses names of more than 255 bytes. Owns no memory. */
#include "dns_record.h"
#include "look.h"

enum {
	LABEL_MAX = 63,
	NAME_LEN_MAX = 255,
	POINTER = 0xc0,
	QUESTION_REST_LEN = 4, /* behind the name: type, class */
	RECORD_REST_LEN = 10,  /* these, time to live, length */
};

/* `ret->type` and `ret->class` are not set. */
static bool name_read(const uint8_t *message, size_t len, size_t *at, struct dns_question *ret)
{
	size_t from = *at, limit = len, name_len = 0;
	bool jumped = false;

	ret->labels = 0;
	ret->last = NULL;
	for (;;) {
		if (from >= limit)
			return false;
		uint8_t label_len = message[from];
		if ((label_len & POINTER) == POINTER) {
			if (limit - from < 2)
				return false;
			size_t target = look_be16(message + from) & 0x3fff;
			if (!jumped)
				*at = from + 2;
			if (target < DNS_HEADER_LEN || target >= from)
				return false;
			jumped = true;
			limit = from;
			from = target;
			continue;
		}
		if (label_len > LABEL_MAX || label_len >= limit - from || (name_len += 1U + label_len) > NAME_LEN_MAX)
			return false;
		if (label_len > 0) {
			ret->last = message + from;
			ret->labels++;
		}
		from += 1U + label_len;
		if (label_len > 0)
			continue;
		if (!jumped)
			*at = from;
		return true;
	}
}

bool dns_question_read(const uint8_t *message, size_t len, size_t *at, struct dns_question *ret)
{
	if (!name_read(message, len, at, ret) || len - *at < QUESTION_REST_LEN)
		return false;
	ret->type = look_be16(message + *at);
	ret->class = look_be16(message + *at + 2);
	*at += QUESTION_REST_LEN;
	return true;
}

bool dns_records_skip(const uint8_t *message, size_t len, size_t *at, size_t count)
{
	struct dns_question name;

	for (; count > 0; count--) {
		if (!name_read(message, len, at, &name) || len - *at < RECORD_REST_LEN)
			return false;
		size_t data_len = look_be16(message + *at + 8);
		*at += RECORD_REST_LEN;
		if (data_len > len - *at)
			return false;
		*at += data_len;
	}
	return true;
}
