/* usher portsplit: serve under portsplit's configuration file. */
#include "portsplit.h"
#include "command.h"
#include "foreign.h"
#include "master.h"
#include <string.h>

static int translate(const void *options, struct native *ret, const char *file, struct complaints *complaints)
{
	return portsplit_translate(ret, file, complaints);
}

int command_portsplit(int argc, char **argv)
{
	bool print = argc > 1 && strcmp(argv[1], "--print") == 0;
	const struct foreign foreign = { .file = argv[argc - 1], .translate = translate };

	if (argc != 2 + print || foreign.file[0] == '-')
		return command_usage("portsplit");
	if (print)
		return foreign_print(&foreign);
	int status = master_run(&(struct master_options){ .load = foreign_load, .context = &foreign });
	return status;
}
