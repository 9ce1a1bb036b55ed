/* Hours of the week at which something is open.
 *
 * Text: days, a time of day to a time of day, and perhaps an IANA time zone: "Mon-Fri 07:00-19:00", "Sat,Sun 10:00-02:00" (until two the
 * next morning), "daily 00:00-24:00", "Fri-Mon 22:00-06:00 Europe/Berlin". Days are Mon Tue Wed Thu Fri Sat Sun, singly, in ranges, in
 * lists with commas, or "daily"; case does not matter. Times are "HH:MM", 00:00 to 23:59, the second one up to 24:00; it is
 * the first minute that is not open. Without a zone the machine's own is meant.
 *
 * Whoever looks a time up may open no files. So the changes of each zone's offset are computed when the text is read, for
 * SCHEDULE_YEARS ahead; after that the last one stays in force. What is open is told in local time: an hour that the
 * clocks skip is never open, one that they repeat is open twice. */
#pragma once
#include "arena.h"
#include <stdbool.h>
#include <time.h>

#define SCHEDULE_YEARS   4
#define SCHEDULE_WHY_MAX 256

struct schedule;

struct schedule *schedule_new(struct arena *arena); /* never open, until entries are added */

/* 0, or -EINVAL with what is wrong and what was expected in `ret_why`. `now` is when the changes of offset begin to count.
 * Opens files and changes the process's time zone for a moment: one thread, and not in a worker. */
int schedule_add(struct schedule *schedule, const char *text, time_t now, char ret_why[SCHEDULE_WHY_MAX]);

/* Does any entry cover this moment? */
bool schedule_covers(const struct schedule *schedule, time_t at);
