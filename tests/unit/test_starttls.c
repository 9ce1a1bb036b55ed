/* Conversations about TLS, with each side, at every cut of its bytes: what is said, and whether TLS comes of it. */
#include "starttls_talks.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TEXT(text) (text), sizeof(text) - 1

struct conversation {
	enum starttls_kind kind;
	bool is_server;
	const char *heard;
	size_t heard_len;
	const char *said;
	size_t said_len;
	enum starttls_step step;
	size_t rest; /* bytes that are left */
};

#define PG_TLS   "\0\0\0\10\4\322\26/"
#define PG_GSS   "\0\0\0\10\4\322\26\060"
#define PG_ERROR "E\0\0\0\67SFATAL\0VFATAL\0C28000\0Ma request for TLS is needed\0\0"

static const struct conversation conversations[] = {
	{ STARTTLS_POSTGRES, false, TEXT(PG_TLS), TEXT("S"), STARTTLS_TLS, 0 },
	{ STARTTLS_POSTGRES, false, TEXT(PG_TLS "\26\3\1"), TEXT("S"), STARTTLS_TLS, 3 },
	{ STARTTLS_POSTGRES, false, TEXT(PG_GSS PG_TLS), TEXT("NS"), STARTTLS_TLS, 0 },
	{ STARTTLS_POSTGRES, false, TEXT(PG_GSS), TEXT("N"), STARTTLS_MORE, 0 },
	{ STARTTLS_POSTGRES, false, TEXT(PG_GSS PG_GSS), TEXT("N" PG_ERROR), STARTTLS_REFUSED, 0 },
	{ STARTTLS_POSTGRES, false, TEXT(PG_GSS "\0\0\0\51\0\3\0\0user"), TEXT("N" PG_ERROR), STARTTLS_REFUSED, 4 },
	{ STARTTLS_POSTGRES, true, TEXT(""), TEXT(PG_TLS), STARTTLS_MORE, 0 },
	{ STARTTLS_POSTGRES, true, TEXT("S"), TEXT(PG_TLS), STARTTLS_TLS, 0 },
	{ STARTTLS_POSTGRES, true, TEXT("Sx"), TEXT(PG_TLS), STARTTLS_TLS, 1 },
	{ STARTTLS_POSTGRES, true, TEXT("N"), TEXT(PG_TLS), STARTTLS_REFUSED, 0 },
	{ STARTTLS_POSTGRES, true, TEXT("E\0\0\0\30"), TEXT(PG_TLS), STARTTLS_REFUSED, 4 },
};

static void hear_in_two(struct talk *talk, const struct conversation *one, size_t cut)
{
	talk_begin(talk, one->kind, one->is_server);
	talk_hear(talk, (const uint8_t *)one->heard, cut);
	talk_hear(talk, (const uint8_t *)one->heard, one->heard_len);
}

static void each_conversation_goes_its_way_however_it_is_cut(void **state)
{
	for (size_t i = 0; i < sizeof(conversations) / sizeof(conversations[0]); i++) {
		const struct conversation *one = &conversations[i];
		struct talk whole, talk;

		hear_in_two(&whole, one, one->heard_len);
		assert_int_equal(whole.said_len, one->said_len);
		assert_memory_equal(whole.said, one->said, one->said_len);
		assert_int_equal(whole.step, one->step);
		assert_int_equal(one->heard_len - whole.taken, one->rest);
		assert_int_equal(whole.starttls.is_agreed, !one->is_server && one->step == STARTTLS_TLS);
		for (size_t cut = 0; cut < one->heard_len; cut++) {
			hear_in_two(&talk, one, cut);
			assert_true(talk_is_like(&talk, &whole));
		}
		talk_begin(&talk, one->kind, one->is_server);
		for (size_t len = 0; len <= one->heard_len; len++)
			talk_hear(&talk, (const uint8_t *)one->heard, len);
		assert_true(talk_is_like(&talk, &whole));
	}
}

static enum verdict probe_says(enum starttls_kind kind, const char *bytes, size_t len)
{
	static struct findings findings;
	const struct evidence evidence = { .bytes = (const uint8_t *)bytes, .len = len };

	findings_reset(&findings);
	return probe_run(starttls_probe(kind), &evidence, &findings);
}

static void a_request_is_told_from_clients_that_ask_for_no_tls(void **state)
{
	assert_int_equal(probe_says(STARTTLS_POSTGRES, TEXT(PG_TLS)), VERDICT_YES);
	assert_int_equal(probe_says(STARTTLS_POSTGRES, TEXT(PG_GSS "x")), VERDICT_YES);
	assert_int_equal(probe_says(STARTTLS_POSTGRES, PG_TLS, 7), VERDICT_MORE);
	assert_int_equal(probe_says(STARTTLS_POSTGRES, TEXT("\0\0\0\51\0\3\0\0user")), VERDICT_NO);
	assert_int_equal(probe_says(STARTTLS_POSTGRES, TEXT("\0\0\0\20\4\322\26.")), VERDICT_NO);
}

static void each_kind_has_a_built_in_protocol(void **state)
{
	for (int kind = 0; kind < STARTTLS_KINDS; kind++) {
		assert_string_equal(probes[starttls_protocol((enum starttls_kind)kind)].name,
			starttls_name((enum starttls_kind)kind));
		assert_int_equal(starttls_of_probe(starttls_probe((enum starttls_kind)kind)), kind);
	}
	assert_int_equal(starttls_of_probe(&probes[0]), STARTTLS_NONE);
	assert_int_equal(starttls_of_probe(NULL), STARTTLS_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_conversation_goes_its_way_however_it_is_cut),
		cmocka_unit_test(a_request_is_told_from_clients_that_ask_for_no_tls),
		cmocka_unit_test(each_kind_has_a_built_in_protocol),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
