/* A tcpmux configuration of any bytes: it is translated or complained of, and what it becomes has a form
 * that the policy's reader takes, whatever its values are worth. Text that includes files is left out. */
#include "native.h"
#include "reader.h"
#include "tcpmux.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct complaints complaints = { 0 }, own = { 0 };
	struct native native = { 0 };
	const struct tcpmux_options options = {
		.port = size % 2 ? 8080 : 0, .log_level = -1, .inetd = size % 3 == 0
	};

	if (memmem(data, size, "include", 7))
		return 0;
	char *text = malloc(size + 1);
	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = 0;

	int error = tcpmux_translate_text(&native, "tcpmux.cfg", text, size, &options, &complaints);
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
