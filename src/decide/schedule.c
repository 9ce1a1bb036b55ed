/* Opening hours, compiled: a bit for each minute of a local week, and for each zone the moments at which its offset from UTC
 * changes. The C library knows zones only as the process's own; so the zone is changed for a moment, and the changes are
 * found by asking for the offset every few hours and halving where it differs.
 *
 * Refuses zones that the machine does not know: the C library would take them for UTC. All memory is the arena's. */
#include "schedule.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define DAY_MINUTES  (24 * 60)
#define WEEK_MINUTES (7 * DAY_MINUTES)
#define STEP_S       (12 * 3600)
#define CHANGES_MAX  256 /* in SCHEDULE_YEARS; a zone has two a year, Morocco four */
#define BEFORE_S     (2 * 86400)
#define ZONEINFO     "/usr/share/zoneinfo"
#define EXPECTED     "expected days and times such as \"Mon-Fri 07:00-19:00\""

struct change {
	time_t at;
	long offset_s; /* from then on */
};

struct zone {
	struct zone *next;
	const char *name;             /* NULL: the machine's */
	const struct change *changes; /* the first holds before itself as well */
	size_t n_changes;
	uint64_t week[(WEEK_MINUTES + 63) / 64]; /* from Monday 00:00 */
};

struct schedule {
	struct arena *arena;
	struct zone *zones;
};

struct schedule *schedule_new(struct arena *arena)
{
	struct schedule *schedule = arena_alloc(arena, sizeof(*schedule));
	schedule->arena = arena;
	return schedule;
}

/* ---- look-up ---- */

static long zone_offset(const struct zone *zone, time_t at)
{
	size_t low = 0, high = zone->n_changes;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (zone->changes[middle].at <= at)
			low = middle;
		else
			high = middle;
	}
	return zone->changes[low].offset_s;
}

static bool zone_covers(const struct zone *zone, time_t at)
{
	int64_t local_s = (int64_t)at + zone_offset(zone, at);
	int64_t minutes = local_s / 60 - (local_s % 60 < 0);
	int64_t minute = (minutes + 3 * DAY_MINUTES) % WEEK_MINUTES; /* time began on a Thursday */

	if (minute < 0)
		minute += WEEK_MINUTES;
	return zone->week[minute / 64] >> minute % 64 & 1;
}

bool schedule_covers(const struct schedule *schedule, time_t at)
{
	for (const struct zone *zone = schedule->zones; zone; zone = zone->next)
		if (zone_covers(zone, at))
			return true;
	return false;
}

/* ---- zones ---- */

static bool zone_name_is_sound(const char *name)
{
	const char *const bytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-_/";
	return *name && *name != '/' && strspn(name, bytes) == strlen(name); /* no dot: no way out of the folder */
}

static bool zone_exists(const char *name)
{
	const char *folder = getenv("TZDIR");
	char path[4096], magic[4];

	if (strcmp(name, "UTC") == 0)
		return true;
	int len = snprintf(path, sizeof(path), "%s/%s", folder ? folder : ZONEINFO, name);
	if (len < 0 || (size_t)len >= sizeof(path))
		return false;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	bool is = read(fd, magic, sizeof(magic)) == sizeof(magic) && memcmp(magic, "TZif", 4) == 0;
	close(fd);
	return is;
}

static long offset_at(time_t at)
{
	struct tm local;
	return localtime_r(&at, &local) ? local.tm_gmtoff : 0;
}

/* The first second after `low` at which the offset is that of `high`: they differ, and change once in between. */
static time_t change_between(time_t low, time_t high)
{
	long before = offset_at(low);

	while (high - low > 1) {
		time_t middle = low + (high - low) / 2;
		if (offset_at(middle) == before)
			low = middle;
		else
			high = middle;
	}
	return high;
}

/* Of the process's zone. */
static void zone_find_changes(struct zone *zone, struct arena *arena, time_t now)
{
	struct change changes[CHANGES_MAX];
	time_t at = now - BEFORE_S, end = now + SCHEDULE_YEARS * 1461LL * 86400 / 4;
	size_t n = 0;

	changes[n++] = (struct change){ at, offset_at(at) };
	for (; at < end && n < CHANGES_MAX; at += STEP_S) {
		if (offset_at(at + STEP_S) == changes[n - 1].offset_s)
			continue;
		time_t change = change_between(at, at + STEP_S);
		changes[n++] = (struct change){ change, offset_at(change) };
	}
	zone->changes = arena_memdup(arena, changes, n * sizeof(*changes));
	zone->n_changes = n;
}

static void set_process_zone(const char *name)
{
	if (name)
		setenv("TZ", name, 1);
	else
		unsetenv("TZ");
	tzset();
}

static struct zone *zone_new(struct schedule *schedule, const char *name, time_t now)
{
	struct zone *zone = arena_alloc(schedule->arena, sizeof(*zone));
	const char *set = getenv("TZ");
	char *before = set ? strdup(set) : NULL;

	if (set && !before)
		abort();
	zone->name = name ? arena_strdup(schedule->arena, name) : NULL;
	if (name)
		set_process_zone(name);
	else
		tzset();
	zone_find_changes(zone, schedule->arena, now);
	if (name)
		set_process_zone(before);
	free(before);
	zone->next = schedule->zones;
	schedule->zones = zone;
	return zone;
}

static struct zone *zone_find(struct schedule *schedule, const char *name)
{
	struct zone *zone = schedule->zones;
	while (zone && (name ? !zone->name || strcmp(zone->name, name) != 0 : zone->name != NULL))
		zone = zone->next;
	return zone;
}

/* ---- text ---- */

static const char day_names[7][4] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

/* Three letters at *at, which moves behind them; -1: no day. */
static int day_parse(const char **at)
{
	for (int day = 0; day < 7; day++) {
		if (strncasecmp(*at, day_names[day], 3) != 0)
			continue;
		*at += 3;
		return day;
	}
	return -1;
}

/* "Mon-Fri,Sun": a bit a day from Monday, 0: wrong. `text` ends behind it. */
static unsigned days_parse(const char *text)
{
	unsigned days = 0;

	if (strcasecmp(text, "daily") == 0)
		return 0x7f;
	for (;;) {
		int first = day_parse(&text), last = first;
		if (first >= 0 && *text == '-') {
			text++;
			last = day_parse(&text);
		}
		if (first < 0 || last < 0)
			return 0;
		for (int day = first;; day = (day + 1) % 7) {
			days |= 1U << day;
			if (day == last)
				break;
		}
		if (*text == '\0')
			return days;
		if (*text++ != ',')
			return 0;
	}
}

static int two_digits(const char *text)
{
	if (text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9')
		return -1;
	return (text[0] - '0') * 10 + (text[1] - '0');
}

/* "HH:MM" in minutes, up to 24:00; -1: wrong. Looks at five bytes, or up to the first that is wrong. */
static int time_parse(const char *text)
{
	int hours = two_digits(text), minutes = -1;

	if (hours >= 0 && text[2] == ':')
		minutes = two_digits(text + 3);
	if (minutes < 0 || minutes > 59 || hours * 60 + minutes > DAY_MINUTES)
		return -1;
	return hours * 60 + minutes;
}

struct entry {
	unsigned days;
	int begin, end;   /* minutes; end beyond begin, perhaps in the next day */
	const char *zone; /* NULL: the machine's */
};

static int entry_refuse(char *ret_why, const char *text, const char *what)
{
	snprintf(ret_why, SCHEDULE_WHY_MAX, "`%.100s': %s", text, what);
	return -EINVAL;
}

/* Splits words apart in place. */
static size_t words_split(char *text, char *ret_words[4])
{
	size_t n = 0;
	char *rest = text, *word;

	while ((word = strtok_r(rest, " \t", &rest)) && n < 4)
		ret_words[n++] = word;
	return n;
}

static int entry_parse(const char *text, char *copy, struct entry *ret, char *ret_why)
{
	char *words[4];
	size_t n = words_split(copy, words);

	if (n < 2 || n > 3)
		return entry_refuse(ret_why, text, EXPECTED " and perhaps a time zone");
	*ret = (struct entry){ .days = days_parse(words[0]), .zone = n == 3 ? words[2] : NULL };
	if (!ret->days)
		return entry_refuse(
			ret_why, text, "expected days such as Mon-Fri or Sat,Sun, or daily, before the times");
	if (strlen(words[1]) != 11 || words[1][5] != '-' || (ret->begin = time_parse(words[1])) < 0 ||
		ret->begin == DAY_MINUTES || (ret->end = time_parse(words[1] + 6)) < 0)
		return entry_refuse(ret_why, text, "expected times such as 07:00-19:00, from 00:00 to 24:00");
	if (ret->begin == ret->end)
		return entry_refuse(
			ret_why, text, "opens and closes at the same time, expected 00:00-24:00 for a whole day");
	if (ret->end < ret->begin)
		ret->end += DAY_MINUTES;
	if (ret->zone && (!zone_name_is_sound(ret->zone) || !zone_exists(ret->zone)))
		return entry_refuse(ret_why, text,
			"unknown time zone, expected a name that this machine knows, such as Europe/Berlin or UTC");
	return 0;
}

int schedule_add(struct schedule *schedule, const char *text, time_t now, char ret_why[SCHEDULE_WHY_MAX])
{
	char *copy = strdup(text);
	struct entry entry;

	if (!copy)
		abort();
	int error = entry_parse(text, copy, &entry, ret_why);
	if (error == 0) {
		struct zone *zone = zone_find(schedule, entry.zone);
		if (!zone)
			zone = zone_new(schedule, entry.zone, now);
		for (int day = 0; day < 7; day++) {
			if (!(entry.days >> day & 1))
				continue;
			for (int i = entry.begin; i < entry.end; i++) {
				int minute = (day * DAY_MINUTES + i) % WEEK_MINUTES;
				zone->week[minute / 64] |= 1ULL << minute % 64;
			}
		}
	}
	free(copy);
	return error;
}
