/* An external identifier of mode "once": a process for each question.
 *
 *     identifiers = ( { program = [ "/usr/libexec/usher/identifier-once" ]; mode = "once"; } );
 *
 * Standard input holds the first bytes that a client sent, at most 1000, and then ends. The answer is a
 * protocol's name on standard output, without a newline, or NOTFOUND, and exit status 0. This one recognises
 * three protocols by their first word; the answer for all others is NOTFOUND. The buffer is static. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BYTES_MAX 1000

static const struct {
	const char *word, *protocol;
} known[] = {
	{ "EHLO ", "smtp" },
	{ "HELO ", "smtp" },
	{ "NICK ", "irc" },
	{ "PASS ", "irc" },
	{ "MSRP ", "msrp" },
};

static const char *identify(const char *bytes, size_t len)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		size_t word_len = strlen(known[i].word);

		if (len >= word_len && memcmp(bytes, known[i].word, word_len) == 0)
			return known[i].protocol;
	}
	return "NOTFOUND";
}

int main(void)
{
	static char bytes[BYTES_MAX];
	size_t len = 0;

	while (len < sizeof(bytes)) {
		ssize_t n = read(STDIN_FILENO, bytes + len, sizeof(bytes) - len);

		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return EXIT_FAILURE;
		if (n > 0)
			len += (size_t)n;
	}
	fputs(identify(bytes, len), stdout);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
