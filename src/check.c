/* usher check: compile the configuration, say everything that is wrong with it, print the routing table. */
#include "command.h"
#include "places.h"
#include "policy.h"
#include "privileges.h"
#include <stdio.h>
#include <unistd.h>

int command_check(int argc, char **argv)
{
	const char *file = DEFAULT_FILE;
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;
	int option;

	while ((option = getopt(argc, argv, "c:")) != -1) {
		if (option != 'c') {
			fputs("usage: usher check [-c FILE]\n", stderr);
			return 2;
		}
		file = optarg;
	}
	if (optind < argc) {
		fputs("usage: usher check [-c FILE]\n", stderr);
		return 2;
	}
	int error = policy_load(&policy, file, &(struct policy_options){ 0 }, &complaints);
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
