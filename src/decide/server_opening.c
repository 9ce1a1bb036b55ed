/* The openings, one function a protocol: monotone, as probes are. Refuses to look behind what tells the protocol. Owns no memory. */
#include "server_opening.h"
#include "server_banner.h"
#include <string.h>

/* `#' stands for a digit. */
static enum verdict text_match(const char *text, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; text[i]; i++) {
		if (i == len)
			return VERDICT_MORE;
		bool fits = text[i] == '#' ? bytes[i] >= '0' && bytes[i] <= '9' : bytes[i] == (uint8_t)text[i];
		if (!fits)
			return VERDICT_NO;
	}
	return VERDICT_YES;
}

/* RFC 4253 4.2: other lines may come before it. */
static enum verdict ssh_match(const uint8_t *bytes, size_t len)
{
	size_t most = len < SERVER_OPENING_MAX ? len : SERVER_OPENING_MAX;

	for (size_t at = 0;;) {
		if (text_match("SSH-2.0-", bytes + at, most - at) == VERDICT_YES ||
			text_match("SSH-1.99-", bytes + at, most - at) == VERDICT_YES)
			return VERDICT_YES;
		const uint8_t *end = memchr(bytes + at, '\n', most - at);
		if (!end)
			return len < SERVER_OPENING_MAX ? VERDICT_MORE : VERDICT_NO;
		at = (size_t)(end + 1 - bytes);
	}
}

static enum verdict banner_match(const char *protocol, const uint8_t *bytes, size_t len)
{
	enum server_banner kind;
	size_t banner_len;
	enum verdict verdict =
		server_banner_read(bytes, len < SERVER_OPENING_MAX ? len : SERVER_OPENING_MAX, &kind, &banner_len);

	return verdict != VERDICT_YES || server_banner_fits(kind, protocol) ? verdict : VERDICT_NO;
}

static enum verdict smtp_match(const uint8_t *bytes, size_t len)
{
	return banner_match("smtp", bytes, len);
}

static enum verdict ftp_match(const uint8_t *bytes, size_t len)
{
	return banner_match("ftp", bytes, len);
}

static enum verdict pop3_match(const uint8_t *bytes, size_t len)
{
	return banner_match("pop3", bytes, len);
}

static enum verdict imap_match(const uint8_t *bytes, size_t len)
{
	return banner_match("imap", bytes, len);
}

/* RFC 6143 7.1.1. */
static enum verdict vnc_match(const uint8_t *bytes, size_t len)
{
	return text_match("RFB ###.###\n", bytes, len);
}

static enum verdict rsync_match(const uint8_t *bytes, size_t len)
{
	return text_match("@RSYNCD: #", bytes, len);
}

static enum verdict nats_match(const uint8_t *bytes, size_t len)
{
	return text_match("INFO {", bytes, len);
}

/* Protocol::HandshakeV10: 3 bytes of length, sequence 0, version 10, and a version as text. An error comes in its place when
 * the server takes nobody. */
static enum verdict mysql_match(const uint8_t *bytes, size_t len)
{
	static const uint8_t expected[] = { 0, 10 };

	for (size_t i = 3; i < len && i < 5; i++)
		if (bytes[i] != expected[i - 3])
			return VERDICT_NO;
	if (len < 6)
		return VERDICT_MORE;
	return bytes[5] >= 0x20 && bytes[5] < 0x7f ? VERDICT_YES : VERDICT_NO;
}

const struct server_opening server_openings[] = {
	{ "ssh", ssh_match },
	{ "smtp", smtp_match },
	{ "imap", imap_match },
	{ "pop3", pop3_match },
	{ "ftp", ftp_match },
	{ "mysql", mysql_match },
	{ "nats", nats_match },
	{ "rsync", rsync_match },
	{ "vnc", vnc_match },
};
const size_t n_server_openings = sizeof(server_openings) / sizeof(server_openings[0]);

const struct server_opening *server_opening_find(const char *name)
{
	for (size_t i = 0; i < n_server_openings; i++)
		if (strcmp(server_openings[i].name, name) == 0)
			return &server_openings[i];
	return NULL;
}

enum verdict http_status_read(const uint8_t *bytes, size_t len, unsigned *ret_status)
{
	enum verdict verdict = text_match("HTTP/1.# ###", bytes, len);

	if (verdict != VERDICT_YES)
		return verdict;
	if (len == 12)
		return VERDICT_MORE; /* the number may have more digits */
	if (bytes[12] != ' ' && bytes[12] != '\r' && bytes[12] != '\n')
		return VERDICT_NO;
	*ret_status =
		(unsigned)(bytes[9] - '0') * 100 + (unsigned)(bytes[10] - '0') * 10 + (unsigned)(bytes[11] - '0');
	return VERDICT_YES;
}
