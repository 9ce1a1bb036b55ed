/* What a connection was under another worker's policy, which this one does not have: for the log and for people. */
#pragma once
#include "log.h"
#include "migrant.h"
#include "target.h"

struct past {
	const char *text[MIGRANT_TEXTS]; /* NULL: none */
	enum delivery delivery;
	enum log_level log_level;
	char texts[];
};

struct past *past_new(const struct migrant_parts *parts); /* NULL: no memory */
