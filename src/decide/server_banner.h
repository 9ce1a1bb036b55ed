/* What servers say that speak first: for clients that wait for it. Where the beginning of what a server says may stand for
 * several protocols, the client's answer is still to be waited for; where it stands for one alone, all is said. */
#pragma once
#include "evidence.h"

#define SERVER_BANNER_MAX 1024 /* bytes that are looked at; a longer one is of no known kind */

enum server_banner {
	SERVER_BANNER_220,  /* "220 ": SMTP (RFC 5321 4.2) and FTP (RFC 959 4.2) */
	SERVER_BANNER_POP3, /* "+OK": RFC 1939 3 */
	SERVER_BANNER_IMAP, /* "* OK", "* PREAUTH": RFC 9051 7.1 */
	SERVER_BANNER_KINDS
};

/* YES: it is of this kind, and *ret_len bytes long. MORE: it is not all there. NO: of none of these kinds. */
enum verdict server_banner_read(const uint8_t *bytes, size_t len, enum server_banner *ret_kind, size_t *ret_len);

/* May the server of a built-in protocol have said so? */
bool server_banner_fits(enum server_banner kind, const char *protocol);
