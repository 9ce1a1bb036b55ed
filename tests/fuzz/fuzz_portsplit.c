/* A portsplit configuration of any bytes: it is translated or complained of, and what it becomes has a form
 * that the policy's reader takes, whatever its values are worth. */
#include "native.h"
#include "portsplit.h"
#include "reader.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct complaints complaints = { 0 }, own = { 0 };
	struct native native = { 0 };

	int error = portsplit_translate_text(&native, "portsplit.conf", (const char *)data, size, &complaints);
	if ((error == 0) != (complaints.errors == 0) || (error == 0) != (native.text != NULL))
		abort();
	if (error == 0) {
		struct reader *reader = reader_new("native", false, native.text, strlen(native.text), &own);
		if (!reader || own.errors)
			abort();
		complaint_add(&own, COMPLAINT_WARNING, "native", (unsigned)(size % (native.n_lines + 2)),
			"on line %zu", size);
		native_complain(&native, &own, &complaints);
		reader_free(reader);
	}
	native_fini(&native);
	complaints_fini(&own);
	complaints_fini(&complaints);
	return 0;
}
