/* What the protocols have in common: the table of them, and the bounds of a conversation. Refuses a message that is too long and one too
 * many, whatever they are. Owns nothing. */
#include "starttls_kind.h"
#include <string.h>

static const struct starttls_protocol *const protocols[STARTTLS_KINDS] = {
	[STARTTLS_POSTGRES] = &starttls_postgres,
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

void starttls_meet_client(struct starttls *starttls, enum starttls_kind kind)
{
	*starttls = (struct starttls){ .kind = kind };
}

void starttls_meet_server(struct starttls *starttls)
{
	starttls->state = starttls->turns = 0;
	starttls->say_len = 0;
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
