/* nDPI behind usher's module interface: every protocol over TCP that the library can name becomes a name for
 * `match`.
 *
 *     identifiers = (
 *       { module = "ndpi"; bytes = 512; without = [ "gnutella" ]; } );
 *
 * nDPI was made to watch whole conversations, packet by packet; it has no notion of MORE, and a protocol that
 * it names from a message it may not name from half of it, nor from two in a row. To answer the same however
 * the network cut the bytes, it is shown a fixed choice of beginnings of them, shortest first, each as the
 * one packet of a conversation of its own: those that end a line, those whose length is written in their
 * first bytes, and a few between (see beginning_is_shown()). The first one that it names decides. A protocol
 * of which the bytes are no possible first message (see is_first_message()) is not believed. With `bytes`
 * bytes, or BEGINNINGS_MOST beginnings, and no name the answer is NO for every name; until then it is MORE.
 *
 * What usher knows by itself, SSH, TLS and HTTP, is not shown to nDPI: all of its names say NO at once.
 *
 * Refuses to be loaded twice into one process: nDPI's memory is counted once. nDPI correlates conversations
 * by their addresses; as each beginning has addresses of its own, and names that are not from the bytes
 * themselves are not believed, no client can influence what another one is taken for. Owns one nDPI, one
 * conversation, whose memory is given back before the next, and a table of beginnings that were looked at
 * already; all live as long as the process. */
#include <arpa/inet.h>
#include <errno.h>
#include <ndpi_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usher/module.h>

USHER_MODULE;

#define BYTES_PRESET    512
#define BYTES_MOST      2048
#define BEGINNINGS_MOST 32 /* that are shown of one connection: no client can ask for more work than this */
#define SEEN_MAX        64 /* connections whose beginnings are remembered while they are undecided */

#define UNKNOWN NDPI_PROTOCOL_UNKNOWN

/* A connection so far: bytes that were looked at, and what came of it. */
struct seen {
	uint64_t used; /* the last use; 0: never */
	size_t len;    /* of `bytes`, all of whose beginnings were shown */
	unsigned shown;
	uint16_t protocol, application;
	uint8_t bytes[BYTES_MOST];
};

static struct {
	struct ndpi_detection_module_struct *ndpi;
	struct ndpi_flow_struct *flow;
	size_t limit;
	struct seen seen[SEEN_MAX];
	struct seen *current; /* of the evidence with this serial */
	uint64_t serial;
	uint64_t uses;
	uint32_t packets;
} module;

/* ---- showing bytes to nDPI ---- */

struct packet {
	struct ndpi_iphdr ip;
	struct ndpi_tcphdr tcp;
	uint8_t bytes[BYTES_MOST];
};

/* Two addresses of 10.0.0.0/8 that do not come again soon, neither alone nor as a pair or a sum. */
static void addresses_take(struct packet *packet)
{
	uint32_t n = ++module.packets;

	packet->ip.saddr = htonl(0x0a000000 | (n & 0xffffff));
	packet->ip.daddr = htonl(0x0a000000 | (n * 0x9e3779b1U >> 8));
}

static ndpi_protocol packet_identify(const uint8_t *bytes, size_t len)
{
	static struct packet packet = {
		.ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP },
		.tcp = { .doff = 5, .ack = 1, .psh = 1 },
	};
	size_t size = sizeof(packet.ip) + sizeof(packet.tcp) + len;

	/* Ports that stand for nothing. At their usual ones nDPI names more protocols, and names them for
	 * bytes of most others too: it trusts whoever chose the port, and here nobody did. */
	packet.tcp.source = htons(50000);
	packet.tcp.dest = htons(50001);
	packet.tcp.seq = packet.tcp.ack_seq = htonl(1);
	packet.tcp.window = htons(64000);
	packet.ip.tot_len = htons((uint16_t)size);
	addresses_take(&packet);
	memcpy(packet.bytes, bytes, len);

	ndpi_free_flow_data(module.flow);
	memset(module.flow, 0, sizeof(*module.flow));
	return ndpi_detection_process_packet(
		module.ndpi, module.flow, (const unsigned char *)&packet, (unsigned short)size, module.packets);
}

/* ---- which beginnings ---- */

static size_t be16(const uint8_t *at)
{
	return (size_t)at[0] << 8 | at[1];
}

static size_t be32(const uint8_t *at)
{
	return be16(at) << 16 | be16(at + 2);
}

static size_t le16(const uint8_t *at)
{
	return (size_t)at[1] << 8 | at[0];
}

static size_t le32(const uint8_t *at)
{
	return le16(at + 2) << 16 | le16(at);
}

/* The length of an MQTT packet: a number of seven bits a byte behind the first byte. 0: not there yet, or
 * none. */
static size_t mqtt_length(const uint8_t *bytes, size_t len)
{
	size_t value = 0;

	for (size_t i = 1; i < 5 && i < len; i++) {
		value |= (size_t)(bytes[i] & 0x7f) << 7 * (i - 1);
		if (!(bytes[i] & 0x80))
			return i + 1 + value;
	}
	return 0;
}

/* Is `len` the length of a message that says so itself, in one of the usual ways? */
static bool length_is_written(const uint8_t *bytes, size_t len)
{
	if (len < 4)
		return false;
	if (mqtt_length(bytes, len) == len)
		return true;
	if (bytes[1] + 2U == len || be16(bytes) == len || be16(bytes) + 2 == len) /* BER, IEC 104; PPTP; DNS */
		return true;
	if (be16(bytes + 2) == len || be16(bytes + 2) + 4 == len || be16(bytes + 2) + 20 == len) /* TPKT; AJP; STUN */
		return true;
	if (be32(bytes) == len || be32(bytes) + 4 == len || le32(bytes) == len) /* SMPP; SMB, Kerberos; MongoDB */
		return true;
	if (be32(bytes) % 0x1000000 == len || bytes[2] + 5U == len) /* Diameter; DNP3 */
		return true;
	if (len > 5 && (le32(bytes + 1) + 5 == len || be16(bytes + 4) + 6 == len)) /* eDonkey; Modbus */
		return true;
	return len >= 9 && be32(bytes + 5) + 9 == len; /* Cassandra */
}

/* Whether the first `len` bytes are one of the beginnings that nDPI is shown: a question about these bytes
 * alone. Besides those that end something, as many as keep the sum small. */
static bool beginning_is_shown(const uint8_t *bytes, size_t len)
{
	if (bytes[len - 1] == '\n')
		return true;
	if (len < 128 ? len % 8 == 0 && (len < 64 || len % 16 == 0) : (len & (len - 1)) == 0)
		return true;
	return length_is_written(bytes, len);
}

/* ---- what is believed ---- */

/* Can a conversation begin with this? nDPI asks whether the bytes may be part of one. */
static bool is_first_message(uint16_t protocol, const uint8_t *bytes, size_t len)
{
	switch (protocol) {
	case NDPI_PROTOCOL_BITTORRENT: /* the handshake, BEP 3; what else nDPI takes for it is guessed */
		return len >= 20 &&
			memcmp(bytes,
				"\x13"
				"BitTorrent protocol",
				20) == 0;
	case NDPI_PROTOCOL_NATS: /* the others a client sends later, or are Redis's as well */
		return bytes[0] == 'C';
	case NDPI_PROTOCOL_MQTT: /* CONNECT, OASIS MQTT 5.0 3.1 */
		return bytes[0] == 0x10;
	case NDPI_PROTOCOL_CASSANDRA: /* a request: STARTUP or OPTIONS, CQL binary protocol v3 to v5 2.4 */
		return len >= 9 && bytes[0] >= 3 && bytes[0] <= 5 && (bytes[4] == 1 || bytes[4] == 5);
	case NDPI_PROTOCOL_MSSQL_TDS: /* a login or pre-login packet, MS-TDS 2.2.3.1.1 */
		return bytes[0] == 0x02 || bytes[0] == 0x10 || bytes[0] == 0x12;
	default:
		return true;
	}
}

/* ---- one connection ---- */

static struct seen *seen_find(const struct usher_evidence *evidence, size_t len)
{
	struct seen *oldest = module.seen, *best = NULL;

	for (struct seen *one = module.seen; one < module.seen + SEEN_MAX; one++) {
		if (one->used < oldest->used)
			oldest = one;
		if (one->used && one->len <= len && (!best || one->len > best->len) &&
			memcmp(one->bytes, evidence->bytes, one->len) == 0)
			best = one;
	}
	if (best)
		return best;
	oldest->len = 0;
	oldest->shown = 0;
	oldest->protocol = oldest->application = UNKNOWN;
	return oldest;
}

/* What the connection is by its first `len` bytes. A name that nDPI has from elsewhere, such as other
 * conversations, is none; but it says of BitTorrent's handshake too that it knew. */
static void beginning_identify(struct seen *seen)
{
	ndpi_protocol found = packet_identify(seen->bytes, seen->len);
	uint16_t protocol = found.master_protocol != UNKNOWN ? found.master_protocol : found.app_protocol;

	if (protocol == UNKNOWN || !is_first_message(protocol, seen->bytes, seen->len))
		return;
	if (module.flow->confidence != NDPI_CONFIDENCE_DPI && protocol != NDPI_PROTOCOL_BITTORRENT)
		return;
	seen->protocol = protocol;
	seen->application = found.app_protocol;
}

static bool seen_is_done(const struct seen *seen)
{
	return seen->protocol != UNKNOWN || seen->len == module.limit || seen->shown == BEGINNINGS_MOST;
}

/* Shows nDPI what it has not seen of the evidence. */
static struct seen *evidence_look(const struct usher_evidence *evidence)
{
	size_t len = evidence->len < module.limit ? evidence->len : module.limit;

	if (module.current && module.serial == evidence->serial)
		return module.current;
	struct seen *seen = seen_find(evidence, len);
	while (!seen_is_done(seen) && seen->len < len) {
		seen->bytes[seen->len] = evidence->bytes[seen->len];
		seen->len++;
		if (!beginning_is_shown(seen->bytes, seen->len))
			continue;
		seen->shown++;
		beginning_identify(seen);
	}
	seen->used = ++module.uses;
	module.serial = evidence->serial;
	return module.current = seen;
}

/* ---- what usher knows itself ---- */

/* As memcmp() of a prefix, three-valued. */
static enum usher_verdict text_match(const uint8_t *bytes, size_t len, const char *text)
{
	size_t text_len = strlen(text);

	if (memcmp(bytes, text, len < text_len ? len : text_len) != 0)
		return USHER_NO;
	return len < text_len ? USHER_MORE : USHER_YES;
}

/* A method and what an HTTP server is asked for: a path or an http address. */
static enum usher_verdict http_match(const uint8_t *bytes, size_t len)
{
	size_t at = 0;

	while (at < len && at < 16 && bytes[at] >= 'A' && bytes[at] <= 'Z')
		at++;
	if (at == len)
		return USHER_MORE;
	if (at < 3 || bytes[at] != ' ')
		return USHER_NO;
	if (++at == len)
		return USHER_MORE;
	return bytes[at] == '/' ? USHER_YES : text_match(bytes + at, len - at, "http");
}

static enum usher_verdict known_match(const uint8_t *bytes, size_t len)
{
	enum usher_verdict verdict = http_match(bytes, len);

	for (const char *const *text = (const char *const[]){ "SSH-", "\x16\x03", "PRI * HTTP/2.0\r\n", NULL }; *text;
		text++) {
		enum usher_verdict one = text_match(bytes, len, *text);
		if (one > verdict)
			verdict = one;
	}
	return verdict;
}

static enum usher_verdict identify(
	void *context, const struct usher_evidence *evidence, struct usher_findings *findings)
{
	uintptr_t protocol = (uintptr_t)context;
	enum usher_verdict known = known_match(evidence->bytes, evidence->len);

	if (known != USHER_NO)
		return known == USHER_YES ? USHER_NO : USHER_MORE;
	const struct seen *seen = evidence_look(evidence);
	if (seen->protocol == UNKNOWN)
		return seen_is_done(seen) ? USHER_NO : USHER_MORE;
	return seen->protocol == protocol || seen->application == protocol ? USHER_YES : USHER_NO;
}

/* ---- names ---- */

/* Known to usher, inside of HTTP, or never over TCP: not asked of nDPI, which spares time and wrong answers.
 * */
static const uint16_t left_out[] = { NDPI_PROTOCOL_HTTP, NDPI_PROTOCOL_TLS, NDPI_PROTOCOL_SSH, NDPI_PROTOCOL_MDNS,
	NDPI_PROTOCOL_NTP, NDPI_PROTOCOL_SSDP, NDPI_PROTOCOL_SNMP, NDPI_PROTOCOL_XDMCP, NDPI_PROTOCOL_DHCP,
	NDPI_PROTOCOL_DHCPV6, NDPI_PROTOCOL_COAP, NDPI_PROTOCOL_DTLS, NDPI_PROTOCOL_TFTP, NDPI_PROTOCOL_IAX,
	NDPI_PROTOCOL_RTP, NDPI_PROTOCOL_RTCP, NDPI_PROTOCOL_NETFLOW, NDPI_PROTOCOL_SFLOW, NDPI_PROTOCOL_RADIUS,
	NDPI_PROTOCOL_GTP, NDPI_PROTOCOL_QUIC, NDPI_PROTOCOL_WIREGUARD, NDPI_PROTOCOL_LISP, NDPI_PROTOCOL_CAPWAP,
	NDPI_PROTOCOL_TEREDO, NDPI_PROTOCOL_BJNP, NDPI_PROTOCOL_WEBSOCKET, NDPI_PROTOCOL_IP_IPSEC,
	NDPI_PROTOCOL_IP_GRE, NDPI_PROTOCOL_IP_ICMP, NDPI_PROTOCOL_IP_ICMPV6, NDPI_PROTOCOL_IP_IGMP,
	NDPI_PROTOCOL_IP_EGP, NDPI_PROTOCOL_IP_SCTP, NDPI_PROTOCOL_IP_OSPF, NDPI_PROTOCOL_IP_IP_IN_IP };

static bool is_left_out(uint16_t protocol)
{
	for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++)
		if (left_out[i] == protocol)
			return true;
	return false;
}

/* "SMBv23" as smbv23, "MsSQL-TDS" as mssql-tds: what a name may not have becomes '_'. false: too long. */
static bool name_make(char name[USHER_NAME_MAX + 1], const char *prefix, const char *text)
{
	size_t len = (size_t)snprintf(name, USHER_NAME_MAX + 1, "%s%s", prefix, text);

	if (len < 1 || len > USHER_NAME_MAX)
		return false;
	for (char *c = name; *c; c++) {
		if (*c >= 'A' && *c <= 'Z')
			*c |= 0x20;
		else if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789._+-", *c))
			*c = '_';
	}
	return true;
}

static bool setting_has(struct usher_host *host, const char *key, const char *name)
{
	const char *one;

	for (size_t i = 0; i < host->setting_count(host, key); i++)
		if (host->setting_string(host, key, i, &one) == 0 && strcmp(one, name) == 0)
			return true;
	return false;
}

/* false: none that can be offered. */
static bool protocol_name(unsigned protocol, const char *prefix, char name[USHER_NAME_MAX + 1])
{
	return name_make(name, prefix, ndpi_get_proto_defaults(module.ndpi)[protocol].protoName);
}

/* Takes those out of `wanted` that shall not be looked for. Every name in `without` must be one: a slip of
 * the pen would go unseen. */
static int protocols_choose(struct usher_host *host, const char *prefix, NDPI_PROTOCOL_BITMASK *wanted)
{
	unsigned count = ndpi_get_num_supported_protocols(module.ndpi);
	char name[USHER_NAME_MAX + 1];
	const char *one;

	NDPI_BITMASK_SET_ALL(*wanted);
	for (unsigned p = 1; p < count; p++)
		if (is_left_out((uint16_t)p) || !protocol_name(p, prefix, name) || setting_has(host, "without", name))
			NDPI_DEL_PROTOCOL_FROM_BITMASK(*wanted, p);
	for (size_t i = 0; i < host->setting_count(host, "without"); i++) {
		unsigned p = 1;
		if (host->setting_string(host, "without", i, &one) < 0)
			return -EINVAL;
		while (p < count && !(protocol_name(p, prefix, name) && strcmp(name, one) == 0))
			p++;
		if (p == count) {
			host->log(host, USHER_ERROR, "`without' has \"%s\", which is no name of its", one);
			return -EINVAL;
		}
	}
	return 0;
}

/* Of the wanted ones those that nDPI has a function for: the others it knows by a host name or an address
 * only, of which there is none to see. A name that usher or the configuration has already is theirs. */
static int probes_add(struct usher_host *host, const char *prefix)
{
	for (unsigned p = 1; p < ndpi_get_num_supported_protocols(module.ndpi); p++) {
		char name[USHER_NAME_MAX + 1];
		struct usher_probe probe = {
			.name = name, .priority = 100, .run = identify, .context = (void *)(uintptr_t)p
		};
		if (!ndpi_get_proto_defaults(module.ndpi)[p].func || !protocol_name(p, prefix, name))
			continue;
		int error = host->probe_add(host, &probe);
		if (error < 0 && error != -EEXIST)
			return error;
	}
	return 0;
}

int usher_module_init(struct usher_host *host)
{
	const char *prefix = "";
	int64_t limit = BYTES_PRESET;
	NDPI_PROTOCOL_BITMASK wanted;

	if (module.ndpi) {
		host->log(host, USHER_ERROR, "it is there twice, expected one entry");
		return -EEXIST;
	}
	host->setting_string(host, "prefix", 0, &prefix);
	host->setting_whole(host, "bytes", 0, 16, BYTES_MOST, &limit);
	module.limit = (size_t)limit;
	module.flow = calloc(1, ndpi_detection_get_sizeof_ndpi_flow_struct());
	module.ndpi = ndpi_init_detection_module(ndpi_dont_load_tor_hosts | ndpi_dont_init_libgcrypt);
	if (!module.flow || !module.ndpi)
		return -ENOMEM;
	int error = protocols_choose(host, prefix, &wanted);
	if (error < 0)
		return error;
	ndpi_set_protocol_detection_bitmask2(module.ndpi, &wanted);
	ndpi_finalize_initialization(module.ndpi);
	return probes_add(host, prefix);
}
