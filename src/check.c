/* usher check: compile the configuration, say everything that is wrong with it, print the routing table. */
#include "command.h"
#include "places.h"
#include "policy.h"
#include "privileges.h"
#include <getopt.h>
#include <stdio.h>

int check_file(const char *file, const struct policy_options *options)
{
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;

	int error = policy_load(&policy, file, options, &complaints);
	if (error == 0) {
		policy_print(policy, stdout);
		privileges_print(policy, stdout);
		places_check(policy, &complaints);
	}
	fflush(stdout);
	complaints_print(&complaints, stderr);
	int status = error < 0 || complaints.errors ? 2 : 0;
	complaints_fini(&complaints);
	policy_free(policy);
	return status;
}

int command_check(int argc, char **argv)
{
	static const struct option longs[] = { { "config", required_argument, NULL, 'c' }, { NULL } };
	const char *file = DEFAULT_FILE;
	int option;

	while ((option = getopt_long(argc, argv, "c:", longs, NULL)) != -1) {
		if (option != 'c')
			return command_usage("check");
		file = optarg;
	}
	return optind < argc ? command_usage("check") : check_file(file, &(struct policy_options){ 0 });
}
