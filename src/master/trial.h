/* Would this build serve in the place of the running one? Whatever can be found out without serving is. */
#pragma once
#include "master_options.h"

/* `state` is the descriptor of a takeover. Says on standard error what is wrong. The exit status. */
int trial_run(const struct master_options *options, int state);
