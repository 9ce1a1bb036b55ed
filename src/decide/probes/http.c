/* HTTP by its first request, RFC 9112 3, and HTTP/2 by its preface, RFC 9113 3.4.
 *
 *     *4CRLF  method SP target SP HTTP/DIGIT        YES with the digit
 *     *4CRLF  GET SP /                              YES with the slash; POST, HEAD, PUT, DELETE, PATCH too, "http://" too
 *     method SP HTTP/DIGIT                           YES with the digit: the target is missing
 *     PRI * HTTP/2.0 CRLF CRLF SM CRLF CRLF         YES with the last byte
 *
 * The method is any token of RFC 9110 5.6.2 of 1..32 bytes, the target any bytes but controls. RTSP, SIP and ICAP have
 * the same form: they differ in the version and have other methods, or targets, than those that settle it without one.
 * What clients should not send and do is taken: several blanks, tabs, blanks in the target where it begins like a path,
 * bytes that are not ASCII, `http/1.1`, LF alone, no version (HTTP/0.9) or any.
 *
 * `path` and, from a target in absolute form or of CONNECT, `host` settle with the target's end; `version` with its own,
 * all else with the end of the fields, or of what is ever looked at. What is not sound settles as absent. Does not claim requests without a slash and
 * a version, which memcached and redis have too. Owns no memory. */
#include "http2.h"
#include "http_fields.h"
#include "http_target.h"
#include "look.h"
#include "probe.h"

#include <string.h>

#define EMPTY_LINES_MAX 4 /* before the request, RFC 9112 2.2 */
#define METHOD_LEN_MAX  32
#define BLANKS_MAX      64 /* behind the method */

#define HTTP_ATTRIBUTES                                                                                              \
	(1U << ATTRIBUTE_HOST | 1U << ATTRIBUTE_PATH | 1U << ATTRIBUTE_UPGRADE | 1U << ATTRIBUTE_VERSION)

struct request {
	const uint8_t *method, *target;
	size_t method_len, target_len;
	size_t version;  /* where the digit is; 0: there is none, and no fields follow */
	bool is_certain; /* whatever follows */
};

static bool is_blank(uint8_t byte)
{
	return byte == ' ' || byte == '\t';
}

static enum verdict empty_lines_skip(const uint8_t *bytes, size_t len, size_t *at)
{
	for (int n = 0; *at < len && (bytes[*at] == '\r' || bytes[*at] == '\n'); n++, *at += 1) {
		if (n == EMPTY_LINES_MAX)
			return VERDICT_NO;
		if (bytes[*at] == '\r' && ++*at == len)
			return VERDICT_MORE;
		if (bytes[*at] != '\n')
			return VERDICT_NO;
	}
	return *at < len ? VERDICT_YES : VERDICT_MORE;
}

/* The method and the blanks behind it. */
static enum verdict method_read(struct request *request, const uint8_t *bytes, size_t len, size_t *at)
{
	size_t n = 0, blanks = 0;

	while (*at + n < len && n <= METHOD_LEN_MAX && is_token(bytes[*at + n]))
		n++;
	if (n > METHOD_LEN_MAX)
		return VERDICT_NO;
	request->method = bytes + *at;
	request->method_len = n;
	*at += n;
	while (*at < len && is_blank(bytes[*at]) && blanks <= BLANKS_MAX) {
		blanks++;
		*at += 1;
	}
	if (blanks > BLANKS_MAX || (*at < len && (n == 0 || blanks == 0)))
		return VERDICT_NO;
	return *at < len ? VERDICT_YES : VERDICT_MORE;
}

/* Methods that only HTTP has, with a path or a URI of HTTP behind them. */
static bool method_is_certain(const struct request *request)
{
	static const char *const methods[] = { "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH" };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strlen(methods[i]) == request->method_len &&
			memcmp(methods[i], request->method, request->method_len) == 0)
			return true;
	return false;
}

static bool target_is_path(const uint8_t *target, size_t len)
{
	return (len > 0 && target[0] == '/') || look_word(target, len, "http://", 7) == VERDICT_YES ||
		look_word(target, len, "https://", 8) == VERDICT_YES;
}

static enum verdict version_match(const uint8_t *bytes, size_t len)
{
	enum verdict verdict = look_word(bytes, len, "http/", 5);

	if (verdict != VERDICT_YES)
		return verdict;
	if (len == 5)
		return VERDICT_MORE;
	return bytes[5] >= '0' && bytes[5] <= '9' ? VERDICT_YES : VERDICT_NO;
}

/* The target, which begins at `at`, and the version. Some scanners and broken clients leave the target out. */
static enum verdict target_read(struct request *request, const uint8_t *bytes, size_t len, size_t at)
{
	size_t start = at, next;

	request->target = bytes + start;
	enum verdict without = version_match(bytes + at, len - at);
	if (without == VERDICT_YES)
		request->version = at + 5;
	if (without != VERDICT_NO)
		return without;
	for (;; at = next) {
		while (at < len && bytes[at] > ' ' && bytes[at] != 0x7f)
			at++;
		request->target_len = at - start;
		for (next = at; next < len && is_blank(bytes[next]); next++)
			;
		if (next == len)
			return VERDICT_MORE;
		if (next == at || bytes[next] < ' ')
			return VERDICT_NO; /* the end of the line, if no other control character */
		enum verdict verdict = version_match(bytes + next, len - next);
		if (verdict == VERDICT_YES)
			request->version = next + 5;
		if (verdict != VERDICT_NO)
			return verdict;
		if (!target_is_path(request->target, request->target_len))
			return VERDICT_NO;
	}
}

/* MORE: the line could still be a request's. */
static enum verdict request_read(struct request *request, const uint8_t *bytes, size_t len)
{
	size_t at = 0;

	enum verdict verdict = empty_lines_skip(bytes, len, &at);
	if (verdict == VERDICT_YES)
		verdict = method_read(request, bytes, len, &at);
	if (verdict != VERDICT_YES)
		return verdict;
	request->is_certain = method_is_certain(request) && target_is_path(bytes + at, len - at);
	if (bytes[at] < ' ' || bytes[at] == 0x7f || bytes[at] == '{') /* NATS says CONNECT { */
		return VERDICT_NO;
	if (look_word(bytes + at, len - at, "sip:", 4) == VERDICT_YES ||
		look_word(bytes + at, len - at, "sips:", 5) == VERDICT_YES)
		return VERDICT_NO; /* so that SIP need not wait for the version */
	verdict = target_read(request, bytes, len, at);
	/* Of HTTP/2 there is nothing but the preface. */
	if (verdict == VERDICT_YES && bytes[request->version] == '2' && request->method_len == 3 &&
		memcmp(request->method, "PRI", 3) == 0)
		return VERDICT_NO;
	return verdict;
}

/* A line without a version is all that a client of HTTP/0.9 says, RFC 1945 4.1. `request` is as far as it was read. */
static void simple_settle(struct findings *findings, const struct request *request, const uint8_t *end)
{
	const uint8_t *at = request->target + request->target_len;

	while (at < end && is_blank(*at))
		at++;
	if (at < end && *at == '\r' && ++at == end)
		return;
	if (at < end && *at == '\n') {
		target_path_settle(findings, request->target, request->target_len);
		finding_settle(findings, ATTRIBUTE_VERSION, (const uint8_t *)"0.9", 3);
	}
	findings->settled |= HTTP_ATTRIBUTES;
}

/* Behind "HTTP/": DIGIT [ "." DIGIT ], blanks and the end of the line, to which `*at` is moved. NO: it is something
 * else. */
static enum verdict version_settle(struct findings *findings, const uint8_t *bytes, size_t len, size_t *at)
{
	const uint8_t *version = bytes + *at;
	size_t n = 1;

	if (len - *at > 2 && version[1] == '.' && version[2] >= '0' && version[2] <= '9')
		n = 3;
	else if (len - *at < 2 || (version[1] == '.' && len - *at == 2))
		return VERDICT_MORE;
	*at += n;
	if (*at == len)
		return VERDICT_MORE;
	if (!is_blank(bytes[*at]) && bytes[*at] != '\r' && bytes[*at] != '\n')
		return VERDICT_NO;
	finding_settle(findings, ATTRIBUTE_VERSION, version, n);
	while (*at < len && is_blank(bytes[*at]))
		*at += 1;
	if (*at < len && bytes[*at] == '\r')
		*at += 1;
	if (*at == len)
		return VERDICT_MORE;
	return bytes[*at] == '\n' ? VERDICT_YES : VERDICT_NO;
}

static void fields_settle(struct findings *findings, const struct fields *fields)
{
	if (!finding_is_settled(findings, ATTRIBUTE_HOST))
		finding_settle(findings, ATTRIBUTE_HOST, fields->host, fields->host_len);
	for (size_t i = 0; i < fields->n_upgrades; i++) {
		uint8_t *name = findings_take(findings, fields->upgrade[i].len);
		if (!name)
			break;
		for (size_t k = 0; k < fields->upgrade[i].len; k++)
			name[k] = look_lower(fields->upgrade[i].at[k]);
		finding_add(findings, ATTRIBUTE_UPGRADE, name, fields->upgrade[i].len);
	}
	finding_close(findings, ATTRIBUTE_UPGRADE);
}

static void request_settle(struct findings *findings, const struct request *request, const uint8_t *bytes, size_t len)
{
	uint8_t host[HOST_MAX];
	struct fields fields;
	size_t authority_len, at = request->version;

	const uint8_t *authority = target_authority(
		request->method, request->method_len, request->target, request->target_len, &authority_len);
	if (authority)
		finding_settle(findings, ATTRIBUTE_HOST, host,
			host_normalize(host, authority, authority_len, HOST_AUTHORITY));
	if (authority == request->target)
		finding_close(findings, ATTRIBUTE_PATH); /* CONNECT */
	else
		target_path_settle(findings, request->target, request->target_len);
	enum verdict verdict = version_settle(findings, bytes, len, &at);
	if (verdict == VERDICT_YES)
		verdict = fields_read(&fields, bytes + at + 1, bytes + len, len == EVIDENCE_MAX);
	if (verdict == VERDICT_YES)
		fields_settle(findings, &fields);
	if (verdict != VERDICT_MORE)
		findings->settled |= HTTP_ATTRIBUTES;
}

enum verdict probe_http(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence_len(evidence);
	struct request request = { 0 };

	enum verdict verdict = look_literal(bytes, len, HTTP2_PREFACE, HTTP2_PREFACE_LEN);
	if (verdict == VERDICT_MORE)
		return verdict;
	if (verdict == VERDICT_YES) {
		finding_settle(findings, ATTRIBUTE_VERSION, (const uint8_t *)"2", 1);
		finding_close(findings, ATTRIBUTE_UPGRADE);
		http2_request_read(bytes + HTTP2_PREFACE_LEN, len - HTTP2_PREFACE_LEN, len == EVIDENCE_MAX, findings);
		if (evidence->search_over && findings->client_waits)
			findings->settled |= HTTP_ATTRIBUTES;
		return VERDICT_YES;
	}
	verdict = request_read(&request, bytes, len);
	if (verdict == VERDICT_YES)
		request_settle(findings, &request, bytes, len);
	else if (verdict == VERDICT_NO && request.is_certain)
		simple_settle(findings, &request, bytes + len);
	return request.is_certain ? VERDICT_YES : verdict;
}
