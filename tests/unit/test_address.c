/* Addresses: what is accepted, what is not, and that text and address are each other's inverse. */
#include "address.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

static struct address parsed(const char *text)
{
	struct address a;

	assert_int_equal(address_parse(&a, text), 0);
	return a;
}

static void what_is_parsed_is_printed_the_same(void **state)
{
	static const char *const texts[] = { "192.0.2.1:443", "0.0.0.0:0", "255.255.255.255:65535",
		"[2001:db8::1]:443", "[::]:1", "[::1]:80", "unix:/run/usher/in.sock", "unix:/",
		"unix:/with space:and:colons" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct address a = parsed(texts[i]);
		char text[ADDRESS_TEXT_MAX];
		assert_string_equal(address_format(&a, text), texts[i]);
		assert_true(address_equal(&a, &a));
	}
}

static void a_zone_is_the_name_or_the_number_of_an_interface(void **state)
{
	char text[ADDRESS_TEXT_MAX];
	struct address a = parsed("[fe80::1%lo]:80"), b;

	assert_int_equal(a.in6.sin6_scope_id, 1); /* the loopback interface of every network namespace */
	assert_string_equal(address_format(&a, text), "[fe80::1%1]:80");
	address_load_zones();
	assert_string_equal(address_format(&a, text), "[fe80::1%lo]:80");
	assert_string_equal(address_format_host(&a, text), "fe80::1%lo");
	b = parsed("[fe80::1%4294967295]:80");
	assert_string_equal(address_format(&b, text), "[fe80::1%4294967295]:80");
	assert_false(address_equal(&a, &b));
	b = parsed("[fe80::1]:80");
	assert_false(address_equal(&a, &b));
	assert_true(address_is_link_local(&a) && address_is_link_local(&b));
	assert_string_equal(address_format(&b, text), "[fe80::1]:80");
	a = parsed("192.0.2.1:1");
	assert_false(address_is_link_local(&a));

	assert_int_equal(address_parse(&a, "[fe80::1%none-such-0]:80"), -ENODEV);
	assert_int_equal(address_parse(&a, "[fe80::1%0]:80"), -EINVAL);
	assert_int_equal(address_parse(&a, "[fe80::1%4294967296]:80"), -ENODEV);
	assert_int_equal(address_parse(&a, "[fe80::1%a-name-of-16-byt]:80"), -EINVAL);
}

static void malformed_text_is_refused(void **state)
{
	static const char *const texts[] = { "", ":", ":80", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536",
		"192.0.2.1:123456", "192.0.2.1:-1", "192.0.2.1:+1", "192.0.2.1: 1", "192.0.2.1:1 ", "192.0.2.1:0x10",
		"192.0.2:80", "192.0.2.256:80", "1.2.3.4.5:80", "[::1]", "[::1]:", "[::1:80", "::1]:80", "::1:80",
		"[]:80", "[:80", "]:80", "[192.0.2.1]:80", "[::1]x:80", "[::g]:80", "localhost:80", "[fe80::1%]:80",
		"[2001:db8::1%lo]:80", "[::1%lo]:80", "192.0.2.1%lo:80", "[%lo]:80", "[fe80::1%lo%lo]:80",
		"unix:", "unix:relative", "unix:@abstract", "UNIX:/x",
		"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:1" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct address a;
		if (address_parse(&a, texts[i]) != -EINVAL)
			fail_msg("accepted: %s", texts[i]);
	}
}

static void a_unix_path_has_107_bytes_at_most(void **state)
{
	char text[5 + 108 + 1] = "unix:/", back[ADDRESS_TEXT_MAX];
	struct address a;

	memset(text + 6, 'p', 107);
	text[5 + 108] = '\0';
	assert_int_equal(address_parse(&a, text), -ENAMETOOLONG);
	text[5 + 107] = '\0';
	assert_int_equal(address_parse(&a, text), 0);
	assert_string_equal(address_format(&a, back), text);
}

static void names_are_split_from_ports(void **state)
{
	static const struct {
		const char *text, *name;
		uint16_t port;
	} good[] = {
		{ "localhost:80", "localhost", 80 },
		{ "game1.lan:7000", "game1.lan", 7000 },
		{ "a-b_c.example.:65535", "a-b_c.example.", 65535 },
		{ "3com.example:1", "3com.example", 1 },
		{ "1.2.3.4x:1", "1.2.3.4x", 1 },
	};
	static const char *const bad[] = { "localhost", "localhost:", "localhost:0", "localhost:65536", ":80", ".:80",
		"a..b:80", ".a:80", "-a:80", "a-:80", "a.-b:80", "a b:80", "a/b:80", "1.2.3:80", "1.2.3.4:80",
		"443:80", "a.1:80", "[::1]:80", "\xc3\xa4:80",
		"a123456789012345678901234567890123456789012345678901234567890123:80" };
	char name[254];
	uint16_t port;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(address_split_name(good[i].text, name, &port), 0);
		assert_string_equal(name, good[i].name);
		assert_int_equal(port, good[i].port);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (address_split_name(bad[i], name, &port) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
}

static void a_name_has_253_bytes_at_most(void **state)
{
	char text[300], name[254];
	uint16_t port;

	for (size_t len = 250; len < 258; len++) {
		for (size_t i = 0; i < len; i++)
			text[i] = i % 50 == 49 && i + 1 < len ? '.' : 'a';
		strcpy(text + len, ":80");
		assert_int_equal(address_split_name(text, name, &port), len <= 253 ? 0 : -EINVAL);
	}
}

static void odd_addresses_have_a_text(void **state)
{
	struct address none = { 0 }, mapped = parsed("[::ffff:192.0.2.1]:443"), unnamed = { 0 }, abstract = { 0 };
	char text[ADDRESS_TEXT_MAX];

	assert_string_equal(address_format(&none, text), "-");
	assert_string_equal(address_format_host(&none, text), "-");
	assert_string_equal(address_format(&mapped, text), "192.0.2.1:443");
	assert_string_equal(address_format_host(&mapped, text), "192.0.2.1");
	unnamed.un.sun_family = AF_UNIX;
	unnamed.len = sizeof(sa_family_t);
	assert_string_equal(address_format(&unnamed, text), "unix:");
	abstract.un.sun_family = AF_UNIX;
	memcpy(abstract.un.sun_path, "\0na\nme\"", 7);
	abstract.len = offsetof(struct sockaddr_un, sun_path) + 7;
	assert_string_equal(address_format(&abstract, text), "unix:@na?me\"");

	/* Shorter than its family needs, as a hostile peer's would be. */
	struct address cut = parsed("192.0.2.1:443");
	cut.len = 4;
	assert_string_equal(address_format(&cut, text), "-");
	assert_false(address_is_ip(&cut));
	assert_int_equal(address_port(&cut), 0);
}

static void a_full_path_without_nul_stays_within_its_bounds(void **state)
{
	struct address a = { .len = sizeof(a.un) };
	char text[ADDRESS_TEXT_MAX];

	a.un.sun_family = AF_UNIX;
	memset(a.un.sun_path, 'x', sizeof(a.un.sun_path));
	a.len = sizeof(a.un);
	assert_int_equal(strlen(address_format(&a, text)), 5 + sizeof(a.un.sun_path));
	a.len = UINT32_MAX;
	assert_int_equal(strlen(address_format(&a, text)), 5 + sizeof(a.un.sun_path));
}

static void equality_looks_at_what_matters(void **state)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} cases[] = {
		{ "192.0.2.1:1", "192.0.2.1:1", true },
		{ "192.0.2.1:1", "192.0.2.1:2", false },
		{ "192.0.2.1:1", "192.0.2.2:1", false },
		{ "192.0.2.1:1", "[::ffff:192.0.2.1]:1", true },
		{ "[::1]:1", "[0:0:0:0:0:0:0:1]:1", true },
		{ "[::1]:1", "127.0.0.1:1", false },
		{ "unix:/a", "unix:/a", true },
		{ "unix:/a", "unix:/ab", false },
		{ "unix:/a", "[::1]:1", false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct address a = parsed(cases[i].a), b = parsed(cases[i].b);
		assert_int_equal(address_equal(&a, &b), cases[i].equal);
		assert_int_equal(address_equal(&b, &a), cases[i].equal);
	}
	/* The kernel counts the NUL of a path, or does not. */
	struct address a = parsed("unix:/a"), b = a;
	b.len--;
	assert_true(address_equal(&a, &b));
}

static void a_target_that_leads_back_is_seen(void **state)
{
	static const struct {
		const char *target, *listener;
		bool reaches;
	} cases[] = {
		{ "127.0.0.1:443", "127.0.0.1:443", true },
		{ "127.0.0.1:443", "0.0.0.0:443", true },
		{ "127.9.9.9:443", "0.0.0.0:443", true },
		{ "[::1]:443", "[::]:443", true },
		{ "0.0.0.0:443", "127.0.0.1:443", true },
		{ "0.0.0.0:443", "0.0.0.0:443", true },
		{ "[::]:443", "[::1]:443", true },
		{ "unix:/a", "unix:/a", true },
		{ "[::ffff:127.0.0.1]:443", "0.0.0.0:443", true },
		{ "127.0.0.1:444", "0.0.0.0:443", false },
		{ "127.0.0.1:443", "[::]:443", false },
		{ "[::1]:443", "0.0.0.0:443", false },
		{ "192.0.2.1:443", "0.0.0.0:443", false },
		{ "127.0.0.2:443", "127.0.0.1:443", false },
		{ "unix:/a", "unix:/b", false },
	};
	struct address none = { 0 }, any = parsed("0.0.0.0:0");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct address target = parsed(cases[i].target), listener = parsed(cases[i].listener);
		if (address_reaches(&target, &listener) != cases[i].reaches)
			fail_msg("%s to %s", cases[i].target, cases[i].listener);
	}
	assert_false(address_reaches(&none, &none));
	assert_false(address_reaches(&none, &any));
}

static void private_and_special_addresses_are_not_public(void **state)
{
	static const char *const public[] = { "1.1.1.1:1", "9.255.255.255:1", "11.0.0.0:1", "100.63.255.255:1",
		"100.128.0.0:1", "172.15.0.1:1", "172.32.0.1:1", "192.167.1.1:1", "223.255.255.255:1",
		"[2606:4700::1]:1", "[2001:4860::1]:1", "[::ffff:1.1.1.1]:1", "[64:ff9b::101:101]:1",
		"[2002:101:101::1]:1" };
	static const char *const others[] = { "0.0.0.0:1", "10.0.0.1:1", "100.64.0.1:1", "100.127.255.255:1",
		"127.0.0.1:1", "169.254.169.254:1", "172.16.0.1:1", "172.31.255.255:1", "192.168.0.1:1",
		"192.0.0.8:1", "198.19.0.1:1", "224.0.0.1:1", "240.0.0.1:1", "255.255.255.255:1", "[::]:1", "[::1]:1",
		"[fe80::1%1]:1", "[fc00::1]:1", "[fdff::1]:1", "[ff02::1]:1", "[fec0::1]:1", "[::ffff:10.0.0.1]:1",
		"[::10.0.0.1]:1", "[64:ff9b::a00:1]:1", "[64:ff9b:1::1]:1", "[2002:a00:1::1]:1", "[2001::1]:1",
		"[2001:db8::1]:1", "[100::1]:1", "unix:/a" };

	for (size_t i = 0; i < sizeof(public) / sizeof(public[0]); i++) {
		struct address address = parsed(public[i]);
		if (!address_is_public(&address))
			fail_msg("%s", public[i]);
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct address address = parsed(others[i]);
		if (address_is_public(&address))
			fail_msg("%s", others[i]);
	}
}

static void ports_are_set_where_there_are_ports(void **state)
{
	struct address v4 = parsed("192.0.2.1:1"), v6 = parsed("[::1]:1"), path = parsed("unix:/a");

	address_set_port(&v4, 65535);
	address_set_port(&v6, 80);
	address_set_port(&path, 80);
	assert_int_equal(address_port(&v4), 65535);
	assert_int_equal(address_port(&v6), 80);
	assert_int_equal(address_port(&path), 0);
	assert_string_equal(path.un.sun_path, "/a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_parsed_is_printed_the_same),
		cmocka_unit_test(a_zone_is_the_name_or_the_number_of_an_interface),
		cmocka_unit_test(malformed_text_is_refused),
		cmocka_unit_test(a_unix_path_has_107_bytes_at_most),
		cmocka_unit_test(names_are_split_from_ports),
		cmocka_unit_test(a_name_has_253_bytes_at_most),
		cmocka_unit_test(odd_addresses_have_a_text),
		cmocka_unit_test(a_full_path_without_nul_stays_within_its_bounds),
		cmocka_unit_test(equality_looks_at_what_matters),
		cmocka_unit_test(a_target_that_leads_back_is_seen),
		cmocka_unit_test(private_and_special_addresses_are_not_public),
		cmocka_unit_test(ports_are_set_where_there_are_ports),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
