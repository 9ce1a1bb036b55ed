/* Who holds a port: for the error message of a bind that failed. */
#pragma once
#include "address.h"
#include <stdbool.h>
#include <stddef.h>

/* Writes "nginx, pid 1234" into `ret`, or "a process of www-data" where its descriptors may not be looked at. False where nobody has it, as far as /proc says. */
bool port_owner(const struct address *address, enum transport_kind transport, char *ret, size_t size);
