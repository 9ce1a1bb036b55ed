/* The list of the built-in probes. The order is that of the protocols in a policy, and that in which `usher explain`
 * tries them when there is no configuration. Owns no memory. */
#include "probe.h"

#include "server_banner.h"

#include <string.h>

const struct probe probes[] = {
	{ "ssh", .stream = probe_ssh, .attributes = 1U << ATTRIBUTE_VERSION },
	{ "http", .stream = probe_http,
		.attributes = 1U << ATTRIBUTE_HOST | 1U << ATTRIBUTE_PATH | 1U << ATTRIBUTE_UPGRADE |
			1U << ATTRIBUTE_VERSION },
	{ "tls", .stream = probe_tls,
		.attributes =
			1U << ATTRIBUTE_SNI | 1U << ATTRIBUTE_ALPN | 1U << ATTRIBUTE_VERSION | 1U << ATTRIBUTE_JA4 },
	{ "openvpn", .stream = probe_openvpn, .datagram = probe_openvpn_datagram },
	{ "socks4", .stream = probe_socks4 },
	{ "socks5", .stream = probe_socks5 },
	{ "xmpp", .stream = probe_xmpp, .attributes = 1U << ATTRIBUTE_HOST },
	{ "mqtt", .stream = probe_mqtt, .attributes = 1U << ATTRIBUTE_VERSION | 1U << ATTRIBUTE_USER },
	{ "redis", .stream = probe_redis },
	{ "postgres", .stream = probe_postgres, .attributes = 1U << ATTRIBUTE_USER | 1U << ATTRIBUTE_DATABASE },
	{ "rdp", .stream = probe_rdp, .datagram = probe_rdp_datagram, .attributes = 1U << ATTRIBUTE_COOKIE },
	{ "sip", .stream = probe_sip, .datagram = probe_sip_datagram, .attributes = 1U << ATTRIBUTE_HOST },
	{ "rtsp", .stream = probe_rtsp, .attributes = 1U << ATTRIBUTE_HOST },
	{ "stun", .stream = probe_stun, .datagram = probe_stun_datagram },
	{ "dns", .stream = probe_dns, .datagram = probe_dns_datagram },
	{ "amqp", .stream = probe_amqp },
	{ "smb", .stream = probe_smb },
	{ "cassandra", .stream = probe_cassandra },
	{ "kafka", .stream = probe_kafka },
	{ "ldap", .stream = probe_ldap },
	{ "mongodb", .stream = probe_mongodb },
	{ "mysql", .stream = probe_mysql, .attributes = 1U << ATTRIBUTE_USER },
	{ "memcached", .stream = probe_memcached, .datagram = probe_memcached_datagram },
	{ "irc", .stream = probe_irc },
	{ "smtp", .stream = probe_smtp },
	{ "imap", .stream = probe_imap },
	{ "pop3", .stream = probe_pop3 },
	{ "ftp", .stream = probe_ftp },
	{ "nats", .stream = probe_nats },
	{ "bittorrent", .stream = probe_bittorrent, .datagram = probe_bittorrent_datagram },
	{ "git", .stream = probe_git, .attributes = 1U << ATTRIBUTE_HOST },
	{ "rsync", .stream = probe_rsync },
	{ "vnc", .stream = probe_vnc },
	{ "rtmp", .stream = probe_rtmp },
	{ "tinc", .stream = probe_tinc },
	{ "adb", .stream = probe_adb },
	{ "syslog", .stream = probe_syslog, .datagram = probe_syslog_datagram },
	{ "kerberos", .stream = probe_kerberos, .datagram = probe_kerberos_datagram },
	{ "dicom", .stream = probe_dicom },
	{ "minecraft", .stream = probe_minecraft, .attributes = 1U << ATTRIBUTE_HOST },
	{ "winbox", .stream = probe_winbox },
	{ "modbus", .stream = probe_modbus },
	{ "teamspeak", .datagram = probe_teamspeak_datagram },
	{ "wireguard", .datagram = probe_wireguard_datagram },
	{ "quic", .datagram = probe_quic_datagram, .spans_datagrams = true,
		.attributes =
			1U << ATTRIBUTE_SNI | 1U << ATTRIBUTE_ALPN | 1U << ATTRIBUTE_VERSION | 1U << ATTRIBUTE_JA4 },
	{ "dtls", .datagram = probe_dtls_datagram, .spans_datagrams = true,
		.attributes =
			1U << ATTRIBUTE_SNI | 1U << ATTRIBUTE_ALPN | 1U << ATTRIBUTE_VERSION | 1U << ATTRIBUTE_JA4 },
	{ "ntp", .datagram = probe_ntp_datagram },
	{ "snmp", .datagram = probe_snmp_datagram, .attributes = 1U << ATTRIBUTE_VERSION },
	{ "radius", .datagram = probe_radius_datagram, .attributes = 1U << ATTRIBUTE_USER },
	{ "ike", .datagram = probe_ike_datagram, .attributes = 1U << ATTRIBUTE_VERSION },
	{ "l2tp", .datagram = probe_l2tp_datagram, .attributes = 1U << ATTRIBUTE_VERSION },
	{ "tftp", .datagram = probe_tftp_datagram },
	{ "coap", .datagram = probe_coap_datagram, .attributes = 1U << ATTRIBUTE_HOST },
	{ "ssdp", .datagram = probe_ssdp_datagram },
	{ "mdns", .datagram = probe_mdns_datagram },
	{ "mumble", .datagram = probe_mumble_datagram },
	{ "quake", .datagram = probe_quake_datagram },
	{ "a2s", .datagram = probe_a2s_datagram },
	{ "raknet", .datagram = probe_raknet_datagram },
	{ "zerotier", .datagram = probe_zerotier_datagram },
	{ "nebula", .datagram = probe_nebula_datagram },
	{ "rtp", .datagram = probe_rtp_datagram },
	{ "tcpmux", .stream = probe_tcpmux, .attributes = 1U << ATTRIBUTE_SERVICE },
	{ "any", .stream = probe_any, .datagram = probe_any },
};
const size_t n_probes = sizeof(probes) / sizeof(probes[0]);

const struct probe *probe_find(const char *name)
{
	for (size_t i = 0; i < n_probes; i++)
		if (strcmp(probes[i].name, name) == 0)
			return &probes[i];
	return NULL;
}

/* Whatever it is: for the last service of a list. */
enum verdict probe_any(const struct evidence *evidence, struct findings *findings)
{
	return evidence->len > 0 ? VERDICT_YES : VERDICT_MORE;
}

static void values_drop(struct findings *findings, uint32_t attributes)
{
	for (; attributes; attributes &= attributes - 1)
		findings->attribute[__builtin_ctz(attributes)].count = 0;
}

enum verdict probe_run(const struct probe *probe, const struct evidence *evidence, struct findings *findings)
{
	probe_function *run = evidence->n_datagrams > 0 ? probe->datagram : probe->stream;
	struct evidence first = evidence_first(evidence);
	uint32_t known = 0;

	for (uint32_t left = probe->attributes; left; left &= left - 1)
		if (findings->attribute[__builtin_ctz(left)].count > 0)
			known |= left & -left; /* by another probe */
	findings->settled &= ~probe->attributes;
	enum verdict verdict = run ? run(probe->spans_datagrams ? evidence : &first, findings) : VERDICT_NO;
	if (verdict == VERDICT_YES)
		return verdict;
	values_drop(findings, probe->attributes & ~known);
	if (verdict == VERDICT_NO)
		findings->settled |= probe->attributes;
	else
		findings->settled &= ~probe->attributes;
	return verdict;
}

static void first_bytes_add(struct byte_set *set, const struct probe *probe, uint8_t greeting)
{
	struct findings findings;

	findings.wanted = 0;
	for (unsigned byte = 0; byte < 256; byte++) {
		uint8_t bytes[] = { (uint8_t)byte };
		struct evidence evidence = { .bytes = bytes, .len = 1, .greeting = greeting };
		findings_reset(&findings);
		if (probe_run(probe, &evidence, &findings) != VERDICT_NO)
			set->bits[byte / 64] |= UINT64_C(1) << byte % 64;
	}
}

/* Asks each probe about each byte, whatever the client has been told before, once for the process. */
static void first_bytes_find(struct byte_set *sets)
{
	for (size_t i = 0; i < n_probes; i++)
		for (unsigned greeting = 0; greeting <= SERVER_BANNER_KINDS; greeting++)
			first_bytes_add(&sets[i], &probes[i], (uint8_t)greeting);
}

const struct byte_set *probe_first_bytes(const struct probe *probe)
{
	static struct byte_set sets[sizeof(probes) / sizeof(probes[0])];
	static bool are_known;

	if (probe < probes || probe >= probes + n_probes)
		return NULL;
	if (!are_known)
		first_bytes_find(sets);
	are_known = true;
	return &sets[probe - probes];
}
