/* What a foreign configuration becomes: a text in a form that the policy's reader takes, whatever its values are worth; or
 * complaints. */
#pragma once
#include "fuzz.h"
#include "native.h"
#include "reader.h"
#include <string.h>

/* After a translation that returned `error`. */
static inline void require_translated(int error, const struct native *native, const struct complaints *complaints)
{
	struct complaints own = { 0 };
	struct reader *reader;

	require((error == 0) == (complaints->errors == 0) && (error == 0) == (native->text != NULL));
	if (error < 0)
		return;
	reader = reader_new("native", false, native->text, strlen(native->text), NULL, &own);
	require(reader && !own.errors);
	reader_free(reader);
	complaints_fini(&own);
}
