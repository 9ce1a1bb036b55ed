/* The table of subcommands: what each is called, what it is for, how it is used. Help and usage are written from it, and the manual
 * and the shells' completions are tested against it. Refuses to know what a command does. Owns nothing. */
#include "command.h"
#include "paths.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

#define SOCKET                                                                                                       \
	"  -s, --socket SOCKET     the control socket of the running usher\n"                                        \
	"  -c, --config FILE       or the configuration that names it\n"
#define JSON "      --json              JSON, for programs\n"

static const struct command commands[] = {
	{ .name = "run",
		.run = command_run,
		.summary = "serve (the default)",
		.usage = "[run] [-c FILE] [-d | -i] [-p PORT] [-t] [--watch]",
		.has_config = true,
		.options = "  -d, --daemon            go to the background when usher serves\n"
			   "  -i, --inetd             serve one connection, descriptor 0 (inetd)\n"
			   "  -p, --port PORT         the port of every IP listener, whatever the file says\n"
			   "  -t, --test              check the configuration and exit, as `usher check'\n"
			   "      --watch             reload when the configuration's files change\n" },
	{ .name = "check",
		.run = command_check,
		.summary = "compile the configuration and print its routing table",
		.usage = "check [-c FILE] [--diff [-s SOCKET]]",
		.has_config = true,
		.options = "      --diff              print what a reload of the running usher would change\n"
			   "  -s, --socket SOCKET     its control socket, not the one of the configuration\n" },
	{ .name = "explain",
		.run = command_explain,
		.summary = "show which service matches some bytes, and why",
		.usage = "explain [OPTION ...] FILE\n"
			 "explain [OPTION ...] --hex DIGITS ...\n"
			 "explain [OPTION ...] --batch FILE\n"
			 "explain [OPTION ...] --id ID",
		.options = "  -c, --config FILE       the configuration; without it the built-in protocols\n"
			   "      --listener ADDRESS  the listener that takes the bytes; default: the first\n"
			   "                          of its kind\n" JSON
			   "      --udp               the bytes are a datagram\n"
			   "      --hex DIGITS ...    these bytes, not those of FILE (-: standard input)\n"
			   "      --flow NUMBER       only this flow of a capture\n"
			   "      --batch FILE        read lines of JSON, write an answer to each\n"
			   "      --id ID             the first bytes of a connection of the running usher\n"
			   "  -s, --socket SOCKET     the control socket of the running usher\n" },
	{ .name = "status",
		.run = command_status,
		.summary = "show the state and the counters of the running usher",
		.usage = "status [-s SOCKET | -c FILE] [--json] [--watch[=SECONDS]]",
		.options = SOCKET JSON "      --watch[=SECONDS]   show it again and again; default: every 2\n" },
	{ .name = "sessions",
		.run = command_sessions,
		.summary = "list the connections of the running usher",
		.usage = "sessions [-s SOCKET | -c FILE] [--json]",
		.options = SOCKET JSON },
	{ .name = "top",
		.run = command_top,
		.summary = "show the running usher live in a terminal",
		.usage = "top [-s SOCKET | -c FILE] [-d SECONDS]",
		.options = SOCKET "  -d, --delay SECONDS     ask again every so often; default: 2\n" },
	{ .name = "backends",
		.run = command_backends,
		.summary = "list the backends of services: state, weight, connections",
		.usage = "backends [-s SOCKET | -c FILE] [--json]",
		.options = SOCKET JSON },
	{ .name = "backend",
		.run = command_backend,
		.summary = "drain a backend, take it down or up, or set its weight",
		.usage = "backend [OPTION ...] SERVICE ADDRESS drain | down | up\n"
			 "backend [OPTION ...] SERVICE ADDRESS weight NUMBER",
		.options = SOCKET JSON },
	{ .name = "bans",
		.run = command_bans,
		.summary = "list who is banned, and for whom services were opened",
		.usage = "bans [-s SOCKET | -c FILE] [--json]",
		.options = SOCKET JSON },
	{ .name = "ban",
		.run = command_ban,
		.summary = "serve no more connections from an address",
		.usage = "ban [-s SOCKET | -c FILE] [--json] [--for TIME] ADDRESS",
		.options =
			SOCKET JSON "      --for TIME          such as 90s, 10m, 2h or 7d; default: until unban\n" },
	{ .name = "unban",
		.run = command_unban,
		.summary = "serve an address again",
		.usage = "unban [-s SOCKET | -c FILE] [--json] ADDRESS",
		.options = SOCKET JSON },
	{ .name = "open",
		.run = command_open,
		.summary = "let an address in to a service for a time",
		.usage = "open [OPTION ...] SERVICE --from ADDRESS --for TIME",
		.options = SOCKET JSON "      --from ADDRESS      who comes in though `allow' does not have it\n"
				       "      --for TIME          such as 90s, 10m, 2h or 7d\n" },
	{ .name = "shut",
		.run = command_shut,
		.summary = "take back what `usher open' said",
		.usage = "shut [OPTION ...] SERVICE --from ADDRESS",
		.options = SOCKET JSON "      --from ADDRESS      as it was opened for\n" },
	{ .name = "close",
		.run = command_close,
		.summary = "close one connection",
		.usage = "close [-s SOCKET | -c FILE] [--json] ID",
		.options = SOCKET JSON },
	{ .name = "reload",
		.run = command_reload,
		.summary = "reload the configuration",
		.usage = "reload [-s SOCKET | -c FILE] [--json]",
		.options = SOCKET JSON },
	{ .name = "upgrade",
		.run = command_upgrade,
		.summary = "replace the running usher by the installed one, connections kept",
		.usage = "upgrade [-s SOCKET | -c FILE] [--json]",
		.options = SOCKET JSON },
	{ .name = "drain",
		.run = command_drain,
		.summary = "accept no more connections, and exit when the open ones end",
		.usage = "drain [-s SOCKET | -c FILE] [--json] [--wait]",
		.options = SOCKET JSON "      --wait              return when it has ended\n" },
	{ .name = "log",
		.run = command_log,
		.summary = "set the log level of the running usher",
		.usage = "log [-s SOCKET | -c FILE] [--json] LEVEL",
		.options = SOCKET JSON },
	{ .name = "log-report",
		.run = command_log_report,
		.summary = "say what logs add up to: by service, end, network, rule, time",
		.usage = "log-report [--json] [--top NUMBER] [FILE ...]",
		.options = JSON "      --top NUMBER        networks that are shown; default: 10\n" },
	{ .name = "reopen",
		.run = command_reopen,
		.summary = "reopen the log file",
		.usage = "reopen [-s SOCKET | -c FILE] [--json]",
		.options = SOCKET JSON },
	{ .name = "demo",
		.run = command_demo,
		.summary = "serve a demonstration on 127.0.0.1:8080",
		.usage = "demo [-p PORT] [--print]",
		.options = "  -p, --port PORT         the port; default: 8080\n"
			   "      --print             print the configuration and exit\n" },
	{ .name = "convert",
		.run = command_convert,
		.summary = "print another program's configuration in usher's format",
		.usage = "convert sslh | tcpmux | portsplit | sniproxy FILE" },
	{ .name = "tcpmux",
		.run = command_tcpmux,
		.summary = "serve with the configuration and the options of tcpmux",
		.usage = "tcpmux [ARGUMENT ...]",
		.is_foreign = true },
	{ .name = "portsplit",
		.run = command_portsplit,
		.summary = "serve with the configuration of portsplit",
		.usage = "portsplit [ARGUMENT ...] FILE",
		.is_foreign = true },
	{ .name = "sniproxy",
		.run = command_sniproxy,
		.summary = "serve with the configuration of sniproxy",
		.usage = "sniproxy [ARGUMENT ...] FILE",
		.is_foreign = true },
	{ .name = "sslh",
		.run = command_sslh,
		.summary = "serve with the configuration and the options of sslh",
		.usage = "sslh [ARGUMENT ...]",
		.is_foreign = true,
		.aliases = "sslh-select sslh-ev sslh-fork " },
	{ .name = "help",
		.run = command_help,
		.summary = "show this text, or the options of a command",
		.usage = "help [COMMAND]" },
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(name, commands[i].name) == 0)
			return &commands[i];
	return NULL;
}

static bool has_alias(const struct command *command, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = command->aliases; at && *at; at += strcspn(at, " ") + 1)
		if (strcspn(at, " ") == len && strncmp(at, name, len) == 0)
			return true;
	return false;
}

const char *command_program_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

const struct command *command_of_program(const char *path)
{
	const char *name = command_program_name(path);

	for (size_t i = 0; i < N_COMMANDS; i++)
		if (commands[i].is_foreign && (strcmp(name, commands[i].name) == 0 || has_alias(&commands[i], name)))
			return &commands[i];
	return NULL;
}

/* A line for each way. */
static void print_usage(const struct command *command, FILE *to)
{
	const char *lead = "usage:";

	for (const char *at = command->usage; *at; at += strcspn(at, "\n"), at += *at == '\n', lead = "      ")
		fprintf(to, "%s usher %.*s\n", lead, (int)strcspn(at, "\n"), at);
}

int command_usage(const char *name)
{
	const struct command *command = command_find(name);

	assert(command);
	print_usage(command, stderr);
	return 2;
}

int command_help_of(const struct command *command)
{
	print_usage(command, stdout);
	printf("\n%c%s.\n\n", command->summary[0] & ~0x20, command->summary + 1);
	if (command->has_config)
		printf("  -c, --config FILE       the configuration; without it %s\n", path_configuration);
	printf("%s  -h, --help              this text\n", command->options ? command->options : "");
	return 0;
}

int command_help_all(FILE *to)
{
	fputs("usher shares one port among many services.\n\n"
	      "usage: usher [COMMAND] [OPTION ...]\n\n",
		to);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(to, "  %-10s  %s\n", commands[i].name, commands[i].summary);
	fputs("\n`usher COMMAND --help' lists a command's options, `usher --version' says what\n"
	      "usher was built with. The configuration is described in usher.conf(5).\n"
	      "\n"
	      "Exit status: 0 fine, 1 it failed at run time, 2 usage or configuration.\n",
		to);
	return to == stdout ? 0 : 2;
}

int command_help(int argc, char **argv)
{
	const struct command *command = argc == 2 ? command_find(argv[1]) : NULL;

	if (command)
		return command_help_of(command);
	if (argc == 1)
		return command_help_all(stdout);
	if (argc > 2)
		return command_usage("help");
	fprintf(stderr, "usher: unknown command `%s'\n\n", argv[1]);
	return command_help_all(stderr);
}
