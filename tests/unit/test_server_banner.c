/* What servers say first, whole and cut. */
#include "server_banner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void expect(const char *banner, enum server_banner kind)
{
	enum server_banner found;
	size_t len = strlen(banner), found_len;
	char more[2048];

	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(server_banner_read((const uint8_t *)banner, cut, &found, &found_len), VERDICT_MORE);
	snprintf(more, sizeof(more), "%sEHLO ", banner);
	assert_int_equal(server_banner_read((const uint8_t *)more, strlen(more), &found, &found_len), VERDICT_YES);
	assert_int_equal(found, kind);
	assert_int_equal(found_len, len);
}

static void banners_of_servers_are_read_to_their_end(void **state)
{
	expect("220 mail.example ESMTP Postfix\r\n", SERVER_BANNER_220);
	expect("220 \n", SERVER_BANNER_220);
	expect("220-Welcome to the archive\r\n220-of things\r\n220 ready\r\n", SERVER_BANNER_220);
	expect("+OK Dovecot ready.\r\n", SERVER_BANNER_POP3);
	expect("+OK\r\n", SERVER_BANNER_POP3);
	expect("* OK [CAPABILITY IMAP4rev1] ready\r\n", SERVER_BANNER_IMAP);
	expect("* PREAUTH hello\r\n", SERVER_BANNER_IMAP);
}

static void what_is_none_is_refused_at_its_first_byte(void **state)
{
	static const char *const wrong[] = { "SSH-2.0-x\r\n", "221 bye\r\n", "2200\r\n", "220:\r\n", "* BYE\r\n",
		"+ERR\r\n", "HTTP/1.1 400\r\n", "220-a\r\n221 b\r\n", "220-a\r\n\r\n" };
	static const size_t at[] = { 1, 3, 4, 4, 3, 2, 1, 10, 8 };
	enum server_banner kind;
	size_t len;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		for (size_t cut = 0; cut <= strlen(wrong[i]); cut++)
			assert_int_equal(server_banner_read((const uint8_t *)wrong[i], cut, &kind, &len),
				cut < at[i] ? VERDICT_MORE : VERDICT_NO);
}

static void a_long_one_is_none(void **state)
{
	char banner[SERVER_BANNER_MAX + 1];
	enum server_banner kind;
	size_t len;

	memset(banner, 'x', sizeof(banner));
	memcpy(banner, "220 ", 4);
	assert_int_equal(
		server_banner_read((const uint8_t *)banner, SERVER_BANNER_MAX - 1, &kind, &len), VERDICT_MORE);
	assert_int_equal(server_banner_read((const uint8_t *)banner, SERVER_BANNER_MAX, &kind, &len), VERDICT_NO);
}

static void a_kind_fits_its_protocols(void **state)
{
	assert_true(server_banner_fits(SERVER_BANNER_220, "smtp"));
	assert_true(server_banner_fits(SERVER_BANNER_220, "ftp"));
	assert_false(server_banner_fits(SERVER_BANNER_220, "imap"));
	assert_true(server_banner_fits(SERVER_BANNER_IMAP, "imap"));
	assert_false(server_banner_fits(SERVER_BANNER_POP3, "http"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(banners_of_servers_are_read_to_their_end),
		cmocka_unit_test(what_is_none_is_refused_at_its_first_byte),
		cmocka_unit_test(a_long_one_is_none),
		cmocka_unit_test(a_kind_fits_its_protocols),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
