/* SMTP, IMAP, POP3, FTP and IRC by their first lines: what is one's alone, and what only a greeting tells. */
#include "probe_cases.h"
#include "server_banner.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void smtp(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("EHLO client.example\r\n", 5, ""),
		CASE_YES("ehlo [192.0.2.1]\r\n", 5, ""),
		CASE_YES("HELO x\r\n", 5, ""),
		CASE_YES("LHLO x\r\n", 5, ""),
		CASE_YES("EHLO\r\n", 6, ""),
		CASE_YES("MAIL FROM:<a@example.com>\r\n", 10, ""),
		CASE_MORE("EHLO"),
		CASE_NO("HELP\r\n", 4),
		CASE_NO("HELLO 3\r\n", 4),
		CASE_NO("STARTTLS\r\n", 1),
		CASE_NO("HELF\0", 4),
	};
	CASES_CHECK("smtp", cases);
}

static void imap(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("a001 CAPABILITY\r\n", 17, ""),
		CASE_YES("C00000 CAPABILITY\r\n", 19, ""),
		CASE_YES("A1 LOGIN alice secret\r\n", 9, ""),
		CASE_YES(". logout\r\n", 10, ""),
		CASE_YES("a login alice secret\r\n", 8, ""),
		CASE_YES("1 ID (\"name\" \"x\")\r\n", 6, ""),
		CASE_YES("2 AUTHENTICATE PLAIN\r\n", 15, ""),
		CASE_MORE("a001"),
		CASE_MORE("a001 LOGI"),
		CASE_NO("AUTH LOGIN x\r\n", 5),
		CASE_NO("0 think 17\n", 3),
		CASE_NO("a001 FETCH 1\r\n", 6),
		CASE_NO("abcdefghijklmnop1 LOGIN \r\n", 17),
		CASE_NO("* OK\r\n", 1),
		CASE_NO("GET / HTTP/1.1\r\n", 4),
		CASE_NO("SSH-2.0-x", 4),
	};
	CASES_CHECK("imap", cases);
}

static void pop3_and_ftp_without_a_greeting(void **state)
{
	static const struct probe_case pop3[] = {
		CASE_YES("CAPA\r\n", 6, ""),
		CASE_YES("stls\n", 5, ""),
		CASE_YES("APOP alice c4c9334bac560ecc979e58001b3e22fb\r\n", 5, ""),
		CASE_NO("USER alice\r\n", 1),
		CASE_NO("AUTH PLAIN\r\n", 2),
		CASE_NO("CAPAB x\r\n", 5),
		CASE_NO("QUIT\r\n", 1),
	};
	static const struct probe_case ftp[] = {
		CASE_YES("AUTH TLS\r\n", 10, ""),
		CASE_YES("auth ssl\n", 9, ""),
		CASE_YES("FEAT\r\n", 6, ""),
		CASE_YES("OPTS UTF8 ON\r\n", 10, ""),
		CASE_YES("PASV\r\n", 6, ""),
		CASE_NO("USER anonymous\r\n", 1),
		CASE_NO("AUTH LOGIN\r\n", 6),
		CASE_NO("AUTH TLSX\r\n", 9),
		CASE_NO("FEATURE\r\n", 5),
	};
	CASES_CHECK("pop3", pop3);
	CASES_CHECK("ftp", ftp);
}

static void pop3_and_ftp_behind_theirs(void **state)
{
	static const struct probe_case pop3[] = {
		CASE_YES("USER alice\r\n", 5, ""),
		CASE_YES("AUTH PLAIN\r\n", 5, ""),
		CASE_YES("CAPA\r\n", 6, ""),
		CASE_NO("a001 CAPABILITY\r\n", 2),
	};
	static const struct probe_case ftp[] = {
		CASE_YES("USER alice\r\n", 12, ""),
		CASE_YES("user a\n", 7, ""),
		CASE_YES("FEAT\r\n", 6, ""),
		CASE_NO("USER \r\n", 6),
		CASE_NO("USER a b\r\n", 7),
		CASE_NO("EHLO x\r\n", 2),
	};
	static const struct probe_case other[] = { CASE_NO("USER alice\r\n", 1) };
	cuts_greeting = 1 + SERVER_BANNER_POP3;
	CASES_CHECK("pop3", pop3);
	CASES_CHECK("ftp", other);
	cuts_greeting = 1 + SERVER_BANNER_220;
	CASES_CHECK("ftp", ftp);
	cuts_greeting = 0;
}

/* A name without an end is refused where it becomes too long. */
static void a_name_has_a_bound(void **state)
{
	uint8_t bytes[400];
	static struct answer answer;

	memset(bytes, 'x', sizeof(bytes));
	memcpy(bytes, "USER ", 5);
	cuts_greeting = 1 + SERVER_BANNER_220;
	assert_null(cuts_check(probe_find("ftp"), bytes, sizeof(bytes), 400));
	answer_get(&answer, probe_find("ftp"), bytes, 254);
	assert_int_equal(answer.verdict, VERDICT_MORE);
	answer_get(&answer, probe_find("ftp"), bytes, 255);
	assert_int_equal(answer.verdict, VERDICT_NO);
	cuts_greeting = 0;
}

static void irc(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("CAP LS 302\r\n", 7, ""),
		CASE_YES("CAP LS\r\nJOIN :\r\n", 8, ""),
		CASE_YES("cap req :sasl\r\n", 8, ""),
		CASE_YES("NICK alice\r\n", 6, ""),
		CASE_YES("NICK [bot]\n", 6, ""),
		CASE_YES("USER alice 0 * :Alice A.\r\n", 16, ""),
		CASE_YES("USER bot +iw bot Bot\r\n", 18, ""),
		CASE_YES("PASS secret\r\nNICK alice\r\n", 19, ""),
		CASE_YES("PASS a b c\nUSER alice 0 * :x\r\n", 27, ""),
		CASE_YES("PASS x TS 6 :0AB\r\nCAPAB :QS\r\n", 24, ""),
		CASE_YES("WEBIRC secret gw host 192.0.2.1\r\n", 7, ""),
		CASE_MORE("NICK "),
		CASE_MORE("PASS secret\r\n"),
		CASE_MORE("USER alice 0 * "),
		CASE_NO("USER alice\r\n", 11),
		CASE_NO("USER a  b c d\r\n", 8),
		CASE_NO("NICK 1\r\n", 6),
		CASE_NO("PASS \r\nNICK alice\r\n", 6),
		CASE_NO("PASS secret\r\nRETR 1\r\n", 14),
		CASE_NO("PASS secret\r\nPASS secret\r\n", 15),
		CASE_NO("SERVER a 1 :b\r\n", 1),
		CASE_NO("CAPA\r\n", 4),
		CASE_NO("CAP END\r\n", 5),
		CASE_NO("PING :x\r\n", 2),
	};
	CASES_CHECK("irc", cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(smtp),
		cmocka_unit_test(imap),
		cmocka_unit_test(pop3_and_ftp_without_a_greeting),
		cmocka_unit_test(pop3_and_ftp_behind_theirs),
		cmocka_unit_test(a_name_has_a_bound),
		cmocka_unit_test(irc),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
