/* Any line as a request on the control socket: a known word or a sentence about what is wrong, and nothing read behind it. */
#include "control.h"
#include "fuzz.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_request request;
	const char *why = NULL;
	size_t len = size < CONTROL_LINE_MAX ? size : CONTROL_LINE_MAX;
	char *line = malloc(len ? len : 1); /* its end is seen by the sanitizer */

	if (!line)
		abort();
	if (len)
		memcpy(line, data, len);
	int r = control_parse(line, len, &request, &why);
	if (r == 0 ? request.word >= CONTROL_UNKNOWN || request.level > 4 : !why || !*why)
		abort();
	free(line);
	return 0;
}
