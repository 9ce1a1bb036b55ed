/* DNS by the client's first message, RFC 1035 4.1 and 4.2.2: a query of any type (also AXFR, IXFR, with EDNS), a NOTIFY
 * (RFC 1996), an UPDATE (RFC 2136), a STATUS, also without a question.
 *
 *     LL LL | id id | flags | qd qd | an an | ns ns | ar ar | 3 www 7 example 0 | type | class | records
 *     TCP             0xxxxxxx xxxx0000      one question       1..63 bytes each          ^ YES
 *     only            QR op AA TC RD, RA Z AD CD rcode          255 in all
 *
 * There is no magic number, so everything has to agree: a query, without error, with one question and the counts of
 * records that its kind has; a name of labels without pointers, a type, a class that exists; the length, which ends with
 * the question if no records follow and has room for them if some do. YES with the class.
 *
 * In a datagram all records must end with it, and a query may have up to QUESTIONS_MAX questions, each as the first; some
 * stub resolvers have asked so, though few servers answer (RFC 9619).
 *
 * Multicast DNS, LLMNR and NetBIOS names have the same header and are refused where it shows: NetBIOS by its 32 letters A
 * to P (most of them: they are often broken), mDNS (mdns.c) by a QU bit, or by id and flags of zero for a name under
 * "local" or "arpa" or for several questions, LLMNR by flags of zero and a single label, without EDNS. Others look like
 * DNS and are taken for it. The name asked about is no `host`: that is a server's that a client wants.
 *
 * Over TCP a message of more than MESSAGE_LEN_MAX bytes is refused, as are the few lengths that are the beginning of a
 * SOCKS request: nobody waits for a twelfth byte that does not come. Microsoft's servers mark a request for a zone with
 * the bytes "MS" behind the question. Owns no memory. */
#include "dns_record.h"
#include "finding.h"
#include "look.h"
#include "probe.h"

enum {
	LENGTH_LEN = 2,
	HEADER_LEN = DNS_HEADER_LEN,
	QUESTIONS_MAX = 16,       /* of a datagram */
	QUESTION_LEN_MIN = 1 + 4, /* the root's */
	MESSAGE_LEN_MAX = 8191,
	LABEL_MAX = 63,
	NAME_LEN_MAX = 255,
	RECORD_LEN_MIN = 11,
	MARK_LEN = 2,        /* of Microsoft's */
	RECORD_REST_LEN = 6, /* of a record behind the class: time to live, length */
	OPCODE_QUERY = 0,
	OPCODE_STATUS = 2,
	OPCODE_NOTIFY = 4,
	OPCODE_UPDATE = 5,
	FLAG_RESPONSE = 0x80,
	FLAG_AUTHORITATIVE = 0x04,
	FLAG_TRUNCATED = 0x02,
	FLAG_AVAILABLE = 0x80, /* of recursion; as the two before it of no meaning here, but some set it */
	CODE_MASK = 0x0f,
	TYPE_SOA = 6,
	TYPE_NIMLOC = 32, /* NetBIOS: NB */
	TYPE_SRV = 33,    /* NetBIOS: NBSTAT */
	TYPE_OPT = 41,
	TYPE_TKEY = 249,
	TYPE_IXFR = 251,
	TYPE_AXFR = 252,
	CLASS_CHAOS = 3,
	CLASS_HESIOD = 4,
	NETBIOS_NAME_LEN = 32,
};

struct message {
	const uint8_t *bytes;
	size_t len;   /* of them there are so many, */
	size_t total; /* and there will be so many */
	uint8_t questions_max;
	uint32_t opcode, questions, answers, authorities, additionals;
};

struct question {
	size_t end; /* behind the class */
	size_t labels;
	size_t last; /* where the last label begins, with its length */
	uint32_t type, class;
};

/* Counts as the kind of message has them; those that depend on the type are looked at with the question. */
static bool counts_match(const struct message *message)
{
	uint32_t records = message->answers + message->authorities + message->additionals;

	if (message->total < HEADER_LEN + (message->questions ? QUESTION_LEN_MIN : 0) + records * RECORD_LEN_MIN)
		return false;
	switch (message->opcode) {
	case OPCODE_QUERY:
		/* without a question it asks for a server's cookie, RFC 7873 5.4 */
		return message->answers <= message->questions && message->authorities <= message->questions &&
			message->additionals + message->questions > 0 && message->additionals <= 3;
	case OPCODE_STATUS:
		return records == message->additionals && records <= message->questions &&
			(message->questions == 1 || message->total == HEADER_LEN);
	case OPCODE_NOTIFY:
		return message->questions == 1 && message->answers <= 1 && message->authorities == 0 &&
			message->additionals <= 3;
	default:
		return message->questions == 1; /* an update's records are many */
	}
}

/* OPCODES has a bit for each that is. */
#define OPCODES (1U << OPCODE_QUERY | 1U << OPCODE_STATUS | 1U << OPCODE_NOTIFY | 1U << OPCODE_UPDATE)

static enum verdict header_read(struct message *message)
{
	const uint8_t *bytes = message->bytes;
	size_t len = message->len;

	if (len > 2) {
		message->opcode = bytes[2] >> 3 & 15;
		if (bytes[2] & FLAG_RESPONSE || !(OPCODES >> message->opcode & 1))
			return VERDICT_NO;
	}
	if ((len > 3 && bytes[3] & CODE_MASK) || (len > 4 && bytes[4] != 0) ||
		(len > 5 && bytes[5] > message->questions_max))
		return VERDICT_NO;
	if (len > 5 && bytes[5] == 0 &&
		(bytes[2] & (FLAG_AUTHORITATIVE | FLAG_TRUNCATED) || bytes[3] & FLAG_AVAILABLE))
		return VERDICT_NO;
	if (len > 6 && message->opcode != OPCODE_UPDATE && bytes[6] != 0)
		return VERDICT_NO;
	if (len < HEADER_LEN)
		return VERDICT_MORE;
	message->questions = look_be16(bytes + 4);
	message->answers = look_be16(bytes + 6);
	message->authorities = look_be16(bytes + 8);
	message->additionals = look_be16(bytes + 10);
	return counts_match(message) ? VERDICT_YES : VERDICT_NO;
}

static enum verdict question_read(const struct message *message, struct question *ret)
{
	size_t at = HEADER_LEN, label_len;

	*ret = (struct question){ 0 };
	do {
		if (at == message->len)
			return at == message->total ? VERDICT_NO : VERDICT_MORE;
		label_len = message->bytes[at];
		if (label_len > LABEL_MAX || at + 1 + label_len - HEADER_LEN > NAME_LEN_MAX ||
			at + 1 + label_len + 4 > message->total)
			return VERDICT_NO;
		if (at + 1 + label_len > message->len)
			return VERDICT_MORE;
		if (label_len > 0) {
			ret->last = at;
			ret->labels++;
		}
		at += 1 + label_len;
	} while (label_len > 0);
	ret->end = at + 4;
	if (ret->end > message->len)
		return VERDICT_MORE;
	ret->type = look_be16(message->bytes + at);
	ret->class = look_be16(message->bytes + at + 2);
	return VERDICT_YES;
}

static bool class_exists(uint32_t class)
{
	return class == DNS_CLASS_IN || class == CLASS_CHAOS || class == CLASS_HESIOD || class == DNS_CLASS_ANY;
}

static bool question_matches(const struct message *message, const struct question *question)
{
	uint32_t records = message->answers + message->authorities + message->additionals;

	if (message->questions == 0 && message->opcode == OPCODE_QUERY)
		return question->type == TYPE_OPT && question->labels == 0;
	if (question->type == 0 || !class_exists(question->class))
		return false;
	if (message->opcode == OPCODE_UPDATE && question->type != TYPE_SOA)
		return false;
	if (message->opcode == OPCODE_QUERY && message->answers > 0 && question->type != TYPE_TKEY)
		return false;
	if (message->opcode == OPCODE_QUERY && message->authorities > 0 && question->type != TYPE_IXFR)
		return false;
	size_t room = message->total - question->end;
	if (message->questions == 0)
		return room >= RECORD_REST_LEN;
	if (records == 0 && question->type == TYPE_AXFR && room == MARK_LEN)
		return true; /* if it is the mark */
	return records > 0 ? room >= records * RECORD_LEN_MIN : room == 0;
}

/* What may be behind a request for a zone. */
static enum verdict mark_match(const struct message *message, const struct question *question)
{
	if (question->type != TYPE_AXFR || message->total - question->end != MARK_LEN)
		return VERDICT_YES;
	return look_literal(message->bytes + question->end, message->len - question->end, "MS", MARK_LEN);
}

/* Half bytes as letters, RFC 1001 14.1. */
static bool is_netbios(const struct message *message, const struct question *question)
{
	const uint8_t *name = message->bytes + HEADER_LEN;
	bool is_its_type = question->type == TYPE_NIMLOC || question->type == TYPE_SRV;
	int letters = 0;

	if (name[0] != NETBIOS_NAME_LEN)
		return false;
	for (size_t i = 1; i <= NETBIOS_NAME_LEN; i++)
		letters += name[i] >= 'A' && name[i] <= 'P';
	return letters >= NETBIOS_NAME_LEN - (is_its_type ? 8 : 4);
}

/* RFC 4795 2.1.1, RFC 6762 18. */
static bool is_multicast(const struct message *message, const struct question *question)
{
	const uint8_t *bytes = message->bytes, *last = bytes + question->last;

	if (look_be16(bytes + 2) & ~DNS_FLAGS_MULTICAST || question->labels == 0)
		return false;
	if (question->labels == 1 && message->additionals == 0)
		return true;
	return bytes[0] == 0 && bytes[1] == 0 &&
		(look_word(last, last[0] + 1U, "\5local", 6) == VERDICT_YES ||
			look_word(last, last[0] + 1U, "\4arpa", 5) == VERDICT_YES);
}

static enum verdict message_match(struct message *message)
{
	struct question question;

	enum verdict verdict = header_read(message);
	if (verdict == VERDICT_YES && message->total == HEADER_LEN)
		return VERDICT_YES;
	if (verdict == VERDICT_YES)
		verdict = question_read(message, &question);
	if (verdict != VERDICT_YES)
		return verdict;
	if (!question_matches(message, &question) || is_netbios(message, &question))
		return VERDICT_NO;
	return mark_match(message, &question);
}

/* A query with several questions. */
static bool many_match(const struct message *message)
{
	size_t at = HEADER_LEN;
	struct dns_question question;

	if (message->opcode != OPCODE_QUERY || message->answers + message->authorities > 0 ||
		look_be32(message->bytes) == 0)
		return false;
	for (uint32_t i = 0; i < message->questions; i++)
		if (!dns_question_read(message->bytes, message->len, &at, &question) || question.type == 0 ||
			!class_exists(question.class))
			return false;
	return dns_records_skip(message->bytes, message->len, &at, message->additionals) && at == message->len;
}

static bool datagram_match(struct message *message)
{
	struct question question;
	size_t at = HEADER_LEN;

	if (header_read(message) != VERDICT_YES)
		return false;
	if (message->questions > 1)
		return many_match(message);
	if (message->len == HEADER_LEN)
		return true;
	if (question_read(message, &question) != VERDICT_YES || !question_matches(message, &question) ||
		is_netbios(message, &question) || is_multicast(message, &question))
		return false;
	if (message->questions > 0)
		at = question.end;
	return dns_records_skip(message->bytes, message->len, &at,
		       (size_t)message->answers + message->authorities + message->additionals) &&
		at == message->len;
}

/* SOCKS 4 is 04 01 or 04 02, SOCKS 5 is 05 and how many methods follow; such a client then waits. */
static bool is_socks(const uint8_t *bytes)
{
	return (bytes[0] == 4 && (bytes[1] == 1 || bytes[1] == 2)) ||
		(bytes[0] == 5 && bytes[1] >= 1 && bytes[1] <= 8);
}

enum verdict probe_dns(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence);
	const uint8_t *bytes = evidence->bytes;

	if (len > 0 && bytes[0] > MESSAGE_LEN_MAX >> 8)
		return VERDICT_NO;
	if (len < LENGTH_LEN)
		return VERDICT_MORE;
	struct message message = {
		.bytes = bytes + LENGTH_LEN, .len = len - LENGTH_LEN, .total = look_be16(bytes), .questions_max = 1
	};
	if (message.total < HEADER_LEN || is_socks(bytes))
		return VERDICT_NO;
	if (message.len > message.total)
		message.len = message.total;
	return message_match(&message);
}

enum verdict probe_dns_datagram(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence->len;
	struct message message = {
		.bytes = evidence->bytes, .len = len, .total = len, .questions_max = QUESTIONS_MAX
	};

	return len >= HEADER_LEN && datagram_match(&message) ? VERDICT_YES : VERDICT_NO;
}
