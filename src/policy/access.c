/* Who may use a service: lists of addresses, hours, rates and limits.
 *
 * Refuses what is no address, also in the files that lists name (told with that file's line), a list of those allowed that
 * has nobody in it, and limits on programs where none is run. Everything is in the policy's arena; files are read now, and
 * again when the configuration is. */
#include "access_read.h"
#include "compile.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILE_PREFIX     "file:"
#define FILE_PREFIX_LEN (sizeof(FILE_PREFIX) - 1)
#define FILE_ERRORS_MAX 20        /* of one file: the rest is not looked at */
#define TEXT_MAX        72        /* of a list as it is shown to people */
#define RATE_MOST       1000000UL /* in any unit */

struct access_reader {
	struct reader *reader;
	struct arena *arena;
	bool wrong; /* some entry of the list was complained about */
};

/* ---- lists of addresses ---------------------------------------------------------------------------------------------- */

/* One line of a file, without its comment and the blanks around it. False: complained. */
static bool line_read(
	struct access_reader *access, struct address_set *set, const char *path, unsigned number, char *line)
{
	char why[ADDRESS_SET_WHY_MAX];

	line[strcspn(line, "#\r\n")] = '\0';
	line += strspn(line, " \t");
	size_t len = strlen(line);
	while (len && strchr(" \t", line[len - 1]))
		line[--len] = '\0';
	if (!len || address_set_insert(set, line, why) == 0)
		return true;
	reader_error_in(access->reader, path, number, "%s", why);
	access->wrong = true;
	return false;
}

static void file_read(
	struct access_reader *access, struct address_set *set, const struct setting *at, const char *path)
{
	unsigned number = 0, errors = 0;
	char *line = NULL;
	size_t room = 0;
	FILE *from = path[0] == '/' ? fopen(path, "re") : NULL;

	if (path[0] != '/') {
		reader_error(access->reader, at, "`file:%.80s', expected an absolute path behind `file:'", path);
		access->wrong = true;
		return;
	}
	if (!from) {
		reader_error(access->reader, at, "`%s' cannot be read: %s", path, strerror(errno));
		access->wrong = true;
		return;
	}
	while (errors < FILE_ERRORS_MAX && (errno = 0, getline(&line, &room, from)) > 0)
		errors += !line_read(access, set, path, ++number, line);
	if (errors == FILE_ERRORS_MAX)
		reader_error_in(access->reader, path, number, "too many errors, the rest of the file was not read");
	else if (ferror(from))
		reader_error(access->reader, at, "`%s' cannot be read: %s", path, strerror(errno));
	free(line);
	fclose(from);
}

/* The strings of a list as one text; past a certain length only their number. */
static const char *list_text(struct access_reader *access, const struct setting *at)
{
	size_t count = setting_count(at);
	const char *text = NULL;

	for (size_t i = 0; i < count; i++) {
		if (text && strlen(text) > TEXT_MAX)
			return arena_printf(access->arena, "%s, and %zu more", text, count - i);
		text = arena_printf(access->arena, "%s%s%s", text ? text : "", text ? ", " : "",
			setting_text(setting_item(at, i)));
	}
	return text;
}

static const struct address_set *addresses_read(
	struct access_reader *access, const struct setting *at, const char **ret_text)
{
	struct address_set *set = address_set_new();
	char why[ADDRESS_SET_WHY_MAX];

	access->wrong = false;
	for (size_t i = 0; i < setting_count(at); i++) {
		const struct setting *item = setting_item(at, i);
		const char *text = setting_text(item);
		if (strncmp(text, FILE_PREFIX, FILE_PREFIX_LEN) == 0) {
			file_read(access, set, item, text + FILE_PREFIX_LEN);
		} else if (address_set_insert(set, text, why) < 0) {
			reader_error(access->reader, item, "%s", why);
			access->wrong = true;
		}
	}
	const struct address_set *kept = address_set_keep(set, access->arena);
	address_set_free(set);
	*ret_text = list_text(access, at);
	if (strstr(*ret_text, FILE_PREFIX))
		*ret_text =
			arena_printf(access->arena, "%s (%zu entries in all)", *ret_text, address_set_count(kept));
	return kept;
}

/* ---- hours and rates ------------------------------------------------------------------------------------------------ */

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

/* ---- all of it ------------------------------------------------------------------------------------------------------- */

bool access_read(struct reader *reader, struct arena *arena, const struct values *values, size_t first, size_t n_keys,
	struct access *ret)
{
	struct access_reader access = { .reader = reader, .arena = arena };
	const struct setting *const *value = &values->value[first];
	bool given = false;

	for (size_t i = 0; i < n_keys; i++)
		given = given || values->given[first + i];
	if (value[ACCESS_ALLOW]) {
		ret->allow = addresses_read(&access, value[ACCESS_ALLOW], &ret->allow_text);
		if (address_set_count(ret->allow) == 0 && !access.wrong)
			reader_error(
				reader, value[ACCESS_ALLOW], "`allow' lets nobody in, expected at least one entry");
	}
	if (value[ACCESS_DENY])
		ret->deny = addresses_read(&access, value[ACCESS_DENY], &ret->deny_text);
	if (value[ACCESS_HOURS]) {
		ret->hours = hours_read(&access, value[ACCESS_HOURS]);
		ret->hours_text = list_text(&access, value[ACCESS_HOURS]);
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

void access_compile(struct compiler *compiler, uint32_t number, const struct values *values)
{
	struct service *service = &compiler->policy->services[number];
	const struct setting *asks = values->value[SERVICE_ACCESS + ACCESS_PROGRAM];
	struct access *access = arena_alloc(compiler->arena, sizeof(*access));
	bool given = access_read(compiler->reader, compiler->arena, values, SERVICE_ACCESS, ACCESS_COUNT, access);

	access->per_source = (uint32_t)values_number(values, SERVICE_ACCESS + ACCESS_PER_SOURCE);
	access->max_connections = (uint32_t)values_number(values, SERVICE_ACCESS + ACCESS_MAX_CONNECTIONS);
	if (asks)
		service->asks = asks_compile(compiler, asks);
	if (values->given[SERVICE_EXEC] || values->given[SERVICE_ACCESS + ACCESS_MAX_STARTUPS] ||
		values->given[SERVICE_ACCESS + ACCESS_MAX_STARTUPS_PER_SOURCE])
		startups_compile(compiler, values, access);
	if (given || access->program)
		service->access = access;
}
