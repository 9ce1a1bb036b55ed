/* The shortest messages of each protocol, for people who want to see where two of them cannot be told apart. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct probe_example {
	const char *protocol;
	const uint8_t *bytes;
	size_t len;
	bool is_datagram;
};

/* At least one of each protocol and transport. */
extern const struct probe_example probe_examples[];
extern const size_t n_probe_examples;
