/* XMPP by the opening tag of its stream, RFC 6120 4.7 and 11: of clients, servers and components (XEP-0114).
 *
 *     <?xml version='1.0'?><stream:stream to='example.com' xmlns='jabber:client' xmlns:stream='http://etherx...'>
 *     ~~~~~~~~~~~~~~~~~~~~~ or none       ^ YES                                       attributes in any order
 *
 * YES behind the name `stream:stream`, which nothing else begins with. RFC 6120 4.8.5 allows other prefixes, or none:
 * then YES with the namespace http://etherx.jabber.org/streams. A byte order mark and white space may come first. `host`
 * is the first attribute `to`, once its value has ended.
 *
 * Refuses: other elements, a comment or document type before the tag, what is not settled within XMPP_HEAD_MAX bytes.
 * XMPP over WebSocket and BOSH is HTTP. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#include <string.h>

#define XMPP_HEAD_MAX 4096
#define NAMESPACE     "http://etherx.jabber.org/streams"

struct text {
	const uint8_t *at, *end;
};

struct slice {
	const uint8_t *at;
	size_t len;
};

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_name_start(uint8_t c)
{
	return (look_lower(c) >= 'a' && look_lower(c) <= 'z') || c == '_';
}

static bool is_name_byte(uint8_t c)
{
	return is_name_start(c) || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == ':';
}

static bool slice_is(const struct slice *slice, const char *text, size_t len)
{
	return slice->len == len && memcmp(slice->at, text, len) == 0;
}

static void spaces_skip(struct text *text)
{
	while (text->at < text->end && is_space(*text->at))
		text->at++;
}

static enum verdict name_read(struct text *text, struct slice *ret)
{
	ret->at = text->at;
	if (text->at < text->end && !is_name_start(*text->at))
		return VERDICT_NO;
	while (text->at < text->end && is_name_byte(*text->at))
		text->at++;
	ret->len = (size_t)(text->at - ret->at);
	return text->at == text->end ? VERDICT_MORE : VERDICT_YES;
}

/* From behind "<?" to behind "?>". */
static enum verdict declaration_skip(struct text *text)
{
	enum verdict verdict = look_literal(text->at, (size_t)(text->end - text->at), "xml", 3);

	if (verdict != VERDICT_YES)
		return verdict;
	text->at += 3;
	if (text->at < text->end && !is_space(*text->at))
		return VERDICT_NO;
	for (; text->at < text->end; text->at++) {
		if (text->at[-1] == '?' && *text->at == '>') {
			text->at++;
			return VERDICT_YES;
		}
		if (*text->at == '<' || *text->at == '>' || (*text->at < ' ' && !is_space(*text->at)))
			return VERDICT_NO;
	}
	return VERDICT_MORE;
}

/* To behind the "<" of the first element. */
static enum verdict prolog_skip(struct text *text)
{
	for (bool declared = false;; declared = true) {
		spaces_skip(text);
		if (text->at == text->end)
			return VERDICT_MORE;
		if (*text->at++ != '<')
			return VERDICT_NO;
		if (text->at == text->end)
			return VERDICT_MORE;
		if (*text->at != '?')
			return VERDICT_YES;
		text->at++;
		enum verdict verdict = declared ? VERDICT_NO : declaration_skip(text);
		if (verdict != VERDICT_YES)
			return verdict;
	}
}

/* One attribute with the white space around; NO as well at the end of the tag. */
static enum verdict attribute_read(struct text *text, struct slice *ret_name, struct slice *ret_value)
{
	spaces_skip(text);
	enum verdict verdict = name_read(text, ret_name);
	if (verdict != VERDICT_YES)
		return verdict;
	spaces_skip(text);
	if (text->at < text->end && *text->at++ != '=')
		return VERDICT_NO;
	spaces_skip(text);
	if (text->at == text->end)
		return VERDICT_MORE;
	uint8_t quote = *text->at++;
	if (quote != '\'' && quote != '"')
		return VERDICT_NO;
	ret_value->at = text->at;
	while (text->at < text->end && *text->at != quote && *text->at != '<')
		text->at++;
	if (text->at == text->end)
		return VERDICT_MORE;
	ret_value->len = (size_t)(text->at - ret_value->at);
	return *text->at++ == quote ? VERDICT_YES : VERDICT_NO;
}

static bool is_namespace_of(const struct slice *name, const struct slice *prefix)
{
	if (prefix->len == 0)
		return slice_is(name, "xmlns", 5);
	return name->len == 6 + prefix->len && memcmp(name->at, "xmlns:", 6) == 0 &&
		memcmp(name->at + 6, prefix->at, prefix->len) == 0;
}

/* Ends the search for the name: it is found, or cannot come any more. */
static void to_settle(struct findings *findings, const struct slice *to)
{
	uint8_t name[HOST_MAX];
	enum host_form form = to->len > 0 && to->at[0] == '[' ? HOST_AUTHORITY : HOST_BARE;

	if (!finding_is_settled(findings, ATTRIBUTE_HOST))
		finding_settle(findings, ATTRIBUTE_HOST, name,
			to->len > 0 ? host_normalize(name, to->at, to->len, form) : 0);
}

/* `is_stream`: the element's name alone says so; else its namespace, that of `prefix`, has to. */
static enum verdict attributes_read(
	struct text *text, const struct slice *prefix, bool is_stream, struct findings *findings)
{
	struct slice name, value;
	enum verdict verdict;

	while ((verdict = attribute_read(text, &name, &value)) == VERDICT_YES) {
		if (slice_is(&name, "to", 2))
			to_settle(findings, &value);
		else if (is_namespace_of(&name, prefix) && slice_is(&value, NAMESPACE, sizeof(NAMESPACE) - 1))
			is_stream = true;
	}
	if (verdict == VERDICT_NO)
		to_settle(findings, &(struct slice){ 0 });
	return is_stream ? VERDICT_YES : verdict;
}

static enum verdict element_read(struct text *text, struct findings *findings)
{
	struct slice name, prefix;

	enum verdict verdict = name_read(text, &name);
	if (verdict != VERDICT_YES)
		return verdict;
	if (!is_space(*text->at) && *text->at != '>')
		return VERDICT_NO;
	const uint8_t *colon = memchr(name.at, ':', name.len);
	prefix = (struct slice){ name.at, colon ? (size_t)(colon - name.at) : 0 };
	struct slice local = { name.at, name.len };
	if (colon)
		local = (struct slice){ colon + 1, name.len - prefix.len - 1 };
	if (!slice_is(&local, "stream", 6))
		return VERDICT_NO;
	return attributes_read(text, &prefix, slice_is(&prefix, "stream", 6), findings);
}

enum verdict probe_xmpp(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence->len < XMPP_HEAD_MAX ? evidence->len : XMPP_HEAD_MAX;
	struct text text = { evidence->bytes, evidence->bytes + len };

	if (len == 0)
		return VERDICT_MORE;
	if (*text.at == 0xef) {
		enum verdict mark = look_literal(text.at, len, "\xef\xbb\xbf", 3);
		if (mark != VERDICT_YES)
			return mark;
		text.at += 3;
	}
	enum verdict verdict = prolog_skip(&text);
	if (verdict == VERDICT_YES)
		verdict = element_read(&text, findings);
	if (len == XMPP_HEAD_MAX && verdict == VERDICT_YES)
		to_settle(findings, &(struct slice){ 0 });
	return len == XMPP_HEAD_MAX && verdict == VERDICT_MORE ? VERDICT_NO : verdict;
}
