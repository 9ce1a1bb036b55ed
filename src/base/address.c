/* Parses, prints and compares socket addresses. It never asks a name server; of the machine's interfaces it knows the names, for
 * zones, as they were when address_load_zones() was called. */
#include "address.h"
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIX_PREFIX     "unix:"
#define UNIX_PREFIX_LEN (sizeof(UNIX_PREFIX) - 1)
#define UNIX_PATH_AT    offsetof(struct sockaddr_un, sun_path)

/* One to five digits and nothing else: no sign, no space, nothing that strtoul would let pass. */
static bool parse_port(const char *text, uint16_t *ret)
{
	unsigned value = 0;
	size_t len = strlen(text);

	if (len < 1 || len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	if (value > UINT16_MAX)
		return false;
	*ret = (uint16_t)value;
	return true;
}

static int parse_unix(struct address *ret, const char *path)
{
	size_t len = strlen(path);

	if (path[0] != '/')
		return -EINVAL;
	if (len >= sizeof(ret->un.sun_path))
		return -ENAMETOOLONG;
	*ret = (struct address){ .len = (socklen_t)(UNIX_PATH_AT + len + 1) };
	ret->un.sun_family = AF_UNIX;
	memcpy(ret->un.sun_path, path, len + 1);
	return 0;
}

/* ---- zones ---- */

#define ZONES_MAX 256

static struct {
	uint32_t number;
	char name[IF_NAMESIZE];
} zones[ZONES_MAX];
static size_t n_zones;

/* An interface may have any name without blanks and slashes; those that a log or a shell could take for something else are
 * written by their numbers. */
static bool is_plain(const char *name)
{
	size_t len = strlen(name);
	return len > 0 && len < IF_NAMESIZE && strspn(name, "0123456789") < len &&
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

void address_load_zones(void)
{
	struct if_nameindex *list = if_nameindex();

	if (!list)
		return;
	n_zones = 0;
	for (const struct if_nameindex *at = list; at->if_index && n_zones < ZONES_MAX; at++) {
		if (!is_plain(at->if_name))
			continue;
		zones[n_zones].number = at->if_index;
		strcpy(zones[n_zones++].name, at->if_name);
	}
	if_freenameindex(list);
}

static void zone_format(uint32_t number, char ret[IF_NAMESIZE])
{
	snprintf(ret, IF_NAMESIZE, "%u", number);
	for (size_t i = 0; i < n_zones; i++)
		if (zones[i].number == number)
			strcpy(ret, zones[i].name);
}

int address_parse_zone(const char *text, uint32_t *ret)
{
	bool is_number = *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < IF_NAMESIZE;

	if (!is_number && !is_plain(text))
		return -EINVAL;
	unsigned long long number = is_number ? strtoull(text, NULL, 10) : if_nametoindex(text);
	if (number == 0 || number > UINT32_MAX)
		return text[0] == '0' ? -EINVAL : -ENODEV;
	*ret = (uint32_t)number;
	return 0;
}

bool address_is_link_local(const struct address *a)
{
	return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr);
}

/* ---- text to address ---- */

/* "fe80::1" or "fe80::1%eth0", which is cut. */
static int parse_in6(struct address *ret, char *host)
{
	char *zone = strchr(host, '%');

	if (zone)
		*zone++ = '\0';
	if (inet_pton(AF_INET6, host, &ret->in6.sin6_addr) != 1)
		return -EINVAL;
	ret->in6.sin6_family = AF_INET6;
	ret->len = sizeof(ret->in6);
	if (!zone)
		return 0;
	return address_is_link_local(ret) ? address_parse_zone(zone, &ret->in6.sin6_scope_id) : -EINVAL;
}

static int parse_ip(struct address *ret, const char *text)
{
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + IF_NAMESIZE];
	uint16_t port;

	if (!colon || !parse_port(colon + 1, &port))
		return -EINVAL;
	bool bracketed = text[0] == '[';
	const char *begin = text + bracketed;
	const char *end = colon - bracketed;
	if (end <= begin || (bracketed && *end != ']') || (size_t)(end - begin) >= sizeof(host))
		return -EINVAL;
	memcpy(host, begin, (size_t)(end - begin));
	host[end - begin] = '\0';

	struct address address = { 0 };
	if (bracketed) {
		int error = parse_in6(&address, host);
		if (error < 0)
			return error;
	} else {
		if (inet_pton(AF_INET, host, &address.in.sin_addr) != 1)
			return -EINVAL;
		address.in.sin_family = AF_INET;
		address.len = sizeof(address.in);
	}
	address_set_port(&address, port);
	*ret = address;
	return 0;
}

int address_parse(struct address *ret, const char *text)
{
	if (strncmp(text, UNIX_PREFIX, UNIX_PREFIX_LEN) == 0)
		return parse_unix(ret, text + UNIX_PREFIX_LEN);
	return parse_ip(ret, text);
}

int address_parse_remote(struct address *ret, enum transport_kind *ret_transport, const char *text)
{
	if (strncmp(text, "udp:", 4) != 0 && strncmp(text, "tcp:", 4) != 0)
		return -EINVAL;
	*ret_transport = text[0] == 'u' ? TRANSPORT_DATAGRAM : TRANSPORT_STREAM;
	int error = address_parse(ret, text + 4);
	return error < 0 ? error : address_is_ip(ret) && address_port(ret) > 0 ? 0 : -EINVAL;
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* RFC 1123 2.1 and RFC 1035 2.3.4: labels of 1 to 63 bytes that neither begin nor end with a hyphen; a dot at
 * the end makes the name absolute. A last label of digits only is refused: that is a mistyped address. */
bool address_is_host_name(const char *name, size_t len)
{
	size_t label = 0;
	bool digits = true;

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len == 0 || len > 253)
		return false;
	for (size_t i = 0; i <= len; i++) {
		if (i == len || name[i] == '.') {
			if (label == 0 || label > 63 || name[i - 1] == '-')
				return false;
			label = 0;
			digits = i == len ? digits : true;
			continue;
		}
		if (!is_name_char(name[i]) || (label == 0 && name[i] == '-'))
			return false;
		digits = digits && name[i] >= '0' && name[i] <= '9';
		label++;
	}
	return !digits;
}

int address_split_name(const char *text, char *ret_name, uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':');
	uint16_t port;

	if (!colon || !parse_port(colon + 1, &port) || port == 0)
		return -EINVAL;
	size_t len = (size_t)(colon - text);
	if (len > 253 || !address_is_host_name(text, len))
		return -EINVAL;
	memcpy(ret_name, text, len);
	ret_name[len] = '\0';
	*ret_port = port;
	return 0;
}

static sa_family_t family_of(const struct address *a)
{
	if (a->len < sizeof(sa_family_t))
		return AF_UNSPEC;
	if (a->sa.sa_family == AF_INET && a->len < sizeof(a->in))
		return AF_UNSPEC;
	if (a->sa.sa_family == AF_INET6 && a->len < sizeof(a->in6))
		return AF_UNSPEC;
	return a->sa.sa_family;
}

/* An IPv4 address that came through an IPv6 socket (RFC 4291 2.5.5.2) is the IPv4 address. */
struct address address_unmapped(const struct address *a)
{
	if (family_of(a) != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return *a;
	struct address v4 = { .len = sizeof(v4.in) };
	v4.in.sin_family = AF_INET;
	v4.in.sin_port = a->in6.sin6_port;
	memcpy(&v4.in.sin_addr, &a->in6.sin6_addr.s6_addr[12], sizeof(v4.in.sin_addr));
	return v4;
}

/* The kernel gives a path without its NUL where the path fills sun_path. */
static size_t unix_path_len(const struct address *a)
{
	size_t room = a->len > UNIX_PATH_AT ? a->len - UNIX_PATH_AT : 0;

	if (room > sizeof(a->un.sun_path))
		room = sizeof(a->un.sun_path);
	if (room > 0 && a->un.sun_path[0] == '\0') /* abstract: a name of bytes, NUL among them */
		return room > 1 ? room : 0;
	return strnlen(a->un.sun_path, room);
}

static const char *format_unix(const struct address *a, char *buf)
{
	size_t len = unix_path_len(a), used = UNIX_PREFIX_LEN;

	memcpy(buf, UNIX_PREFIX, UNIX_PREFIX_LEN);
	for (size_t i = 0; i < len; i++) {
		char c = a->un.sun_path[i];
		if (i == 0 && c == '\0')
			c = '@';
		buf[used++] = c >= 0x20 && c < 0x7f ? c : '?';
	}
	buf[used] = '\0';
	return buf;
}

static const char *format(const struct address *original, char *buf, bool with_port)
{
	struct address a = address_unmapped(original);
	char host[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];

	switch (family_of(&a)) {
	case AF_INET:
		inet_ntop(AF_INET, &a.in.sin_addr, host, sizeof(host));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &a.in6.sin6_addr, host, sizeof(host));
		if (a.in6.sin6_scope_id && address_is_link_local(&a)) {
			char *end = strchr(host, '\0');
			*end++ = '%';
			zone_format(a.in6.sin6_scope_id, end);
		}
		break;
	case AF_UNIX:
		return format_unix(&a, buf);
	default:
		return strcpy(buf, "-");
	}
	if (!with_port)
		return strcpy(buf, host);
	snprintf(buf, ADDRESS_TEXT_MAX, a.sa.sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host,
		(unsigned)address_port(&a));
	return buf;
}

const char *address_format(const struct address *a, char *buf)
{
	return format(a, buf, true);
}

const char *address_format_host(const struct address *a, char *buf)
{
	return format(a, buf, false);
}

bool address_equal(const struct address *first, const struct address *second)
{
	struct address a = address_unmapped(first), b = address_unmapped(second);

	if (family_of(&a) != family_of(&b))
		return false;
	switch (family_of(&a)) {
	case AF_UNSPEC:
		return a.len == 0 && b.len == 0;
	case AF_INET:
		return a.in.sin_port == b.in.sin_port && a.in.sin_addr.s_addr == b.in.sin_addr.s_addr;
	case AF_INET6:
		return a.in6.sin6_port == b.in6.sin6_port && a.in6.sin6_scope_id == b.in6.sin6_scope_id &&
			IN6_ARE_ADDR_EQUAL(&a.in6.sin6_addr, &b.in6.sin6_addr);
	case AF_UNIX: {
		size_t len = unix_path_len(&a);
		return len == unix_path_len(&b) && memcmp(a.un.sun_path, b.un.sun_path, len) == 0;
	}
	default:
		return false;
	}
}

static bool is_wildcard(const struct address *a)
{
	if (family_of(a) == AF_INET)
		return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
	return family_of(a) == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

bool address_is_loopback(const struct address *a)
{
	if (family_of(a) == AF_INET)
		return ntohl(a->in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return family_of(a) == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

bool address_reaches(const struct address *target, const struct address *listener)
{
	struct address to = address_unmapped(target), at = address_unmapped(listener);

	/* To connect to the wildcard address is to connect to this machine's loopback address. */
	if (is_wildcard(&to)) {
		if (to.sa.sa_family == AF_INET)
			to.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		else
			to.in6.sin6_addr = in6addr_loopback;
	}
	if (to.len > 0 && address_equal(&to, &at))
		return true;
	return family_of(&to) == family_of(&at) && is_wildcard(&at) && address_is_loopback(&to) &&
		address_port(&to) == address_port(&at);
}

bool address_is_valid(const struct address *a)
{
	if (a->len == 0)
		return true;
	if (a->len > sizeof(a->un) || a->len < sizeof(sa_family_t))
		return false;
	switch (a->sa.sa_family) {
	case AF_INET:
		return a->len == sizeof(a->in);
	case AF_INET6:
		return a->len == sizeof(a->in6);
	case AF_UNIX:
		return true;
	default:
		return false;
	}
}

bool address_is_ip(const struct address *a)
{
	return family_of(a) == AF_INET || family_of(a) == AF_INET6;
}

uint16_t address_port(const struct address *a)
{
	if (family_of(a) == AF_INET)
		return ntohs(a->in.sin_port);
	if (family_of(a) == AF_INET6)
		return ntohs(a->in6.sin6_port);
	return 0;
}

void address_set_port(struct address *a, uint16_t port)
{
	if (family_of(a) == AF_INET)
		a->in.sin_port = htons(port);
	else if (family_of(a) == AF_INET6)
		a->in6.sin6_port = htons(port);
}
