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
