/* An external identifier of mode "stream": one process, kept, for all questions. The format is in usher.conf(5).
 *
 *     identifiers = ( { program = [ "/usr/libexec/usher/identifier-stream" ]; mode = "stream"; } );
 *
 * This one recognises two protocols by their first word, and asks for more bytes until there are as many as a word has. It
 * answers all questions that arrived together with one write. It exits after a question that is too long or too short. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEAD 9 /* length (4), id (4), flags (1) */
#define WORD 5

static const struct {
	const char *word, *protocol;
} known[] = { { "EHLO ", "smtp" }, { "HELO ", "smtp" }, { "NICK ", "irc" }, { "PASS ", "irc" } };

static void answer(const char *question, size_t len)
{
	const char *name = "";

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (len >= HEAD + WORD && memcmp(question + HEAD, known[i].word, WORD) == 0)
			name = known[i].protocol;
	uint32_t size = htonl(HEAD - 4 + (uint32_t)strlen(name));
	fwrite(&size, sizeof(size), 1, stdout);
	fwrite(question + 4, 4, 1, stdout);                                   /* the id */
	putchar(*name ? 1 : len < HEAD + WORD && !(question[8] & 1) ? 2 : 0); /* yes, more, no */
	fputs(name, stdout);
}

int main(void)
{
	static char bytes[65536];
	size_t len = 0, at;
	ssize_t n;

	while ((n = read(STDIN_FILENO, bytes + len, sizeof(bytes) - len)) > 0) {
		uint32_t size;
		for (len += (size_t)n, at = 0; len - at >= HEAD; at += size) {
			memcpy(&size, bytes + at, sizeof(size));
			size = 4 + ntohl(size);
			if (size < HEAD || size > sizeof(bytes))
				return 1;
			if (len - at < size)
				break;
			answer(bytes + at, size);
		}
		fflush(stdout);
		memmove(bytes, bytes + at, len -= at);
	}
	return 0;
}
