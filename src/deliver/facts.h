/* What a server is told of a connection beside its bytes: by environment, handover header or log. */
#pragma once
#include "address.h"
#include <stdint.h>

struct facts {
	uint64_t id;
	const struct address *client;
	const struct address *local;
	const char *service;
	const char *protocol; /* NULL where no protocol decided (on_silence, on_unknown) */
	const char *sni;      /* NULL where the client named none; validated host characters otherwise */
	const char *alpn;     /* the client's first choice, any bytes but NUL */
	const char *host;
};
