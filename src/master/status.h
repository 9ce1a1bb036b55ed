/* What `usher status` says, as one object of JSON: usher(8) explains every key. */
#pragma once
#include "generation.h"
#include <stdio.h>

struct master_facts;

struct status {
	const struct generation *all, *serving, *coming; /* NULL: none */
	const struct shared *shared;
	time_t since;
	size_t programs;        /* that run for services, and are counted */
	time_t reloading_since; /* a configuration is being compiled; 0: none is */
	time_t ending_since;    /* it ends when its connections have; 0: it does not */
};

/* For the exporter: what the master alone knows. Without memory it stays as it was. */
void status_publish(const struct status *status, struct master_facts *facts);

/* 0 or -ENOMEM: nothing was written. */
int status_write(const struct status *status, FILE *to);
/* What `usher backends' says: a line for each. Likewise. */
int status_write_backends(const struct status *status, FILE *to);
