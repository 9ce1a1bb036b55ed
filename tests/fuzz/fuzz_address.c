/* Any text as an address and as a name with a port: what is accepted is printed so that it is accepted again, as the same. */
#include "address.h"
#include "fuzz.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void check_address(const char *text)
{
	char printed[ADDRESS_TEXT_MAX], host[ADDRESS_TEXT_MAX];
	struct address a, again;

	if (address_parse(&a, text) < 0)
		return;
	require(a.len > 0 && a.len <= sizeof(a.un));
	address_format(&a, printed);
	address_format_host(&a, host);
	require(strlen(printed) < ADDRESS_TEXT_MAX);
	for (const char *c = printed; *c; c++)
		require(*c >= 0x20 && *c < 0x7f);
	require(address_equal(&a, &a) && address_reaches(&a, &a));
	/* Bytes of a path that cannot be printed are not kept. */
	if (a.sa.sa_family == AF_UNIX)
		return;
	require(address_parse(&again, printed) == 0);
	require(address_equal(&a, &again) && address_port(&a) == address_port(&again));
}

static void check_name(const char *text)
{
	char name[254];
	uint16_t port;

	if (address_split_name(text, name, &port) < 0)
		return;
	require(port > 0 && name[0] && strlen(name) < sizeof(name));
	require(strncmp(text, name, strlen(name)) == 0 && text[strlen(name)] == ':');

	/* No text is both an address and a name. */
	struct address a;
	require(address_parse(&a, text) < 0);
}

/* An address as a kernel or a peer might give it, of any length and family. */
static void check_bytes(const uint8_t *data, size_t size)
{
	char printed[ADDRESS_TEXT_MAX];
	struct address a = { .len = size > 0 ? data[0] : 0 };

	if (size > 1)
		memcpy(&a.un, data + 1, size - 1 < sizeof(a.un) ? size - 1 : sizeof(a.un));
	require(strlen(address_format(&a, printed)) < ADDRESS_TEXT_MAX);
	require(strlen(address_format_host(&a, printed)) < ADDRESS_TEXT_MAX);
	address_equal(&a, &a);
	address_set_port(&a, address_port(&a));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	check_address(text);
	check_name(text);
	check_bytes(data, size);
	free(text);
	return 0;
}
