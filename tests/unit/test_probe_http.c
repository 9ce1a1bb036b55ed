/* RFC 9112 and RFC 9113 as far as the first request and its host. */
#include "cuts.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct answer answer;

static enum verdict run(const void *bytes, size_t len)
{
	assert_null(cuts_check(probe_find("http"), bytes, len, 4000));
	answer_get(&answer, probe_find("http"), bytes, len);
	return answer.verdict;
}

static enum verdict run_text(const char *text)
{
	return run(text, strlen(text));
}

static const char *value(enum attribute attribute)
{
	return answer_text(&answer, attribute);
}

static const char *host(void)
{
	return value(ATTRIBUTE_HOST);
}

/* "?": not settled. */
static void expect(enum attribute attribute, const char *expected, const char *text)
{
	const char *got = value(attribute);

	if (strcmp(got ? got : "?", expected) != 0)
		fail_msg("%s: %s is `%s', not `%s'", text, attribute_names[attribute], got ? got : "?", expected);
}

static void request_lines(void **state)
{
	static const struct {
		const char *text;
		enum verdict verdict;
	} cases[] = {
		{ "GET / HTTP/1.1", VERDICT_YES },
		{ "GET /", VERDICT_YES }, /* nothing else begins so */
		{ "GET ", VERDICT_MORE },
		{ "GET http:/", VERDICT_MORE },
		{ "GET http://", VERDICT_YES },
		{ "GET HTTPS://", VERDICT_YES },
		{ "POST /", VERDICT_YES },
		{ "DELETE /x", VERDICT_YES },
		{ "get /", VERDICT_MORE },     /* nor does memcached */
		{ "OPTIONS /", VERDICT_MORE }, /* but RTSP does */
		{ "PROPFIND /dav HTTP/", VERDICT_MORE },
		{ "PROPFIND /dav HTTP/1", VERDICT_YES },
		{ "m-search~! * HTTP/1.1", VERDICT_YES },
		{ "BASELINE-CONTROL /a HTTP/1.1", VERDICT_YES },
		{ "A /x HTTP/1.9", VERDICT_YES },
		{ "abcdefghijklmnopqrstuvwxyz012345 / HTTP/1.1", VERDICT_YES },
		{ "abcdefghijklmnopqrstuvwxyz0123456", VERDICT_NO },
		{ "CONNECT a.example:443 HTTP/1.1", VERDICT_YES },
		{ "CONNECT a.example:443", VERDICT_MORE },
		{ "SEARCH /\xc3\xa4 HTTP/1.1", VERDICT_YES },
		{ "\r\nGET / HTTP/1.1", VERDICT_YES },
		{ "\r\n\n\r\n\nGET / HTTP/1.1", VERDICT_YES },
		{ "\r\n\r\n\r\n\r\n\r\n", VERDICT_NO },
		{ "\r", VERDICT_MORE },
		{ "\r\r", VERDICT_NO },
		/* what clients should not send */
		{ "SEARCH  \t /a HTTP/1.1", VERDICT_YES },
		{ "SEARCH\t/a\tHTTP/1.1", VERDICT_YES },
		{ "SEARCH /a   HTTP/1.1", VERDICT_YES },
		{ "SEARCH /a b HTTP c HTTP/x  HTTP/1.1", VERDICT_YES },
		{ "SEARCH /a b", VERDICT_MORE },
		{ "SEARCH http://a.example/a b HTTP/1.1", VERDICT_YES },
		{ "SEARCH /a http/1.1", VERDICT_YES },
		{ "SEARCH a HTTP/1.1", VERDICT_YES },
		{ "SEARCH /a HTTP/2", VERDICT_YES },
		{ "SEARCH /a HTTP/3.0", VERDICT_YES },
		{ "GET old HTTP/1.0", VERDICT_YES },
		/* nor leave the target out */
		{ "GET HTTP/1", VERDICT_YES },
		{ "SUBSCRIBE HTTP/1.1\r\n", VERDICT_YES },
		{ "INFO http/1.1\r\n", VERDICT_YES },
		{ "GET HTTP/", VERDICT_MORE },
		{ "GET HTTP/x\r\n", VERDICT_NO },
		{ "GET HTTP\r\n", VERDICT_NO },
		{ "OPTIONS RTSP/1.0\r\n", VERDICT_NO },
		/* others */
		{ "GET old\r\n", VERDICT_NO },
		{ "get /old\r\n", VERDICT_NO },
		{ "LIST /a b\r\n", VERDICT_NO },
		{ "LIST /a\x01", VERDICT_NO },
		{ "LIST /a \x01", VERDICT_NO },
		{ "LIST /a\x7f", VERDICT_NO },
		{ "OPTIONS / RTSP/1.0\r\n", VERDICT_NO },
		{ "OPTIONS rtsp://cam/ RTSP/1.0\r\n", VERDICT_NO },
		{ "OPTIONS rtsp://cam/ R", VERDICT_NO },
		{ "DESCRIBE rtsp://cam/ RTSP/1.0\r\n", VERDICT_NO },
		{ "INVITE sip:", VERDICT_NO },
		{ "INVITE sips:", VERDICT_NO },
		{ "INVITE sip:a@b SIP/2.0\r\n", VERDICT_NO },
		{ "REQMOD icap://a/b ICAP/1.0\r\n", VERDICT_NO },
		{ "GNUTELLA CONNECT/0.6\r\n", VERDICT_NO },
		{ "CONNECT {", VERDICT_NO }, /* NATS */
		{ "SEARCH / HTTP/x\r\n", VERDICT_NO },
		{ " GET / HTTP/1.1", VERDICT_NO },
		{ "G(T / HTTP/1.1", VERDICT_NO },
		{ "EHLO there\r\n", VERDICT_NO },
		{ "HELO\r\n", VERDICT_NO },
		{ "USER a b c :d\r\n", VERDICT_NO },
		{ "0 name 17.7\n", VERDICT_NO },
		{ "RFB 003.008\n", VERDICT_NO },
		{ "SSH-2.0-x\r\n", VERDICT_NO },
		{ "HTTP/1.1 200 OK\r\n", VERDICT_NO },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r", VERDICT_MORE },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERDICT_YES },
		{ "PRI * HTTP/2.0\r\n\r\nXX", VERDICT_NO },
		{ "PRI * HTTP/1.1\r\n", VERDICT_YES },
		{ "\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERDICT_NO },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (run_text(cases[i].text) != cases[i].verdict)
			fail_msg("%s: %d", cases[i].text, answer.verdict);
	}
	assert_int_equal(run("LIST /\0 HTTP/1.1", 16), VERDICT_NO);
	char blanks[100] = "LIST";
	memset(blanks + 4, ' ', 80);
	assert_int_equal(run(blanks, 4 + 64), VERDICT_MORE);
	assert_int_equal(run(blanks, 4 + 65), VERDICT_NO);
}

static void host_fields(void **state)
{
	static const struct {
		const char *text, *host;
	} cases[] = {
		{ "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example" },
		{ "GET / HTTP/1.1\nhOST:A.Example:8080\n\n", "a.example" },
		{ "GET / HTTP/1.1\r\nHost: \t a.example. \t\r\n\r\n", "a.example" },
		{ "GET / HTTP/1.1\r\nHost: a.example.:80\r\n\r\n", "a.example" },
		{ "GET / HTTP/1.1\r\nHost: a_b-c.example:\r\n\r\n", "a_b-c.example" },
		{ "GET / HTTP/1.1\r\nHost: 192.0.2.7:80\r\n\r\n", "192.0.2.7" },
		{ "GET / HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\n", "[2001:db8::1]" },
		{ "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n", "[::1]" },
		{ "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: a.example:port\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: a.example:123456\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: a example\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: a.example/x\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost:\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: .\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: a\x01z\r\n\r\n", "" },
		/* settled only when no other one can come */
		{ "GET / HTTP/1.1\r\nHost: a.example\r\n", NULL },
		{ "GET / HTTP/1.1\r\nHost: a.example\r\nX: y\r\n", NULL },
		{ "GET / HTTP/1.1\r\nX: y\r\nHost: a\r\nHost: A:80\r\n\r\n", "a" },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nHost: b\r\nZ: 1\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost:\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nX: y\r\n\r\nHost: a\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\n\r\n", "" },
		/* folds, RFC 9112 5.2 */
		{ "GET / HTTP/1.1\r\nX: y\r\n Host: b\r\nHost: a\r\n\r\n", "a" },
		{ "GET / HTTP/1.1\r\nHost:\r\n a.example\r\n\r\n", "a.example" },
		{ "GET / HTTP/1.1\r\nHost: a.example\r\n \r\n\t\r\n\r\n", "a.example" },
		{ "GET / HTTP/1.1\r\nHost: a\r\n .example\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\n Host: a\r\n", "" },
		/* not fields */
		{ "GET / HTTP/1.1\r\nHost : a\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost : b\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: a\r\nhost\t\r\n", "" },
		{ "GET / HTTP/1.1\r\nnonsense\r\n", NULL },
		/* what is not in doubt holds */
		{ "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", "a" },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX-Gr\xc3\xbcn: 1\r\n\r\n", "a" },
		{ "GET / HTTP/1.1\r\nX-Gr\xc3\xbcn: 1\r\n folded\r\nHost: a\r\n\r\n", "a" },
		{ "GET / HTTP/1.1\r\n: b\r\nHost: a\r\nX Y: b\r\nHost\r\n\r\n", "a" },
		{ "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\nHost: b\r\nX\r\n", "" },
		{ "GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\r\n\r\n", "a" },
		/* but where some servers would see another host */
		{ "GET / HTTP/1.1\r\nHost: a\r\nX: y\rHost: b\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nX: a\rHost: b\r\nHost: a\r\nX\r\n", "" },
		{ "GET / HTTP/1.1 \t\r\nHost: a\r\n\r\n", "a" },
		{ "GET / http/1.1\r\nHost: a\r\n\r\n", "a" },
		{ "GET / HTTP/1.x\r\nHost: a\r\n\r\n", "" },
		{ "GET / HTTP/1\r\nHost: a\r\n\r\n", "a" },
		{ "GET / HTTP/1.12\r\nHost: a\r\n\r\n", "" },
		{ "GET / HTTP/1.1\rHost: a\r\n\r\n", "" },
		{ "GET / HTTP/1.1\r\nHostess: a\r\nX-Host: b\r\nHost: c\r\n\r\n", "c" },
		/* the target's own authority goes first, and at once */
		{ "GET http://B.example:80/x HTTP/1.1", "b.example" },
		{ "GET http://b.example HTTP/1.1\r\nHost: a\r\n\r\n", "b.example" },
		{ "GET http://b.example?u=http://c/ HTTP/1.1", "b.example" },
		{ "GET coap+tcp://[::1]:5/x HTTP/1.1", "[::1]" },
		{ "GET http://user@b.example/ HTTP/1.1\r\nHost: a\r\n\r\n", "" },
		{ "GET /?u=http://c/ HTTP/1.1\r\nHost: a\r\n\r\n", "a" },
		{ "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "a" },
		{ "CONNECT c.example:443 HTTP/1.1", "c.example" },
		{ "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: a\r\n\r\n", "[2001:db8::1]" },
		{ "CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", "" },
		{ "GET /old\r\n", "" },
		{ "GET / HTTP/1.1", NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(run_text(cases[i].text), VERDICT_YES);
		const char *got = host();
		if ((got == NULL) != (cases[i].host == NULL) || (got && strcmp(got, cases[i].host) != 0))
			fail_msg("%s: %s", cases[i].text, got ? got : "(not settled)");
	}
}

static void paths_and_versions(void **state)
{
	static const struct {
		const char *text, *path, *version;
	} cases[] = {
		{ "GET /a/b HTTP/1.1\r\n", "/a/b", "1.1" },
		{ "GET /a/b HTTP/1.1", "/a/b", "?" },
		{ "GET /a/b HTTP/1.1\r", "/a/b", "1.1" },
		{ "GET /a/b HTTP/1.12\r\n", "/a/b", "" },
		{ "GET /a/b HTTP/1.x\r\n", "/a/b", "" },
		{ "GET /a/b HTTP/1.\r\n", "/a/b", "" },
		{ "GET /a/b HTTP/10\r\n", "/a/b", "" },
		{ "GET /a/b HTTP/1.0 \r\n", "/a/b", "1.0" },
		{ "GET /a/b HTTP/1\n", "/a/b", "1" },
		{ "GET /a/b HTTP/2.0\n", "/a/b", "2.0" },
		{ "GET /a/b", "?", "?" },
		{ "GET /A/b?c=/d#e HTTP/1.1", "/A/b", "?" },
		{ "GET /a#b?c HTTP/1.1", "/a", "?" },
		{ "GET / HTTP/1.1", "/", "?" },
		{ "GET //a HTTP/1.1", "//a", "?" },
		{ "GET ?a HTTP/1.1", "", "?" },
		{ "GET index.html HTTP/1.1", "index.html", "?" },
		{ "OPTIONS * HTTP/1.1", "*", "?" },
		{ "GET http://a.example/b/c?d HTTP/1.1", "/b/c", "?" },
		{ "GET http://a.example HTTP/1.1", "/", "?" },
		{ "GET http://a.example?d HTTP/1.1", "/", "?" },
		{ "CONNECT a.example:443 HTTP/1.1\r\n", "", "1.1" },
		{ "GET /a b\tc HTTP/1.1", "/a%20b%09c", "?" },
		{ "GET /\xc3\xa4/%C3%A4 HTTP/1.1", "/%C3%A4/%C3%A4", "?" },
		/* HTTP/0.9 */
		{ "GET /old\r\n", "/old", "0.9" },
		{ "GET /old\n", "/old", "0.9" },
		{ "GET /old \r\n", "/old", "0.9" },
		{ "GET /old page\r\n", "/old%20page", "0.9" },
		{ "GET /old\r", "?", "?" },
		{ "GET /old\rx", "", "" },
		{ "GET /old\x01", "", "" },
		{ "GET /old page\x7f", "", "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(run_text(cases[i].text), VERDICT_YES);
		expect(ATTRIBUTE_PATH, cases[i].path, cases[i].text);
		expect(ATTRIBUTE_VERSION, cases[i].version, cases[i].text);
	}
}

static void a_path_of_2048_bytes_and_no_longer(void **state)
{
	static char text[3000] = "GET /";

	for (size_t len = 2047; len <= 2049; len++) {
		memset(text + 5, 'a', 2900);
		strcpy(text + 4 + len, " HTTP/1.1\r\n");
		assert_int_equal(run_text(text), VERDICT_YES);
		assert_int_equal(answer.attribute[ATTRIBUTE_PATH].len > 0, len <= 2048);
		text[100] = '\xff'; /* three bytes when it is written out */
		assert_int_equal(run_text(text), VERDICT_YES);
		assert_int_equal(answer.attribute[ATTRIBUTE_PATH].len > 0, len <= 2046);
	}
}

static void upgrades(void **state)
{
	static const struct {
		const char *fields, *upgrade;
	} cases[] = {
		{ "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "websocket" },
		{ "Host: a\r\nuPGRADE:\tWebSocket \r\n\r\n", "websocket" },
		{ "Upgrade: websocket\r\n", "?" },
		{ "Upgrade: h2c, , TLS/1.0,websocket\n\n", "h2c tls/1.0 websocket" },
		{ "Upgrade: h2c\r\nUpgrade: websocket\r\n\r\n", "h2c websocket" },
		{ "Upgrade: h2c,\r\n websocket\r\n\r\n", "h2c websocket" },
		{ "Upgrade: a b, c\x01, d;e, ok\r\n\r\n", "ok" },
		{ "Upgrade:\r\n\r\n", "" },
		{ "\r\n", "" },
		{ "Upgrade: websocket\r\nnonsense\r\n", "?" },
		{ "Upgrade: websocket\r\nnonsense\r\n\r\n", "websocket" },
		{ "Upgrade: websocket\r\nHost: a\r\nHost: b\r\n\r\n", "" },
		{ "Upgraded: x\r\nXUpgrade: y\r\n\r\n", "" },
		{ "Upgrade: 1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,g,h\r\n\r\n", "1 2 3 4 5 6 7 8 9 a b c d e f g" },
	};
	char text[300];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), "GET /chat HTTP/1.1\r\n%s", cases[i].fields);
		assert_int_equal(run_text(text), VERDICT_YES);
		expect(ATTRIBUTE_UPGRADE, cases[i].upgrade, text);
	}
}

static void a_host_of_255_bytes_and_no_longer(void **state)
{
	char text[600], name[300];

	for (int len = 255; len <= 256; len++) {
		memset(name, 'a', sizeof(name));
		name[len] = 0;
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", name);
		assert_int_equal(run_text(text), VERDICT_YES);
		assert_string_equal(host(), len == 255 ? name : "");
	}
}

/* The fields go on past what is ever looked at. */
static void fields_without_an_end_leave_what_they_have_said(void **state)
{
	static const struct {
		const char *text, *host, *upgrade;
	} cases[] = {
		{ "GET / HTTP/1.1\r\nUpgrade: websocket\r\nHost: a.example\r\nCookie: ", "a.example", "websocket" },
		{ "GET / HTTP/1.1\r\nHost: a.example\r\nX: y\r\n folded: ", "a.example", "" },
		{ "GET / HTTP/1.1\r\nCookie: ", "", "" },
		/* a name that is cut, or could go on */
		{ "GET / HTTP/1.1\r\nHost: a.example", "", "" },
		{ "GET / HTTP/1.1\r\nHost: a.example\r\n ", "", "" },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nCookie: ", "", "" },
	};
	static char bytes[EVIDENCE_MAX + 1000];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(bytes, 'x', sizeof(bytes));
		memcpy(bytes, cases[i].text, strlen(cases[i].text));
		assert_int_equal(run(bytes, EVIDENCE_MAX - 1), VERDICT_YES);
		expect(ATTRIBUTE_HOST, "?", cases[i].text);
		for (size_t len = EVIDENCE_MAX; len <= sizeof(bytes); len += 1000) {
			assert_int_equal(run(bytes, len), VERDICT_YES);
			expect(ATTRIBUTE_HOST, cases[i].host, cases[i].text);
			expect(ATTRIBUTE_UPGRADE, cases[i].upgrade, cases[i].text);
		}
	}
}

/* ---- HTTP/2 ---- */

static uint8_t h2[40000];
static size_t h2_len;

static void h2_begin(void)
{
	static const uint8_t settings[] = { 0, 0, 0, 4, 0, 0, 0, 0, 0 };

	memcpy(h2, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
	memcpy(h2 + 24, settings, sizeof(settings));
	h2_len = 24 + sizeof(settings);
}

static void h2_frame(uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t len)
{
	uint8_t header[9] = { (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, type, flags, 0, 0, 0,
		(uint8_t)stream };

	memcpy(h2 + h2_len, header, sizeof(header));
	memcpy(h2 + h2_len + sizeof(header), payload, len);
	h2_len += sizeof(header) + len;
}

/* A literal field without indexing and without Huffman coding, RFC 7541 6.2.2. */
static size_t field(uint8_t *dst, const char *name, const char *value)
{
	size_t n = strlen(name), v = strlen(value);

	dst[0] = 0;
	dst[1] = (uint8_t)n;
	memcpy(dst + 2, name, n);
	dst[2 + n] = (uint8_t)v;
	memcpy(dst + 3 + n, value, v);
	return 3 + n + v;
}

static const char *h2_host(void)
{
	assert_int_equal(run(h2, h2_len), VERDICT_YES);
	expect(ATTRIBUTE_VERSION, "2", "the preface");
	expect(ATTRIBUTE_UPGRADE, "", "the preface");
	assert_true(answer.attribute[ATTRIBUTE_HOST].settled == answer.attribute[ATTRIBUTE_PATH].settled);
	return host();
}

enum {
	HEADERS = 1,
	PRIORITY = 2,
	PING = 6,
	WINDOW_UPDATE = 8,
	CONTINUATION = 9,
	END_HEADERS = 4,
	PADDED = 8,
	PRIO = 32
};

static void http2_frames(void **state)
{
	uint8_t block[200], padded[300] = { 7 };
	size_t len = field(block, ":method", "GET");

	len += field(block + len, ":authority", "Two.Example:8443");
	h2_begin();
	h2_frame(WINDOW_UPDATE, 0, 0, "\0\0\1\0", 4);
	h2_frame(0x7a, 0xff, 9, "grease", 6);
	h2_frame(PING, 0, 0, "12345678", 8);
	size_t before = h2_len;
	assert_null(h2_host());
	h2_frame(HEADERS, END_HEADERS, 1, block, len);
	assert_string_equal(h2_host(), "two.example");

	/* padding and priority */
	h2_len = before;
	memcpy(padded + 6, block, len);
	h2_frame(HEADERS, END_HEADERS | PADDED | PRIO, 1, padded, 6 + len + 7);
	assert_string_equal(h2_host(), "two.example");
	h2_len = before;
	padded[0] = (uint8_t)(len + 8);
	h2_frame(HEADERS, END_HEADERS | PADDED | PRIO, 1, padded, 6 + len + 7);
	assert_string_equal(h2_host(), "");

	/* padding that is not there: nothing behind the evidence may be read */
	h2_len = before;
	padded[0] = 255;
	memcpy(padded + 1, block, len);
	h2_frame(HEADERS, END_HEADERS | PADDED, 1, padded, 1 + len);
	assert_string_equal(h2_host(), "");

	/* in pieces of one byte, an empty one among them */
	h2_len = before;
	h2_frame(HEADERS, 0, 1, block, 1);
	h2_frame(CONTINUATION, 0, 1, block, 0);
	for (size_t i = 1; i < len; i++)
		h2_frame(CONTINUATION, 0, 1, block + i, 1);
	assert_null(h2_host());
	size_t open = h2_len;
	h2_frame(CONTINUATION, END_HEADERS, 1, block, 0);
	assert_string_equal(h2_host(), "two.example");
	h2_len = open;
	h2_frame(PING, 0, 0, "12345678", 8);
	assert_string_equal(h2_host(), "");
	h2_len = open;
	h2_frame(CONTINUATION, END_HEADERS, 3, block, 0);
	assert_string_equal(h2_host(), "");
}

static void http2_that_is_no_http2(void **state)
{
	uint8_t block[100];
	size_t len = field(block, ":authority", "two.example");

	/* does not begin with SETTINGS */
	h2_begin();
	h2_len = 24;
	h2_frame(HEADERS, END_HEADERS, 1, block, len);
	assert_string_equal(h2_host(), "");
	/* a stream that clients do not open */
	for (uint32_t stream = 0; stream <= 2; stream += 2) {
		h2_begin();
		h2_frame(HEADERS, END_HEADERS, stream, block, len);
		assert_string_equal(h2_host(), "");
	}
	/* frames out of place, and a frame too large */
	for (uint8_t type = 0; type <= CONTINUATION; type++) {
		bool is_bad = type == 0 || type == 3 || type == 5 || type == 7 || type == CONTINUATION;
		if (type == HEADERS)
			continue;
		h2_begin();
		h2_frame(type, 0, 1, block, 8);
		assert_int_equal(h2_host() != NULL, is_bad);
	}
	h2_begin();
	memcpy(h2 + h2_len, "\0\x40\1\4\0\0\0\0\0", 9);
	h2_len += 9;
	assert_string_equal(h2_host(), "");
	/* a block that does not inflate, and one that is cut */
	h2_begin();
	h2_frame(HEADERS, END_HEADERS, 1, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
	assert_string_equal(h2_host(), "");
	h2_begin();
	h2_frame(HEADERS, END_HEADERS, 1, block, len - 1);
	assert_string_equal(h2_host(), "");
}

static void http2_says_its_host_once(void **state)
{
	static const struct {
		const char *field[3], *value[3], *host, *path;
	} cases[] = {
		{ { ":path", ":authority" }, { "/a/b?c", "a.example" }, "a.example", "/a/b" },
		{ { ":path", ":path" }, { "/a", "/a" }, "", "" },
		{ { ":path", ":path", ":authority" }, { "/a", "/a", "a.example" }, "", "" },
		{ { ":authority" }, { "a.example:443" }, "a.example" },
		{ { "host" }, { "b.example" }, "b.example" },
		{ { ":authority", "host" }, { "a.example", "A.example" }, "a.example" },
		{ { ":authority", "host" }, { "a.example", "b.example" }, "" },
		{ { "host", "host" }, { "a.example", "b.example" }, "" },
		{ { ":authority", ":authority" }, { "a.example", "a.example" }, "" },
		{ { ":authority" }, { "a example" }, "" },
		{ { ":authority" }, { "" }, "" },
		{ { ":path" }, { "/" }, "", "/" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t block[200];
		size_t len = 0;
		for (int k = 0; k < 3 && cases[i].field[k]; k++)
			len += field(block + len, cases[i].field[k], cases[i].value[k]);
		h2_begin();
		h2_frame(HEADERS, END_HEADERS, 1, block, len);
		assert_string_equal(h2_host(), cases[i].host);
		expect(ATTRIBUTE_PATH, cases[i].path ? cases[i].path : "", cases[i].host);
	}
}

/* So in HTTP/2, where the names stand first. */
static void a_header_block_without_an_end_leaves_what_it_has_said(void **state)
{
	static uint8_t block[16384];
	size_t len = field(block, ":authority", "two.example");

	for (size_t n = 0; len < sizeof(block) - 300; n++) {
		static char text[120];
		memset(text, 'a' + (int)(n % 26), sizeof(text) - 1);
		len += field(block + len, "x", text);
	}
	h2_begin();
	h2_frame(HEADERS, 0, 1, block, len);
	h2_frame(CONTINUATION, 0, 1, block + field(block, ":authority", "two.example"), len - 300);
	h2_frame(CONTINUATION, 0, 1, block, 3000);
	answer_get(&answer, probe_find("http"), h2, EVIDENCE_MAX - 1);
	assert_null(host());
	answer_get(&answer, probe_find("http"), h2, EVIDENCE_MAX);
	assert_string_equal(host(), "two.example");
}

/* Each two-byte field of this block makes the inflater keep an entry: what a hostile client would send. */
static void http2_memory_is_bounded(void **state)
{
	static uint8_t block[16384];
	static struct answer bomb;

	for (size_t i = 0; i < sizeof(block); i += 2) {
		block[i] = 0x41;
		block[i + 1] = 0;
	}
	h2_begin();
	h2_frame(HEADERS, END_HEADERS, 1, block, sizeof(block));
	answer_get(&bomb, probe_find("http"), h2, h2_len);
	assert_int_equal(bomb.verdict, VERDICT_YES);
	assert_true(bomb.attribute[ATTRIBUTE_HOST].settled);
	assert_int_equal(bomb.attribute[ATTRIBUTE_HOST].len, 0);
	/* and the next one finds everything as it was */
	answer_get(&bomb, probe_find("http"), http2_curl, sizeof(http2_curl));
	assert_true(bomb.attribute[ATTRIBUTE_HOST].len > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_lines),
		cmocka_unit_test(host_fields),
		cmocka_unit_test(paths_and_versions),
		cmocka_unit_test(a_path_of_2048_bytes_and_no_longer),
		cmocka_unit_test(upgrades),
		cmocka_unit_test(a_host_of_255_bytes_and_no_longer),
		cmocka_unit_test(fields_without_an_end_leave_what_they_have_said),
		cmocka_unit_test(http2_frames),
		cmocka_unit_test(http2_that_is_no_http2),
		cmocka_unit_test(http2_says_its_host_once),
		cmocka_unit_test(a_header_block_without_an_end_leaves_what_it_has_said),
		cmocka_unit_test(http2_memory_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
