/* Socket addresses as text and back.
 *
 * Accepted text: "192.0.2.1:443", "[2001:db8::1]:443", "[fe80::1%eth0]:443" and "unix:/path" (at most 107 bytes of path); a zone
 * (RFC 4007 11) is the name or the number of an interface, and goes with link-local addresses only; a port is 0 to 65535, where 0 only makes sense to bind to. Names are not resolved here: a "host:port" with a name in it is split by address_split_name() and is the resolver's business. */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ADDRESS_TEXT_MAX 128

/* How bytes travel: in connections (TCP and UNIX sockets), or as single datagrams (UDP). */
enum transport_kind { TRANSPORT_STREAM, TRANSPORT_DATAGRAM, TRANSPORT_COUNT };

struct address {
	socklen_t len; /* 0: no address */
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	};
};

/* 0, or -EINVAL: not one of the accepted forms (a name is -EINVAL too); -ENAMETOOLONG: UNIX path too long; -ENODEV: this machine has
 * no interface of the zone's name. */
int address_parse(struct address *ret, const char *text);

/* "udp:192.0.2.1:514" or "tcp:[2001:db8::1]:601": where to send to. 0, or as address_parse(); -EINVAL also for a path and for port 0. */
int address_parse_remote(struct address *ret, enum transport_kind *ret_transport, const char *text);

/* "eth0" or "2": the number of an interface. 0, -EINVAL or -ENODEV. */
int address_parse_zone(const char *text, uint32_t *ret);

/* From here on zones are written by the names that interfaces have now, in the processes that are forked as well; before that, and
 * where an interface is younger, by their numbers. */
void address_load_zones(void);

/* fe80::/10, which means nothing without a zone. */
bool address_is_link_local(const struct address *a);

/* RFC 1123 letters, digits, hyphens, dots; underscore tolerated; at most 253 bytes, and not an IPv4 address. */
bool address_is_host_name(const char *name, size_t len);

/* Splits "name:port" at its last colon. 0, or -EINVAL where there is no port 1..65535 or no valid host name
 * (RFC 1123 letters, digits, hyphens, dots; underscore tolerated; at most 253 bytes). `name` holds 254 bytes. */
int address_split_name(const char *text, char *ret_name, uint16_t *ret_port);

/* Writes the text form into `buf` (ADDRESS_TEXT_MAX bytes) and returns it: "-" for no address, "unix:" for an unnamed
 * UNIX peer; a v4-mapped IPv6 address is written as IPv4. Bytes of a path that are not printable ASCII become '?'. */
const char *address_format(const struct address *a, char *buf);

/* The same without the port ("192.0.2.1", "2001:db8::1", "fe80::1%eth0", "unix:/path"). */
const char *address_format_host(const struct address *a, char *buf);

bool address_equal(const struct address *a, const struct address *b);

/* The IPv4 address where it is a v4-mapped IPv6 one, else the address itself. */
struct address address_unmapped(const struct address *a);

/* Would a connection to `target` arrive at `listener` on this machine? True for the same address, and for a loopback
 * target on the port of a wildcard listener of its family. */
bool address_reaches(const struct address *target, const struct address *listener);

/* No address, or one of a family that is known, with its length: for one that comes from another process. */
bool address_is_valid(const struct address *a);

bool address_is_ip(const struct address *a);
/* Of the public internet: a unicast address that is not private (RFC 1918, RFC 6598, RFC 4193), loopback, link-local, or for another special
 * purpose (RFC 6890); nor one of IPv6 that such an IPv4 address is embedded in (mapped, NAT64, 6to4, Teredo). */
bool address_is_public(const struct address *a);
bool address_is_loopback(const struct address *a); /* 127.0.0.0/8 or ::1; not where it is mapped into IPv6 */
uint16_t address_port(const struct address *a);    /* 0 for UNIX */
void address_set_port(struct address *a, uint16_t port);
