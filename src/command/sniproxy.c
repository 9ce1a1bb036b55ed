/* usher sniproxy: serve under sniproxy's configuration file. */
#include "sniproxy.h"
#include "command.h"
#include "foreign.h"
#include "master.h"
#include <getopt.h>
#include <stdbool.h>

static int translate(const void *options, struct native *ret, const char *file, struct complaints *complaints)
{
	return sniproxy_translate(ret, file, complaints);
}

static int usage(FILE *to)
{
	fputs("usage: usher sniproxy [--print] [--control PATH] [-f] [-h] [-c] FILE\n"
	      "  --print          print the same configuration in usher's format, and exit\n"
	      "  --control PATH   the control socket, for `usher status -s PATH' and the like\n"
	      "  -c FILE          the same as FILE, as sniproxy has it\n"
	      "  -f               stay in the foreground, as usher does anyway\n",
		to);
	return to == stdout ? 0 : 2;
}

int command_sniproxy(int argc, char **argv)
{
	static const struct option longs[] = { { "print", no_argument, NULL, 'P' },
		{ "control", required_argument, NULL, 'C' }, { "help", no_argument, NULL, 'h' }, { 0 } };
	struct foreign foreign = { .translate = translate };
	bool print = false;
	int option;

	while ((option = getopt_long(argc, argv, "c:fh", longs, NULL)) != -1) {
		if (option == 'P')
			print = true;
		else if (option == 'C')
			foreign.control = optarg;
		else if (option == 'c')
			foreign.file = optarg;
		else if (option != 'f')
			return usage(option == 'h' ? stdout : stderr);
	}
	if (optind + (foreign.file == NULL) != argc)
		return usage(stderr);
	if (!foreign.file)
		foreign.file = argv[optind];
	if (print)
		return foreign_print(&foreign);
	return master_run(&(struct master_options){ .load = foreign_load, .context = &foreign });
}
