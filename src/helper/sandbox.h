/* What a worker, the logger and the resolver lock themselves into, once their privileges are gone and all that they need from
 * files is loaded: limits, Landlock, a list of system calls. There is no way out. */
#pragma once
#include "policy.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct log_remote;

/* 0 or -errno: the caller must end. Any other call than the listed ones ends the process with SIGSYS; which one it was is
 * written to `ret_refused` (its number and 1, so that 0 is none; NULL: not wanted), which the master can read. */
int sandbox_enter_worker(const struct policy *policy, _Atomic uint32_t *ret_refused);
int sandbox_enter_logger(const struct log_remote *server); /* that it may connect to; NULL: none */
int sandbox_enter_resolver(_Atomic uint32_t *ret_refused);
int sandbox_enter_exporter(_Atomic uint32_t *ret_refused); /* with its listening socket open */
int sandbox_enter_checker(const struct policy *policy, _Atomic uint32_t *ret_refused);
int sandbox_enter_explain(void); /* with what it reads from open */

/* Of a process that runs other people's modules, which make calls that nobody here knows: what is not listed fails (EPERM) and
 * ends nothing. */
int sandbox_enter_names(void);

/* "openat"; NULL where nothing was refused. Of the running machine's architecture. The caller frees it. */
char *sandbox_refused_name(uint32_t refused);

/* Of a process with this status, which waitpid() gave: "was killed by signal 31 (Bad system call: openat)". `refused` is none
 * afterwards. */
void sandbox_describe_end(char *buf, size_t size, int status, _Atomic uint32_t *refused);

/* What the running kernel and this build make of it, for people: "seccomp, Landlock ABI 6"; and what is missing (NULL: nothing that
 * usher would use). */
void sandbox_describe(char *buf, size_t size);
const char *sandbox_missing(void);

/* A sanitizer's build: its reports go to standard error. */
bool sandbox_has_holes(void);
