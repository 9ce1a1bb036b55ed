/* The whole decision: rules of every kind over the bytes of a connection, at every cut. Once settled, an
 * outcome stays; and what the decider says is what its protocols say.
 *
 * Input: the bytes of a connection. */
#include "../decide.h"
#include "decider.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#define DENSE      128
#define LEN(array) (sizeof(array) / sizeof((array)[0]))
#define LITERAL(text)                                                                                                \
	{                                                                                                            \
		(const uint8_t *)text, sizeof(text) - 1                                                              \
	}

static const struct literal literals[] = { LITERAL("NICK "), LITERAL("USER "), LITERAL("GET /old"),
	LITERAL("SSH-2.0-P"), LITERAL("\x16\x03\x01"), LITERAL("PRI * ") };
static const char *const regexes[] = { "^HELLO v[0-9]+ ", "stream:stream", "^[^\\n]*\\n$" };
static const char *const sni[] = { "shop.example", "*.example" }, *const alpn[] = { "h2" },
			 *const host[] = { "*.example", "localhost" };
static const uint32_t sets[][3] = { { 0 }, { 1 }, { 2 }, { 3, 4, 5 }, { 6 }, { 1, 2, 7 } };

static struct protocol protocols[8];
static struct pattern *patterns[LEN(regexes)];
static struct decider *decider;

static void start(void)
{
	const struct rule rules[] = {
		{ .service = 0, .protocols = sets[3], .n_protocols = 3 },
		{ .service = 1, .attribute = { [ATTRIBUTE_SNI] = { sni, 1 }, [ATTRIBUTE_ALPN] = { alpn, 1 } } },
		{ .service = 2, .attribute = { [ATTRIBUTE_HOST] = { host, 2 } } },
		{ .service = 2,
			.protocols = sets[2],
			.n_protocols = 1,
			.attribute = { [ATTRIBUTE_SNI] = { sni, 2 } } },
		{ .service = 3, .protocols = sets[4], .n_protocols = 1 },
		{ .service = 4, .protocols = sets[0], .n_protocols = 1 },
		{ .service = 5, .protocols = sets[5], .n_protocols = 3 },
	};
	char error[100];

	for (size_t i = 0; i < LEN(regexes); i++)
		patterns[i] = pattern_regex_new(NULL, regexes[i], 256, error, sizeof(error));
	for (size_t i = 0; i < 3; i++)
		protocols[i] = (struct protocol){ .name = probes[i].name, .probe = &probes[i] };
	protocols[3] = (struct protocol){ .name = "irc", .literals = literals, .n_literals = 2 };
	protocols[4] = (struct protocol){
		.name = "old", .literals = literals + 2, .n_literals = 4, .patterns = patterns + 2, .n_patterns = 1
	};
	protocols[5] = (struct protocol){ .name = "hello", .patterns = patterns, .n_patterns = 1 };
	protocols[6] = (struct protocol){ .name = "xmpp", .patterns = patterns + 1, .n_patterns = 1 };
	protocols[7] = (struct protocol){ .name = "any", .literals = literals, .n_literals = 6 };
	if (decider_new(&decider, NULL, protocols, LEN(protocols), rules, LEN(rules)) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct findings findings;
	struct outcome old = { SERVICE_NONE, 0, PROTOCOL_NONE };
	size_t step = 1 + size / DENSE;

	if (!decider)
		start();
	for (size_t len = 0; len <= size; len += len < 64 || size - len < 64 || size - len <= step ? 1 : step) {
		struct outcome outcome;
		uint8_t *copy = malloc(len + (len == 0));
		if (len > 0)
			memcpy(copy, data, len);
		struct evidence evidence = { copy, len };
		decider_ask(decider, &evidence, &findings, &outcome);
		if (old.more == SERVICE_NONE && (outcome.more != SERVICE_NONE || outcome.yes != old.yes))
			abort();
		if ((outcome.yes == SERVICE_NONE) != (outcome.protocol == PROTOCOL_NONE))
			abort();
		if (outcome.yes != SERVICE_NONE &&
			protocol_match(&protocols[outcome.protocol], &evidence, &findings) != VERDICT_YES)
			abort();
		free(copy);
		old = outcome;
	}
	return 0;
}
