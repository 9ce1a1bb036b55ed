/* What servers say first in protocols in which they do, whole, cut, and of others. */
#include "server_opening.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

static enum verdict match(const char *name, const uint8_t *bytes, size_t len)
{
	const struct server_opening *opening = server_opening_find(name);

	assert_non_null(opening);
	return opening->match(bytes, len);
}

/* Not decided before its byte number `at`, and then YES for whatever follows. */
static void is_known(const char *name, const uint8_t *bytes, size_t len, size_t at)
{
	for (size_t cut = 0; cut <= len; cut++)
		if (match(name, bytes, cut) != (cut < at ? VERDICT_MORE : VERDICT_YES))
			fail_msg("%s, cut behind byte %zu", name, cut);
}

static void servers_are_known_by_what_they_say_first(void **state)
{
	is_known("ssh", BYTES("SSH-2.0-OpenSSH_9.2\r\n"), 8);
	is_known("ssh", BYTES("SSH-1.99-Cisco-1.25\n"), 9);
	is_known("ssh", BYTES("Keep out\r\nof here\r\nSSH-2.0-x\r\n"), 27);
	is_known("smtp", BYTES("220-mail.example\r\n220 ESMTP\r\n"), 29);
	is_known("ftp", BYTES("220 ready\r\n"), 11);
	is_known("pop3", BYTES("+OK ready\r\n"), 11);
	is_known("imap", BYTES("* OK ready\r\n"), 12);
	is_known("vnc", BYTES("RFB 003.008\n"), 12);
	is_known("rsync", BYTES("@RSYNCD: 31.0 sha512\n"), 10);
	is_known("nats", BYTES("INFO {\"server_id\":\"x\"}\r\n"), 6);
	is_known("mysql",
		BYTES("\x4a\0\0\0\x0a"
		      "8.0.36\0\x08\0\0\0"),
		6);
}

static void others_are_refused(void **state)
{
	assert_int_equal(match("imap", BYTES("220 mail.example\r\n")), VERDICT_NO);
	assert_int_equal(match("pop3", BYTES("-ERR busy\r\n")), VERDICT_NO);
	assert_int_equal(match("smtp", BYTES("554 no service\r\n")), VERDICT_NO);
	assert_int_equal(match("vnc", BYTES("RFB x")), VERDICT_NO);
	assert_int_equal(match("mysql", BYTES("\x10\0\0\0\xff\x10\x04Too many connections")), VERDICT_NO);
	assert_int_equal(match("mysql", BYTES("\x10\0\0\0\x0a\x01")), VERDICT_NO);
	assert_int_equal(match("ssh", BYTES("220 mail.example\r\n")), VERDICT_MORE); /* other lines may come first */
	assert_int_equal(match("ssh", BYTES("SSH-1.5-x\r\n")), VERDICT_MORE);
	assert_null(server_opening_find("http"));
	assert_null(server_opening_find("mine"));
}

static void an_ssh_server_is_not_waited_for_without_end(void **state)
{
	uint8_t bytes[SERVER_OPENING_MAX + 20];

	memset(bytes, 'x', sizeof(bytes));
	memcpy(bytes + SERVER_OPENING_MAX - 4, "\nSSH-2.0-x\n", 11);
	for (size_t len = 0; len < sizeof(bytes); len++)
		assert_int_equal(match("ssh", bytes, len), len < SERVER_OPENING_MAX ? VERDICT_MORE : VERDICT_NO);
}

static void a_status_is_read_when_it_is_whole(void **state)
{
	static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\n";
	unsigned status = 0;

	for (size_t cut = 0; cut < 13; cut++)
		assert_int_equal(http_status_read((const uint8_t *)answer, cut, &status), VERDICT_MORE);
	for (size_t cut = 13; cut < sizeof(answer); cut++)
		assert_int_equal(http_status_read((const uint8_t *)answer, cut, &status), VERDICT_YES);
	assert_int_equal(status, 503);
	assert_int_equal(http_status_read(BYTES("HTTP/1.0 200\r\n"), &status), VERDICT_YES);
	assert_int_equal(status, 200);
	assert_int_equal(http_status_read(BYTES("HTTP/1.1 2000"), &status), VERDICT_NO);
	assert_int_equal(http_status_read(BYTES("HTTP/2"), &status), VERDICT_NO);
	assert_int_equal(http_status_read(BYTES("SSH-2.0-x"), &status), VERDICT_NO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(servers_are_known_by_what_they_say_first),
		cmocka_unit_test(others_are_refused),
		cmocka_unit_test(an_ssh_server_is_not_waited_for_without_end),
		cmocka_unit_test(a_status_is_read_when_it_is_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
