/* A conversation about TLS with one side, whose bytes come in pieces. For the unit test and the fuzzer. */
#pragma once
#include "starttls.h"
#include <stdlib.h>
#include <string.h>

struct talk {
	struct starttls starttls;
	bool is_server;
	enum starttls_step step; /* the last one */
	size_t taken, said_len;
	char said[(STARTTLS_TURNS_MAX + 2) * STARTTLS_SAY_MAX];
};

static inline void talk_say(struct talk *talk)
{
	if (talk->starttls.say_len > STARTTLS_SAY_MAX)
		abort();
	memcpy(talk->said + talk->said_len, talk->starttls.say, talk->starttls.say_len);
	talk->said_len += talk->starttls.say_len;
}

static inline void talk_begin(struct talk *talk, enum starttls_kind kind, bool is_server)
{
	memset(talk, 0, sizeof(*talk));
	talk->is_server = is_server;
	starttls_meet_client(&talk->starttls, kind);
	if (is_server)
		starttls_meet_server(&talk->starttls);
	talk_say(talk);
}

/* So many of the other side's bytes have come: over a copy, so that a sanitizer sees every byte read behind them. */
static inline void talk_hear(struct talk *talk, const uint8_t *bytes, size_t len)
{
	while (talk->step == STARTTLS_MORE || talk->step == STARTTLS_ON) {
		size_t n = len - talk->taken, taken;
		uint8_t *copy = malloc(n + 1);
		if (!copy)
			abort();
		memcpy(copy, bytes + talk->taken, n);
		uint8_t *exact = realloc(copy, n ? n : 1);
		talk->step = (talk->is_server ? starttls_hear_server : starttls_hear_client)(
			&talk->starttls, exact, n, &taken);
		free(exact);
		if (taken > n || (talk->step == STARTTLS_MORE && taken) || (talk->step == STARTTLS_ON && !taken))
			abort();
		talk->taken += taken;
		if (talk->step == STARTTLS_MORE)
			return;
		talk_say(talk);
	}
}

static inline bool talk_is_like(const struct talk *a, const struct talk *b)
{
	return a->step == b->step && a->taken == b->taken && a->said_len == b->said_len &&
		memcmp(a->said, b->said, a->said_len) == 0;
}
