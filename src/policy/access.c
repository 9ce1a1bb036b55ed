/* Who may use a service: lists of addresses, hours, rates and limits.
 *
 * Refuses what is no address, also in the files that lists name (told with that file's line), a list of those allowed that
 * has nobody in it, and limits on programs where none is run. Everything is in the policy's arena; files are read now, and
 * again when the configuration is. */
#include "access_read.h"
#include "address_list.h"
#include "compile.h"
#include <stdlib.h>
#include <string.h>

#define RATE_MOST     1000000UL /* in any unit */
#define TARPIT_PRESET 1024      /* connections of a tarpit */

struct access_reader {
	struct reader *reader;
	struct arena *arena;
};

/* ---- hours and rates ---- */

static const struct schedule *hours_read(struct access_reader *access, const struct setting *at)
{
	struct schedule *schedule = schedule_new(access->arena);
	time_t now = time(NULL);
	char why[SCHEDULE_WHY_MAX];

	for (size_t i = 0; i < setting_count(at); i++) {
		const struct setting *item = setting_item(at, i);
		if (schedule_add(schedule, setting_text(item), now, why) < 0)
			reader_error(access->reader, item, "%s", why);
	}
	return schedule;
}

/* "10/minute" */
static void rate_read(struct access_reader *access, const struct setting *at, struct access *ret)
{
	static const struct {
		const char *name;
		uint64_t us;
	} units[] = { { "/second", 1000000ULL }, { "/minute", 60000000ULL }, { "/hour", 3600000000ULL } };
	const char *text = setting_text(at);
	size_t digits = strspn(text, "0123456789");
	unsigned long count = digits && digits < 8 ? strtoul(text, NULL, 10) : 0;

	for (size_t i = 0; count && count <= RATE_MOST && i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(text + digits, units[i].name) != 0)
			continue;
		ret->rate = (struct access_rate){ (uint32_t)count, units[i].us / count };
		ret->rate_text = arena_strdup(access->arena, text);
		return;
	}
	reader_error(access->reader, at,
		"rate `%.80s', expected a number from 1 to %lu and a unit, such as \"10/minute\", \"1/second\" or "
		"\"100/hour\"",
		text, RATE_MOST);
}

/* ---- all of it ---- */

bool access_read(struct reader *reader, struct arena *arena, const struct values *values, size_t first, size_t n_keys,
	struct access *ret)
{
	struct access_reader access = { .reader = reader, .arena = arena };
	const struct setting *const *value = &values->value[first];
	struct address_list list;
	bool given = false;

	for (size_t i = 0; i < n_keys; i++)
		given = given || values->given[first + i];
	if (value[ACCESS_ALLOW]) {
		bool good = address_list_read(reader, arena, value[ACCESS_ALLOW], false, &list);
		ret->allow = list.set;
		ret->allow_text = list.text;
		if (good && address_set_count(ret->allow) == 0)
			reader_error(reader, value[ACCESS_ALLOW],
				"`allow' is empty and refuses every client, expected at least one entry");
	}
	if (value[ACCESS_DENY]) {
		address_list_read(reader, arena, value[ACCESS_DENY], false, &list);
		ret->deny = list.set;
		ret->deny_text = list.text;
	}
	if (value[ACCESS_HOURS]) {
		ret->hours = hours_read(&access, value[ACCESS_HOURS]);
		ret->hours_text = setting_list_text(arena, value[ACCESS_HOURS]);
	}
	if (value[ACCESS_RATE])
		rate_read(&access, value[ACCESS_RATE], ret);
	ret->reset = values_choice(values, first + ACCESS_REFUSE) == 1;
	return given;
}

/* Of the user that workers are: it is told of strangers, and decides, but runs nothing. */
static const struct program *asks_compile(struct compiler *compiler, const struct setting *at)
{
	struct program *program = arena_alloc(compiler->arena, sizeof(*program));

	*program = (struct program){ .argv = program_argv(compiler, at, "access"), .stdio = STDIO_SOCKET };
	program_unprivileged(compiler, program);
	return program;
}

/* A program has limits of its own even where nothing is said. */
static void startups_compile(struct compiler *compiler, const struct values *values, struct access *access)
{
	for (size_t key = ACCESS_MAX_STARTUPS; key <= ACCESS_MAX_STARTUPS_PER_SOURCE; key++)
		if (values->value[SERVICE_ACCESS + key] && !values->given[SERVICE_EXEC])
			compile_error(compiler, values->value[SERVICE_ACCESS + key], "`%s' goes with `exec' only",
				values->section->keys[SERVICE_ACCESS + key].name);
	access->program = true;
	access->max_startups = (uint32_t)values_number(values, SERVICE_ACCESS + ACCESS_MAX_STARTUPS);
	access->max_startups_per_source =
		(uint32_t)values_number(values, SERVICE_ACCESS + ACCESS_MAX_STARTUPS_PER_SOURCE);
}

/* A tarpit has a limit even where nothing is said. */
static bool tarpit_limit(struct compiler *compiler, const struct values *values, struct access *access)
{
	const size_t key = SERVICE_ACCESS + ACCESS_MAX_CONNECTIONS;

	if (!values->given[key])
		access->max_connections = TARPIT_PRESET;
	else if (values->value[key] && access->max_connections == 0)
		compile_error(compiler, values->value[key],
			"`max_connections' of a tarpit is 0, expected how many clients it may keep, from 1 on");
	return true;
}

void access_compile(struct compiler *compiler, uint32_t number, const struct values *values)
{
	struct service *service = &compiler->policy->services[number];
	const struct setting *asks = values->value[SERVICE_ACCESS + ACCESS_PROGRAM];
	struct access *access = arena_alloc(compiler->arena, sizeof(*access));
	bool given = access_read(compiler->reader, compiler->arena, values, SERVICE_ACCESS, ACCESS_COUNT, access);

	access->per_source = (uint32_t)values_number(values, SERVICE_ACCESS + ACCESS_PER_SOURCE);
	access->max_connections = (uint32_t)values_number(values, SERVICE_ACCESS + ACCESS_MAX_CONNECTIONS);
	if (values->value[SERVICE_REJECT] && values_choice(values, SERVICE_REJECT) == REJECT_TARPIT)
		given = tarpit_limit(compiler, values, access);
	if (asks)
		service->asks = asks_compile(compiler, asks);
	if (values->given[SERVICE_EXEC] || values->given[SERVICE_ACCESS + ACCESS_MAX_STARTUPS] ||
		values->given[SERVICE_ACCESS + ACCESS_MAX_STARTUPS_PER_SOURCE])
		startups_compile(compiler, values, access);
	if (given || access->program)
		service->access = access;
}
