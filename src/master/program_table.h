/* The programs that the master runs for services: who they are, whom they serve, how they ended; and whether one more may
 * start. The master alone sees a program end, so for services that run programs it holds the limits. */
#pragma once
#include "access.h"
#include "address.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct program_table;

struct program_table *program_table_new(void);        /* NULL: no memory */
void program_table_free(struct program_table *table); /* accepts NULL */

/* NULL: the service may run one more for this client. Else the name of the limit: "max_connections", "per_source", "max_startups",
 * "max_startups_per_source", or "back-off" after programs that died at once again and again. */
const char *program_table_admit(struct program_table *table, const char *service, const struct access *access,
	const struct address *client, uint64_t now_us);

/* 0, or -ENOMEM: the program runs uncounted. */
int program_table_add(struct program_table *table, pid_t pid, const char *service, const struct address *client,
	uint64_t generation, uint64_t now_us);

/* One that the image before this one started; and those that run, for the next: `each` is called once a program. */
int program_table_restore(
	struct program_table *table, pid_t pid, const char *service, uint64_t source, uint64_t started_us);
void program_table_each(const struct program_table *table,
	void (*each)(void *context, pid_t pid, const char *service, uint64_t source, uint64_t started_us),
	void *context);

struct program_end {
	char service[64];
	uint64_t generation;
	uint64_t lived_us;
	uint64_t back_off_us; /* not 0: it died at once, once too often, and for so long no other is started */
	bool back_off_first;  /* of a run of them: worth a line in the log */
};

/* A child has ended, with a status of waitpid(). False: it is not in the table. */
bool program_table_remove(
	struct program_table *table, pid_t pid, int status, uint64_t now_us, struct program_end *ret_end);

size_t program_table_count(const struct program_table *table);
