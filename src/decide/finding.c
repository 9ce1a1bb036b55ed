/* What probes find: values of attributes, and the one form in which host names are compared.
 *
 * Refuses to hand out more scratch than there is and to pass on a host name with bytes that have no place in
 * one: names end up in log lines, environments and headers. Owns no memory; everything lives in the caller's
 * findings. */
#include "finding.h"

#include <string.h>

const char *const attribute_names[ATTRIBUTE_COUNT] = {
	[ATTRIBUTE_SNI] = "sni",
	[ATTRIBUTE_ALPN] = "alpn",
	[ATTRIBUTE_HOST] = "host",
	[ATTRIBUTE_SERVICE] = "service",
	[ATTRIBUTE_PATH] = "path",
	[ATTRIBUTE_UPGRADE] = "upgrade",
	[ATTRIBUTE_VERSION] = "version",
	[ATTRIBUTE_JA4] = "ja4",
	[ATTRIBUTE_COOKIE] = "cookie",
	[ATTRIBUTE_USER] = "user",
	[ATTRIBUTE_DATABASE] = "database",
};

void findings_reset(struct findings *findings)
{
	static uint64_t serial; /* one thread takes decisions */

	findings->serial = ++serial;
	for (int i = 0; i < ATTRIBUTE_COUNT; i++)
		findings->attribute[i].count = 0;
	findings->settled = 0;
	findings->client_waits = false;
	findings->scratch_used = 0;
}

uint8_t *findings_take(struct findings *findings, size_t size)
{
	uint8_t *at = findings->scratch + findings->scratch_used;

	if (size > sizeof(findings->scratch) - findings->scratch_used)
		return NULL;
	findings->scratch_used += size;
	return at;
}

void finding_add(struct findings *findings, enum attribute attribute, const uint8_t *at, size_t len)
{
	struct finding *finding = &findings->attribute[attribute];

	if (finding->count == FINDING_VALUES_MAX)
		return;
	finding->value[finding->count].at = at;
	finding->value[finding->count].len = len;
	finding->count++;
}

void finding_settle(struct findings *findings, enum attribute attribute, const uint8_t *value, size_t len)
{
	uint8_t *at = len > 0 ? findings_take(findings, len) : NULL;

	if (at) {
		memcpy(at, value, len);
		finding_add(findings, attribute, at, len);
	}
	findings->settled |= 1U << attribute;
}

void finding_settle_text(struct findings *findings, enum attribute attribute, const uint8_t *value, size_t len)
{
	size_t n = 0;

	while (n < len && value[n] >= ' ' && value[n] <= '~')
		n++;
	finding_settle(findings, attribute, value, n == len && len <= FINDING_TEXT_MAX ? len : 0);
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static uint8_t to_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* How many bytes at the end are ":port", the colon included; an empty port is one too (RFC 3986 3.2.3). */
static size_t port_len(const uint8_t *src, size_t len)
{
	size_t digits = 0;

	while (digits < len && is_digit(src[len - 1 - digits]))
		digits++;
	if (digits > 5 || digits == len || src[len - 1 - digits] != ':')
		return 0;
	return digits + 1;
}

static bool is_address_byte(uint8_t c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || c == ':' || c == '.';
}

static bool is_name_byte(uint8_t c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || c == '.' || c == '-' || c == '_';
}

size_t host_normalize(uint8_t dst[HOST_MAX], const uint8_t *src, size_t len, enum host_form form)
{
	bool bracketed = form == HOST_AUTHORITY && len > 0 && src[0] == '[';

	if (form == HOST_AUTHORITY)
		len -= port_len(src, len);
	if (!bracketed && len > 0 && src[len - 1] == '.')
		len--;
	if (len == 0 || len > HOST_MAX || (bracketed && (len < 4 || src[len - 1] != ']')))
		return 0;
	for (size_t i = 0; i < len; i++) {
		dst[i] = to_lower(src[i]);
		if (bracketed && (i == 0 || i == len - 1))
			continue;
		if (bracketed ? !is_address_byte(dst[i]) : !is_name_byte(dst[i]))
			return 0;
	}
	return len;
}
