/* The `check' of a service: what is sent to its backends, and what they are to answer.
 *
 * Refuses a check whose answers nobody could judge: something is sent and nothing expected, a protocol is expected in which clients speak first;
 * and one that takes longer than the time to the next. Texts and bytes are in the policy's arena. */
#include "checks.h"
#include "compile.h"
#include "evidence.h"
#include "server_opening.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_EXPECTED "a status such as \"200\" or \"2xx\", or a list of them"
#define SEND_MAX        EVIDENCE_MAX

static uint64_t seconds(const struct values *values, size_t key)
{
	return (uint64_t)llround(values_number(values, key) * 1e6);
}

/* ---- what is sent ---- */

static void send_compile(struct compiler *compiler, struct check *check, const struct setting *at)
{
	struct values values;
	struct literal literal = { 0 };

	if (setting_is_group(at)) {
		values_read(compiler->reader, &values, at, &sections[SECTION_SEND]);
		if (!values.given[SEND_BYTES])
			compile_error(compiler, at, "`send' without `bytes', expected it or a string");
		if (values.value[SEND_BYTES])
			protocol_bytes(compiler, values.value[SEND_BYTES], "bytes", &literal);
	} else if (setting_text(at) && *setting_text(at)) {
		literal.len = strlen(setting_text(at));
		literal.bytes = arena_memdup(compiler->arena, setting_text(at), literal.len);
	} else {
		compile_error(compiler, at, "`send' with no bytes, expected a string or { bytes = \"00 0e\"; }");
	}
	if (literal.len > SEND_MAX)
		compile_error(compiler, at, "`send' has %zu bytes, expected at most %d", literal.len, SEND_MAX);
	check->send = literal.bytes;
	check->send_len = literal.len;
}

static bool is_method(const char *text, size_t len)
{
	static const char *const methods[] = { "GET", "HEAD", "OPTIONS" };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strlen(methods[i]) == len && memcmp(methods[i], text, len) == 0)
			return true;
	return false;
}

/* "/path" or "METHOD /path". */
static void http_compile(struct compiler *compiler, struct check *check, const struct setting *at)
{
	const char *text = setting_text(at), *path = strchr(text, '/');
	size_t len = path ? (size_t)(path - text) : 0;
	bool is_right =
		path && strlen(path) <= 1024 && (len == 0 || (text[len - 1] == ' ' && is_method(text, len - 1)));

	for (const char *c = path; is_right && *c; c++)
		is_right = isgraph((unsigned char)*c);
	if (!is_right) {
		compile_error(compiler, at,
			"`http' is \"%.200s\", expected a path such as \"/health\" or \"HEAD /health\", with GET, "
			"HEAD or "
			"OPTIONS",
			text);
		return;
	}
	check->method = len ? arena_strndup(compiler->arena, text, len - 1) : "GET";
	check->path = arena_strdup(compiler->arena, path);
}

/* ---- what is expected ---- */

static bool status_mark(struct check *check, const char *text)
{
	unsigned first = (unsigned)(*text - '0') * 100;

	if (*text < '1' || *text > '5' || strlen(text) != 3)
		return false;
	if (strcmp(text + 1, "xx") == 0) {
		for (unsigned status = first; status < first + 100; status++)
			check->statuses[status / 8] |= (uint8_t)(1U << status % 8);
		return true;
	}
	if (!isdigit((unsigned char)text[1]) || !isdigit((unsigned char)text[2]))
		return false;
	unsigned status = (unsigned)atoi(text);
	check->statuses[status / 8] |= (uint8_t)(1U << status % 8);
	return true;
}

static void statuses_compile(struct compiler *compiler, struct check *check, const struct setting *at)
{
	check->expect = EXPECT_STATUS;
	if (!at) {
		status_mark(check, "2xx");
		status_mark(check, "3xx");
	}
	for (size_t i = 0; i < setting_count(at); i++) {
		const struct setting *item = setting_item(at, i);
		const char *text = setting_text(item);
		if (!text || !status_mark(check, text))
			compile_error(compiler, item,
				"`expect' beside `http' is %s%.80s%s, expected " STATUS_EXPECTED,
				text ? "`" : "a group", text ? text : "", text ? "'" : "");
	}
}

static void pattern_compile(struct compiler *compiler, struct check *check, const struct setting *at)
{
	struct policy *policy = compiler->policy;
	struct protocol *protocol = arena_alloc(compiler->arena, sizeof(*protocol));

	protocol->name = "expect";
	protocol_pattern_compile(compiler, protocol, at);
	policy->expected[policy->n_expected++] = protocol;
	check->expect = EXPECT_PROTOCOL;
	check->protocol = protocol;
}

static void name_compile(struct compiler *compiler, struct check *check, const struct setting *at)
{
	const char *name = setting_text(at);
	uint32_t number = index_find(compiler->protocols, name);
	const struct protocol *protocol = number == INDEX_NONE ? NULL : &compiler->policy->protocols[number];
	char openings[256] = "";

	check->opening = protocol && protocol->probe ? server_opening_find(name) : NULL;
	if (check->opening) {
		check->expect = EXPECT_OPENING;
		return;
	}
	if (protocol && (protocol->n_literals || protocol->n_patterns)) {
		check->expect = EXPECT_PROTOCOL;
		check->protocol = protocol;
		return;
	}
	for (size_t i = 0, len = 0; i < n_server_openings; i++)
		len += (size_t)snprintf(
			openings + len, sizeof(openings) - len, "%s%s", i ? ", " : "", server_openings[i].name);
	compile_error(compiler, at,
		"`expect' is `%.80s', %s, expected one of %s, one of `protocols' that is no identifier's, or a group "
		"such as { string = \"+PONG\"; }",
		name, protocol ? "in which clients speak first" : "an unknown protocol", openings);
}

static void expect_compile(struct compiler *compiler, struct check *check, const struct values *values)
{
	const struct setting *at = values->value[CHECK_EXPECT];

	if (values->given[CHECK_HTTP])
		statuses_compile(compiler, check, at);
	else if (at && setting_count(at) != 1)
		compile_error(compiler, at, "`expect' is a list, expected one protocol or one group");
	else if (at && setting_is_group(setting_item(at, 0)))
		pattern_compile(compiler, check, setting_item(at, 0));
	else if (at)
		name_compile(compiler, check, setting_item(at, 0));
}

/* ---- the whole ---- */

static void sni_compile(struct compiler *compiler, struct check *check, const struct setting *at)
{
	const char *name = setting_text(at);
	size_t len = strlen(name);

	if (len < 1 || len > 253 ||
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != len)
		compile_error(compiler, at, "`sni' is \"%.200s\", expected a host name", name);
	else
		check->sni = arena_strdup(compiler->arena, name);
}

static void keys_check(struct compiler *compiler, const struct values *values)
{
	const struct setting *const *value = values->value;

	if (values->given[CHECK_HTTP] && value[CHECK_SEND])
		compile_error(compiler, value[CHECK_SEND], "both `http' and `send', expected one");
	if (value[CHECK_SEND] && !values->given[CHECK_EXPECT])
		compile_error(compiler, value[CHECK_SEND],
			"`send' without `expect': no answer would be wrong; expected what the backend answers");
	if (values_number(values, CHECK_TIMEOUT) > values_number(values, CHECK_EVERY) && value[CHECK_TIMEOUT])
		compile_error(compiler, value[CHECK_TIMEOUT], "`timeout' is %g s, expected at most `every', %g s",
			values_number(values, CHECK_TIMEOUT), values_number(values, CHECK_EVERY));
}

/* Datagrams are answered where both sides know what: else the backend can be checked over TCP on a port of its own. */
static void datagrams_compile(
	struct compiler *compiler, const struct service *service, struct check *check, const struct values *values)
{
	if (!(service->transports >> TRANSPORT_DATAGRAM & 1))
		return;
	if (check->send && !check->sni)
		check->datagrams = CHECK_DATAGRAMS;
	else if (check->port)
		check->datagrams = CHECK_DATAGRAMS_BY_STREAM;
	else if (service->transports == 1U << TRANSPORT_DATAGRAM)
		compile_error(compiler, values->group,
			"`check' of service `%s', which takes datagrams alone, has neither `send' and `expect' nor "
			"the "
			"`port' of a TCP server, expected one of them",
			service->name);
}

static void backends_check(
	struct compiler *compiler, const struct service *service, const struct check *check, const struct setting *at)
{
	for (size_t i = 0; check->port && i < service->target.connect.n_backends; i++) {
		const struct backend *backend = &service->target.connect.backends[i];
		if (backend->address.sa.sa_family == AF_UNIX) {
			compile_error(
				compiler, at, "`port' with backend `%s', expected IP addresses only", backend->text);
			return;
		}
	}
}

void check_compile(struct compiler *compiler, uint32_t service, const struct values *of)
{
	struct service *into = &compiler->policy->services[service];
	const struct setting *at = of->value[SERVICE_CHECK];
	struct check *check = arena_alloc(compiler->arena, sizeof(*check));
	struct values values;

	into->target.connect.slow_start_us = seconds(of, SERVICE_SLOW_START);
	into->target.connect.closes_on_down = values_choice(of, SERVICE_ON_DOWN) == 1;
	if (into->target.connect.closes_on_down && !of->given[SERVICE_CHECK])
		compile_error(compiler, of->value[SERVICE_ON_DOWN], "`on_down' goes with `check' only");
	if (!at)
		return;
	values_read(compiler->reader, &values, at, &sections[SECTION_CHECK]);
	keys_check(compiler, &values);
	check->every_us = seconds(&values, CHECK_EVERY);
	check->timeout_us = seconds(&values, CHECK_TIMEOUT);
	if (check->timeout_us > check->every_us)
		check->timeout_us = check->every_us;
	check->rise = (unsigned)values_number(&values, CHECK_RISE);
	check->fall = (unsigned)values_number(&values, CHECK_FALL);
	check->port = values.value[CHECK_PORT] ? (uint16_t)values_number(&values, CHECK_PORT) : 0;
	if (values.value[CHECK_SEND])
		send_compile(compiler, check, values.value[CHECK_SEND]);
	if (values.value[CHECK_HTTP])
		http_compile(compiler, check, values.value[CHECK_HTTP]);
	if (values.value[CHECK_SNI])
		sni_compile(compiler, check, values.value[CHECK_SNI]);
	expect_compile(compiler, check, &values);
	datagrams_compile(compiler, into, check, &values);
	backends_check(compiler, into, check, values.value[CHECK_PORT]);
	into->target.connect.check = check;
	compiler->policy->checks = true;
}
