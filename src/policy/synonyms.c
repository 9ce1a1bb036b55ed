/* Suggestions by meaning, for names that no spelling leads from to the right one. Only for complaints: none of these names is taken as
 * the other, so that a configuration says what is probed. Owns nothing. */
#include "synonyms.h"
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define TLS(what) ", expected `tls' (" what " inside TLS, which is told by `sni' and `alpn')"

static const struct synonym {
	const char *names; /* each with a blank behind it */
	const char *hint;
} synonyms[] = {
	{ "ssl ssl3 tls1 tls1.2 tls1.3 ", ", expected `tls'" },
	{ "https h2 http2 doh ", TLS("HTTP") },
	{ "wss ", TLS("WebSocket") },
	{ "imaps pop3s smtps ", TLS("mail") },
	{ "ldaps ", TLS("LDAP") },
	{ "ftps ", TLS("FTP") },
	{ "mqtts ", TLS("MQTT") },
	{ "amqps ", TLS("AMQP") },
	{ "sips ", TLS("SIP") },
	{ "rediss ", TLS("Redis") },
	{ "ircs ", TLS("IRC") },
	{ "dot ", TLS("DNS") },
	{ "ws websocket websockets ", ", expected { protocol = \"http\"; upgrade = \"websocket\"; }" },
	{ "grpc h2c ", ", expected `http' (HTTP/2), or `tls' with alpn = \"h2\"" },
	{ "http3 h3 hysteria ", ", expected `quic', on a listener of UDP" },
	{ "sftp scp openssh ", ", expected `ssh'" },
	{ "mariadb percona ", ", expected `mysql'" },
	{ "postgresql pgsql psql ", ", expected `postgres'" },
	{ "mongo ", ", expected `mongodb'" },
	{ "valkey keydb ", ", expected `redis'" },
	{ "cql scylla scylladb ", ", expected `cassandra'" },
	{ "jabber ", ", expected `xmpp'" },
	{ "rabbitmq ", ", expected `amqp'" },
	{ "cifs samba netbios ", ", expected `smb'" },
	{ "mstsc terminal-server ms-wbt-server ", ", expected `rdp'" },
	{ "rfb ", ", expected `vnc'" },
	{ "socks ", ", expected `socks5' or `socks4'" },
	{ "krb5 kdc ", ", expected `kerberos'" },
	{ "torrent dht utp ", ", expected `bittorrent'" },
	{ "turn ", ", expected `stun'" },
	{ "wg ", ", expected `wireguard', on a listener of UDP" },
	{ "ipsec isakmp ", ", expected `ike', on a listener of UDP (ESP cannot be told)" },
	{ "sntp ", ", expected `ntp', on a listener of UDP" },
	{ "upnp ", ", expected `ssdp', on a listener of UDP" },
	{ "bonjour zeroconf avahi ", ", expected `mdns', on a listener of UDP" },
	{ "bedrock ", ", expected `raknet', on a listener of UDP" },
	{ "source steam valve ", ", expected `a2s', on a listener of UDP" },
	{ "rtcp ", ", expected `rtp', on a listener of UDP" },
	{ "ovpn ", ", expected `openvpn'" },
	{ "mail ", ", expected `smtp', `imap' or `pop3'" },
	{ "anyprot timeout ", ", expected `any', or `on_silence' and `on_unknown'" },
};

const char *synonym_hint(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < sizeof(synonyms) / sizeof(synonyms[0]); i++)
		for (const char *at = synonyms[i].names; *at; at += strcspn(at, " ") + 1)
			if (strcspn(at, " ") == len && strncasecmp(at, name, len) == 0)
				return synonyms[i].hint;
	return NULL;
}
