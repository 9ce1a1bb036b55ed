/* The built-in probes. Each looks at the first bytes that a client sent and answers YES, NO or MORE.
 * Each file says which document it follows and what it demands. */
#pragma once
#include "evidence.h"

typedef enum verdict probe_function(const struct evidence *evidence, struct findings *findings);

struct probe {
	const char *name;
	probe_function *stream;   /* NULL: not spoken over TCP */
	probe_function *datagram; /* NULL: not over UDP */
	bool spans_datagrams; /* it sees all datagrams of a flow and may say MORE; others see the first, and never do */
	uint32_t attributes; /* bit set of 1 << enum attribute that it can learn */
};

extern const struct probe probes[];
extern const size_t n_probes;

const struct probe *probe_find(const char *name); /* NULL: no such */

/* Runs the one of its two functions that fits the evidence, on what it may see of it. Only a probe that says YES leaves values behind; one that
 * says NO has settled all that it can learn, one that says MORE nothing. Probes need not see to that themselves. */
enum verdict probe_run(const struct probe *probe, const struct evidence *evidence, struct findings *findings);

/* The bytes that a stream may begin with for the probe to say anything but NO. What says NO of one byte says so of all
 * that begin with it. */
struct byte_set {
	uint64_t bits[256 / 64];
};

static inline bool byte_set_has(const struct byte_set *set, uint8_t byte)
{
	return set->bits[byte / 64] >> byte % 64 & 1;
}

static inline void byte_set_add(struct byte_set *set, const struct byte_set *other)
{
	for (size_t i = 0; i < sizeof(set->bits) / sizeof(set->bits[0]); i++)
		set->bits[i] |= other->bits[i];
}

const struct byte_set *probe_first_bytes(const struct probe *probe); /* NULL: not a built-in one, so any */

probe_function probe_ssh, probe_http, probe_tls, probe_tcpmux, probe_any;
probe_function probe_openvpn, probe_openvpn_datagram;
probe_function probe_socks4, probe_socks5;
probe_function probe_xmpp, probe_mqtt, probe_redis, probe_postgres;
probe_function probe_rdp, probe_rdp_datagram;
probe_function probe_sip, probe_sip_datagram, probe_rtsp, probe_stun, probe_stun_datagram;
probe_function probe_dns, probe_dns_datagram;
probe_function probe_smtp, probe_imap, probe_pop3, probe_ftp, probe_irc;
probe_function probe_mysql, probe_mongodb, probe_memcached, probe_memcached_datagram, probe_cassandra, probe_kafka,
	probe_amqp, probe_nats, probe_ldap, probe_smb;
probe_function probe_bittorrent, probe_bittorrent_datagram, probe_git, probe_rsync, probe_vnc, probe_rtmp, probe_tinc,
	probe_adb;
probe_function probe_syslog, probe_syslog_datagram, probe_kerberos, probe_kerberos_datagram, probe_dicom,
	probe_modbus;
probe_function probe_minecraft, probe_teamspeak_datagram, probe_winbox;
probe_function probe_wireguard_datagram, probe_quic_datagram, probe_dtls_datagram;
probe_function probe_ntp_datagram, probe_snmp_datagram, probe_radius_datagram, probe_ike_datagram,
	probe_l2tp_datagram, probe_tftp_datagram, probe_coap_datagram, probe_ssdp_datagram, probe_mdns_datagram;
probe_function probe_mumble_datagram, probe_quake_datagram, probe_a2s_datagram, probe_raknet_datagram;
probe_function probe_zerotier_datagram, probe_nebula_datagram, probe_rtp_datagram;
