/* CoAP, in datagrams, by its requests and its ping: RFC 7252 3 and 5.10, RFC 8132 (FETCH, PATCH), options also of RFC
 * 7641, 7959, 7967, 8613, 8768, 9175 and 9177.
 *
 *     01 0t nnnn | code | id[2] | token[n] | dl .. option | dl .. option | ff payload
 *        con       1..7           0..8       number behind the one before it, length
 *        non
 *     01 00 0000 | 00   | id[2]            a ping, without more
 *
 * The options must end with the datagram or with the marker of a payload that is not empty; one that is known has its
 * length, one that is not must be elective (even), text is UTF-8 without controls. `host` is Uri-Host, where the request
 * has one; it is left out for an address. A short request has few fixed bits and the ping 16: the manual gives how many
 * random datagrams are taken. Refuses answers, acknowledgements and resets. CoAP over DTLS is dtls. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

enum {
	HEADER_LEN = 4,
	VERSION_AND_REQUEST = 0x40, /* confirmable or not: the bit behind these three */
	VERSION_MASK = 0xe0,
	CONFIRMABLE = 0x40,
	TOKEN_MASK = 0x0f,
	TOKEN_MAX = 8,
	CODE_MAX = 7, /* iPATCH */
	PAYLOAD_MARKER = 0xff,
	OPTION_URI_HOST = 3,
	OPTION_PRIVATE = 2048, /* from here on they are a vendor's, or for experiments */
};

static const struct option {
	uint16_t number, len_min, len_max;
	bool is_text;
} options[] = {
	{ 1, 0, 8, false },                                    /* If-Match */
	{ OPTION_URI_HOST, 1, 255, true }, { 4, 1, 8, false }, /* ETag */
	{ 5, 0, 0, false },                                    /* If-None-Match */
	{ 6, 0, 3, false },                                    /* Observe */
	{ 7, 0, 2, false },                                    /* Uri-Port */
	{ 8, 0, 255, true },                                   /* Location-Path */
	{ 9, 0, 255, false },                                  /* OSCORE */
	{ 11, 0, 255, true },                                  /* Uri-Path */
	{ 12, 0, 2, false },                                   /* Content-Format */
	{ 14, 0, 4, false },                                   /* Max-Age */
	{ 15, 0, 255, true },                                  /* Uri-Query */
	{ 16, 1, 1, false },                                   /* Hop-Limit */
	{ 17, 0, 2, false },                                   /* Accept */
	{ 19, 0, 3, false },                                   /* Q-Block1 */
	{ 20, 0, 255, true },                                  /* Location-Query */
	{ 21, 0, 0, false },                                   /* EDHOC */
	{ 23, 0, 3, false },                                   /* Block2 */
	{ 27, 0, 3, false },                                   /* Block1 */
	{ 28, 0, 4, false },                                   /* Size2 */
	{ 31, 0, 3, false },                                   /* Q-Block2 */
	{ 35, 1, 1034, true },                                 /* Proxy-Uri */
	{ 39, 1, 255, true },                                  /* Proxy-Scheme */
	{ 60, 0, 4, false },                                   /* Size1 */
	{ 252, 1, 40, false },                                 /* Echo */
	{ 258, 0, 1, false },                                  /* No-Response */
	{ 292, 0, 8, false },                                  /* Request-Tag */
};

/* UTF-8 without controls. */
static bool is_text(const uint8_t *at, size_t len)
{
	size_t more = 0;

	for (size_t i = 0; i < len; i++) {
		bool continues = (at[i] & 0xc0) == 0x80;
		if (continues != (more > 0) || at[i] < ' ' || at[i] == 0x7f || at[i] > 0xf4)
			return false;
		if (continues)
			more--;
		else
			more = (at[i] >= 0xc2) + (at[i] >= 0xe0) + (at[i] >= 0xf0);
		if (at[i] == 0xc0 || at[i] == 0xc1)
			return false;
	}
	return more == 0;
}

static bool option_is_sound(uint32_t number, const uint8_t *at, size_t len)
{
	if (number == 0)
		return false;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (options[i].number == number)
			return len >= options[i].len_min && len <= options[i].len_max &&
				(!options[i].is_text || is_text(at, len));
	return number >= OPTION_PRIVATE || number % 2 == 0;
}

/* Four bits, or what 13 and 14 say is behind them, RFC 7252 3.1. */
static bool number_read(uint8_t nibble, const uint8_t **at, const uint8_t *end, uint32_t *ret)
{
	if (nibble == 15 || (nibble > 12 && end - *at < nibble - 12))
		return false;
	if (nibble == 14) {
		*ret = 269 + look_be16(*at);
		*at += 2;
	} else {
		*ret = nibble == 13 ? 13U + *(*at)++ : nibble;
	}
	return true;
}

/* From behind the token to the end. */
static bool options_match(const uint8_t *at, const uint8_t *end, struct findings *findings)
{
	uint8_t name[HOST_MAX];
	size_t name_len = 0;
	uint32_t number = 0, delta, len;

	while (at < end && *at != PAYLOAD_MARKER) {
		uint8_t first = *at++;
		if (!number_read(first >> 4, &at, end, &delta) || !number_read(first & 0x0f, &at, end, &len) ||
			len > (size_t)(end - at) || delta > UINT16_MAX - number)
			return false;
		number += delta;
		if (!option_is_sound(number, at, len))
			return false;
		if (number == OPTION_URI_HOST && name_len == 0)
			name_len = host_normalize(name, at, len, HOST_AUTHORITY);
		at += len;
	}
	if (end - at == 1)
		return false; /* the marker alone */
	finding_settle(findings, ATTRIBUTE_HOST, name, name_len);
	return true;
}

enum verdict probe_coap_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len;

	if (len < HEADER_LEN || (bytes[0] & VERSION_MASK) != VERSION_AND_REQUEST)
		return VERDICT_NO;
	size_t token_len = bytes[0] & TOKEN_MASK;
	if (bytes[1] == 0 && len == HEADER_LEN && bytes[0] == CONFIRMABLE) {
		finding_close(findings, ATTRIBUTE_HOST);
		return VERDICT_YES;
	}
	if (bytes[1] == 0 || bytes[1] > CODE_MAX || token_len > TOKEN_MAX || token_len > len - HEADER_LEN)
		return VERDICT_NO;
	return options_match(bytes + HEADER_LEN + token_len, bytes + len, findings) ? VERDICT_YES : VERDICT_NO;
}
