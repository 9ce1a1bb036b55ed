/* SNMP, in datagrams, in BER: version 1 (RFC 1157 4), 2c (RFC 1901, RFC 3416 3), 3 (RFC 3412 6, RFC 3414 2.4).
 *
 *     30 LL | 02 01 00 | 04 LL community | a0 LL | 02 .. | 02 .. | 02 .. | 30 LL ...       1; 2c with 01
 *                                          request, and no answer
 *                                          a4 LL | 06 .. | ...                             the trap of version 1
 *     30 LL | 02 01 03 | 30 LL 02 .. 02 .. 04 01 ff 02 .. | 04 LL parameters | 30 LL ...   3; 04 LL: encrypted
 *
 * Each length must end where what is around it does, the outermost with the datagram; any of them may be in the long
 * form. YES gives the `version`. Communities are passwords and are not told. Refuses answers and reports. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#include <string.h>

enum {
	TAG_INTEGER = 0x02,
	TAG_STRING = 0x04,
	TAG_OBJECT = 0x06,
	TAG_SEQUENCE = 0x30,
	TAG_TRAP_1 = 0xa4,
	INTEGER_LEN_MAX = 5,
	VERSION_1 = 0,
	VERSION_2C = 1,
	VERSION_3 = 3,
	LENGTH_LEN_MAX = 4,
};

/* A bit for each of the last four bits of a tag that a client sends: get, get next, set, trap; and get bulk, inform, trap 2. */
#define TAGS_1  (1U << 0 | 1U << 1 | 1U << 3 | 1U << 4)
#define TAGS_2C (1U << 0 | 1U << 1 | 1U << 3 | 1U << 5 | 1U << 6 | 1U << 7)

struct element {
	const uint8_t *at, *end; /* its contents */
};

/* Takes an element off the front of `in`. */
static bool element_take(struct element *in, uint8_t tag, struct element *ret)
{
	const uint8_t *at = in->at;

	if (in->end - at < 2 || *at++ != tag)
		return false;
	size_t len = *at++;
	if (len & 0x80) {
		size_t n = len & 0x7f;
		if (n == 0 || n > LENGTH_LEN_MAX || n > (size_t)(in->end - at))
			return false;
		for (len = 0; n > 0; n--)
			len = len << 8 | *at++;
	}
	if (len > (size_t)(in->end - at))
		return false;
	*ret = (struct element){ at, at + len };
	in->at = at + len;
	return true;
}

static bool integers_take(struct element *in, unsigned count)
{
	struct element integer;

	for (; count > 0; count--)
		if (!element_take(in, TAG_INTEGER, &integer) || integer.at == integer.end ||
			integer.end - integer.at > INTEGER_LEN_MAX)
			return false;
	return true;
}

/* The community, and one request behind it. */
static bool community_match(struct element *message, uint32_t tags)
{
	struct element community, request, inner;

	if (!element_take(message, TAG_STRING, &community) || message->at == message->end)
		return false;
	uint8_t tag = *message->at;
	if ((tag & 0xf0) != 0xa0 || !(tags >> (tag & 0x0f) & 1) || !element_take(message, tag, &request) ||
		message->at != message->end)
		return false;
	if (tag == TAG_TRAP_1)
		return element_take(&request, TAG_OBJECT, &inner);
	return integers_take(&request, 3) && element_take(&request, TAG_SEQUENCE, &inner) &&
		request.at == request.end;
}

static bool version_3_match(struct element *message)
{
	struct element header, inner;

	if (!element_take(message, TAG_SEQUENCE, &header) || !integers_take(&header, 2) ||
		!element_take(&header, TAG_STRING, &inner) || inner.end - inner.at != 1 ||
		!integers_take(&header, 1) || header.at != header.end || !element_take(message, TAG_STRING, &inner))
		return false;
	return (element_take(message, TAG_SEQUENCE, &inner) || element_take(message, TAG_STRING, &inner)) &&
		message->at == message->end;
}

enum verdict probe_snmp_datagram(const struct evidence *evidence, struct findings *findings)
{
	struct element datagram = { evidence->bytes, evidence->bytes + evidence->len }, message, version;
	const char *name = NULL;

	if (!element_take(&datagram, TAG_SEQUENCE, &message) || datagram.at != datagram.end ||
		!element_take(&message, TAG_INTEGER, &version) || version.end - version.at != 1)
		return VERDICT_NO;
	if (*version.at == VERSION_1 && community_match(&message, TAGS_1))
		name = "1";
	else if (*version.at == VERSION_2C && community_match(&message, TAGS_2C))
		name = "2c";
	else if (*version.at == VERSION_3 && version_3_match(&message))
		name = "3";
	if (!name)
		return VERDICT_NO;
	finding_settle(findings, ATTRIBUTE_VERSION, (const uint8_t *)name, strlen(name));
	return VERDICT_YES;
}
