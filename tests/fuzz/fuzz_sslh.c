/* An sslh configuration of any bytes, under one of a few command lines: it is translated or complained of, and what
 * it becomes has a form that the policy's reader takes, whatever its values are worth. Text that includes files is
 * left out. */
#include "native.h"
#include "reader.h"
#include "sslh.h"
#include <netdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* libconfig 1.5 loses the string that it was reading where it meets a syntax error, and libFuzzer would
 * look for what was lost after every such run. The unit tests watch for what we lose. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

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
	static const char *const handed[] = { "127.0.0.1:1", "unix:/x" };
	struct complaints complaints = { 0 }, own = { 0 };
	struct native native = { 0 };
	const struct sslh_options options = {
		.file = "sslh.cfg",
		.arguments = arguments,
		.n_arguments = size % 7,
		.handed = handed,
		.n_handed = size % 5 == 0 ? 2 : 0,
		.has_rules = size % 3 == 0,
		.asks_rules = size % 2 ? "/usr/libexec/usher/usher-libwrap" : NULL,
	};

	if (memmem(data, size, "include", 7))
		return 0;
	char *text = malloc(size + 1);
	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = 0;

	int error = sslh_translate_text(&native, text, size, &options, &complaints);
	if ((error == 0) != (complaints.errors == 0) || (error == 0) != (native.text != NULL))
		abort();
	if (error == 0) {
		struct reader *reader = reader_new("native", false, native.text, strlen(native.text), &own);
		if (!reader || own.errors)
			abort();
		reader_free(reader);
	}
	free(text);
	native_fini(&native);
	complaints_fini(&own);
	complaints_fini(&complaints);
	return 0;
}
