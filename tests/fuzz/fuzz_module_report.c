/* What a module's looker-on reports, from a process that a module may have spoiled: it is whole and sound, or
 * refused, and never more than the bytes say. A report that only lacks bytes never becomes a wrong one by
 * their coming in pieces. */
#include "fuzz.h"
#include "module_report.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void probes_check(const struct report *report)
{
	struct report_probe probe;

	for (size_t i = 0; i < report->head.n_probes; i++) {
		report_probe_read(report, i, &probe);
		if (!module_name_is_valid(probe.name) || strlen(probe.name) > USHER_NAME_MAX)
			abort();
	}
	for (size_t i = 0; i < report->head.n_settings; i++)
		if (report->asked[i] > 1)
			abort();
	if (strlen(report->head.sentence) >= MODULE_ERROR_MAX || report->head.error > 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct report report;
	int before = -EAGAIN;

	if (size > REPORT_MAX)
		return 0;
	/* A short input would never be a whole head: the rest of one is zero. */
	static uint8_t bytes[REPORT_MAX + sizeof(struct report_head)];
	size_t len = size;
	memcpy(bytes, data, size);
	if (size > 3 && size < 3 + sizeof(struct report_head) && data[size - 1] & 1) {
		len = 3 + sizeof(struct report_head);
		memset(bytes + size, 0, len - size);
	}
	for (size_t cut = len > 64 ? len - 64 : 0; cut <= len; cut++) {
		int r = report_parse(bytes, cut, &report);
		if (r != 0 && r != -EAGAIN && r != -EBADMSG)
			abort();
		if (r == 0)
			probes_check(&report);
		if (before == -EBADMSG && r != -EBADMSG)
			abort();
		before = r;
	}
	return 0;
}
