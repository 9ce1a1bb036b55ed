/* Results of checks, as text. Owns nothing. */
#include "check_result.h"
#include <stdio.h>
#include <string.h>

static const char *const texts[CHECK_RESULTS] = {
	[CHECK_NONE] = "not known",
	[CHECK_PASSED] = "passed",
	[CHECK_UNANSWERED] = "no connection in time",
	[CHECK_SILENT] = "no answer in time",
	[CHECK_UNFINISHED] = "no complete answer in time",
	[CHECK_CLOSED] = "closed before the expected answer",
	[CHECK_UNEXPECTED] = "another answer than expected",
	[CHECK_TLS] = "TLS handshake failed",
};

const char *check_word_text(uint32_t word, char buf[CHECK_TEXT_MAX])
{
	enum check_result result = check_word_result(word);
	unsigned more = word >> 8;
	const char *text = texts[result];

	if (result == CHECK_ERROR)
		text = more < 4096 ? strerrordesc_np((int)more) : NULL;
	if (result == CHECK_STATUS)
		snprintf(buf, CHECK_TEXT_MAX, "HTTP status %u", more < 1000 ? more : 0);
	else
		snprintf(buf, CHECK_TEXT_MAX, "%s", text ? text : "not known");
	return buf;
}
