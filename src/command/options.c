/* Options that several subcommands share. */
#include "options.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint16_t option_port(const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || port < 1 || port > 65535) {
		fprintf(stderr, "usher: -p %s: expected a port from 1 to 65535\n", text);
		return 0;
	}
	return (uint16_t)port;
}

double option_seconds(const char *option, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);
	if (*text >= '0' && *text <= '9' && !*end && seconds >= 0.1 && seconds <= 3600)
		return seconds;
	fprintf(stderr, "usher: %s %s: expected seconds from 0.1 to 3600\n", option, text);
	return 0;
}

int option_duration(const char *option, const char *text, uint64_t most, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint64_t seconds;
	} units[] = { { "", 1 }, { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 } };
	char *end;
	uint64_t count = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;

	for (size_t i = 0; count && i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].name) != 0 || count > most / units[i].seconds)
			continue;
		*ret = count * units[i].seconds;
		return 0;
	}
	fprintf(stderr, "usher: %s %s: expected a time such as 90s, 10m, 2h or 7d, of %llu days at most\n", option,
		text, (unsigned long long)(most / 86400));
	return -EINVAL;
}
