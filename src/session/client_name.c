/* Judges names that strangers say. Refuses to look one up. Owns nothing. */
#include "client_name.h"
#include "address_set.h"
#include "name_cache.h"
#include "names.h"
#include <string.h>

static void is_covered(void *context, const uint32_t *numbers, size_t count)
{
	*(bool *)context = true;
}

int client_name(const struct session *session, const struct target *target, const char **ret)
{
	const char *name = target->connect.name_by == NAME_BY_SNI ? session->sni : session->host;
	char folded[NAME_MAX_LEN + 1];
	bool is_allowed = false;

	if (!name || !name_fold(name, folded))
		return NAME_NOT_SAID;
	names_lookup(target->connect.allow_names, (const uint8_t *)folded, strlen(folded), is_covered, &is_allowed);
	*ret = name;
	return is_allowed ? 0 : NAME_NOT_ALLOWED;
}

bool client_name_reaches(const struct target *target, const struct address *address)
{
	return address_is_public(address) ||
		(target->connect.allow_addresses && address_set_contains(target->connect.allow_addresses, address));
}
