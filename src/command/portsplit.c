/* usher portsplit: serve under portsplit's configuration file. */
#include "portsplit.h"
#include "command.h"
#include "foreign.h"
#include "master.h"
#include <getopt.h>
#include <stdbool.h>

static int translate(const void *options, struct native *ret, const char *file, struct complaints *complaints)
{
	return portsplit_translate(ret, file, complaints);
}

static int usage(FILE *to)
{
	fputs("usage: usher portsplit [--print] [--control PATH] [-h] FILE\n"
	      "  --print          print the same configuration in usher's format, and exit\n"
	      "  --control PATH   the control socket, for `usher status -s PATH' and the like\n",
		to);
	return to == stdout ? 0 : 2;
}

int command_portsplit(int argc, char **argv)
{
	static const struct option longs[] = { { "print", no_argument, NULL, 'P' },
		{ "control", required_argument, NULL, 'C' }, { "help", no_argument, NULL, 'h' }, { 0 } };
	struct foreign foreign = { .translate = translate };
	bool print = false;
	int option;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (option == 'P')
			print = true;
		else if (option == 'C')
			foreign.control = optarg;
		else
			return usage(option == 'h' ? stdout : stderr);
	}
	if (optind + 1 != argc)
		return usage(stderr);
	foreign.file = argv[optind];
	if (print)
		return foreign_print(&foreign);
	return master_run(&(struct master_options){ .load = foreign_load, .context = &foreign });
}
