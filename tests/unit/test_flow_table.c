/* Flows are found by all parts of their key and by nothing less, however many there are. */
#include "flow_table.h"
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct flow_key key_of(const char *client, uint16_t port, const char *local, uint16_t local_port)
{
	struct flow_key key = { 0 };
	struct address address;
	char text[64];

	snprintf(text, sizeof(text), strchr(client, ':') ? "[%s]:%u" : "%s:%u", client, port);
	assert_int_equal(address_parse(&address, text), 0);
	flow_key_set_client(&key, &address.sa);
	snprintf(text, sizeof(text), strchr(local, ':') ? "[%s]:1" : "%s:1", local);
	assert_int_equal(address_parse(&address, text), 0);
	flow_key_set_local(&key, address.sa.sa_family,
		address.sa.sa_family == AF_INET ? (void *)&address.in.sin_addr : (void *)&address.in6.sin6_addr);
	key.local_port = htons(local_port);
	return key;
}

static void a_flow_is_found_by_its_whole_key(void **state)
{
	struct flow_place places[] = {
		{ .key = key_of("192.0.2.1", 1000, "192.0.2.9", 443) },
		{ .key = key_of("192.0.2.2", 1000, "192.0.2.9", 443) },
		{ .key = key_of("192.0.2.1", 1001, "192.0.2.9", 443) },
		{ .key = key_of("192.0.2.1", 1000, "192.0.2.8", 443) },
		{ .key = key_of("192.0.2.1", 1000, "192.0.2.9", 53) },
		{ .key = key_of("2001:db8::1", 1000, "2001:db8::9", 443) },
	};
	size_t n = sizeof(places) / sizeof(places[0]);
	struct flow_table *table = flow_table_new(10);

	assert_non_null(table);
	for (size_t i = 0; i < n; i++) {
		struct flow_key key = places[i].key;
		assert_null(flow_table_find(table, &key));
		flow_table_insert(table, &places[i]);
		assert_ptr_equal(flow_table_find(table, &key), &places[i]);
	}
	for (size_t i = 0; i < n; i++) {
		flow_table_remove(table, &places[i]);
		for (size_t k = 0; k < n; k++)
			assert_ptr_equal(flow_table_find(table, &places[k].key), k > i ? &places[k] : NULL);
	}
	flow_table_free(table);
}

static void many_flows_are_all_found(void **state)
{
	enum { FLOWS = 20000 };
	struct flow_table *table = flow_table_new(100); /* far fewer than there will be */
	struct flow_place *places = calloc(FLOWS, sizeof(*places));

	assert_non_null(table);
	assert_non_null(places);
	for (size_t i = 0; i < FLOWS; i++) {
		places[i].key = key_of("192.0.2.1", (uint16_t)i, "192.0.2.9", (uint16_t)(i >> 14));
		flow_table_insert(table, &places[i]);
	}
	for (size_t i = 0; i < FLOWS; i += 2)
		flow_table_remove(table, &places[i]);
	for (size_t i = 0; i < FLOWS; i++)
		assert_ptr_equal(flow_table_find(table, &places[i].key), i % 2 ? &places[i] : NULL);
	flow_table_free(table);
	free(places);
}

static void a_key_keeps_the_clients_address(void **state)
{
	static const char *const clients[] = { "192.0.2.1", "2001:db8::1" };
	char text[ADDRESS_TEXT_MAX];

	for (size_t i = 0; i < 2; i++) {
		struct flow_key key = key_of(clients[i], 1234, i ? "::1" : "127.0.0.1", 443);
		struct address client;
		flow_key_client(&key, &client);
		assert_int_equal(flow_key_family(&key), i ? AF_INET6 : AF_INET);
		assert_string_equal(address_format_host(&client, text), clients[i]);
		assert_int_equal(address_port(&client), 1234);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flow_is_found_by_its_whole_key),
		cmocka_unit_test(many_flows_are_all_found),
		cmocka_unit_test(a_key_keeps_the_clients_address),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
