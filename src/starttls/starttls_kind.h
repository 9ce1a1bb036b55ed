/* What each protocol is to the others of this room. The header of one room's inside. */
#pragma once
#include "starttls.h"

/* One message at `bytes`, of which at most STARTTLS_MESSAGE_MAX bytes are shown. *ret_taken is its length, where the step is not MORE. */
typedef enum starttls_step starttls_hear(
	struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken);

struct starttls_protocol {
	const char *name;
	struct probe probe;
	starttls_hear *hear_client, *hear_server;
	const char *greeting;                           /* the server's; NULL: the client speaks first, */
	void (*meet_server)(struct starttls *starttls); /* with this */
};

extern const struct starttls_protocol starttls_postgres, starttls_ldap, starttls_xmpp, starttls_smtp, starttls_imap,
	starttls_pop3, starttls_ftp;

/* It is said behind what is to be said already, as far as there is room. */
void starttls_say(struct starttls *starttls, const void *bytes, size_t len);
void starttls_say_text(struct starttls *starttls, const char *text);

/* The text's bytes up to its line feed, without CR LF. False: the line is not whole. *ret_taken has its end with it. */
struct starttls_line {
	const char *at;
	size_t len;
};
bool starttls_line_read(struct starttls_line *ret, const uint8_t *bytes, size_t len, size_t *ret_taken);
/* It begins with this word, in whatever case, and ends or goes on with a blank behind it. The word is in capitals. */
bool starttls_line_is(const struct starttls_line *line, const char *word);

/* A reply of lines with three digits, RFC 5321 4.2.1 and RFC 959 4.2. REFUSED: it has another code. ON: another line follows. TLS: that was
 * the last one. */
enum starttls_step starttls_reply_read(struct starttls *starttls, const struct starttls_line *line, const char *code);
