/* An external identifier of mode "stream": one process, kept, for all questions. The format is in usher.conf(5).
 *
 *     identifiers = ( { program = [ "/usr/libexec/usher/identifier-stream" ]; mode = "stream"; } );
 *
 * This one knows two protocols by their first word, and asks for more bytes until there are as many as a word has.
 * Refuses nothing: a question that does not come whole is the end. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define WORD 5

static const struct {
	const char *word, *protocol;
} known[] = { { "EHLO ", "smtp" }, { "HELO ", "smtp" }, { "NICK ", "irc" }, { "PASS ", "irc" } };

int main(void)
{
	static char bytes[5 + 4096]; /* id, flags, what the client sent */
	uint32_t len;

	while (fread(&len, sizeof(len), 1, stdin) == 1) {
		len = ntohl(len);
		if (len < 5 || len > sizeof(bytes) || fread(bytes, len, 1, stdin) != 1)
			break;
		const char *name = "";
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (len >= 5 + WORD && memcmp(bytes + 5, known[i].word, WORD) == 0)
				name = known[i].protocol;
		int verdict = *name ? 1 : len < 5 + WORD && !(bytes[4] & 1) ? 2 : 0; /* yes, more, no */
		uint32_t size = htonl(5 + (uint32_t)strlen(name));
		fwrite(&size, sizeof(size), 1, stdout);
		fwrite(bytes, 4, 1, stdout); /* the id */
		putchar(verdict);
		fputs(name, stdout);
		fflush(stdout);
	}
	return 0;
}
