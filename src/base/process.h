/* What a process does to itself: name, daemon, privileges. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Keeps argv's memory so that process_rename() can overwrite it. Call first thing in main. */
void process_keep_title(int argc, char **argv);

/* The command line as it was, for whoever executes it once more; the first word is a path wherever one can be known. NULL: no memory. */
char **process_argv(void);

/* It was started by the name of another program: killall(1), pkill(1) and pidof(8) find it by that. `name` is kept. */
void process_go_by(const char *name);

/* "usher", or what it goes by. */
const char *process_program_name(void);

/* What ps shows: "usher: worker", and as the name alone as well unless it goes by another. */
void process_rename(const char *role);

/* Goes to the background. Returns in the background process with the write end of a pipe in *ret_ready_fd; the starting
 * process stays until process_ready() is called there (exit 0) or the background process ends (its exit status), so
 * that whoever started usher knows whether it serves. 0 or -errno. Keeps stderr until process_ready(). */
int process_daemonize(int *ret_ready_fd);
void process_ready(int ready_fd); /* also silences */

/* Puts /dev/null in the place of stdin, stdout and stderr. */
void process_silence(void);

/* Makes sure that descriptors 0, 1 and 2 are open, so that nothing else ever gets these numbers. Call first thing in main. */
void process_fill_stdio(void);

/* For good: supplementary groups, gid and uid where `identity` says so, every capability, no_new_privs, not dumpable.
 * 0 or -errno, and failure_text() says what could not be done; the caller must end then. */
int process_drop_privileges(bool identity, uid_t uid, gid_t gid);

/* A child that has ended, and how (as waitpid() says it); 0: none has, or with `wait` there is none. Its number is nobody else's until process_bury(): so its session can
 * still be killed. */
pid_t process_ended(int *ret_status, bool wait);
void process_bury(pid_t pid);

/* Closes every descriptor from 3 up but those named (unordered; sorts them). For a child that was forked and not executed. */
void process_keep_only(int *fds, size_t n);
