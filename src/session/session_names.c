/* Keeps what a client has called its server: findings point into bytes that the next session overwrites. The copy is the session's. */
#include "session_names.h"
#include "evidence.h"
#include <string.h>

void session_keep_names(struct session *session, const struct findings *findings)
{
	const enum attribute kept[] = { ATTRIBUTE_SNI, ATTRIBUTE_ALPN, ATTRIBUTE_HOST };
	const char **names[] = { &session->sni, &session->alpn, &session->host };
	size_t size = 0;

	/* A name with bytes that had to be escaped is not the one that the client offers. */
	session->offers_one_alpn = findings->attribute[ATTRIBUTE_ALPN].count == 1 &&
		!memchr(findings->attribute[ATTRIBUTE_ALPN].value[0].at, '%',
			findings->attribute[ATTRIBUTE_ALPN].value[0].len);
	for (int i = 0; i < 3; i++)
		if (findings->attribute[kept[i]].count)
			size += findings->attribute[kept[i]].value[0].len + 1;
	if (size == 0 || !(session->names = string_pool_take(&session->context->strings, size)))
		return;
	char *to = session->names;
	for (int i = 0; i < 3; i++) {
		const struct finding *finding = &findings->attribute[kept[i]];
		if (!finding->count)
			continue;
		memcpy(to, finding->value[0].at, finding->value[0].len);
		to[finding->value[0].len] = '\0';
		*names[i] = to;
		to += finding->value[0].len + 1;
	}
}
