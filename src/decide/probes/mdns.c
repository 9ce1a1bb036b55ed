/* Multicast DNS, in datagrams, by its queries: RFC 6762 5, 8.1, 18. A DNS message (dns.c) that differs from others in
 * this:
 *
 *     00 00 | 00 00 | questions | known answers | records to be claimed | additional
 *      id     flags, 02 00 while known answers follow; 04 00 has no meaning and some set it
 *
 * Every question is of a name under "local" or "arpa", in class IN or ANY, whose first bit says that the answer may go to
 * the one who asks. The id is zero, or some question has that bit, which DNS has not. All records must end with the
 * datagram.
 *
 * Refuses answers and announcements, and queries of a resolver that knows nothing of multicast (RFC 6762 6.7), which are
 * dns. Owns no memory. */
#include "dns_record.h"
#include "look.h"
#include "probe.h"

enum {
	QUESTION_LEN_MIN = 5,
	CLASS_UNICAST = 0x8000, /* the answer may be sent so */
};

static bool is_local(const struct dns_question *question)
{
	const uint8_t *last = question->last;

	return last &&
		(look_word(last, last[0] + 1U, "\5local", 6) == VERDICT_YES ||
			look_word(last, last[0] + 1U, "\4arpa", 5) == VERDICT_YES);
}

enum verdict probe_mdns_datagram(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence->len, at = DNS_HEADER_LEN;
	struct dns_question question;
	bool may_unicast = false;

	if (len < DNS_HEADER_LEN + QUESTION_LEN_MIN || look_be16(bytes + 2) & ~DNS_FLAGS_MULTICAST)
		return VERDICT_NO;
	size_t questions = look_be16(bytes + 4);
	size_t records = (size_t)look_be16(bytes + 6) + look_be16(bytes + 8) + look_be16(bytes + 10);
	if (questions == 0)
		return VERDICT_NO;
	for (; questions > 0; questions--) {
		if (!dns_question_read(bytes, len, &at, &question) || !is_local(&question) || question.type == 0)
			return VERDICT_NO;
		uint32_t class = question.class & ~(uint32_t)CLASS_UNICAST;
		if (class != DNS_CLASS_IN && class != DNS_CLASS_ANY)
			return VERDICT_NO;
		may_unicast |= class != question.class;
	}
	if (look_be16(bytes) != 0 && !may_unicast)
		return VERDICT_NO;
	return dns_records_skip(bytes, len, &at, records) && at == len ? VERDICT_YES : VERDICT_NO;
}
