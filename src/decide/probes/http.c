/* HTTP by its first request, RFC 9112 3, and HTTP/2 by its preface, RFC 9113 3.4.
 *
 *     *4CRLF  method SP target SP HTTP/1.DIGIT      YES with the digit
 *     GET SP /target CRLF                           YES with the line's end (HTTP/0.9)
 *     PRI * HTTP/2.0 CRLF CRLF SM CRLF CRLF         YES with the last byte
 *
 * The method is any token of RFC 9110 5.6.2 of 1..32 bytes, the target any bytes but controls and space. RTSP
 * and SIP differ in the version. `host` is the authority of a target in absolute form or of CONNECT (RFC
 * 9112 3.2.2, 3.2.3), else the Host field; since a second, different Host makes the request invalid, it
 * settles only with the end of the fields. A line may end with LF alone (RFC 9112 2.2).
 *
 * Refuses (the host settles as absent): fields that are not `name ":" value`, a fold before the first field,
 * CR within a line, Host fields that differ, a value that is no host name. Owns no memory. */
#include "probe.h"

#include "finding.h"
#include "http2.h"

#include <string.h>
#include <strings.h>

#define EMPTY_LINES_MAX 4 /* before the request, RFC 9112 2.2 */
#define METHOD_LEN_MAX  32

struct request {
	const uint8_t *method, *target;
	size_t method_len, target_len;
	size_t end;  /* of what is described here: behind the digit, or the line of HTTP/0.9 */
	bool is_0_9; /* no fields follow */
};

static bool is_token(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		(c != 0 && strchr("!#$%&'*+-.^_`|~", c));
}

/* RFC 3986 3.1 */
static bool is_scheme(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '-' ||
		c == '.';
}

static enum verdict empty_lines_skip(const uint8_t *bytes, size_t len, size_t *at)
{
	for (int n = 0; *at < len && bytes[*at] == '\r'; n++, *at += 2) {
		if (n == EMPTY_LINES_MAX)
			return VERDICT_NO;
		if (*at + 1 == len)
			return VERDICT_MORE;
		if (bytes[*at + 1] != '\n')
			return VERDICT_NO;
	}
	return *at < len ? VERDICT_YES : VERDICT_MORE;
}

static enum verdict method_read(struct request *request, const uint8_t *bytes, size_t len, size_t *at)
{
	size_t n = 0;

	while (*at + n < len && n <= METHOD_LEN_MAX && is_token(bytes[*at + n]))
		n++;
	if (n > METHOD_LEN_MAX)
		return VERDICT_NO;
	if (*at + n == len)
		return VERDICT_MORE;
	if (n == 0 || bytes[*at + n] != ' ')
		return VERDICT_NO;
	request->method = bytes + *at;
	request->method_len = n;
	*at += n + 1;
	return VERDICT_YES;
}

/* At the end of a line behind the target: HTTP/0.9 if it is so simple a request. */
static enum verdict simple_match(struct request *request, const uint8_t *bytes, size_t len, size_t at)
{
	if (request->method_len != 3 || memcmp(request->method, "GET", 3) != 0 || request->target[0] != '/')
		return VERDICT_NO;
	if (bytes[at] == '\r' && ++at == len)
		return VERDICT_MORE;
	if (bytes[at] != '\n')
		return VERDICT_NO;
	request->is_0_9 = true;
	request->end = at + 1;
	return VERDICT_YES;
}

static enum verdict request_read(struct request *request, const uint8_t *bytes, size_t len)
{
	static const char version[] = " HTTP/1.";
	size_t at = 0, n = sizeof(version) - 1;

	enum verdict verdict = empty_lines_skip(bytes, len, &at);
	if (verdict == VERDICT_YES)
		verdict = method_read(request, bytes, len, &at);
	if (verdict != VERDICT_YES)
		return verdict;
	request->target = bytes + at;
	while (at < len && bytes[at] > ' ' && bytes[at] != 0x7f)
		at++;
	request->target_len = (size_t)(bytes + at - request->target);
	if (at == len)
		return VERDICT_MORE;
	if (request->target_len == 0)
		return VERDICT_NO;
	if (bytes[at] == '\r' || bytes[at] == '\n')
		return simple_match(request, bytes, len, at);
	if (memcmp(bytes + at, version, len - at < n ? len - at : n) != 0)
		return VERDICT_NO;
	if (len - at <= n)
		return VERDICT_MORE;
	request->end = at + n + 1;
	return bytes[at + n] >= '0' && bytes[at + n] <= '9' ? VERDICT_YES : VERDICT_NO;
}

/* The authority in the target, if it is of a form that has one; NULL: it has none. */
static const uint8_t *target_authority(const struct request *request, size_t *ret_len)
{
	const uint8_t *target = request->target, *end = target + request->target_len, *slashes;

	*ret_len = request->target_len;
	if (request->method_len == 7 && memcmp(request->method, "CONNECT", 7) == 0)
		return target;
	if (target[0] == '/' || !(slashes = memmem(target, request->target_len, "://", 3)))
		return NULL;
	for (const uint8_t *at = target; at < slashes; at++)
		if (!is_scheme(*at))
			return NULL;
	const uint8_t *at = slashes + 3;
	while (at < end && *at != '/' && *at != '?' && *at != '#')
		at++;
	*ret_len = (size_t)(at - slashes - 3);
	return slashes + 3;
}

/* The Host field as it comes together from its lines. */
struct host {
	const uint8_t *value; /* of the field that is being read; NULL: it is another one */
	size_t value_len;
	bool is_torn; /* a fold within the value */
	uint8_t name[HOST_MAX];
	size_t name_len; /* 0: none so far */
};

/* A line of a field without the white space around; RFC 9112 5.2 makes a fold one space. */
static void host_append(struct host *host, const uint8_t *at, const uint8_t *end)
{
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	while (at < end && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (at == end)
		return;
	host->is_torn = host->value_len > 0;
	host->value = at;
	host->value_len = (size_t)(end - at);
}

/* At the end of a field. false: it is not a good one, or not the same as before. */
static bool host_finish(struct host *host)
{
	uint8_t name[HOST_MAX];

	if (!host->value)
		return true;
	size_t len = host->is_torn ? 0 : host_normalize(name, host->value, host->value_len, HOST_AUTHORITY);
	if (len == 0 || (host->name_len > 0 && (len != host->name_len || memcmp(name, host->name, len) != 0)))
		return false;
	memcpy(host->name, name, len);
	host->name_len = len;
	host->value = NULL;
	return true;
}

/* A line that begins a field. */
static bool field_begin(struct host *host, const uint8_t *line, const uint8_t *end)
{
	const uint8_t *colon = memchr(line, ':', (size_t)(end - line));

	if (!host_finish(host) || !colon || colon == line)
		return false;
	for (const uint8_t *at = line; at < colon; at++)
		if (!is_token(*at))
			return false;
	if (colon - line != 4 || strncasecmp((const char *)line, "host", 4) != 0)
		return true;
	host->value = colon + 1;
	host->value_len = 0;
	host->is_torn = false;
	host_append(host, colon + 1, end);
	return true;
}

/* MORE: the fields have not ended. NO: they are not sound. */
static enum verdict fields_read(struct host *host, const uint8_t *line, const uint8_t *end)
{
	const uint8_t *line_end;
	bool any = false;

	for (; (line_end = memchr(line, '\n', (size_t)(end - line))); line = line_end + 1) {
		const uint8_t *text_end = line_end;
		if (text_end > line && text_end[-1] == '\r')
			text_end--;
		if (text_end == line)
			return host_finish(host) ? VERDICT_YES : VERDICT_NO;
		if (memchr(line, '\r', (size_t)(text_end - line)))
			return VERDICT_NO;
		if (*line == ' ' || *line == '\t') {
			if (!any)
				return VERDICT_NO;
			if (host->value)
				host_append(host, line, text_end);
		} else if (!field_begin(host, line, text_end)) {
			return VERDICT_NO;
		}
		any = true;
	}
	return VERDICT_MORE;
}

static void request_host_settle(
	struct findings *findings, const struct request *request, const uint8_t *bytes, size_t len)
{
	const uint8_t *end = bytes + len, *line = bytes + request->end;
	struct host host = { 0 };
	size_t authority_len;

	const uint8_t *authority = target_authority(request, &authority_len);
	if (request->is_0_9 || authority) {
		if (authority && !request->is_0_9)
			host.name_len = host_normalize(host.name, authority, authority_len, HOST_AUTHORITY);
		finding_settle(findings, ATTRIBUTE_HOST, host.name, host.name_len);
		return;
	}
	/* The rest of the request line: its end and nothing else. */
	if (line < end && *line == '\r')
		line++;
	if (line == end)
		return;
	enum verdict verdict = *line == '\n' ? fields_read(&host, line + 1, end) : VERDICT_NO;
	if (verdict != VERDICT_MORE)
		finding_settle(findings, ATTRIBUTE_HOST, host.name, verdict == VERDICT_YES ? host.name_len : 0);
}

enum verdict probe_http(const struct evidence *evidence, struct findings *findings)
{
	const uint8_t *bytes = evidence->bytes;
	size_t len = evidence_len(evidence);
	struct request request = { 0 };

	if (len == 0)
		return VERDICT_MORE;
	if (memcmp(bytes, HTTP2_PREFACE, len < HTTP2_PREFACE_LEN ? len : HTTP2_PREFACE_LEN) == 0) {
		if (len < HTTP2_PREFACE_LEN)
			return VERDICT_MORE;
		http2_host_read(bytes + HTTP2_PREFACE_LEN, len - HTTP2_PREFACE_LEN, findings);
		return VERDICT_YES;
	}
	enum verdict verdict = request_read(&request, bytes, len);
	if (verdict == VERDICT_YES)
		request_host_settle(findings, &request, bytes, len);
	return verdict;
}
