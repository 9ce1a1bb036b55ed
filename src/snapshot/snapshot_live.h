/* What the operator has said of clients (live_list.h), as `usher bans' lists it: a line of JSON or of a table for each. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json_t;
struct live_entry;

struct snapshot_live {
	const char *address; /* or a prefix */
	const char *service; /* that is open for it; NULL: it is banned */
	bool ends;           /* in `left_s` seconds; else when it is taken back */
	uint64_t left_s;
};

void snapshot_live_json(const struct snapshot_live *live, FILE *to);           /* without the end of the line */
void snapshot_live_read(struct snapshot_live *ret, const struct json_t *from); /* texts stay those of `from` */
void snapshot_live_head(FILE *to);
void snapshot_live_table(const struct snapshot_live *live, FILE *to);
