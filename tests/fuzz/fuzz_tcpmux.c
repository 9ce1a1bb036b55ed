/* A tcpmux configuration of any bytes: it is translated or complained of, and what it becomes has a form
 * that the policy's reader takes, whatever its values are worth. Text that includes files is left out. */
#include "libconfig_text.h"
#include "tcpmux.h"
#include "translated.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct complaints complaints = { 0 };
	struct native native = { 0 };
	const struct tcpmux_options options = {
		.port = size % 2 ? 8080 : 0, .log_level = -1, .inetd = size % 3 == 0
	};

	char *text = libconfig_text(data, size);
	if (!text)
		return 0;

	int error = tcpmux_translate_text(&native, "tcpmux.cfg", text, size, &options, &complaints);
	require_translated(error, &native, &complaints);
	free(text);
	native_fini(&native);
	complaints_fini(&complaints);
	return 0;
}
