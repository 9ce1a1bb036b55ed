/* ClientHellos: RFC 8446 4.1.2, RFC 6066 3, RFC 7301 3.1, in records of every size; those of old, RFC 5246 E.2; JA4. */
#include "cuts.h"
#include "samples.h"
#include "tls_records.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct answer answer;

static enum verdict run(const uint8_t *bytes, size_t len)
{
	assert_null(cuts_check(probe_find("tls"), bytes, len, 2000));
	answer_get(&answer, probe_find("tls"), bytes, len);
	return answer.verdict;
}

static const char *value(enum attribute attribute)
{
	return answer_text(&answer, attribute);
}

/* ---- A hello built piece by piece ---- */

static uint8_t message[70000], wire[80000];
static size_t message_len;

static void put(const void *bytes, size_t len)
{
	memcpy(message + message_len, bytes, len);
	message_len += len;
}

static void put_u16(size_t value)
{
	put((uint8_t[]){ (uint8_t)(value >> 8), (uint8_t)value }, 2);
}

static void set_u16(size_t at, size_t value)
{
	message[at] = (uint8_t)(value >> 8);
	message[at + 1] = (uint8_t)value;
}

enum { SESSION_ID = 4 + 34, CIPHERS = SESSION_ID + 1, COMPRESSION = CIPHERS + 4, EXTENSIONS = COMPRESSION + 2 };

static void hello_begin(void)
{
	message_len = 0;
	put("\1\0\0\0\3\3", 6);
	for (uint8_t i = 0; i < 32; i++)
		put(&i, 1);
	put("\0\0\2\x13\1\1\0\0\0", 9);
}

static void extension(size_t type, const void *data, size_t len)
{
	put_u16(type);
	put_u16(len);
	put(data, len);
}

static void server_name(const char *name)
{
	size_t len = strlen(name);

	put_u16(0);
	put_u16(len + 5);
	put_u16(len + 3);
	put("", 1);
	put_u16(len);
	put(name, len);
}

static void hello_end(void)
{
	if (message_len >= EXTENSIONS + 2)
		set_u16(EXTENSIONS, message_len - EXTENSIONS - 2);
	message[1] = (uint8_t)((message_len - 4) >> 16);
	set_u16(2, message_len - 4);
}

static enum verdict hello_run(void)
{
	return run(wire, records_cut(wire, sizeof(wire), message, message_len, 16384));
}

/* ---- tests ---- */

static void yes_with_the_version_of_the_hello(void **state)
{
	hello_begin();
	server_name("a.example");
	hello_end();
	size_t len = records_cut(wire, sizeof(wire), message, message_len, 16384);
	assert_int_equal(run(wire, 5 + 4 + 1), VERDICT_MORE);
	assert_int_equal(run(wire, 5 + 4 + 2), VERDICT_YES);
	assert_null(value(ATTRIBUTE_SNI));
	/* the name settles with its last byte, ALPN with the last of the hello */
	assert_int_equal(run(wire, len - 1), VERDICT_YES);
	assert_null(value(ATTRIBUTE_SNI));
	assert_int_equal(run(wire, len), VERDICT_YES);
	assert_string_equal(value(ATTRIBUTE_SNI), "a.example");
	assert_string_equal(value(ATTRIBUTE_ALPN), "");
}

static void an_attribute_settles_behind_its_extension(void **state)
{
	hello_begin();
	server_name("a.example");
	size_t sni_end = message_len;
	extension(43, "\2\3\4", 3);
	extension(16, "\0\3\2h2", 5);
	size_t alpn_end = message_len;
	extension(21, "\0\0\0\0\0\0\0\0", 8);
	hello_end();
	records_cut(wire, sizeof(wire), message, message_len, 16384);
	run(wire, 5 + sni_end);
	assert_string_equal(value(ATTRIBUTE_SNI), "a.example");
	assert_null(value(ATTRIBUTE_ALPN));
	run(wire, 5 + alpn_end - 1);
	assert_null(value(ATTRIBUTE_ALPN));
	run(wire, 5 + alpn_end);
	assert_string_equal(value(ATTRIBUTE_ALPN), "h2");
}

static void no_extensions_at_all(void **state)
{
	hello_begin();
	message_len -= 2;
	hello_end();
	assert_int_equal(hello_run(), VERDICT_YES);
	assert_string_equal(value(ATTRIBUTE_SNI), "");
	assert_string_equal(value(ATTRIBUTE_ALPN), "");
	hello_begin();
	hello_end();
	assert_int_equal(hello_run(), VERDICT_YES);
	assert_string_equal(value(ATTRIBUTE_SNI), "");
}

static void server_names(void **state)
{
	static const char *const cases[][2] = { { "Shop.EXAMPLE", "shop.example" },
		{ "shop.example.", "shop.example" }, { "a_b-c.1", "a_b-c.1" }, { "", "" }, { ".", "" }, { "a b", "" },
		{ "a/b", "" }, { "a\nb", "" }, { "[::1]", "" }, { "a:80", "" }, { "b\xc3\xbc.example", "" },
		{ "*.example", "" } };
	char name[300];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		hello_begin();
		server_name(cases[i][0]);
		hello_end();
		assert_int_equal(hello_run(), VERDICT_YES);
		assert_string_equal(value(ATTRIBUTE_SNI), cases[i][1]);
	}
	for (int len = 255; len <= 257; len++) {
		memset(name, 'x', sizeof(name));
		name[len] = 0;
		hello_begin();
		server_name(name);
		hello_end();
		assert_int_equal(hello_run(), VERDICT_YES);
		assert_string_equal(value(ATTRIBUTE_SNI), len == 255 ? name : "");
	}
}

static void server_name_lists_that_are_none(void **state)
{
	static const struct {
		const char *data;
		size_t len;
	} cases[] = {
		{ "", 0 }, { "\0\0", 2 }, { "\0\4\0\0\1a", 6 + 1 }, /* a byte too many */
		{ "\0\5\0\0\1a", 6 },                               /* one too few */
		{ "\0\4\1\0\1a", 6 },                               /* another type */
		{ "\0\4\0\0\2a", 6 },                               /* the name longer than the list */
		{ "\0\10\0\0\1a\0\0\1b", 10 },                      /* two */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		hello_begin();
		extension(0, cases[i].data, cases[i].len);
		extension(16, "\0\3\2h2", 5);
		hello_end();
		assert_int_equal(hello_run(), VERDICT_YES);
		assert_string_equal(value(ATTRIBUTE_SNI), "");
		assert_string_equal(value(ATTRIBUTE_ALPN), "h2");
	}
}

static void alpn_lists(void **state)
{
	static const struct {
		const char *data;
		size_t len;
		const char *value;
	} cases[] = {
		{ "\0\14\2h2\10http/1.1", 14, "h2 http/1.1" },
		{ "\0\2\1x", 4, "x" },
		{ "", 0, "" },
		{ "\0\0", 2, "" },
		{ "\0\1\0", 3, "" },    /* an empty name */
		{ "\0\3\2h2x", 6, "" }, /* a byte too many */
		{ "\0\4\2h2", 5, "" },  /* one too few */
		{ "\0\3\3h2", 5, "" },  /* a name longer than the list */
		{ "\0\5\2h2\1", 6, "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		hello_begin();
		extension(16, cases[i].data, cases[i].len);
		server_name("a");
		hello_end();
		assert_int_equal(hello_run(), VERDICT_YES);
		assert_string_equal(value(ATTRIBUTE_ALPN), cases[i].value);
		assert_string_equal(value(ATTRIBUTE_SNI), "a");
	}
}

static void of_many_alpn_names_the_first_sixteen(void **state)
{
	uint8_t list[2 + 40 * 2] = { 0, 80 };

	for (uint8_t i = 0; i < 40; i++) {
		list[2 + 2 * i] = 1;
		list[3 + 2 * i] = 'A' + i;
	}
	hello_begin();
	extension(16, list, sizeof(list));
	hello_end();
	assert_int_equal(hello_run(), VERDICT_YES);
	assert_string_equal(value(ATTRIBUTE_ALPN), "A B C D E F G H I J K L M N O P");
}

/* What was passed before the second one stays: no bytes take it back. */
static void an_extension_twice_ends_the_reading(void **state)
{
	hello_begin();
	extension(10, "\0\2\0\x1d", 4);
	server_name("a");
	extension(10, "\0\2\0\x1d", 4);
	extension(16, "\0\3\2h2", 5);
	hello_end();
	assert_int_equal(hello_run(), VERDICT_YES);
	assert_string_equal(value(ATTRIBUTE_SNI), "a");
	assert_string_equal(value(ATTRIBUTE_ALPN), "");
}

static void a_version_that_does_not_exist_yet(void **state)
{
	hello_begin();
	server_name("a");
	hello_end();
	message[5] = 7;
	assert_int_equal(hello_run(), VERDICT_YES);
	assert_string_equal(value(ATTRIBUTE_SNI), "a");
	assert_string_equal(value(ATTRIBUTE_VERSION), "");
}

static void lengths_that_disagree(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
		enum verdict verdict;
	} cases[] = {
		{ 0, 2, VERDICT_NO },            /* a ServerHello */
		{ 1, 3, VERDICT_NO },            /* a hello larger than any */
		{ 3, 40, VERDICT_NO },           /* one shorter than any */
		{ 4, 2, VERDICT_NO },            /* versions */
		{ SESSION_ID, 33, VERDICT_YES }, /* behind what YES depends on */
		{ CIPHERS + 1, 0, VERDICT_YES },
		{ CIPHERS + 1, 3, VERDICT_YES },
		{ CIPHERS, 1, VERDICT_YES },
		{ COMPRESSION, 0, VERDICT_YES },
		{ COMPRESSION, 99, VERDICT_YES },
		{ EXTENSIONS + 1, 1, VERDICT_YES },
		{ EXTENSIONS, 1, VERDICT_YES },
		{ EXTENSIONS + 4, 1, VERDICT_YES },
		{ EXTENSIONS + 5, 7, VERDICT_YES },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		hello_begin();
		server_name("a");
		hello_end();
		message[cases[i].at] = cases[i].byte;
		assert_int_equal(hello_run(), cases[i].verdict);
		for (enum attribute a = 0; a < ATTRIBUTE_COUNT; a++)
			assert_true(!(probe_find("tls")->attributes >> a & 1) || strcmp(value(a), "") == 0);
	}
}

static void record_headers(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum verdict verdict;
	} cases[] = {
		{ "\x16", 1, VERDICT_MORE },
		{ "\x15", 1, VERDICT_NO },
		{ "\x16\2", 2, VERDICT_NO },
		{ "\x16\3\5", 3, VERDICT_NO },
		{ "\x16\3\4", 3, VERDICT_MORE },
		{ "\x16\3\1\x41", 4, VERDICT_NO },
		{ "\x16\3\1\x40\1", 5, VERDICT_NO },
		{ "\x16\3\1\x40\0", 5, VERDICT_MORE },
		{ "\x16\3\1\0\0", 5, VERDICT_NO },
		{ "\x16\3\1\0\1\1\x16\3\1\0\1\0", 12, VERDICT_MORE },
		{ "\x16\3\1\0\1\1\x17", 7, VERDICT_NO },
		{ "\x16\3\1\0\x64\1\0\0\x40", 9, VERDICT_MORE }, /* another message behind the hello */
		{ "\x14\3\3\0\1\1", 6, VERDICT_NO },             /* of sessions that are under way */
		{ "\x15\3\3\0\2\1\0", 7, VERDICT_NO },
		{ "\x17\3\3\0\x45", 5, VERDICT_NO },
		{ "\x18\3\3\0\3\1\x40\0", 8, VERDICT_NO },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(run((const uint8_t *)cases[i].bytes, cases[i].len), cases[i].verdict);
}

static void broken_records_behind_yes_settle_the_rest(void **state)
{
	hello_begin();
	server_name("a");
	extension(16, "\0\3\2h2", 5);
	hello_end();
	size_t first = message_len - 4; /* ALPN is torn */
	size_t at = records_cut(wire, sizeof(wire), message, first, 16384);
	assert_int_equal(run(wire, at), VERDICT_YES);
	assert_null(value(ATTRIBUTE_ALPN));
	memcpy(wire + at, "\x17\3\3\0\4", 5);
	assert_int_equal(run(wire, at + 1), VERDICT_YES);
	assert_string_equal(value(ATTRIBUTE_SNI), "a");
	assert_string_equal(value(ATTRIBUTE_ALPN), "");
}

static void what_is_behind_the_hello_in_its_record_is_not_looked_at(void **state)
{
	hello_begin();
	server_name("a");
	extension(16, "\0\3\2h2", 5);
	hello_end();
	memcpy(message + message_len, "\1\0\0\x31\3\3 and the rest of another", 29);
	for (size_t n = 1; n < message_len + 40; n++) {
		size_t len = records_cut(wire, sizeof(wire), message, message_len + 29, n);
		assert_int_equal(run(wire, len), VERDICT_YES);
		assert_string_equal(value(ATTRIBUTE_SNI), "a");
		assert_string_equal(value(ATTRIBUTE_ALPN), "h2");
	}
}

static void any_records_say_the_same(void **state)
{
	for (size_t i = 0; i < N_SAMPLES; i++) {
		static struct answer whole;
		if (strcmp(samples[i].protocol, "tls") != 0)
			continue;
		run(samples[i].bytes, samples[i].len);
		whole = answer;
		for (size_t n = 1; n <= samples[i].len; n += n < 40 ? 1 : 37) {
			size_t len = records_cut(wire, sizeof(wire), samples[i].bytes + 5, samples[i].len - 5, n);
			answer_get(&answer, probe_find("tls"), wire, len);
			assert_int_equal(answer.verdict, VERDICT_YES);
			assert_true(answer_equal(&answer, &whole, ATTRIBUTE_SNI));
			assert_true(answer_equal(&answer, &whole, ATTRIBUTE_ALPN));
			assert_true(answer_equal(&answer, &whole, ATTRIBUTE_VERSION));
			assert_true(answer_equal(&answer, &whole, ATTRIBUTE_JA4));
			if (n < 4)
				assert_null(cuts_check(probe_find("tls"), wire, len, EVIDENCE_MAX));
		}
	}
}

/* The hello of a client with keys and tickets galore; its names come last. */
static void hellos_as_large_as_the_evidence(void **state)
{
	static uint8_t filler[32700];

	for (size_t record_len = 1; record_len <= 16384; record_len *= 128) {
		size_t size = record_len == 1 ? 5000 : 31000;
		hello_begin();
		extension(51, filler, size);
		server_name("late.example");
		extension(16, "\0\3\2h2", 5);
		hello_end();
		size_t len = records_cut(wire, sizeof(wire), message, message_len, record_len);
		assert_true(len < EVIDENCE_MAX);
		assert_int_equal(run(wire, len - 1), VERDICT_YES);
		assert_string_equal(value(ATTRIBUTE_SNI), "late.example");
		assert_null(value(ATTRIBUTE_ALPN));
		assert_int_equal(run(wire, len), VERDICT_YES);
		assert_string_equal(value(ATTRIBUTE_ALPN), "h2");
	}
	/* larger than it: YES, and the name stays open */
	hello_begin();
	extension(51, filler, sizeof(filler));
	server_name("late.example");
	hello_end();
	size_t len = records_cut(wire, sizeof(wire), message, message_len, 16384);
	assert_true(len > EVIDENCE_MAX);
	assert_int_equal(run(wire, len), VERDICT_YES);
	assert_null(value(ATTRIBUTE_SNI));
}

/* ---- versions ---- */

static void versions(void **state)
{
	static const struct {
		size_t version;
		const char *data; /* of supported_versions */
		size_t len;
		const char *value;
	} cases[] = {
		{ 0x300, NULL, 0, "ssl3" },
		{ 0x301, NULL, 0, "1.0" },
		{ 0x302, NULL, 0, "1.1" },
		{ 0x303, NULL, 0, "1.2" },
		{ 0x304, NULL, 0, "1.3" },
		{ 0x303, "\4\3\4\3\3", 5, "1.3" },
		{ 0x303, "\4\3\2\3\3", 5, "1.2" },
		{ 0x303, "\6\xfa\xfa\3\4\3\3", 7, "1.3" }, /* GREASE */
		/* drafts of 1.3, the last one, an older one, those of two implementations; what was never one */
		{ 0x303, "\6\x7f\x1c\3\3\3\1", 7, "1.3" },
		{ 0x303, "\2\x7f\x16", 3, "1.3" },
		{ 0x303, "\2\xfb\x1a", 3, "1.3" },
		{ 0x303, "\2\x7e\2", 3, "1.3" },
		{ 0x303, "\4\x7f\x1d\3\3", 5, "1.2" },
		{ 0x303, "\4\x7f\0\3\3", 5, "1.2" },
		{ 0x303, "\4\3\4\3", 4, "" },
		{ 0x303, "\3\3\4\3", 4, "" },
		{ 0x303, "", 0, "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		hello_begin();
		set_u16(4, cases[i].version);
		server_name("a");
		if (cases[i].data)
			extension(43, cases[i].data, cases[i].len);
		hello_end();
		size_t len = records_cut(wire, sizeof(wire), message, message_len, 16384);
		assert_int_equal(run(wire, len - 1), VERDICT_YES);
		assert_null(value(ATTRIBUTE_VERSION));
		assert_int_equal(run(wire, len), VERDICT_YES);
		assert_string_equal(value(ATTRIBUTE_VERSION), cases[i].value);
	}
}

static void hellos_in_the_format_of_ssl_2(void **state)
{
	static const struct {
		const char *head; /* 11 bytes */
		enum verdict verdict;
		const char *version;
	} cases[] = {
		{ "\x80\x2e\1\3\1\0\x15\0\0\0\x10", VERDICT_YES, "1.0" },
		{ "\x80\x2e\1\3\0\0\x15\0\0\0\x10", VERDICT_YES, "ssl3" },
		{ "\x80\x2e\1\0\2\0\x15\0\0\0\x10", VERDICT_YES, "ssl2" },
		{ "\x80\x3e\1\3\3\0\x15\0\0\0\x20", VERDICT_YES, "1.2" },
		{ "\x80\x3e\1\3\1\0\x15\0\x10\0\x10", VERDICT_YES, "1.0" }, /* resumes */
		{ "\x81\x2e\1\3\1\1\x15\0\0\0\x10", VERDICT_NO, NULL },     /* 277 is no multiple of 3 */
		{ "\x81\x2d\1\3\1\1\x14\0\0\0\x10", VERDICT_YES, "1.0" },
		{ "\x80\x2f\1\3\1\0\x15\0\0\0\x10", VERDICT_NO, NULL }, /* does not add up */
		{ "\x80\x2e\1\3\5\0\x15\0\0\0\x10", VERDICT_NO, NULL },
		{ "\x80\x2e\1\0\3\0\x15\0\0\0\x10", VERDICT_NO, NULL },
		{ "\x80\x2e\2\0\2\0\x15\0\0\0\x10", VERDICT_NO, NULL },
		{ "\x80\x2d\1\3\1\0\x15\0\0\0\x0f", VERDICT_NO, NULL },
		{ "\x80\x3f\1\3\1\0\x15\0\0\0\x21", VERDICT_NO, NULL },
		{ "\x80\x26\1\3\1\0\x15\0\x08\0\x10", VERDICT_NO, NULL },
		{ "\x80\x19\1\3\1\0\0\0\0\0\x10", VERDICT_NO, NULL },
		{ "\x80\0\0\x28\x1f\2\3\4\0\0\0", VERDICT_NO, NULL },             /* a remote procedure call */
		{ "\x81\0\0\x44\x20\x46\x48\x46\x41\x45\x42", VERDICT_NO, NULL }, /* NetBIOS */
		{ "\x90\x2e\1\3\1\0\x15\0\0\0\x10", VERDICT_NO, NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (run((const uint8_t *)cases[i].head, 11) != cases[i].verdict)
			fail_msg("case %zu", i);
		if (!cases[i].version)
			continue;
		assert_string_equal(value(ATTRIBUTE_VERSION), cases[i].version);
		assert_string_equal(value(ATTRIBUTE_SNI), "");
		assert_string_equal(value(ATTRIBUTE_JA4), "");
		assert_int_equal(run((const uint8_t *)cases[i].head, 10), VERDICT_MORE);
	}
}

static void alpn_names_that_are_not_printable_are_escaped(void **state)
{
	hello_begin();
	extension(16, "\0\x13\2\xfa\xfa\2h2\3a b\3a\nb\4%41\0", 21);
	hello_end();
	assert_int_equal(hello_run(), VERDICT_YES);
	assert_string_equal(value(ATTRIBUTE_ALPN), "%FA%FA h2 a%20b a%0Ab %2541%00");
}

/* What is written down is bounded, whatever a hello has. */
static void of_long_alpn_names_that_need_escapes_some_are_left_out(void **state)
{
	static uint8_t list[2 + 12 * 100 + 256 + 3];
	size_t at = 2;

	list[at++] = 255; /* longer than any value when it is written down */
	memset(list + at, 0xe4, 255);
	at += 255;
	for (int i = 0; i < 12; i++) { /* 240 bytes each then */
		list[at++] = 80;
		memset(list + at, 0xe4, 80);
		at += 80;
	}
	memcpy(list + at, "\2h2", 3);
	at += 3;
	list[0] = (uint8_t)((at - 2) >> 8);
	list[1] = (uint8_t)(at - 2);
	hello_begin();
	extension(16, list, at);
	hello_end();
	assert_int_equal(hello_run(), VERDICT_YES);
	const char *got = value(ATTRIBUTE_ALPN);
	assert_int_equal(strlen(got), 8 * (240 + 1) + 2);
	assert_string_equal(got + 8 * (240 + 1), "h2");
}

/* ---- JA4 ---- */

static void ciphers_put(const uint16_t *ciphers, size_t n)
{
	message_len = CIPHERS;
	put_u16(n * 2);
	for (size_t i = 0; i < n; i++)
		put_u16(ciphers[i]);
	put("\1\0\0\0", 4);
}

static void extensions_end(size_t at)
{
	message[at] = (uint8_t)((message_len - at - 2) >> 8);
	message[at + 1] = (uint8_t)(message_len - at - 2);
	message[1] = (uint8_t)((message_len - 4) >> 16);
	set_u16(2, message_len - 4);
}

/* The example of the specification: a browser, with GREASE at every place that has a list. */
static void ja4_as_published(void **state)
{
	static const uint16_t ciphers[] = { 0x7a7a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9,
		0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035 };
	static const uint16_t types[] = { 0x1b, 0x33, 0x4469, 0x17, 0x2d, 0x05, 0x23, 0x12, 0xff01, 0x0b, 0x0a,
		0x15 };

	hello_begin();
	ciphers_put(ciphers, sizeof(ciphers) / sizeof(ciphers[0]));
	size_t at = message_len - 2;
	extension(0x3a3a, "", 0);
	for (size_t i = 0; i < 6; i++)
		extension(types[i], "\0", 1);
	server_name("a.example");
	extension(16, "\0\x0c\2h2\x08http/1.1", 14);
	extension(43, "\6\x1a\x1a\3\4\3\3", 7);
	extension(13, "\0\x12\4\3\x08\4\4\1\5\3\x08\5\5\1\x08\6\6\1\xaa\xaa", 20);
	for (size_t i = 6; i < 12; i++)
		extension(types[i], "\0", 1);
	extension(0xeaea, "\0", 1);
	extensions_end(at);
	assert_int_equal(hello_run(), VERDICT_YES);
	assert_string_equal(value(ATTRIBUTE_JA4), "t13d1516h2_8daaf6152771_e5627efa2ab1");
	assert_string_equal(value(ATTRIBUTE_VERSION), "1.3");
	assert_int_equal(run(wire, 5 + message_len - 1), VERDICT_YES);
	assert_null(value(ATTRIBUTE_JA4));
}

static void ja4_without_this_and_that(void **state)
{
	static const struct {
		const char *alpn; /* the first name */
		const char *begin;
	} cases[] = { { NULL, "t12i010100_" }, { "h", "t12i0102hh_" }, { "\xab", "t12i0102ab_" },
		{ "\xab\xcd", "t12i0102ad_" }, { "0\xab", "t12i01023b_" }, { "01\xab\xcd", "t12i01023d_" },
		{ "0\xab\xcd"
		  "1",
			"t12i010201_" } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		hello_begin();
		extension(10, "\0\2\0\x1d", 4);
		if (cases[i].alpn) {
			uint8_t data[20] = { 0 };
			size_t len = strlen(cases[i].alpn);
			data[1] = (uint8_t)(len + 1);
			data[2] = (uint8_t)len;
			memcpy(data + 3, cases[i].alpn, len);
			extension(16, data, len + 3);
		}
		hello_end();
		assert_int_equal(hello_run(), VERDICT_YES);
		assert_memory_equal(value(ATTRIBUTE_JA4), cases[i].begin, strlen(cases[i].begin));
	}
	hello_begin();
	message_len -= 2;
	hello_end();
	assert_int_equal(hello_run(), VERDICT_YES);
	assert_string_equal(value(ATTRIBUTE_JA4) + 23, "_000000000000");
	assert_memory_equal(value(ATTRIBUTE_JA4), "t12i010000_", 11);
}

static void ja4_of_more_ciphers_than_anybody_has(void **state)
{
	static uint16_t ciphers[600];

	for (size_t n = 99; n < 600; n = n == 99 ? 100 : n == 100 ? 512 : n == 512 ? 513 : 600) {
		for (uint16_t i = 0; i < n; i++)
			ciphers[i] = 0xc000 + i * 3;
		hello_begin();
		ciphers_put(ciphers, n);
		extensions_end(message_len - 2);
		assert_int_equal(hello_run(), VERDICT_YES);
		assert_string_equal(value(ATTRIBUTE_VERSION), "1.2");
		if (n > 512)
			assert_string_equal(value(ATTRIBUTE_JA4), "");
		else
			assert_memory_equal(value(ATTRIBUTE_JA4), "t12i990000_", 11);
	}
}

static void ja4_only_where_it_is_wanted(void **state)
{
	static struct findings findings;
	struct evidence evidence = { .bytes = tls_curl, .len = sizeof(tls_curl) };

	for (int wanted = 0; wanted < 2; wanted++) {
		findings_reset(&findings);
		findings.wanted = (uint32_t)wanted << ATTRIBUTE_JA4;
		assert_int_equal(probe_run(probe_find("tls"), &evidence, &findings), VERDICT_YES);
		assert_int_equal(findings.attribute[ATTRIBUTE_JA4].count, wanted);
		assert_true(findings.settled >> ATTRIBUTE_JA4 & 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(yes_with_the_version_of_the_hello),
		cmocka_unit_test(an_attribute_settles_behind_its_extension),
		cmocka_unit_test(no_extensions_at_all),
		cmocka_unit_test(server_names),
		cmocka_unit_test(server_name_lists_that_are_none),
		cmocka_unit_test(alpn_lists),
		cmocka_unit_test(of_many_alpn_names_the_first_sixteen),
		cmocka_unit_test(an_extension_twice_ends_the_reading),
		cmocka_unit_test(a_version_that_does_not_exist_yet),
		cmocka_unit_test(lengths_that_disagree),
		cmocka_unit_test(record_headers),
		cmocka_unit_test(broken_records_behind_yes_settle_the_rest),
		cmocka_unit_test(what_is_behind_the_hello_in_its_record_is_not_looked_at),
		cmocka_unit_test(any_records_say_the_same),
		cmocka_unit_test(hellos_as_large_as_the_evidence),
		cmocka_unit_test(versions),
		cmocka_unit_test(hellos_in_the_format_of_ssl_2),
		cmocka_unit_test(alpn_names_that_are_not_printable_are_escaped),
		cmocka_unit_test(of_long_alpn_names_that_need_escapes_some_are_left_out),
		cmocka_unit_test(ja4_as_published),
		cmocka_unit_test(ja4_without_this_and_that),
		cmocka_unit_test(ja4_of_more_ciphers_than_anybody_has),
		cmocka_unit_test(ja4_only_where_it_is_wanted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
