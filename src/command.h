/* One function a subcommand: its own arguments (argv[0] is its name), its exit status. */
#pragma once

int command_run(int argc, char **argv);
int command_check(int argc, char **argv);
int command_explain(int argc, char **argv);
int command_status(int argc, char **argv);
int command_sessions(int argc, char **argv);
int command_reload(int argc, char **argv);
int command_upgrade(int argc, char **argv);
int command_drain(int argc, char **argv);
int command_close(int argc, char **argv);
int command_log(int argc, char **argv);
int command_demo(int argc, char **argv);
int command_tcpmux(int argc, char **argv);
int command_portsplit(int argc, char **argv);
int command_sslh(int argc, char **argv);

/* The configuration that is used when none is named. */
#define DEFAULT_FILE SYSCONFDIR "/usher/usher.conf"
