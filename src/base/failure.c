/* The text of one failure. Refuses to grow: what does not fit is cut. Owns two buffers for the life of the process. */
#include "failure.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char kept[FAILURE_MAX], told[FAILURE_MAX];
static int kept_error; /* 0: nothing is kept */

int failure_set(int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	int len = vsnprintf(kept, sizeof(kept), format, arguments);
	va_end(arguments);
	if (len >= 0 && (size_t)len < sizeof(kept))
		snprintf(kept + len, sizeof(kept) - (size_t)len, ": %s", strerrordesc_np(-error));
	kept_error = error;
	return error;
}

int failure_take(int error, const char *text)
{
	snprintf(kept, sizeof(kept), "%s", text);
	kept_error = error;
	return error;
}

const char *failure_text(int error)
{
	if (kept_error != error || error == 0)
		return strerrordesc_np(-error);
	memcpy(told, kept, sizeof(told));
	kept_error = 0;
	return told;
}
