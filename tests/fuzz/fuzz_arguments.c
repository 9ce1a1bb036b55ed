/* A command line as sslh and tcpmux take it, of any words: it is read or complained of, and what was read becomes a
 * configuration that has the form of one, or complaints.
 *
 *     byte 0      whose command line
 *     the rest    words, each with its NUL */
#include "sslh.h"
#include "tcpmux.h"
#include "translated.h"
#include <getopt.h>
#include <netdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 32

/* In the place of the C library's: a fuzzer asks no name server. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
	return EAI_NONAME;
}

/* What is said about wrong words is for people; the sanitizers' words are not written here. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	stderr = fopen("/dev/null", "we");
	require(stderr != NULL);
	return 0;
}

static void sslh_take(int argc, char **argv)
{
	struct complaints complaints = { 0 };
	struct native native = { 0 };
	struct sslh_options options;
	struct sslh_mode mode;

	if (sslh_options_read(&options, argc, argv) == 0) {
		options.file = NULL; /* no file of this machine's */
		int error = sslh_translate(&native, &options, &complaints);
		require_translated(error, &native, &complaints);
		sslh_mode_read(&mode, &options);
		sslh_options_fini(&options);
	}
	native_fini(&native);
	complaints_fini(&complaints);
}

static void tcpmux_take(int argc, char **argv)
{
	static const char text[] = "listen_port = 1; programs = ();";
	struct complaints complaints = { 0 };
	struct native native = { 0 };
	struct tcpmux_options options;

	if (tcpmux_options_read(&options, argc, argv) == 0) {
		int error =
			tcpmux_translate_text(&native, "tcpmux.cfg", text, sizeof(text) - 1, &options, &complaints);
		require_translated(error, &native, &complaints);
	}
	native_fini(&native);
	complaints_fini(&complaints);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[WORDS_MAX + 2] = { (char *)"usher" };
	int argc = 1;

	if (size < 2)
		return 0;
	char *words = malloc(size);
	require(words != NULL);
	memcpy(words, data + 1, size - 1);
	words[size - 1] = '\0';
	for (size_t at = 0; at < size && argc <= WORDS_MAX; at += strlen(words + at) + 1)
		argv[argc++] = words + at;
	optind = 0; /* as for the first time */
	if (data[0] & 1)
		sslh_take(argc, argv);
	else
		tcpmux_take(argc, argv);
	free(words);
	return 0;
}
