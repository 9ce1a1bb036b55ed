/* usher explain: which service would take these bytes, and why. This file knows the command line; explainer.c decides. */
#include "command.h"
#include "explain_batch.h"
#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

struct options {
	const char *file;  /* of the configuration; NULL: none */
	const char *batch; /* NULL: no */
};

static int usage(void)
{
	fputs("usage: usher explain [-c FILE] --batch FILE\n", stderr);
	return 2;
}

static int options_read(struct options *ret, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "batch", required_argument, NULL, 'b' },
		{ NULL },
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:", longs, NULL)) != -1) {
		if (option == 'c')
			ret->file = optarg;
		else if (option == 'b')
			ret->batch = optarg;
		else
			return -EINVAL;
	}
	return ret->batch && optind == argc ? 0 : -EINVAL;
}

/* A file's descriptor, or that of standard input for "-"; -1 after a message. */
static int input_open(const char *path)
{
	int fd = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fprintf(stderr, "usher: %s: %s\n", path, strerror(errno));
	return fd;
}

static int run_batch(struct explainer *explainer, const char *path)
{
	int fd = input_open(path);

	if (fd < 0)
		return 1;
	int r = explain_batch(explainer, fd, stdout);
	if (r < 0)
		fprintf(stderr, "usher: %s: %s\n", path, strerror(-r));
	fd_close(fd);
	return r != 0;
}

int command_explain(int argc, char **argv)
{
	struct options options = { 0 };
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;
	struct explainer *explainer = NULL;
	int status = 2;

	if (options_read(&options, argc, argv) < 0)
		return usage();
	if (options.file && policy_load(&policy, options.file, &(struct policy_options){ 0 }, &complaints) < 0)
		complaints_print(&complaints, stderr);
	else if (explainer_new(&explainer, policy, 0) < 0)
		status = 1;
	else
		status = run_batch(explainer, options.batch);
	complaints_fini(&complaints);
	explainer_free(explainer);
	policy_free(policy);
	return status;
}
