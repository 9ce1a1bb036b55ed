/* usher convert: another program's configuration in usher's format, printed. It is that program's own command with --print; refuses
 * whatever that one refuses. Owns nothing. */
#include "command.h"
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name, *option; /* behind which the file stands */
	int (*run)(int argc, char **argv);
} programs[] = {
	{ "sslh", "-F", command_sslh },
	{ "tcpmux", "-c", command_tcpmux },
	{ "portsplit", "--", command_portsplit },
	{ "sniproxy", "--", command_sniproxy },
};

int command_convert(int argc, char **argv)
{
	if (argc != 3)
		return command_usage("convert");
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (strcmp(argv[1], programs[i].name) != 0)
			continue;
		char print[] = "--print",
		     *arguments[] = { argv[1], print, (char *)programs[i].option, argv[2], NULL };
		return programs[i].run(4, arguments);
	}
	fprintf(stderr, "usher convert: `%s', expected sslh, tcpmux, portsplit or sniproxy\n", argv[1]);
	return 2;
}
