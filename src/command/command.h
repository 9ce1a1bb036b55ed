/* Subcommands. Each is one function: its own arguments (argv[0] is its name), its exit status. */
#pragma once
#include <stdbool.h>
#include <stdio.h>

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary; /* a line, without a capital letter and a full stop */
	const char *usage;   /* behind "usher "; a line for each way */
	bool has_config;     /* -c, with a default */
	const char *options; /* the others, a line each; NULL: none */
	bool is_foreign;     /* another program's name: usher acts as that program where it is called so */
	const char *aliases; /* further names of that program, with a blank behind each; NULL: none */
};

const struct command *command_find(const char *name); /* NULL: there is none */
const struct command *command_of_program(
	const char *path); /* by what usher was called as; NULL: by its own name, or any other */
const char *command_program_name(const char *path); /* without the folder */
int command_usage(const char *name);                /* to standard error; returns 2 */
int command_help_of(const struct command *command); /* to standard output; returns 0 */
int command_help_all(FILE *to);                     /* 0, or 2 where that is standard error */

int command_run(int argc, char **argv);
int command_check(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_status(int argc, char **argv);
int command_sessions(int argc, char **argv);
int command_top(int argc, char **argv);
int command_backends(int argc, char **argv);
int command_backend(int argc, char **argv);
int command_bans(int argc, char **argv);
int command_ban(int argc, char **argv);
int command_unban(int argc, char **argv);
int command_open(int argc, char **argv);
int command_shut(int argc, char **argv);
int command_reload(int argc, char **argv);
int command_upgrade(int argc, char **argv);
int command_drain(int argc, char **argv);
int command_close(int argc, char **argv);
int command_log(int argc, char **argv);
int command_log_report(int argc, char **argv);
int command_reopen(int argc, char **argv);
int command_convert(int argc, char **argv);
int command_demo(int argc, char **argv);
int command_tcpmux(int argc, char **argv);
int command_portsplit(int argc, char **argv);
int command_sniproxy(int argc, char **argv);
int command_sslh(int argc, char **argv);
int command_help(int argc, char **argv);

/* What `usher check' does with a file, and `usher run -t'. The exit status. */
struct policy_options;
int check_file(const char *file, const struct policy_options *options);
