/* Numbers as people read them. Refuses to know what is counted. Owns nothing. */
#include "snapshot_text.h"
#include <stddef.h>
#include <stdio.h>

const char *snapshot_size_text(double bytes, char ret[SNAPSHOT_TEXT_MAX])
{
	static const char units[] = " KMGTP";
	size_t unit = 0;

	while (bytes >= 1024 && unit + 2 < sizeof(units)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(ret, SNAPSHOT_TEXT_MAX, unit ? "%.1f %ciB" : "%.0f B", bytes, units[unit]);
	return ret;
}

const char *snapshot_duration_text(double seconds, char ret[SNAPSHOT_TEXT_MAX])
{
	if (seconds < 60)
		snprintf(ret, SNAPSHOT_TEXT_MAX, "%.1f s", seconds);
	else if (seconds < 3600)
		snprintf(ret, SNAPSHOT_TEXT_MAX, "%.0f min", seconds / 60);
	else if (seconds < 86400)
		snprintf(ret, SNAPSHOT_TEXT_MAX, "%.1f h", seconds / 3600);
	else
		snprintf(ret, SNAPSHOT_TEXT_MAX, "%.1f d", seconds / 86400);
	return ret;
}
