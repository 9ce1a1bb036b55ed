/* Options that several subcommands share. */
#pragma once
#include <stdint.h>

/* 1..65535, or 0 after a message on stderr. */
uint16_t option_port(const char *text);

/* 0.1..3600, or 0 after a message on stderr. */
double option_seconds(const char *option, const char *text);

/* "90", "90s", "10m", "2h", "7d": seconds, from 1 to `most`. 0, or -EINVAL after a message on stderr. */
int option_duration(const char *option, const char *text, uint64_t most, uint64_t *ret);
