/* The dialects: native text that says the same, whose strings come back as they were, and whose lines lead
 * back to the foreign file. What connections make of it is the system tests' business. */
#include "../decide.h"
#include "native.h"
#include "policy.h"
#include "portsplit.h"
#include "reader.h"
#include "sslh.h"
#include "tcpmux.h"
#include "writer.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// after the four above
#include <cmocka.h>

/* ---- the writer ---- */

static void every_string_comes_back_as_it_was(void **state)
{
	char text[256];

	for (int i = 0; i < 255; i++)
		text[i] = (char)(i + 1);
	text[255] = 0;
	const char *const samples[] = { "", "plain", "\"", "\\", "\\\\", "a\\x41", "@include \"x\"",
		"\n@include \"/etc/passwd\"", "ends\\", "# no comment", text };

	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		struct complaints complaints = { 0 };
		struct writer *writer = writer_new();
		struct native native;

		writer_setting(writer, "key", samples[i]);
		writer_finish(writer, &native);
		struct reader *reader =
			reader_new("native", false, native.text, strlen(native.text), NULL, &complaints);
		assert_non_null(reader);
		assert_int_equal(complaints.count, 0);
		assert_string_equal(
			setting_text(setting_item(setting_find(reader_root(reader), "key"), 0)), samples[i]);
		reader_free(reader);
		native_fini(&native);
		complaints_fini(&complaints);
	}
}

static void bytes_are_written_in_hex_where_a_string_cannot_hold_them(void **state)
{
	const uint8_t bytes[] = { 0, 0x0e, 0x38, 0xff };
	struct writer *writer = writer_new();
	struct native native;

	assert_false(writer_can_quote(bytes, 4));
	assert_true(writer_can_quote(bytes + 1, 3));
	assert_false(writer_can_quote(bytes, 0));
	writer_bytes(writer, bytes, 4);
	writer_finish(writer, &native);
	assert_string_equal(native.text, "\"00 0e 38 ff\"");
	native_fini(&native);
}

static void lines_lead_back_to_where_they_came_from(void **state)
{
	struct writer *writer = writer_new();
	struct complaints own = { 0 }, complaints = { 0 };
	struct native native;

	writer_raw(writer, "of nobody\n");
	writer_from(writer, 7);
	writer_raw(writer, "of seven\nof seven too\n");
	writer_from(writer, 9);
	writer_raw(writer, "of nine");
	writer_from(writer, 0);
	writer_raw(writer, " still\nof nobody");
	writer_finish(writer, &native);
	const unsigned expected[] = { 0, 0, 7, 7, 9, 0, 0 };
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(native_line(&native, i), expected[i]);

	complaint_add(
		&own, COMPLAINT_ERROR, "f", 4, "is twice, first on line 2 (line 3), not line 99, line x, byline 2");
	native_complain(&native, &own, &complaints);
	assert_int_equal(complaints.errors, 1);
	assert_int_equal(complaints.list[0].line, 9);
	assert_string_equal(
		complaints.list[0].text, "is twice, first on line 7 (line 7), not line 99, line x, byline 2");
	complaints_fini(&own);
	complaints_fini(&complaints);
	native_fini(&native);
}

static void endpoints_are_split_at_the_last_colon(void **state)
{
	static const struct {
		const char *text, *expected;
	} samples[] = {
		{ "127.0.0.1:80", "127.0.0.1:80" },
		{ "name.example:65535", "name.example:65535" },
		{ "::1:7898", "[::1]:7898" },
		{ ":::9090", "[::]:9090" },
		{ "2001:db8::5:1", "[2001:db8::5]:1" },
		{ "[::1]:80", "[::1]:80" },
		{ "127.0.0.1:080", "127.0.0.1:80" },
		{ ":80", NULL },
		{ "127.0.0.1", NULL },
		{ "127.0.0.1:", NULL },
		{ "127.0.0.1:0", NULL },
		{ "127.0.0.1:65536", NULL },
		{ "127.0.0.1:80x", NULL },
		{ "127.0.0.1:-1", NULL },
		{ "", NULL },
	};

	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		char *endpoint = writer_endpoint(samples[i].text);
		if (samples[i].expected)
			assert_string_equal(endpoint, samples[i].expected);
		else
			assert_null(endpoint);
		free(endpoint);
	}
}

/* ---- whole configurations, compiled ---- */

static struct policy *compiled(const struct native *native)
{
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;

	if (policy_load_text(&policy, "native", native->text, NULL, &complaints) < 0 || complaints.count) {
		complaints_print(&complaints, stderr);
		fputs(native->text, stderr);
		fail();
	}
	complaints_fini(&complaints);
	return policy;
}

static struct policy *from_portsplit(const char *text, size_t len)
{
	struct complaints complaints = { 0 };
	struct native native;

	assert_int_equal(portsplit_translate_text(&native, "f", text, len, &complaints), 0);
	assert_int_equal(complaints.count, 0);
	complaints_fini(&complaints);
	struct policy *policy = compiled(&native);
	native_fini(&native);
	return policy;
}

static const char *taken_by(const struct policy *policy, const void *bytes, size_t len, bool *ret_more)
{
	struct evidence evidence = { .bytes = bytes, .len = len };
	struct findings *findings = calloc(1, sizeof(*findings));
	struct outcome outcome;

	decider_ask(policy->deciders[0], &evidence, findings, &outcome);
	free(findings);
	*ret_more = outcome.more != SERVICE_NONE;
	return outcome.yes == SERVICE_NONE ? "" : policy->services[outcome.yes].name;
}

static void portsplit_means_what_it_says(void **state)
{
	static const char text[] =
		"bind = 127.0.0.1:1\nbind = :::2\nmaxconn = 0\n[a]\nstring = A\\00\\zz\\4\nconnect = ::1:9\n"
		"[b]\nstring = B \nstring = C\nexec = cat\nexecarg = -A \npty = yes\n[fallback]\nexec = cat";
	struct policy *policy = from_portsplit(text, sizeof(text) - 1);
	bool more;

	assert_int_equal(policy->n_listeners, 2);
	assert_string_equal(policy->listeners[1].text, "[::]:2");
	assert_int_equal(policy->max_connections, 0);
	assert_int_equal(policy->decide_timeout_us, 0);
	assert_int_equal(policy->on_silence, SERVICE_NONE);
	assert_string_equal(policy->services[policy->on_unknown].name, "fallback");
	assert_string_equal(taken_by(policy, "A\0\\zz\\4", 7, &more), "a");
	assert_string_equal(taken_by(policy, "A\0\\zz\\", 6, &more), "");
	assert_true(more);
	assert_string_equal(taken_by(policy, "B ", 2, &more), "b");
	assert_string_equal(taken_by(policy, "B", 1, &more), "");
	assert_true(more);
	assert_string_equal(taken_by(policy, "BB", 2, &more), "");
	assert_false(more);
	assert_string_equal(taken_by(policy, "CC", 2, &more), "b");
	const struct target *target = &policy->services[1].target;
	assert_int_equal(target->delivery, DELIVERY_EXEC);
	assert_int_equal(target->exec.stdio, STDIO_PTY);
	assert_string_equal(target->exec.argv[1], "-A ");
	assert_null(target->exec.argv[2]);
	policy_free(policy);
}

static void maxconn_is_10_where_nothing_is_said(void **state)
{
	static const char text[] = "bind=127.0.0.1:1\n[a]\nstring=a\nexec=cat";
	struct policy *policy = from_portsplit(text, sizeof(text) - 1);

	assert_int_equal(policy->max_connections, 10);
	policy_free(policy);
}

#define TCPMUX_HEAD "version=\"1\"; listen_port=7; "
#define INTERNAL    "{name=\"internal\";identifier=\"\";priority=0;}"

static struct native from_tcpmux(const char *text, const struct tcpmux_options *options, size_t warnings)
{
	struct complaints complaints = { 0 };
	struct native native;

	int error = tcpmux_translate_text(&native, "f", text, strlen(text), options, &complaints);
	if (error < 0 || complaints.count != warnings) {
		complaints_print(&complaints, stderr);
		fail();
	}
	complaints_fini(&complaints);
	return native;
}

static void tcpmux_tests_go_before_ours(void **state)
{
	static const struct tcpmux_options options = { .log_level = -1 };
	struct native native =
		from_tcpmux(TCPMUX_HEAD "proto_identifier=(" INTERNAL ");internal_identifer=({name=\"http\";"
					"priority=5;},{name=\"echo\";},{name=\"ssh\";disabled=1;});"
					"proto_server=({proto=\"echo\";server=\"/bin/cat\";para=\"a,,b\";});",
			&options, 0);
	struct policy *policy = compiled(&native);
	bool more;

	assert_string_equal(policy->listeners[0].text, "0.0.0.0:7");
	assert_string_equal(policy->services[0].name, "echo");
	assert_string_equal(policy->services[1].name, "http");
	assert_string_equal(policy->services[2].name, "http-any");
	assert_int_equal(policy->n_services, 3);
	assert_int_equal(policy->services[1].target.delivery, DELIVERY_REJECT);
	assert_string_equal(policy->services[0].target.exec.argv[2], "");
	assert_string_equal(taken_by(policy, "GET", 3, &more), "http");
	assert_string_equal(taken_by(policy, "HEAD / HTTP/1.1", 15, &more), "http-any");
	assert_string_equal(taken_by(policy, "echo", 4, &more), "echo");
	assert_false(more);
	assert_string_equal(taken_by(policy, "SSH-2.0-x\r\n", 11, &more), "");
	assert_false(more);
	policy_free(policy);
	native_fini(&native);
}

static void the_command_line_goes_before_the_file(void **state)
{
	static const char text[] = TCPMUX_HEAD "log_level=2; bind_addr=\"127.0.0.1\"; proto_identifier=(" INTERNAL
					       ");internal_identifer=({name=\"echo\";});";
	struct tcpmux_options options = { .log_level = -1 };
	struct native native = from_tcpmux(text, &options, 0);
	struct policy *policy = compiled(&native);
	assert_string_equal(policy->listeners[0].text, "127.0.0.1:7");
	assert_int_equal(policy->log.level, LEVEL_DEBUG);
	policy_free(policy);
	native_fini(&native);

	options = (struct tcpmux_options){ .log_level = 1, .port = 8, .address = "::1" };
	native = from_tcpmux(text, &options, 0);
	policy = compiled(&native);
	assert_string_equal(policy->listeners[0].text, "[::1]:8");
	assert_int_equal(policy->log.level, LEVEL_INFO);
	policy_free(policy);
	native_fini(&native);
}

static void inetd_needs_no_port(void **state)
{
	static const char text[] =
		"version=\"1\"; proto_identifier=(" INTERNAL ");internal_identifer=({name=\"echo\";});";
	struct tcpmux_options options = { .log_level = -1, .inetd = true };
	struct complaints complaints = { 0 };
	struct native native = from_tcpmux(text, &options, 0);

	policy_free(compiled(&native));
	native_fini(&native);
	options.inetd = false;
	assert_int_equal(tcpmux_translate_text(&native, "f", text, strlen(text), &options, &complaints), -EINVAL);
	assert_int_equal(complaints.errors, 1);
	complaints_fini(&complaints);
}

/* ---- sslh ---- */

#define SSLH_LISTEN "listen: ( { host: \"127.0.0.1\"; port: \"443\"; } );\n"

static struct native from_sslh(const char *text, const struct sslh_options *options, size_t warnings)
{
	struct complaints complaints = { 0 };
	struct native native = { 0 };

	if (sslh_translate_text(&native, text, text ? strlen(text) : 0, options, &complaints) < 0 ||
		complaints.count != warnings) {
		complaints_print(&complaints, stderr);
		fail();
	}
	complaints_fini(&complaints);
	return native;
}

static void an_sslh_file_means_what_it_says(void **state)
{
	static const char text[] = "timeout: 2;\n" SSLH_LISTEN "protocols: (\n"
				   "{ name: \"ssh\"; host: \"::1\"; port: \"ssh\"; },\n"
				   "{ name: \"regex\"; host: \"h\"; port: 80; regex_patterns: [ \"^a.c\", "
				   "\"^\\x00\\x41\" ]; minlength: 3; },\n"
				   "{ name: \"tls\"; host: \"/s\"; is_unix: true; max_connections: 7; },\n"
				   "{ name: \"anyprot\"; host: \"192.0.2.1\"; port: \"1\"; log_level: 0; } );\n"
				   "on-timeout: \"regex\";\n";
	struct sslh_options options = { .file = "f" };
	struct native native = from_sslh(text, &options, 1);
	struct policy *policy = compiled(&native);
	bool more;

	assert_int_equal(policy->n_services, 4);
	assert_int_equal(policy->decide_timeout_us, 2000000);
	assert_string_equal(policy->services[policy->on_silence].name, "regex");
	assert_string_equal(policy->services[policy->on_unknown].name, "anyprot");
	assert_string_equal(policy->services[0].target.connect.backends[0].text, "[::1]:22");
	assert_string_equal(policy->services[2].target.connect.backends[0].text, "unix:/s");
	assert_int_equal(policy->services[2].access->max_connections, 7);
	assert_int_equal(policy->services[3].log_level, LEVEL_DEBUG);
	assert_string_equal(taken_by(policy, "SSH-2.0-x\r\n", 11, &more), "ssh");
	assert_string_equal(taken_by(policy, "abc", 3, &more), "regex");
	assert_string_equal(taken_by(policy, "a\nc", 3, &more), ""); /* to sslh a dot is no newline */
	assert_false(more);
	assert_string_equal(taken_by(policy, "\0A", 2, &more), "");
	assert_true(more);
	assert_string_equal(taken_by(policy, "\0AB", 3, &more), "regex");
	assert_int_equal(native_line(&native, policy->listeners[0].line), 2);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(native_line(&native, policy->services[i].line), 4 + i);
	policy_free(policy);
	native_fini(&native);
}

static void sslh_needs_no_file(void **state)
{
	struct sslh_argument arguments[] = { { "anyprot", "a:1" }, { "listen", "[::1]:443" }, { "ssl", "b:2" },
		{ "ssh", "c:3" }, { "timeout", "0" } };
	struct sslh_options options = { .arguments = arguments, .n_arguments = 5 };
	struct native native = from_sslh(NULL, &options, 0);
	struct policy *policy = compiled(&native);

	assert_string_equal(policy->listeners[0].text, "[::1]:443");
	assert_int_equal(policy->decide_timeout_us, 1000);
	assert_string_equal(policy->services[0].name, "ssl");
	assert_string_equal(policy->services[1].name, "ssh");
	assert_string_equal(policy->services[2].name, "anyprot");
	assert_int_equal(policy->on_silence, 1);
	assert_int_equal(policy->on_unknown, 2);
	policy_free(policy);
	native_fini(&native);
}

static void sockets_that_were_handed_over_take_the_place_of_others(void **state)
{
	static const char *const handed[] = { "127.0.0.1:7", "unix:/run/x" };
	struct sslh_options options = { .file = "f", .handed = handed, .n_handed = 2 };
	struct native native = from_sslh("listen: ( { host: \"nohost.invalid\"; port: \"x\"; } );\n"
					 "protocols: ( { name: \"ssh\"; host: \"h\"; port: \"22\"; } );",
		&options, 0);
	struct policy *policy = compiled(&native);

	assert_int_equal(policy->n_listeners, 2);
	assert_string_equal(policy->listeners[0].text, "127.0.0.1:7");
	policy_free(policy);
	native_fini(&native);
}

static void how_sslh_is_to_run_is_said_by_the_file_and_by_the_command_line(void **state)
{
	struct sslh_argument arguments[] = { { "foreground", "1" }, { "background", "1" }, { "inetd", "1" } };
	struct sslh_options options = { .file = "/no/such", .arguments = arguments };
	struct sslh_mode mode;

	sslh_mode_read(&mode, &options);
	assert_false(mode.foreground || mode.inetd);
	options.n_arguments = 1;
	sslh_mode_read(&mode, &options);
	assert_true(mode.foreground && !mode.inetd);
	options.n_arguments = 3;
	sslh_mode_read(&mode, &options);
	assert_true(!mode.foreground && mode.inetd);
}

/* Strings keep what looks like a comment, comments what looks like a string; lines stay where they are. */
static void zeros_of_expressions_are_kept_and_nothing_else_changes(void **state)
{
	static const char text[] = "# \" \\x00\n/* \"\n*/// \"\n" SSLH_LISTEN
				   "protocols: ( { name: \"regex\"; host: \"h\"; port: \"1\";\n"
				   "regex_patterns: [ \"^# // /* \\\\x00 \\\"\\x00\", \"^\\x001\" ]; },\n"
				   "{ name: \"timeout\"; host: \"h\"; port: \"2\"; } );";
	struct sslh_options options = { .file = "f" };
	struct native native = from_sslh(text, &options, 1);
	struct policy *policy = compiled(&native);
	bool more;

	assert_string_equal(taken_by(policy, "\0001", 2, &more), "regex");
	assert_string_equal(taken_by(policy, "# // / \0 \"\0", 11, &more), "regex");
	assert_string_equal(taken_by(policy, "# // / \0 \"0", 11, &more), "timeout");
	assert_int_equal(native_line(&native, policy->services[1].line), 7);
	policy_free(policy);
	native_fini(&native);
}

static void a_file_that_is_not_there_is_an_error(void **state)
{
	struct complaints complaints = { 0 };
	struct tcpmux_options options = { .log_level = -1 };
	struct native native;

	assert_int_equal(portsplit_translate(&native, "/no/such", &complaints), -EINVAL);
	assert_int_equal(tcpmux_translate(&native, "/no/such", &options, &complaints), -EINVAL);
	assert_int_equal(portsplit_translate(&native, "/", &complaints), -EINVAL);
	assert_int_equal(
		sslh_translate(&native, &(struct sslh_options){ .file = "/no/such" }, &complaints), -EBADMSG);
	assert_int_equal(complaints.errors, 4);
	complaints_fini(&complaints);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_string_comes_back_as_it_was),
		cmocka_unit_test(bytes_are_written_in_hex_where_a_string_cannot_hold_them),
		cmocka_unit_test(lines_lead_back_to_where_they_came_from),
		cmocka_unit_test(endpoints_are_split_at_the_last_colon),
		cmocka_unit_test(portsplit_means_what_it_says),
		cmocka_unit_test(maxconn_is_10_where_nothing_is_said),
		cmocka_unit_test(tcpmux_tests_go_before_ours),
		cmocka_unit_test(the_command_line_goes_before_the_file),
		cmocka_unit_test(inetd_needs_no_port),
		cmocka_unit_test(an_sslh_file_means_what_it_says),
		cmocka_unit_test(sslh_needs_no_file),
		cmocka_unit_test(sockets_that_were_handed_over_take_the_place_of_others),
		cmocka_unit_test(how_sslh_is_to_run_is_said_by_the_file_and_by_the_command_line),
		cmocka_unit_test(zeros_of_expressions_are_kept_and_nothing_else_changes),
		cmocka_unit_test(a_file_that_is_not_there_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
