/* The shortest messages of each protocol, for people who want to see where two of them cannot be told apart. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct probe_example {
	const char *protocol;
	const uint8_t *bytes;
	size_t len;
};

extern const struct probe_example probe_examples[]; /* of TCP; at least one of each that is spoken over it */
extern const size_t n_probe_examples;
