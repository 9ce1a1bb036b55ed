/* Modbus/TCP by its first request: "MODBUS Messaging on TCP/IP Implementation Guide" 1.0b 3.1.3 and "MODBUS Application
 * Protocol" 1.1b3 section 6.
 *
 *     tt tt | 00 00 | LL LL | unit | function | data
 *     any     Modbus  what follows             ^ YES at the end of the request
 *
 * It has no mark of its own, so everything must agree: a function that a client asks for, the length that it has, and in it
 * addresses that do not run past the last one, counts within their bounds, values that exist, counts of bytes that are right.
 * Refuses user-defined functions but 90 (UMAS, which is never documented and everywhere), file records, and a transaction number of 0501 with the zero behind it, which is all that a
 * SOCKS 5 client says. Owns no memory. */
#include "look.h"
#include "probe.h"

enum {
	HEADER_LEN = 6,
	LENGTH_MIN = 2,
	LENGTH_MAX = 254,
	ADDRESSES = 65536,
};

/* What a function's data are. */
enum form {
	FORM_NONE, /* no such function */
	FORM_EMPTY,
	FORM_RANGE,  /* address[2] count[2] */
	FORM_COIL,   /* address[2] 0000 or ff00 */
	FORM_VALUE,  /* address[2] value[2] */
	FORM_TEST,   /* 00 00 to 00 12, value[2] */
	FORM_WRITE,  /* address[2] count[2] n data[n] */
	FORM_MASK,   /* address[2] and[2] or[2] */
	FORM_BOTH,   /* address[2] count[2] address[2] count[2] n data[n] */
	FORM_QUEUE,  /* address[2] */
	FORM_DEVICE, /* 0e 01..04 object */
	FORM_UMAS,   /* session, function below 80, data: Schneider Electric's */
};

static const struct function {
	uint8_t form, data_min;
	uint16_t count_max;
} functions[] = {
	[1] = { FORM_RANGE, 4, 2000 },
	[2] = { FORM_RANGE, 4, 2000 },
	[3] = { FORM_RANGE, 4, 125 },
	[4] = { FORM_RANGE, 4, 125 },
	[5] = { FORM_COIL, 4, 0 },
	[6] = { FORM_VALUE, 4, 0 },
	[7] = { FORM_EMPTY, 0, 0 },
	[8] = { FORM_TEST, 4, 0 },
	[11] = { FORM_EMPTY, 0, 0 },
	[12] = { FORM_EMPTY, 0, 0 },
	[15] = { FORM_WRITE, 6, 1968 },
	[16] = { FORM_WRITE, 7, 123 },
	[17] = { FORM_EMPTY, 0, 0 },
	[22] = { FORM_MASK, 6, 0 },
	[23] = { FORM_BOTH, 11, 125 },
	[24] = { FORM_QUEUE, 2, 0 },
	[43] = { FORM_DEVICE, 3, 0 },
	[90] = { FORM_UMAS, 2, 0 },
};

static bool range_match(const uint8_t *at, uint32_t count_max)
{
	uint32_t count = look_be16(at + 2);

	return count > 0 && count <= count_max && look_be16(at) + count <= ADDRESSES;
}

static size_t bytes_of(uint8_t function, uint32_t count)
{
	return function == 15 ? (count + 7) / 8 : 2 * (size_t)count;
}

/* All the data, which are at least as long as they must be. */
static bool data_match(uint8_t function, const uint8_t *data, size_t len)
{
	const struct function *row = &functions[function];

	switch (row->form) {
	case FORM_RANGE:
		return range_match(data, row->count_max);
	case FORM_COIL:
		return look_be16(data + 2) == 0 || look_be16(data + 2) == 0xff00;
	case FORM_TEST:
		return look_be16(data) <= 0x12;
	case FORM_WRITE:
		return range_match(data, row->count_max) && data[4] == len - 5 &&
			len - 5 == bytes_of(function, look_be16(data + 2));
	case FORM_BOTH:
		return range_match(data, row->count_max) && range_match(data + 4, 121) && data[8] == len - 9 &&
			len - 9 == bytes_of(function, look_be16(data + 6));
	case FORM_UMAS:
		return data[1] > 0 && data[1] < 0x80;
	case FORM_DEVICE:
		return data[0] == 0x0e && data[1] >= 1 && data[1] <= 4;
	default:
		return true;
	}
}

/* Is the length one that the function can have? */
static bool length_match(uint8_t function, size_t length)
{
	if (function >= sizeof(functions) / sizeof(functions[0]) || functions[function].form == FORM_NONE)
		return false;
	bool is_open = functions[function].form == FORM_WRITE || functions[function].form == FORM_BOTH ||
		functions[function].form == FORM_UMAS;
	size_t data_len = length - LENGTH_MIN;
	return is_open ? data_len >= functions[function].data_min : data_len == functions[function].data_min;
}

enum verdict probe_modbus(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len;

	if ((len > 2 && bytes[2] != 0) || (len > 3 && bytes[3] != 0) || (len > 4 && bytes[4] != 0))
		return VERDICT_NO;
	if (len > 1 && look_be16(bytes) == 0x0501)
		return VERDICT_NO;
	if (len < HEADER_LEN)
		return VERDICT_MORE;
	size_t length = look_be16(bytes + 4);
	if (length < LENGTH_MIN || length > LENGTH_MAX)
		return VERDICT_NO;
	if (len > HEADER_LEN + 1 && !length_match(bytes[HEADER_LEN + 1], length))
		return VERDICT_NO;
	if (len < HEADER_LEN + length)
		return VERDICT_MORE;
	return data_match(bytes[HEADER_LEN + 1], bytes + HEADER_LEN + 2, length - 2) ? VERDICT_YES : VERDICT_NO;
}
