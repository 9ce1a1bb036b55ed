/* usher check: compile the configuration, say everything that is wrong with it, print the routing table. */
#include "check_diff.h"
#include "command.h"
#include "paths.h"
#include "places.h"
#include "policy.h"
#include "privileges.h"
#include "progress.h"
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

/* Said by `check' alone: who means it need not read it at every start. */
static void warn_of_root(const struct policy *policy, struct complaints *complaints)
{
	for (size_t i = 0; i < policy->n_services && geteuid() == 0; i++) {
		const struct service *service = &policy->services[i];
		if (service->target.delivery == DELIVERY_EXEC && !service->target.exec.user)
			complaint_add(complaints, COMPLAINT_WARNING, policy->file, service->line,
				"service `%s' runs its program as root for every client, expected `user' "
				"(\"root\" where "
				"that is meant, as for sshd)",
				service->name);
	}
}

int check_file(const char *file, const struct policy_options *options)
{
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;

	progress_begin("checking");
	int error = policy_load(&policy, file, options, &complaints);
	progress_end();
	if (error == 0) {
		policy_print(policy, stdout);
		privileges_print(policy, stdout);
		places_check(policy, &complaints);
		warn_of_root(policy, &complaints);
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
	static const struct option longs[] = { { "config", required_argument, NULL, 'c' },
		{ "diff", no_argument, NULL, 'd' }, { "socket", required_argument, NULL, 's' }, { NULL } };
	const char *file = path_configuration, *socket = NULL;
	bool diff = false;
	int option;

	while ((option = getopt_long(argc, argv, "c:s:", longs, NULL)) != -1) {
		if (option == 'c')
			file = optarg;
		else if (option == 'd')
			diff = true;
		else if (option == 's')
			socket = optarg;
		else
			return command_usage("check");
	}
	if (optind < argc || (socket && !diff))
		return command_usage("check");
	return diff ? check_diff(file, socket) : check_file(file, &(struct policy_options){ .keep_rules = true });
}
