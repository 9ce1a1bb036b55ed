/* usher run: serve under a configuration file. */
#include "command.h"
#include "master.h"
#include "options.h"
#include "paths.h"
#include <getopt.h>

struct run {
	const char *file;
	struct policy_options policy;
};

static int run_load(const void *context, struct arena *arena, struct policy **ret, struct complaints *complaints)
{
	const struct run *run = context;
	struct policy_options options = run->policy;

	options.arena = arena;
	options.process_ends = true;
	options.keep_settings = true;
	return policy_load(ret, run->file, &options, complaints);
}

int command_run(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "daemon", no_argument, NULL, 'd' },
		{ "inetd", no_argument, NULL, 'i' },
		{ "port", required_argument, NULL, 'p' },
		{ "test", no_argument, NULL, 't' },
		{ "watch", no_argument, NULL, 'w' },
		{ NULL },
	};
	struct run run = { .file = path_configuration };
	struct master_options options = { .load = run_load, .context = &run };
	bool test = false, watch = false;
	int option;

	while ((option = getopt_long(argc, argv, "c:dip:t", longs, NULL)) != -1) {
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
		case 't':
			test = true;
			break;
		case 'w':
			watch = true;
			break;
		default:
			return command_usage("run");
		}
	}
	if (optind < argc || (options.inetd && (options.daemon || watch)))
		return command_usage("run");
	options.watch = watch ? run.file : NULL;
	return test ? check_file(run.file, &run.policy) : master_run(&options);
}
