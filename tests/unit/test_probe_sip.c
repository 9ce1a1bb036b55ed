/* The first lines of SIP and RTSP, over TCP and in datagrams, beside HTTP's. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void sip_requests_and_answers(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("INVITE sip:bob@example.com SIP/2.0\r\nVia: ", 11, "host=example.com"),
		CASE_YES("REGISTER sips:example.com SIP/2.0\r\n", 14, "host=example.com"),
		CASE_YES("OPTIONS sip:nm SIP/2.0\r\n", 12, "host=nm"),
		CASE_YES("MESSAGE tel:+4930123456 sip/2.0\r\n", 31, ""),
		CASE_YES("INVITE urn:service:sos SIP/2.0\r\n", 30, ""),
		CASE_YES("NEWMETHOD sip:a SIP/2.0\r\n", 23, "host=a"),
		CASE_YES("\r\n\r\nREGISTER sip:example.com SIP/2.0\r\n", 17, "host=example.com"),
		CASE_YES("SIP/2.0 200 OK\r\n", 12, ""),
		CASE_YES("SIP/2.0 401 Unauthorized\r\n", 12, ""),
		CASE_YES("INVITE sip:caf\xc3\xa9@example.com SIP/2.0\r\n", 11, "host=example.com"),
		/* a user, a password, a port, parameters, headers, an address of IPv6; cut; no name */
		CASE_YES("INVITE sip:Bob:pw@Example.com:5060;transport=tcp?a=b SIP/2.0\r\n", 11, "host=example.com"),
		CASE_YES("INVITE sip:[2001:DB8::1]:5060 SIP/2.0\r\n", 11, "host=[2001:db8::1]"),
		CASE_YES("INVITE sip:bob@example.co", 11, "host?"),
		CASE_YES("INVITE sip:bob@ex_ample!.com SIP/2.0\r\n", 11, ""),
		CASE_YES("INVITE sip: SIP/2.0\r\n", 11, ""),
		CASE_MORE("\r\n\r\n"),
		CASE_MORE("INVITE"),
		CASE_MORE("INVITE sip"),
		CASE_MORE("INVITE tel:+4930123456 SIP/2."),
		CASE_MORE("GET sip:bob@example.com SIP/2."),
		CASE_MORE("SIP/2.0 20"),
	};
	CASES_CHECK("sip", cases);
}

static void not_sip(void **state)
{
	static const struct probe_case cases[] = {
		CASE_NO("GET / HTTP/1.1\r\n", 5),
		CASE_NO("GET http://example.com/ HTTP/1.1\r\n", 25),
		CASE_NO("CONNECT example.com:443 HTTP/1.1\r\n", 25),
		CASE_NO("OPTIONS * RTSP/1.0\r\n", 9),
		CASE_NO("DESCRIBE rtsp://example.com/a RTSP/1.0\r\n", 31),
		CASE_NO("INVITE tel:+4930123456 SIP/3.0\r\n", 28),
		CASE_NO("INVITE tel:+4930123456\r\n", 23),
		CASE_NO("xINVITE sip:bob@example.com\r\n", 28),
		CASE_NO("INVITE  sip:bob@example.com SIP/2.0\r\n", 8),
		CASE_NO("SIP/2.0 2000\r\n", 12),
		CASE_NO("SIP/1.0 200 OK\r\n", 5),
		CASE_NO("\r\r\n", 2),
		CASE_NO("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", 18),
		CASE_NO("NICK alice\r\n", 11),
		CASE_NO("USER alice 0 * :Alice\r\n", 11),
		CASE_NO("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG sip:a SIP/2.0\r\n", 33),
		CASE_NO("A abcdefghijklmnopqrstuvwxyzabcdefg:b SIP/2.0\r\n", 34),
		CASE_NO("\x16\x03\x01", 1),
	};
	CASES_CHECK("sip", cases);
}

static void sip_datagrams(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("OPTIONS sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060\r\n\r\n", 0,
			"host=192.0.2.1"),
		CASE_YES("SIP/2.0 200 OK\r\n\r\n", 0, ""),
		CASE_NO("\r\n\r\n", 0),
		CASE_NO("jaK\0", 0),
		CASE_NO("\0\0\0\0", 0),
		CASE_NO("NOTIFY * HTTP/1.1\r\n\r\n", 0),
		CASE_NO("INVITE tel:+4930123456 SIP/2.", 0),
	};
	DATAGRAMS_CHECK("sip", cases);
}

static void rtsp_requests(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("OPTIONS rtsp://192.0.2.1:8554/live RTSP/1.0\r\nCSeq: 1\r\n", 43, "host=192.0.2.1"),
		CASE_YES("DESCRIBE rtsps://example.com/a RTSP/2.0\r\n", 39, "host=example.com"),
		CASE_YES("SETUP rtsp://user:p@Cam.example/a@b RTSP/1.0\r\n", 44, "host=cam.example"),
		CASE_YES("OPTIONS * RTSP/1.0\r\n", 18, ""),
		CASE_YES("OPTIONS / RTSP/1.0\r\n\r\n", 18, ""),
		CASE_YES("POST /pair-setup RTSP/1.0\r\n", 25, ""),
		CASE_YES("\r\nSETUP rtspu://example.com/a RTSP/1.0\r\n", 38, "host=example.com"),
		CASE_MORE("OPTIONS "),
		CASE_MORE("OPTIONS rtsp://example.com/live RTSP/1"),
		CASE_NO("OPTIONS sip:nm SIP/2.0\r\n", 9),
		CASE_NO("OPTIONS * HTTP/1.1\r\n", 11),
		CASE_NO("GET / HTTP/1.1\r\n", 7),
		CASE_NO("GET http://example.com/ HTTP/1.1\r\n", 5),
		CASE_NO("GET /a-path-that-is-rather-long-for-a-receiver-of-airplay-and-goes-on-x HTTP/1.1\r\n", 69),
		CASE_NO("DESCRIBE rtsp://example.com/a RTSP/3.0\r\n", 36),
		CASE_NO("RTSP/1.0 200 OK\r\n", 5),
		CASE_NO("EHLO mail.example.com\r\n", 6),
	};
	CASES_CHECK("rtsp", cases);
}

/* A target without an end is refused where it becomes too long. */
static void a_target_has_a_bound(void **state)
{
	static uint8_t bytes[6000];
	static struct answer answer;
	const struct probe *probe = probe_find("sip");

	memset(bytes, 'a', sizeof(bytes));
	memcpy(bytes, "INVITE tel:", 11);
	assert_null(cuts_check(probe, bytes, sizeof(bytes), 600));
	answer_get(&answer, probe, bytes, 7 + 4096);
	assert_int_equal(answer.verdict, VERDICT_MORE);
	answer_get(&answer, probe, bytes, 7 + 4097);
	assert_int_equal(answer.verdict, VERDICT_NO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sip_requests_and_answers),
		cmocka_unit_test(not_sip),
		cmocka_unit_test(sip_datagrams),
		cmocka_unit_test(rtsp_requests),
		cmocka_unit_test(a_target_has_a_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
