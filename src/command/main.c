/* usher: one port, many services. This file only finds the subcommand. */
#include "command.h"
#include "paths.h"
#include "process.h"
#include "sandbox.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

static int print_version(void)
{
	puts("usher " VERSION);
	printf("built with: libconfig, pcre2, nghttp2, libcrypto, c-ares, libcap, libseccomp, jansson, libpcap"
#ifdef HAVE_LIBSYSTEMD
	       ", libsystemd"
#endif
	       "%s\n",
		path_libwrap[0] ? ", libwrap" : "");
	char sandbox[128];
	sandbox_describe(sandbox, sizeof(sandbox));
	printf("sandbox here: %s\n", sandbox);
	return 0;
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
	return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

/* Other programs' command lines are read by their dialects. */
static int run(const struct command *command, int argc, char **argv)
{
	for (int i = 1; !command->is_foreign && i < argc && strcmp(argv[i], "--") != 0; i++)
		if (is_one_of(argv[i], "-h", "--help"))
			return command_help_of(command);
	return command->run(argc, argv);
}

int main(int argc, char **argv)
{
	process_fill_stdio();
	signal(SIGCHLD, SIG_DFL); /* ignored, as it may come to us, children would be gone unseen */
	process_keep_title(argc, argv);
	const struct command *command = command_of_program(argv[0]);
	if (command) {
		process_go_by(command_program_name(argv[0]));
		return command->run(argc, argv);
	}
	static char own_name[] = "usher"; /* by which getopt() complains */
	argv[0] = own_name;
	if (argc == 2 && is_one_of(argv[1], "-h", "--help"))
		return command_help_all(stdout);
	if (argc == 2 && is_one_of(argv[1], "-V", "--version"))
		return print_version();
	if (argc < 2 || argv[1][0] == '-')
		return run(command_find("run"), argc, argv);
	command = command_find(argv[1]);
	if (!command) {
		fprintf(stderr, "usher: unknown command `%s'\n\n", argv[1]);
		return command_help_all(stderr);
	}
	if (!command->is_foreign)
		argv[1] = own_name;
	return run(command, argc - 1, argv + 1);
}
