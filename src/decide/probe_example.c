/* Bytes that a client of the protocol may begin with and that its probe says YES to; not many more than that takes. */
#include "probe_example.h"

#define EXAMPLE(protocol, text)                                                                                      \
	{                                                                                                            \
		protocol, (const uint8_t *)(text), sizeof(text) - 1, false                                           \
	}
#define DATAGRAM(protocol, text)                                                                                     \
	{                                                                                                            \
		protocol, (const uint8_t *)(text), sizeof(text) - 1, true                                            \
	}

#define NOISE "\xa7\x5d\xc3\x8e"

static const uint8_t rtmp[1537] = { 3 };
static const uint8_t quic[1200] = { 0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 0, 0,
	0x44, 0x9e };
static const uint8_t zerotier[112] = { [8] = 1, [13] = 2, [27] = 1, [28] = 12, [41] = 2 };

const struct probe_example probe_examples[] = {
	EXAMPLE("ssh", "SSH-2.0-x\r\n"),
	EXAMPLE("ssh", "SSH-1.5-x\n"),
	EXAMPLE("http", "GET / HTTP/1.1\r\n"),
	EXAMPLE("http", "OPTIONS * HTTP/1.1\r\n"),
	EXAMPLE("http", "CONNECT a:1 HTTP/1.1\r\n"),
	EXAMPLE("http", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
	EXAMPLE("tls",
		"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03"
		"0123456789abcdef0123456789abcdef\x00\x00\x02\x13\x01\x01\x00"),
	EXAMPLE("openvpn",
		"\x00\x0e\x38"
		"12345678\x00\x00\x00\x00\x00"),
	EXAMPLE("socks4", "\x04\x01\x00\x50\x7f\x00\x00\x01\x00"),
	EXAMPLE("socks5", "\x05\x01\x00"),
	EXAMPLE("xmpp",
		"<stream:stream to='a' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"),
	EXAMPLE("mqtt", "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"),
	EXAMPLE("redis", "*1\r\n$4\r\nPING\r\n"),
	EXAMPLE("redis", "PING\r\n"),
	EXAMPLE("postgres", "\x00\x00\x00\x08\x04\xd2\x16\x2f"),
	EXAMPLE("postgres",
		"\x00\x00\x00\x10\x00\x03\x00\x00user\x00"
		"a\x00\x00"),
	EXAMPLE("rdp", "\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00"),
	EXAMPLE("sip", "OPTIONS sip:a SIP/2.0\r\n"),
	EXAMPLE("rtsp", "OPTIONS * RTSP/1.0\r\n"),
	EXAMPLE("stun",
		"\x00\x01\x00\x00\x21\x12\xa4\x42"
		"123456789012"),
	EXAMPLE("dns", "\x00\x11\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"),
	EXAMPLE("amqp", "AMQP\x00\x00\x09\x01"),
	EXAMPLE("smb", "\x00\x00\x00\x23\xffSMBr\x00\x00\x00\x00"),
	EXAMPLE("cassandra", "\x04\x00\x00\x00\x05\x00\x00\x00\x00"),
	EXAMPLE("kafka", "\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x00\xff\xff"),
	EXAMPLE("ldap", "\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00"),
	EXAMPLE("mongodb",
		"\x1a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00"
		"\x00"),
	EXAMPLE("mysql",
		"\x20\x00\x00\x01\x00\x0a\x00\x00\x00\x00\x00\x01\x2d\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
	EXAMPLE("memcached", "get a\r\n"),
	EXAMPLE("memcached", "stats\r\n"),
	EXAMPLE("memcached", "\x80\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
	EXAMPLE("irc", "NICK a\r\n"),
	EXAMPLE("smtp", "EHLO a\r\n"),
	EXAMPLE("imap", "a LOGOUT\r\n"),
	EXAMPLE("pop3", "CAPA\r\n"),
	EXAMPLE("ftp", "AUTH TLS\r\n"),
	EXAMPLE("nats", "CONNECT {}\r\n"),
	EXAMPLE("bittorrent",
		"\x13"
		"BitTorrent protocol"),
	EXAMPLE("git", "0033git-upload-pack "),
	EXAMPLE("rsync", "@RSYNCD: 3"),
	EXAMPLE("vnc", "RFB 003.008\n"),
	EXAMPLE("tinc", "0 a 17\n"),
	EXAMPLE("adb",
		"CNXN\x00\x00\x00\x01\x00\x10\x00\x00\x07\x00\x00\x00"
		"2\x02\x00\x00\xbc\xb1\xa7\xb1"),
	EXAMPLE("syslog", "<13>N"),
	EXAMPLE("syslog", "95 <13>1"),
	EXAMPLE("kerberos", "\x00\x00\x00qj\x81n0\x81k\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\n"),
	EXAMPLE("dicom",
		"\x01\x00\x00\x00\x00\xcd\x00\x01\x00\x00"
		"A               B               "),
	EXAMPLE("minecraft",
		"\x07\x00\x00\x01"
		"ac\xdd\x01"),
	EXAMPLE("minecraft", "\xfe\x01"),
	EXAMPLE("winbox",
		"#\x06"
		"a\x00"
		"0123456789abcdef0123456789abcdef\x01"),
	EXAMPLE("winbox", "\x12\x01\x00\x10M2"),
	EXAMPLE("modbus", "\x00\x01\x00\x00\x00\x06\x01\x03\x00\x00\x00\x01"),
	{ "rtmp", rtmp, sizeof(rtmp), false },
	EXAMPLE("tcpmux", "HELP\r\n"),
	DATAGRAM("openvpn", "\x38" NOISE NOISE "\x00\x00\x00\x00\x00"),
	DATAGRAM("rdp", "\xff\xff\xff\xff\x00\x40\x00\x01" NOISE "\x04\xd0\x04\xd0"),
	DATAGRAM("sip", "OPTIONS sip:a SIP/2.0\r\n"),
	DATAGRAM("stun", "\x00\x01\x00\x00\x21\x12\xa4\x42" NOISE NOISE NOISE),
	DATAGRAM("dns", "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"),
	DATAGRAM("memcached", "\x00\x00\x00\x00\x00\x01\x00\x00get a\r\n"),
	DATAGRAM("bittorrent", "\x41\x00\x12\x34" NOISE "\x00\x00\x00\x00\x00\x10\x00\x00\x12\x34\x00\x00"),
	DATAGRAM("syslog", "<13>N"),
	DATAGRAM("kerberos",
		"\x6a\x26\x30\x24\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a" NOISE NOISE NOISE NOISE NOISE "abcdef"),
	DATAGRAM("teamspeak", "TS3INIT1\x00\x65\x00\x00\x88\x09\x83\x61\x00\x00"),
	DATAGRAM("wireguard", "\x04\x00\x00\x00" NOISE "\x01\x00\x00\x00\x00\x00\x00\x00" NOISE NOISE NOISE NOISE),
	{ "quic", quic, sizeof(quic), true },
	DATAGRAM("dtls",
		"\x16\xfe\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x36\x01\x00\x00\x2a\x00\x00\x00\x00\x00\x00\x00\x2a"
		"\xfe"
		"\xfd"
		"0123456789abcdef0123456789abcdef\x00\x00\x00\x02\xc0\x2b\x01\x00"),
	DATAGRAM("ntp",
		"\x1b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
		"\x00"
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
	DATAGRAM("snmp", "\x30\x12\x02\x01\x01\x04\x00\xa0\x0b\x02\x01\x01\x02\x01\x00\x02\x01\x00\x30\x00"),
	DATAGRAM("radius", "\x01\x00\x00\x17" NOISE NOISE NOISE NOISE "\x01\x03\x61"),
	DATAGRAM("ike",
		NOISE NOISE "\x00\x00\x00\x00\x00\x00\x00\x00\x21\x20\x22\x08\x00\x00\x00\x00\x00\x00\x00\x1c"),
	DATAGRAM("l2tp", "\xc8\x02\x00\x14\x00\x00\x00\x00\x00\x00\x00\x00\x80\x08\x00\x00\x00\x00\x00\x01"),
	DATAGRAM("tftp", "\x00\x01\x61\x00octet\x00"),
	DATAGRAM("coap", "\x40\x01\x00\x01"),
	DATAGRAM("ssdp", "M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\n\r\n"),
	DATAGRAM("mdns", "\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01\x61\x05local\x00\x00\x01\x00\x01"),
	DATAGRAM("mumble", "\x00\x00\x00\x00" NOISE NOISE),
	DATAGRAM("quake", "\xff\xff\xff\xffgetinfo"),
	DATAGRAM("a2s", "\xff\xff\xff\xffTSource Engine Query\x00"),
	DATAGRAM("raknet", "\x01" NOISE NOISE "\x00\xff\xff\x00\xfe\xfe\xfe\xfe\xfd\xfd\xfd\xfd\x12\x34\x56\x78"),
	{ "zerotier", zerotier, sizeof(zerotier), true },
	DATAGRAM("nebula", "\x11\x00\x00\x00" NOISE "\x00\x00\x00\x00\x00\x00\x00\x02" NOISE NOISE NOISE NOISE),
	DATAGRAM("rtp", "\x80\x61" NOISE NOISE NOISE),
};
const size_t n_probe_examples = sizeof(probe_examples) / sizeof(probe_examples[0]);
