/* The programs that run, in one array without order: there are hundreds, at most some thousands, and each costs a process, beside
 * which a walk over the array is nothing (10,000 of them: some 20 us).
 *
 * Back-off. A program that crashes within a second, or that cannot be executed (126, 127), died at once. After
 * DEATHS_MOST of them in a row the service is refused for a second, then after each further one for twice as long, up to
 * 30 s. Any other status says nothing: a client can bring it about by what it sends or by leaving. Refuses nothing of a service but for its limits. The table owns all its memory. */
#include "program_table.h"
#include "back_off.h"
#include "hash.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define AT_ONCE_US        1000000ULL
#define DEATHS_MOST       10
#define BACK_OFF_FIRST_US 1000000ULL
#define BACK_OFF_MOST_US  30000000ULL
#define RUNS_MAX          64 /* services whose programs die at once; past it the oldest is forgotten */

struct running {
	pid_t pid;
	uint64_t service_hash; /* to look at the name only where it is likely the same */
	uint64_t source, started_us, generation;
	char service[64];
};

/* Deaths at once, in a row. */
struct run {
	char service[64];
	unsigned deaths;
	uint64_t last_us, until_us; /* no other before */
};

struct program_table {
	struct running *running;
	size_t n_running, room;
	struct run runs[RUNS_MAX];
	size_t n_runs;
};

struct program_table *program_table_new(void)
{
	return calloc(1, sizeof(struct program_table));
}

void program_table_free(struct program_table *table)
{
	if (!table)
		return;
	free(table->running);
	free(table);
}

size_t program_table_count(const struct program_table *table)
{
	return table->n_running;
}

static void name_copy(char to[64], const char *name)
{
	size_t len = strnlen(name, 63);
	memcpy(to, name, len);
	to[len] = '\0';
}

/* ---- deaths in a row ---- */

static struct run *run_find(struct program_table *table, const char *service)
{
	for (size_t i = 0; i < table->n_runs; i++)
		if (strncmp(table->runs[i].service, service, 63) == 0)
			return &table->runs[i];
	return NULL;
}

static struct run *run_add(struct program_table *table, const char *service)
{
	struct run *run = &table->runs[0];

	if (table->n_runs < RUNS_MAX)
		run = &table->runs[table->n_runs++];
	else
		for (size_t i = 1; i < RUNS_MAX; i++)
			if (table->runs[i].last_us < run->last_us)
				run = &table->runs[i];
	*run = (struct run){ 0 };
	name_copy(run->service, service);
	return run;
}

/* One that lived: the row is broken. */
static void run_end(struct program_table *table, const char *service)
{
	struct run *run = run_find(table, service);
	if (run)
		*run = table->runs[--table->n_runs];
}

static bool run_refuses(struct program_table *table, const char *service, uint64_t now_us)
{
	const struct run *run = run_find(table, service);
	return run && run->until_us > now_us;
}

static void run_count(struct program_table *table, uint64_t now_us, struct program_end *end)
{
	struct run *run = run_find(table, end->service);

	if (!run)
		run = run_add(table, end->service);
	run->last_us = now_us;
	run->deaths++;
	/* Those that were started before it began to be refused do not lengthen it. */
	if (run->deaths < DEATHS_MOST || run->until_us > now_us)
		return;
	end->back_off_us = back_off_us(BACK_OFF_FIRST_US, BACK_OFF_MOST_US, run->deaths - DEATHS_MOST);
	end->back_off_first = run->until_us == 0;
	run->until_us = now_us + end->back_off_us;
}

static bool is_crash(int status)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status) == 126 || WEXITSTATUS(status) == 127;
	switch (WIFSIGNALED(status) ? WTERMSIG(status) : 0) {
	case SIGSEGV:
	case SIGBUS:
	case SIGILL:
	case SIGFPE:
	case SIGABRT:
	case SIGSYS:
	case SIGTRAP:
		return true;
	default:
		return false;
	}
}

/* A loop's clock may be a little behind that of who started the program. */
static uint64_t running_age_us(const struct running *one, uint64_t now_us)
{
	return now_us > one->started_us ? now_us - one->started_us : 0;
}

/* ---- may one more start? ---- */

struct counts {
	uint32_t all, source, young, young_source;
};

static struct counts table_count(
	const struct program_table *table, const char *service, uint64_t source, uint64_t now_us)
{
	uint64_t hash = hash_name(service);
	struct counts counts = { 0 };

	for (size_t i = 0; i < table->n_running; i++) {
		const struct running *one = &table->running[i];
		if (one->service_hash != hash || strncmp(one->service, service, 63) != 0)
			continue;
		bool young = running_age_us(one, now_us) < ACCESS_STARTUP_US, same = source && one->source == source;
		counts.all++;
		counts.young += young;
		counts.source += same;
		counts.young_source += young && same;
	}
	return counts;
}

static bool reached(uint32_t count, uint32_t most)
{
	return most && count >= most;
}

const char *program_table_admit(struct program_table *table, const char *service, const struct access *access,
	const struct address *client, uint64_t now_us)
{
	uint64_t source = access_source(client);

	if (run_refuses(table, service, now_us))
		return "back-off";
	if (!access)
		return NULL;
	struct counts counts = table_count(table, service, source, now_us);
	if (reached(counts.all, access->max_connections))
		return "max_connections";
	if (reached(counts.source, access->per_source))
		return "per_source";
	if (reached(counts.young, access->max_startups))
		return "max_startups";
	if (reached(counts.young_source, access->max_startups_per_source))
		return "max_startups_per_source";
	return NULL;
}

/* ---- from start to end ---- */

static int table_add(struct program_table *table, const struct running *made, const char *service)
{
	if (table->n_running == table->room) {
		size_t room = table->room ? table->room * 2 : 64;
		struct running *grown = reallocarray(table->running, room, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		table->running = grown;
		table->room = room;
	}
	struct running *one = &table->running[table->n_running++];
	*one = *made;
	name_copy(one->service, service);
	one->service_hash = hash_name(service);
	return 0;
}

int program_table_add(struct program_table *table, pid_t pid, const char *service, const struct address *client,
	uint64_t generation, uint64_t now_us)
{
	const struct running made = {
		.pid = pid,
		.source = access_source(client),
		.started_us = now_us,
		.generation = generation,
	};
	return table_add(table, &made, service);
}

int program_table_restore(
	struct program_table *table, pid_t pid, const char *service, uint64_t source, uint64_t started_us)
{
	const struct running made = { .pid = pid, .source = source, .started_us = started_us };
	return table_add(table, &made, service);
}

void program_table_each(const struct program_table *table,
	void (*each)(void *context, pid_t pid, const char *service, uint64_t source, uint64_t started_us),
	void *context)
{
	for (size_t i = 0; i < table->n_running; i++) {
		const struct running *one = &table->running[i];
		each(context, one->pid, one->service, one->source, one->started_us);
	}
}

bool program_table_remove(
	struct program_table *table, pid_t pid, int status, uint64_t now_us, struct program_end *ret_end)
{
	size_t i = 0;

	while (i < table->n_running && table->running[i].pid != pid)
		i++;
	if (i == table->n_running)
		return false;
	struct running one = table->running[i];
	table->running[i] = table->running[--table->n_running];

	*ret_end = (struct program_end){ .generation = one.generation, .lived_us = running_age_us(&one, now_us) };
	memcpy(ret_end->service, one.service, sizeof(one.service));
	if (!is_crash(status))
		run_end(table, one.service);
	else if (ret_end->lived_us < AT_ONCE_US)
		run_count(table, now_us, ret_end);
	return true;
}
