/* What a control socket answers, shown to people or as it came: whatever it is, a terminal gets printable ASCII and ends of lines.
 *
 *     byte 0      the request's word, and JSON or not
 *     the rest    the answer */
#include "control_show.h"
#include "fuzz.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void printable_check(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		require((text[i] >= ' ' && text[i] <= '~') || text[i] == '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const words[] = { "status", "sessions", "reload", "close" };
	char *out = NULL, *complaints = NULL;
	size_t out_len = 0, complaints_len = 0;
	FILE *own_stderr = stderr;

	if (size == 0)
		return 0;
	char *answer = strndup((const char *)data + 1, size - 1);
	FILE *to = open_memstream(&out, &out_len);
	stderr = open_memstream(&complaints, &complaints_len);
	require(answer && to && stderr);
	int status = control_show(words[data[0] / 2 % 4], answer, data[0] & 1, to);
	require(fclose(to) == 0 && fclose(stderr) == 0);
	stderr = own_stderr;
	require((status == 0) == (complaints_len == 0) || (data[0] & 1));
	printable_check(out, out_len);
	printable_check(complaints, complaints_len);
	free(answer);
	free(out);
	free(complaints);
	return 0;
}
