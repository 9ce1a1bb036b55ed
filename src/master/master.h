/* The master: binds, forks workers, runs their programs, supervises. It never reads a byte that a client sent. */
#pragma once
#include "master_options.h"

/* Returns the exit status: 0, 1 it failed at run time, 2 the configuration is wrong. */
int master_run(const struct master_options *options);
