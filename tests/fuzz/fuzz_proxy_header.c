/* Any bytes as a PROXY header, at every cut (short ones: that is quadratic). What is accepted is written again in
 * both versions, and read as the same. */
#include "../unit/proxy_cuts.h"
#include "fuzz.h"

static void check_again(const struct proxy_header *header, unsigned version, bool in6, bool datagrams)
{
	static uint8_t to[PROXY_HEADER_WRITE_MAX];
	struct proxy_header again;
	const struct proxy_additions additions = {
		.alpn = "h2", .authority = "a.example", .id = 1, .in6 = in6, .datagrams = datagrams
	};
	size_t len = proxy_header_write(to, version, header, &additions);

	cuts_require(len <= sizeof(to));
	ssize_t n = proxy_header_read(to, len, &again);
	if (len > PROXY_HEADER_MAX)
		return;
	cuts_require(n == (ssize_t)len);
	bool told = version == 2 ? header->source.len > 0 : address_is_ip(&header->source);
	if (told)
		cuts_require(address_equal(&header->source, &again.source) &&
			address_equal(&header->destination, &again.destination));
	if (version == 2 && told) {
		cuts_require(proxy_tlv_find(&again, PROXY_TLV_UNIQUE_ID).value != NULL);
		cuts_require(proxy_tlv_find(&again, PROXY_TLV_CRC32C).value == NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header header;

	if (size <= 512)
		proxy_cuts(data, size);
	if (proxy_header_read(data, size, &header) <= 0)
		return 0;
	for (int in6 = 0; in6 < 2; in6++) {
		check_again(&header, 1, in6, false);
		check_again(&header, 2, in6, false);
		check_again(&header, 2, in6, true);
	}
	return 0;
}
