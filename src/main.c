/* usher: one port, many services. This file only finds the subcommand. */
#include "command.h"
#include "process.h"
#include "sandbox.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage;
	bool foreign;        /* another program's name: usher acts as that program where it is called so */
	const char *aliases; /* further names of that program, with a blank behind each; NULL: none */
} commands[] = {
	{ "run", command_run, "[run] [-c FILE] [-d] [-i] [-p PORT]   serve (the default)" },
	{ "check", command_check,
		"check [-c FILE]                       compile the configuration, print its routing table" },
	{ "explain", command_explain,
		"explain [-c FILE] [--listener ADDRESS] [--json] [--udp] [--hex] [--flow NUMBER] [--batch FILE] "
		"[--id NUMBER] "
		"[FILE]\n"
		"                                              which service takes these bytes, and why; without -c "
		"which protocol" },
	{ "status", command_status, "status [-s SOCKET] [-c FILE] [--json]      what the running usher does" },
	{ "sessions", command_sessions, "sessions [-s SOCKET] [-c FILE] [--json]    its connections" },
	{ "close", command_close, "close [-s SOCKET] [-c FILE] ID             end one of them" },
	{ "reload", command_reload,
		"reload [-s SOCKET] [-c FILE]               have it read its configuration again" },
	{ "upgrade", command_upgrade,
		"upgrade [-s SOCKET] [-c FILE]              have the binary that is installed now take its place" },
	{ "drain", command_drain,
		"drain [-s SOCKET] [-c FILE]                have it end when its connections have" },
	{ "log", command_log, "log [-s SOCKET] [-c FILE] LEVEL            have it log from this level on" },
	{ "demo", command_demo, "demo [-p PORT] [--print]              serve a demonstration on 127.0.0.1:8080" },
	{ "tcpmux", command_tcpmux, "tcpmux [ARGUMENT ...]                 as tcpmux, with its configuration", true },
	{ "portsplit", command_portsplit,
		"portsplit FILE                        as portsplit, with its configuration", true },
	{ "sslh", command_sslh, "sslh [ARGUMENT ...]                   as sslh, with its configuration", true,
		"sslh-select sslh-ev sslh-fork " },
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int print_usage(FILE *to)
{
	fputs("usher shares one port among many services.\n\nUsage:\n", to);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(to, "  usher %s\n", commands[i].usage);
	fputs("  usher --help | --version\n"
	      "\n"
	      "  -c FILE   the configuration, usher.conf(5); without it " DEFAULT_FILE "\n"
	      "  -d        in the background, once it serves\n"
	      "  -i        one connection, on descriptor 0 (inetd)\n"
	      "  -p PORT   instead of the port of every IP listener\n"
	      "\n"
	      "Exit status: 0 fine, 1 it failed at run time, 2 usage or configuration.\n",
		to);
	return to == stdout ? 0 : 2;
}

static int print_version(void)
{
	puts("usher " VERSION);
	puts("built with: libconfig, pcre2, nghttp2, libcrypto, c-ares, libcap, libseccomp, jansson, libpcap"
#ifdef HAVE_LIBSYSTEMD
	     ", libsystemd"
#endif
#ifdef LIBWRAP_PROGRAM
	     ", libwrap"
#endif
	);
	char sandbox[128];
	sandbox_describe(sandbox, sizeof(sandbox));
	printf("sandbox here: %s\n", sandbox);
	return 0;
}

static bool command_has_alias(const struct command *command, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = command->aliases; at && *at; at += strcspn(at, " ") + 1)
		if (strcspn(at, " ") == len && strncmp(at, name, len) == 0)
			return true;
	return false;
}

/* By a symbolic link of another program's name; NULL: by our own, or any other. */
static const struct command *command_by_own_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;

	for (size_t i = 0; i < N_COMMANDS; i++)
		if (commands[i].foreign &&
			(strcmp(name, commands[i].name) == 0 || command_has_alias(&commands[i], name)))
			return &commands[i];
	return NULL;
}

int main(int argc, char **argv)
{
	process_fill_stdio();
	process_keep_title(argc, argv);
	const struct command *foreign = command_by_own_name(argv[0]);
	if (foreign)
		return foreign->run(argc, argv);
	static char own_name[] = "usher"; /* by which getopt() complains */
	argv[0] = own_name;
	if (argc < 2 || (argv[1][0] == '-' && argv[1][1] != '-'))
		return command_run(argc, argv);
	if (strcmp(argv[1], "--help") == 0)
		return print_usage(stdout);
	if (strcmp(argv[1], "--version") == 0)
		return print_version();
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(argv[1], commands[i].name) == 0) {
			if (!commands[i].foreign)
				argv[1] = own_name;
			return commands[i].run(argc - 1, argv + 1);
		}
	fprintf(stderr, "usher: unknown command `%s'\n\n", argv[1]);
	return print_usage(stderr);
}
