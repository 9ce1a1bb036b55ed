/* The two formats of a handover message, read from bytes that may be anything.
 *
 * Refuses a magic, version or length that is not of either format, an attribute that runs over the end, comes
 * twice, is too long or holds a NUL. Ignores attributes and flags that it does not know. Owns no memory. */
#include "message.h"
#include <errno.h>
#include <string.h>

#define ATTRIBUTE_HEADER_SIZE 4

static unsigned number16(const uint8_t *bytes)
{
	return (unsigned)bytes[0] << 8 | bytes[1];
}

int message_length(const uint8_t *bytes, size_t len)
{
	static const uint32_t tcpmux = USHER_TCPMUX_MAGIC;

	if (len < sizeof(tcpmux))
		return sizeof(tcpmux);
	if (memcmp(bytes, &tcpmux, sizeof(tcpmux)) == 0)
		return sizeof(tcpmux);
	if (memcmp(bytes, USHER_MAGIC, strlen(USHER_MAGIC)) != 0)
		return -EBADMSG;
	if (len < USHER_HEADER_SIZE)
		return USHER_HEADER_SIZE;
	unsigned total = number16(bytes + 6);
	if (bytes[4] != USHER_VERSION || total < USHER_HEADER_SIZE || total > USHER_MESSAGE_MAX)
		return -EBADMSG;
	return (int)total;
}

static char *attribute_place(struct usher_connection *c, unsigned type)
{
	switch (type) {
	case USHER_ATTRIBUTE_SERVICE:
		return c->service;
	case USHER_ATTRIBUTE_PROTOCOL:
		return c->protocol;
	case USHER_ATTRIBUTE_SNI:
		return c->sni;
	case USHER_ATTRIBUTE_ALPN:
		return c->alpn;
	case USHER_ATTRIBUTE_HOST:
		return c->host;
	case USHER_ATTRIBUTE_CLIENT:
		return c->client;
	case USHER_ATTRIBUTE_LOCAL:
		return c->local;
	default:
		return NULL;
	}
}

static int attribute_read(struct usher_connection *c, unsigned type, const uint8_t *value, size_t len)
{
	char *place = attribute_place(c, type);

	if (type == USHER_ATTRIBUTE_ID) {
		if (len != sizeof(c->id) || c->id != 0)
			return -EBADMSG;
		for (size_t i = 0; i < len; i++)
			c->id = c->id << 8 | value[i];
		return 0;
	}
	if (!place)
		return 0;
	/* Cutting a name short would make another name of it: better no connection than a wrong one. */
	if (len > USHER_ATTRIBUTE_MAX || memchr(value, 0, len) || *place)
		return -EBADMSG;
	memcpy(place, value, len); /* zeroed before: the NUL is there */
	return 0;
}

int message_read(const uint8_t *bytes, size_t len, struct usher_connection *ret)
{
	size_t at = USHER_HEADER_SIZE;

	memset(ret, 0, sizeof(*ret));
	ret->fd = ret->early = -1;
	if (len < USHER_HEADER_SIZE)
		return 0;                                          /* tcpmux: its four bytes say nothing more */
	ret->flags = bytes[5] & ~(uint32_t)USHER_FLAG_ACKNOWLEDGE; /* the channel's business */
	while (at < len) {
		if (len - at < ATTRIBUTE_HEADER_SIZE)
			return -EBADMSG;
		size_t value_len = number16(bytes + at + 2);
		if (len - at - ATTRIBUTE_HEADER_SIZE < value_len)
			return -EBADMSG;
		int error = attribute_read(ret, number16(bytes + at), bytes + at + ATTRIBUTE_HEADER_SIZE, value_len);
		if (error < 0)
			return error;
		at += ATTRIBUTE_HEADER_SIZE + value_len;
	}
	return 0;
}
