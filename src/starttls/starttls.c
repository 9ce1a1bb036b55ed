/* What the protocols have in common: the table of them, and the bounds of a conversation. Refuses a message that is too long and one too
 * many, whatever they are. Owns nothing. */
#include "starttls_kind.h"
#include <string.h>

static const struct starttls_protocol *const protocols[STARTTLS_KINDS] = {
	[STARTTLS_POSTGRES] = &starttls_postgres,
	[STARTTLS_LDAP] = &starttls_ldap,
	[STARTTLS_XMPP] = &starttls_xmpp,
	[STARTTLS_SMTP] = &starttls_smtp,
	[STARTTLS_IMAP] = &starttls_imap,
	[STARTTLS_POP3] = &starttls_pop3,
	[STARTTLS_FTP] = &starttls_ftp,
};

const char *starttls_name(enum starttls_kind kind)
{
	return protocols[kind]->name;
}

uint32_t starttls_protocol(enum starttls_kind kind)
{
	return (uint32_t)(probe_find(protocols[kind]->name) - probes);
}

const struct probe *starttls_probe(enum starttls_kind kind)
{
	return &protocols[kind]->probe;
}

bool starttls_speaks_first(enum starttls_kind kind)
{
	return protocols[kind]->greeting;
}

enum starttls_kind starttls_of_probe(const struct probe *probe)
{
	unsigned kind = 0;

	while (kind < STARTTLS_KINDS && probe != &protocols[kind]->probe)
		kind++;
	return (enum starttls_kind)kind;
}

void starttls_say(struct starttls *starttls, const void *bytes, size_t len)
{
	if (len > sizeof(starttls->say) - starttls->say_len)
		len = sizeof(starttls->say) - starttls->say_len;
	memcpy(starttls->say + starttls->say_len, bytes, len);
	starttls->say_len += (uint16_t)len;
}

void starttls_say_text(struct starttls *starttls, const char *text)
{
	starttls_say(starttls, text, strlen(text));
}

void starttls_meet_client(struct starttls *starttls, enum starttls_kind kind)
{
	*starttls = (struct starttls){ .kind = kind };
	if (protocols[kind]->greeting)
		starttls_say_text(starttls, protocols[kind]->greeting);
}

void starttls_meet_server(struct starttls *starttls)
{
	starttls->state = starttls->turns = 0;
	starttls->in_reply = starttls->offers_tls = false;
	starttls->say_len = 0;
	if (!protocols[starttls->kind]->greeting)
		protocols[starttls->kind]->meet_server(starttls);
}

static enum starttls_step hear(
	struct starttls *starttls, starttls_hear *message, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	size_t shown = len < STARTTLS_MESSAGE_MAX ? len : STARTTLS_MESSAGE_MAX;

	*ret_taken = 0;
	starttls->say_len = 0;
	if (starttls->turns == STARTTLS_TURNS_MAX)
		return STARTTLS_REFUSED;
	enum starttls_step step = message(starttls, bytes, shown, ret_taken);
	if (step == STARTTLS_MORE && shown == STARTTLS_MESSAGE_MAX)
		return STARTTLS_REFUSED;
	if (step != STARTTLS_MORE)
		starttls->turns++;
	return step;
}

enum starttls_step starttls_hear_client(
	struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	enum starttls_step step = hear(starttls, protocols[starttls->kind]->hear_client, bytes, len, ret_taken);

	starttls->is_agreed = step == STARTTLS_TLS;
	return step;
}

enum starttls_step starttls_hear_server(
	struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	return hear(starttls, protocols[starttls->kind]->hear_server, bytes, len, ret_taken);
}
