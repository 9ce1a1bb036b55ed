/* An sslh configuration of any bytes, under one of a few command lines: it is translated or complained of, and what
 * it becomes has a form that the policy's reader takes, whatever its values are worth. Text that includes files is
 * left out. */
#include "libconfig_text.h"
#include "sslh.h"
#include "translated.h"
#include <netdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* In the place of the C library's: a fuzzer asks no name server. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
	static const uint8_t loopback[] = { 127, 0, 0, 1 };
	struct {
		struct addrinfo info;
		struct sockaddr_in address;
	} *one = calloc(1, sizeof(*one));

	if (!one)
		abort();
	memcpy(&one->address.sin_addr, loopback, sizeof(loopback));
	one->address.sin_family = AF_INET;
	one->info = (struct addrinfo){
		.ai_family = AF_INET, .ai_addr = (struct sockaddr *)&one->address, .ai_addrlen = sizeof(one->address)
	};
	*ret = &one->info;
	return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
	free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sslh_argument arguments[] = { { "listen", "::1:443" }, { "tls", "localhost:443" },
		{ "anyprot", "h:https" }, { "foreground", "1" }, { "timeout", "0" }, { "on_timeout", "regex" } };
	static const char *const handed[] = { "127.0.0.1:1", "unix:/x", "udp:127.0.0.1:1" };
	struct complaints complaints = { 0 };
	struct native native = { 0 };
	const struct sslh_options options = {
		.file = "sslh.cfg",
		.arguments = arguments,
		.n_arguments = size % 7,
		.handed = handed,
		.n_handed = size % 5 == 0 ? 3 : 0,
		.has_rules = size % 3 == 0,
		.asks_rules = size % 2 ? "/usr/libexec/usher/usher-libwrap" : NULL,
	};

	char *text = libconfig_text(data, size);
	if (!text)
		return 0;

	int error = sslh_translate_text(&native, text, size, &options, &complaints);
	require_translated(error, &native, &complaints);
	free(text);
	native_fini(&native);
	complaints_fini(&complaints);
	return 0;
}
