/* Options that several subcommands share. */
#include "options.h"
#include <stdio.h>
#include <stdlib.h>

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
