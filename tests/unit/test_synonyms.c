/* Suggestions by meaning name protocols that there are, and no name of these is one. */
#include "probe.h"
#include "synonyms.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void names_that_mean_a_protocol_lead_to_it(void **state)
{
	static const char *const cases[][2] = { { "ssl", "`tls'" }, { "HTTPS", "`tls'" }, { "wss", "`tls'" },
		{ "mariadb", "`mysql'" }, { "grpc", "`http'" }, { "turn", "`stun'" }, { "ipsec", "`ike'" },
		{ "ws", "\"websocket\"" } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_non_null(strstr(synonym_hint(cases[i][0]), cases[i][1]));
}

static void other_names_are_left_to_spelling(void **state)
{
	assert_null(synonym_hint("sssh"));
	assert_null(synonym_hint(""));
	assert_null(synonym_hint("ss"));
	assert_null(synonym_hint("http"));
}

static void no_probe_is_called_so(void **state)
{
	for (size_t i = 0; i < n_probes; i++)
		assert_null(synonym_hint(probes[i].name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_mean_a_protocol_lead_to_it),
		cmocka_unit_test(other_names_are_left_to_spelling),
		cmocka_unit_test(no_probe_is_called_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
