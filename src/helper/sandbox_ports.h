/* To which ports a process may connect under a policy: a bit for each, ports[port / 8] >> port % 8 & 1. */
#pragma once
#include <stdint.h>

struct policy;

void sandbox_ports_connect(uint8_t *ports, const struct policy *policy); /* a worker: those of all backends */
void sandbox_ports_check(uint8_t *ports, const struct policy *policy);   /* the checker: those that are checked */
