/* A sniproxy configuration of any bytes: it is translated or complained of, and what it becomes has a form
 * that the policy's reader takes, whatever its values are worth. */
#include "sniproxy.h"
#include "translated.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct complaints complaints = { 0 }, own = { 0 };
	struct native native = { 0 };

	int error = sniproxy_translate_text(&native, "sniproxy.conf", (const char *)data, size, &complaints);
	require_translated(error, &native, &complaints);
	if (error == 0) {
		complaint_add(&own, COMPLAINT_WARNING, "native", (unsigned)(size % (native.n_lines + 2)),
			"on line %zu", size);
		native_complain(&native, &own, &complaints);
	}
	native_fini(&native);
	complaints_fini(&own);
	complaints_fini(&complaints);
	return 0;
}
