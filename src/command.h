/* One function a subcommand: its own arguments (argv[0] is its name), its exit status. */
#pragma once

int command_run(int argc, char **argv);
int command_check(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_control(int argc, char **argv); /* status, sessions, drain, reload: argv[0] says which */
int command_close(int argc, char **argv);
int command_log(int argc, char **argv);
int command_demo(int argc, char **argv);
int command_tcpmux(int argc, char **argv);
int command_portsplit(int argc, char **argv);
int command_sslh(int argc, char **argv);

/* The configuration that is used when none is named. */
#define DEFAULT_FILE SYSCONFDIR "/usher/usher.conf"
