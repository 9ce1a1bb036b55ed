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

#define LDAP_OID "1.3.6.1.4.1.1466.20037"
#define LDAP_TLS "\x30\x1d\2\1\1\x77\x18\x80\x16" LDAP_OID
#define LDAP_OK  "\x30\x0c\2\1\1\x78\7\x0a\1\0\4\0\4\0"

#define XMPP_NS "xmlns='urn:ietf:params:xml:ns:xmpp-tls'"
#define XMPP_STREAM(s)                                                                                               \
	"<stream:stream" s " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
#define XMPP_HEAD(of, s)                                                                                             \
	"<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams' version='1.0' "         \
	"xmlns='jabber:" of "'" s ">"
#define XMPP_FEATURES "<stream:features><starttls " XMPP_NS "><required/></starttls></stream:features>"
#define XMPP_STARTTLS "<starttls " XMPP_NS "/>"
#define XMPP_PROCEED  "<proceed " XMPP_NS "/>"

#define IMAP_CAPABILITY "CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED"
#define IMAP_HELLO      "* OK [" IMAP_CAPABILITY "] ready\r\n"

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

	{ STARTTLS_LDAP, false, TEXT(LDAP_TLS), TEXT(LDAP_OK), STARTTLS_TLS, 0 },
	{ STARTTLS_LDAP, false, TEXT(LDAP_TLS "\26\3"), TEXT(LDAP_OK), STARTTLS_TLS, 2 },
	{ STARTTLS_LDAP, false, TEXT("\x30\x84\0\0\0\x24\2\1\1\x77\x84\0\0\0\x18\x80\x16" LDAP_OID "\xa0\1x"),
		TEXT(LDAP_OK), STARTTLS_TLS, 0 }, /* long lengths, and something behind */
	{ STARTTLS_LDAP, false, TEXT("\x30\x1f\2\3\1\2\3\x77\x18\x80\x16" LDAP_OID),
		TEXT("\x30\x0e\2\3\1\2\3\x78\7\x0a\1\0\4\0\4\0"), STARTTLS_TLS, 0 },
	{ STARTTLS_LDAP, false, TEXT("\x30\x0c\2\1\1\x60\7\2\1\3\4\0\x80\0"), TEXT(""), STARTTLS_REFUSED, 14 },
	{ STARTTLS_LDAP, true, TEXT(LDAP_OK), TEXT(LDAP_TLS), STARTTLS_TLS, 0 },
	{ STARTTLS_LDAP, true, TEXT("\x30\x0c\2\1\1\x78\7\x0a\1\2\4\0\4\0"), TEXT(LDAP_TLS), STARTTLS_REFUSED, 0 },
	{ STARTTLS_LDAP, true, TEXT("\x30\x0c\2\1\2\x78\7\x0a\1\0\4\0\4\0"), TEXT(LDAP_TLS), STARTTLS_REFUSED, 0 },

	{ STARTTLS_XMPP, false, TEXT("<?xml version='1.0'?>" XMPP_STREAM(" to='a.example'") "\n" XMPP_STARTTLS "\26"),
		TEXT(XMPP_HEAD("client", " id='usher' from='a.example'") XMPP_FEATURES XMPP_PROCEED), STARTTLS_TLS,
		1 },
	{ STARTTLS_XMPP, false,
		TEXT("<stream:stream to=\"a.example\" xmlns=\"jabber:server\" from='>'><starttls a='b'></starttls>"),
		TEXT(XMPP_HEAD("server", " id='usher' from='a.example'") XMPP_FEATURES XMPP_PROCEED), STARTTLS_TLS,
		0 },
	{ STARTTLS_XMPP, false, TEXT(XMPP_STREAM(" to='&lt;x&gt;'") "<auth/>"),
		TEXT(XMPP_HEAD("client", "") XMPP_FEATURES), STARTTLS_REFUSED,
		0 }, /* no name is said again that is none */
	{ STARTTLS_XMPP, true,
		TEXT(XMPP_STREAM(" from='a'") "<stream:features><mechanisms/><starttls " XMPP_NS
					      "><required/></starttls>"
					      "</stream:features><proceed " XMPP_NS "/>\26"),
		TEXT(XMPP_HEAD("client", "") XMPP_STARTTLS), STARTTLS_TLS, 1 },
	{ STARTTLS_XMPP, true, TEXT(XMPP_STREAM("") "<stream:features><mechanisms/></stream:features>"),
		TEXT(XMPP_HEAD("client", "")), STARTTLS_REFUSED, 0 },
	{ STARTTLS_XMPP, true, TEXT(XMPP_STREAM("") "<stream:error><host-unknown/>"), TEXT(XMPP_HEAD("client", "")),
		STARTTLS_REFUSED, 15 },
	{ STARTTLS_XMPP, true, TEXT(XMPP_STREAM("") "<stream:features><starttls/></stream:features><failure/>"),
		TEXT(XMPP_HEAD("client", "") XMPP_STARTTLS), STARTTLS_REFUSED, 0 },

	{ STARTTLS_SMTP, false, TEXT(""), TEXT("220 usher ESMTP\r\n"), STARTTLS_MORE, 0 },
	{ STARTTLS_SMTP, false, TEXT("EHLO mail.example\r\nstarttls\r\n\26"),
		TEXT("220 usher ESMTP\r\n250-usher\r\n250 STARTTLS\r\n220 begin TLS\r\n"), STARTTLS_TLS, 1 },
	{ STARTTLS_SMTP, false, TEXT("HELO a\nMAIL FROM:<a@b>\r\nQUIT\r\nSTARTTLS\r\n"),
		TEXT("220 usher ESMTP\r\n250 usher\r\n530 STARTTLS is needed first\r\n221 bye\r\n"), STARTTLS_REFUSED,
		10 },
	{ STARTTLS_SMTP, true, TEXT(""), TEXT(""), STARTTLS_MORE, 0 },
	{ STARTTLS_SMTP, true,
		TEXT("220-mail\r\n220 ESMTP\r\n250-mail\r\n250-STARTTLS\r\n250 8BITMIME\r\n220 2.0.0 go\r\n\26"),
		TEXT("EHLO [127.0.0.1]\r\nSTARTTLS\r\n"), STARTTLS_TLS, 1 },
	{ STARTTLS_SMTP, true, TEXT("220 ESMTP\r\n250-mail\r\n250 8BITMIME\r\n"), TEXT("EHLO [127.0.0.1]\r\n"),
		STARTTLS_REFUSED, 0 },
	{ STARTTLS_SMTP, true, TEXT("220 ESMTP\r\n250 STARTTLS\r\n454 no\r\n"),
		TEXT("EHLO [127.0.0.1]\r\nSTARTTLS\r\n"), STARTTLS_REFUSED, 0 },
	{ STARTTLS_SMTP, true, TEXT("554 no\r\n"), TEXT(""), STARTTLS_REFUSED, 0 },

	{ STARTTLS_IMAP, false, TEXT(". CAPABILITY\r\n. STARTTLS\r\n\26"),
		TEXT(IMAP_HELLO "* " IMAP_CAPABILITY "\r\n. OK done\r\n. OK begin TLS\r\n"), STARTTLS_TLS, 1 },
	{ STARTTLS_IMAP, false, TEXT("a1 id (\"name\" \"x\")\r\na2 LOGIN a b\r\na3 LOGOUT\r\n"),
		TEXT(IMAP_HELLO
			"* ID NIL\r\na1 OK done\r\na2 NO STARTTLS is needed first\r\n* BYE\r\na3 OK done\r\n"),
		STARTTLS_REFUSED, 0 },
	{ STARTTLS_IMAP, false, TEXT("a LOGIN {5}\r\n"), TEXT(IMAP_HELLO "* BAD not understood\r\n"),
		STARTTLS_REFUSED, 0 },
	{ STARTTLS_IMAP, false, TEXT("STARTTLS\r\n"), TEXT(IMAP_HELLO "* BAD not understood\r\n"), STARTTLS_REFUSED,
		0 },
	{ STARTTLS_IMAP, true, TEXT("* OK ready\r\n* CAPABILITY IMAP4rev1\r\nu OK go\r\n\26"), TEXT("u STARTTLS\r\n"),
		STARTTLS_TLS, 1 },
	{ STARTTLS_IMAP, true, TEXT("* OK ready\r\nu BAD no\r\n"), TEXT("u STARTTLS\r\n"), STARTTLS_REFUSED, 0 },
	{ STARTTLS_IMAP, true, TEXT("* PREAUTH ready\r\n"), TEXT(""), STARTTLS_REFUSED, 0 },

	{ STARTTLS_POP3, false, TEXT("CAPA\r\nUSER a\r\nSTLS\r\n\26"),
		TEXT("+OK ready\r\n+OK\r\nSTLS\r\n.\r\n-ERR STLS is needed first\r\n+OK begin TLS\r\n"), STARTTLS_TLS,
		1 },
	{ STARTTLS_POP3, false, TEXT("QUIT\r\n"), TEXT("+OK ready\r\n+OK bye\r\n"), STARTTLS_REFUSED, 0 },
	{ STARTTLS_POP3, true, TEXT("+OK Dovecot\r\n+OK begin\r\n\26"), TEXT("STLS\r\n"), STARTTLS_TLS, 1 },
	{ STARTTLS_POP3, true, TEXT("+OK\r\n-ERR no\r\n"), TEXT("STLS\r\n"), STARTTLS_REFUSED, 0 },

	{ STARTTLS_FTP, false, TEXT("FEAT\r\nUSER a\r\nAUTH SSL\r\nAUTH TLS\r\n\26"),
		TEXT("220 ready\r\n211-Features:\r\n AUTH TLS\r\n211 End\r\n530 AUTH TLS is needed first\r\n504 AUTH "
		     "TLS is known alone\r\n"
		     "234 begin TLS\r\n"),
		STARTTLS_TLS, 1 },
	{ STARTTLS_FTP, false, TEXT("OPTS UTF8 ON\r\nQUIT\r\n"), TEXT("220 ready\r\n200 OK\r\n221 bye\r\n"),
		STARTTLS_REFUSED, 0 },
	{ STARTTLS_FTP, true, TEXT("220-Welcome\r\nto the archive\r\n220 ready\r\n234 go\r\n\26"),
		TEXT("AUTH TLS\r\n"), STARTTLS_TLS, 1 },
	{ STARTTLS_FTP, true, TEXT("220 ready\r\n502 no\r\n"), TEXT("AUTH TLS\r\n"), STARTTLS_REFUSED, 0 },
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
		if (whole.said_len != one->said_len || whole.step != one->step)
			print_error(
				"%zu, of %s: %.*s\n", i, starttls_name(one->kind), (int)whole.said_len, whole.said);
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

static void a_conversation_has_an_end(void **state)
{
	static const char noop[] = "NOOP\r\n";
	static uint8_t many[2 * STARTTLS_TURNS_MAX * (sizeof(noop) - 1)], line[2 * STARTTLS_MESSAGE_MAX];
	struct talk talk;

	for (size_t i = 0; i < 2 * STARTTLS_TURNS_MAX; i++)
		memcpy(many + i * (sizeof(noop) - 1), noop, sizeof(noop) - 1);
	talk_begin(&talk, STARTTLS_SMTP, false);
	talk_hear(&talk, many, sizeof(many));
	assert_int_equal(talk.step, STARTTLS_REFUSED);
	assert_int_equal(talk.taken, STARTTLS_TURNS_MAX * (sizeof(noop) - 1));

	memset(line, 'x', sizeof(line));
	talk_begin(&talk, STARTTLS_SMTP, false);
	talk_hear(&talk, line, STARTTLS_MESSAGE_MAX - 1);
	assert_int_equal(talk.step, STARTTLS_MORE);
	talk_hear(&talk, line, STARTTLS_MESSAGE_MAX);
	assert_int_equal(talk.step, STARTTLS_REFUSED);
}

/* The name that a client has called is said again to its server, in another conversation. */
static void an_xmpp_server_is_called_by_the_name_that_its_client_has_called(void **state)
{
	static const char opening[] = "<stream:stream xmlns='jabber:server' to='b.example' from='a'>";
	struct starttls starttls;
	size_t taken;

	starttls_meet_client(&starttls, STARTTLS_XMPP);
	assert_int_equal(
		starttls_hear_client(&starttls, (const uint8_t *)opening, sizeof(opening) - 1, &taken), STARTTLS_ON);
	starttls_meet_server(&starttls);
	assert_int_equal(starttls.say_len, sizeof(XMPP_HEAD("server", " to='b.example'")) - 1);
	assert_memory_equal(starttls.say, XMPP_HEAD("server", " to='b.example'"), starttls.say_len);
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
	for (size_t len = 1; len < sizeof(LDAP_TLS) - 1; len++)
		assert_int_equal(probe_says(STARTTLS_LDAP, LDAP_TLS, len), VERDICT_MORE);
	assert_int_equal(probe_says(STARTTLS_LDAP, TEXT(LDAP_TLS)), VERDICT_YES);
	assert_int_equal(probe_says(STARTTLS_LDAP, TEXT("\x30\x0c\2\1\1\x60")), VERDICT_NO); /* a bind */
	assert_int_equal(probe_says(STARTTLS_LDAP,
				 TEXT("\x30\x1d\2\1\1\x77\x18\x80\x16"
				      "1.3.6.1.4.1.4203")),
		VERDICT_NO);
	assert_int_equal(probe_says(STARTTLS_SMTP, TEXT("EHLO a\r\n")), VERDICT_YES);
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
		cmocka_unit_test(a_conversation_has_an_end),
		cmocka_unit_test(an_xmpp_server_is_called_by_the_name_that_its_client_has_called),
		cmocka_unit_test(a_request_is_told_from_clients_that_ask_for_no_tls),
		cmocka_unit_test(each_kind_has_a_built_in_protocol),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
