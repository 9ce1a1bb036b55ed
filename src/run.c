/* usher run: serve under a configuration file. */
#include "command.h"
#include "master.h"
#include "options.h"
#include <stdio.h>
#include <unistd.h>

struct run {
	const char *file;
	struct policy_options policy;
};

static int run_load(const void *context, struct policy **ret, struct complaints *complaints)
{
	const struct run *run = context;
	return policy_load(ret, run->file, &run->policy, complaints);
}

static int usage(void)
{
	fputs("usage: usher run [-c FILE] [-d] [-i] [-p PORT]\n", stderr);
	return 2;
}

int command_run(int argc, char **argv)
{
	struct run run = { .file = DEFAULT_FILE };
	struct master_options options = { .load = run_load, .context = &run };
	int option;

	while ((option = getopt(argc, argv, "c:dip:")) != -1) {
		switch (option) {
		case 'c':
			run.file = optarg;
			break;
		case 'd':
			options.daemon = true;
			break;
		case 'i':
			options.inetd = true;
			break;
		case 'p':
			run.policy.port = option_port(optarg);
			if (!run.policy.port)
				return 2;
			break;
		default:
			return usage();
		}
	}
	if (optind < argc || (options.daemon && options.inetd))
		return usage();
	return master_run(&options);
}
