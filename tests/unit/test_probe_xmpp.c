/* The opening tag of a stream, RFC 6120 4.7, as clients, servers and components write it. */
#include "probe_cases.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ETHERX "xmlns:stream='http://etherx.jabber.org/streams'"

static void streams_of_clients_servers_and_components(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("<?xml version='1.0'?><stream:stream to='example.com' version='1.0' "
			 "xmlns='jabber:client' " ETHERX ">",
			36, "host=example.com"),
		CASE_YES("<stream:stream xmlns:stream=\"http://etherx.jabber.org/streams\" xmlns=\"jabber:client\" "
			 "to=\"Chat.Example.COM.\" xml:lang=\"en\" version=\"1.0\">",
			15, "host=chat.example.com"),
		CASE_YES("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\r\n\r\n<stream:stream\n\t"
			 "from='a.example' to='b.example' xmlns='jabber:server' "
			 "xmlns:db='jabber:server:dialback' " ETHERX ">",
			74, "host=b.example"),
		CASE_YES("<stream:stream xmlns='jabber:component:accept' " ETHERX " to='gateway.example'>", 15,
			"host=gateway.example"),
		CASE_YES("<stream:stream " ETHERX " to = 'spaced.example' >", 15, "host=spaced.example"),
		CASE_YES("\xef\xbb\xbf<stream:stream " ETHERX " to='bom.example'>", 18, "host=bom.example"),
		CASE_YES(" \r\n<stream:stream " ETHERX " to='late.example'>", 18, "host=late.example"),
		CASE_YES("<stream:stream>", 15, ""),
	};
	CASES_CHECK("xmpp", cases);
}

static void other_prefixes_with_the_namespace(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("<flash:stream to='x.example' xmlns:flash='http://etherx.jabber.org/streams' "
			 "xmlns='jabber:client'>",
			75, "host=x.example"),
		CASE_YES("<stream xmlns='http://etherx.jabber.org/streams'>", 48, ""),
		CASE_NO("<flash:stream to='x' xmlns:stream='http://etherx.jabber.org/streams'>", 69),
		CASE_NO("<stream xmlns:stream='http://etherx.jabber.org/streams'>", 56),
		CASE_NO("<stream xmlns='jabber:client'>", 30),
	};
	CASES_CHECK("xmpp", cases);
}

static void the_host_settles_with_its_quote(void **state)
{
	static const struct probe_case cases[] = {
		CASE_YES("<stream:stream to='example.co", 15, "host?"),
		CASE_YES("<stream:stream to='example.com'", 15, "host=example.com"),
		CASE_YES("<stream:stream from='example.com' ", 15, "host?"),
		CASE_YES("<stream:stream to='first.example' to='second.example'>", 15, "host=first.example"),
		CASE_YES("<stream:stream to='a&b'>", 15, ""),
		CASE_YES("<stream:stream to=''>", 15, ""),
		CASE_YES("<stream:stream to='[2001:DB8::1]'>", 15, "host=[2001:db8::1]"),
		CASE_YES("<stream:stream to='192.0.2.1'>", 15, "host=192.0.2.1"),
		CASE_YES("<stream:stream to=unquoted>", 15, ""),
		CASE_YES("<stream:stream from='<' to='x'>", 15, ""),
	};
	CASES_CHECK("xmpp", cases);
}

static void strangers(void **state)
{
	static const struct probe_case cases[] = {
		CASE_NO("<34>1 2003-10-11T22:14:15.003Z host app - - -", 2),
		CASE_NO("<html>", 6),
		CASE_NO("<!DOCTYPE html>", 2),
		CASE_NO("<!-- x --><stream:stream>", 2),
		CASE_NO("<?xml version='1.0'?><!-- x --><stream:stream>", 23),
		CASE_NO("<?xml version='1.0'?><?xml version='1.0'?><stream:stream>", 23),
		CASE_NO("<?xmlx ?><stream:stream>", 6),
		CASE_NO("<?xml version='1.0'><stream:stream>", 20),
		CASE_NO("<?php", 3),
		CASE_NO("<stream:streams>", 16),
		CASE_NO("<stream:features>", 17),
		CASE_NO("<stream:stream/>", 15),
		CASE_NO("<policy-file-request/>", 21),
		CASE_NO("GET / HTTP/1.1\r\n", 1),
		CASE_NO("\r\nGET / HTTP/1.1\r\n", 3),
		CASE_NO("\xef\xbb <stream:stream>", 3),
		CASE_MORE("<"),
		CASE_MORE("<stream:stream"),
		CASE_MORE("<?xml version='1.0'?>"),
		CASE_MORE("\r\n"),
	};
	CASES_CHECK("xmpp", cases);
}

/* A head without an end is refused where it becomes too long, and one that was taken has no name there. */
static void the_head_has_a_bound(void **state)
{
	static uint8_t bytes[5000];
	static struct answer answer;
	const struct probe *probe = probe_find("xmpp");

	memset(bytes, ' ', sizeof(bytes));
	assert_null(cuts_check(probe, bytes, sizeof(bytes), 500));
	answer_get(&answer, probe, bytes, 4095);
	assert_int_equal(answer.verdict, VERDICT_MORE);
	answer_get(&answer, probe, bytes, 4096);
	assert_int_equal(answer.verdict, VERDICT_NO);
	memcpy(bytes, "<stream:stream ", 15);
	memcpy(bytes + 4090, "to='x.example'>", 15);
	assert_null(cuts_check(probe, bytes, sizeof(bytes), 5000));
	answer_get(&answer, probe, bytes, 4095);
	assert_false(answer.attribute[ATTRIBUTE_HOST].settled);
	answer_get(&answer, probe, bytes, sizeof(bytes));
	assert_int_equal(answer.verdict, VERDICT_YES);
	assert_true(answer.attribute[ATTRIBUTE_HOST].settled);
	assert_int_equal(answer.attribute[ATTRIBUTE_HOST].len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(streams_of_clients_servers_and_components),
		cmocka_unit_test(other_prefixes_with_the_namespace),
		cmocka_unit_test(the_host_settles_with_its_quote),
		cmocka_unit_test(strangers),
		cmocka_unit_test(the_head_has_a_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
