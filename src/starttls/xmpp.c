/* XMPP, RFC 6120 5.4, of clients and of servers, one tag after the other.
 *
 *     client    <stream:stream to='name' ...>  ->  <stream:stream from='name' ...><stream:features><starttls ...
 *               <starttls .../>                ->  <proceed .../>, and TLS
 *     server    <stream:stream to='name' ...>  ->  its own, and features with <starttls  ->  <starttls .../>;  <proceed .../>, and TLS
 *
 * Text between tags is passed over. Names with characters that no domain has are left out. Refuses every other stanza, errors, and a server
 * that does not offer TLS. */
#include "starttls_kind.h"
#include <ctype.h>
#include <string.h>

#define TLS_NAMESPACE "xmlns='urn:ietf:params:xml:ns:xmpp-tls'"
#define STREAM                                                                                                       \
	"<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams' version='1.0' "         \
	"xmlns='jabber:"
#define FEATURES "<stream:features><starttls " TLS_NAMESPACE "><required/></starttls></stream:features>"

enum { STREAM_AWAITED, STREAM_IS_OPEN, TLS_IS_WANTED };

struct tag {
	const char *at;
	size_t len;    /* from < to > */
	bool is_whole; /* <a/>: no </a> follows */
};

/* The next one, a > within quotes is none. *ret_taken has its end. */
static bool tag_read(struct tag *ret, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	const uint8_t *from = len ? memchr(bytes, '<', len) : NULL;
	uint8_t quote = 0;

	if (!from)
		return false;
	for (const uint8_t *at = from; at < bytes + len; at++) {
		if (quote)
			quote = *at == quote ? 0 : quote;
		else if (*at == '\'' || *at == '"')
			quote = *at;
		else if (*at == '>') {
			*ret = (struct tag){ (const char *)from, (size_t)(at + 1 - from), at[-1] == '/' };
			*ret_taken = (size_t)(at + 1 - bytes);
			return true;
		}
	}
	return false;
}

static bool is_one_of(char c, const char *list)
{
	return c && strchr(list, c);
}

static bool tag_is(const struct tag *tag, const char *name)
{
	size_t len = strlen(name);

	return tag->len > len + 1 && memcmp(tag->at + 1, name, len) == 0 && is_one_of(tag->at[1 + len], " \t\r\n/>");
}

/* The value of the attribute; NULL: it has none. */
static const char *tag_value(const struct tag *tag, const char *name, size_t *ret_len)
{
	size_t name_len = strlen(name);
	const char *end = tag->at + tag->len;

	for (const char *at = tag->at + 1; at < end;) {
		const char *value = memchr(at, '=', (size_t)(end - at));
		if (!value || value + 1 >= end || (value[1] != '\'' && value[1] != '"'))
			return NULL;
		const char *close = memchr(value + 2, value[1], (size_t)(end - value - 2));
		if (!close)
			return NULL;
		*ret_len = (size_t)(close - value - 2);
		if (value - at > (ptrdiff_t)name_len && memcmp(value - name_len, name, name_len) == 0 &&
			isspace((unsigned char)value[-1 - (ptrdiff_t)name_len]))
			return value + 2;
		at = close + 1;
	}
	return NULL;
}

static void name_keep(struct starttls *starttls, const struct tag *tag)
{
	size_t len = 0;
	const char *value = tag_value(tag, "to", &len);

	starttls->name[0] = '\0';
	if (!value || len > STARTTLS_NAME_MAX)
		return;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)value[i]) && !is_one_of(value[i], ".-_:[]") && !(value[i] & 0x80))
			return;
	memcpy(starttls->name, value, len);
	starttls->name[len] = '\0';
}

/* Streams of servers have another namespace than those of clients. */
static bool is_of_server(const struct tag *tag)
{
	size_t len;
	const char *value = tag_value(tag, "xmlns", &len);

	return value && len == strlen("jabber:server") && memcmp(value, "jabber:server", len) == 0;
}

static void stream_say(struct starttls *starttls, const char *key)
{
	starttls_say_text(starttls, STREAM);
	starttls_say_text(starttls, starttls->of_servers ? "server'" : "client'");
	if (starttls->name[0]) {
		starttls_say_text(starttls, key);
		starttls_say_text(starttls, starttls->name);
		starttls_say_text(starttls, "'");
	}
	starttls_say_text(starttls, ">");
}

static enum starttls_step hear_client(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	struct tag tag;

	if (!tag_read(&tag, bytes, len, ret_taken))
		return STARTTLS_MORE;
	if (starttls->state == STREAM_AWAITED && tag_is(&tag, "?xml"))
		return STARTTLS_ON;
	if (starttls->state == STREAM_AWAITED && tag_is(&tag, "stream:stream") && !tag.is_whole) {
		name_keep(starttls, &tag);
		starttls->of_servers = is_of_server(&tag);
		starttls->state = STREAM_IS_OPEN;
		stream_say(starttls, " id='usher' from='");
		starttls_say_text(starttls, FEATURES);
		return STARTTLS_ON;
	}
	if (starttls->state == STREAM_IS_OPEN && tag_is(&tag, "starttls") && !tag.is_whole) {
		starttls->state = TLS_IS_WANTED;
		return STARTTLS_ON;
	}
	if ((starttls->state == STREAM_IS_OPEN && tag_is(&tag, "starttls")) ||
		(starttls->state == TLS_IS_WANTED && tag_is(&tag, "/starttls"))) {
		starttls_say_text(starttls, "<proceed " TLS_NAMESPACE "/>");
		return STARTTLS_TLS;
	}
	return STARTTLS_REFUSED;
}

static void meet_server(struct starttls *starttls)
{
	stream_say(starttls, " to='");
}

static enum starttls_step hear_server(struct starttls *starttls, const uint8_t *bytes, size_t len, size_t *ret_taken)
{
	struct tag tag;

	if (!tag_read(&tag, bytes, len, ret_taken))
		return STARTTLS_MORE;
	if (starttls->state == TLS_IS_WANTED) {
		if (tag_is(&tag, "proceed") && !tag.is_whole)
			return STARTTLS_ON;
		return tag_is(&tag, "proceed") || tag_is(&tag, "/proceed") ? STARTTLS_TLS : STARTTLS_REFUSED;
	}
	if (tag_is(&tag, "stream:error") || tag_is(&tag, "/stream:stream"))
		return STARTTLS_REFUSED;
	starttls->offers_tls |= tag_is(&tag, "starttls");
	if (!tag_is(&tag, "/stream:features") && !(tag_is(&tag, "stream:features") && tag.is_whole))
		return STARTTLS_ON;
	if (!starttls->offers_tls)
		return STARTTLS_REFUSED;
	starttls->state = TLS_IS_WANTED;
	starttls_say_text(starttls, "<starttls " TLS_NAMESPACE "/>");
	return STARTTLS_ON;
}

const struct starttls_protocol starttls_xmpp = {
	.name = "xmpp",
	.probe = { .name = "xmpp-starttls", .stream = probe_xmpp, .attributes = 1U << ATTRIBUTE_HOST },
	.hear_client = hear_client,
	.hear_server = hear_server,
	.meet_server = meet_server,
};
