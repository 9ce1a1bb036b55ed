/* Who holds a port: for the error message of a bind that failed. */
#pragma once
#include "address.h"
#include <stdbool.h>
#include <stddef.h>

/* Writes "nginx, pid 1234" into `ret`. False where it cannot be known (another user's process, no /proc). */
bool holder_of_port(const struct address *address, char *ret, size_t size);
