/* Reads what a module's looker-on reports. Refuses counts past their limits, names that are none, text
 * without an end, and bytes behind the last. Owns no memory: the report points into the bytes. */
#include "module_report.h"

#include <errno.h>
#include <string.h>

void report_probe_read(const struct report *report, size_t i, struct report_probe *ret)
{
	memcpy(ret, report->probes + i * sizeof(*ret), sizeof(*ret));
}

static bool head_is_sound(const struct report_head *head)
{
	return head->error <= 0 && head->error > -4096 && head->n_probes <= USHER_PROBES_MAX &&
		head->n_settings <= REPORT_SETTINGS_MAX && memchr(head->sentence, 0, sizeof(head->sentence));
}

static bool contents_are_sound(const struct report *report)
{
	struct report_probe probe;

	for (size_t i = 0; i < report->head.n_probes; i++) {
		report_probe_read(report, i, &probe);
		if (!memchr(probe.name, 0, sizeof(probe.name)) || !module_name_is_valid(probe.name) ||
			probe.attributes & ~(USHER_SETS_SNI | USHER_SETS_ALPN | USHER_SETS_HOST))
			return false;
	}
	for (size_t i = 0; i < report->head.n_settings; i++)
		if (report->asked[i] > 1)
			return false;
	return true;
}

int report_parse(const uint8_t *bytes, size_t len, struct report *ret)
{
	size_t at = 0;

	ret->phase = 0;
	for (const uint8_t *phase = (const uint8_t[]){ REPORT_LOADING, REPORT_INIT, 0 }; *phase; phase++)
		if (at < len && bytes[at] == *phase) {
			ret->phase = (char)*phase;
			at++;
		}
	if (at == len)
		return -EAGAIN;
	if (bytes[at++] != REPORT_DONE)
		return -EBADMSG;
	if (len - at < sizeof(ret->head))
		return -EAGAIN;
	ret->phase = REPORT_DONE;
	memcpy(&ret->head, bytes + at, sizeof(ret->head));
	at += sizeof(ret->head);
	if (!head_is_sound(&ret->head))
		return -EBADMSG;
	size_t probes_size = ret->head.n_probes * sizeof(struct report_probe);
	if (len - at < probes_size + ret->head.n_settings)
		return -EAGAIN;
	ret->probes = bytes + at;
	ret->asked = bytes + at + probes_size;
	if (len - at > probes_size + ret->head.n_settings || !contents_are_sound(ret))
		return -EBADMSG;
	return 0;
}
