/* Shows that something is still done. Either by a timer, for who does one thing that takes long, or counted by who does it. */
#include "progress.h"
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define ERASE "\r\033[K" /* ECMA-48 8.3.41: the rest of the line */

static const char *what; /* NULL: nothing is shown */
static bool is_shown;
static unsigned seconds;

static void show(const char *before, const char *between, unsigned long number, const char *after)
{
	char line[128] = ERASE, digits[24];
	size_t at = sizeof(digits), len = sizeof(ERASE) - 1;

	/* snprintf() is none of the functions that a signal's handler may call. */
	for (digits[--at] = '\0'; number > 0 || digits[at] == '\0'; number /= 10)
		digits[--at] = (char)('0' + number % 10);
	const char *const parts[] = { before, between, digits + at, after };
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		for (const char *c = parts[i]; *c && len < sizeof(line); c++)
			line[len++] = *c;
	is_shown = write(STDERR_FILENO, line, len) > 0 || is_shown;
}

static void tick(int signal)
{
	int error = errno;

	show(what, ": ", ++seconds, " s");
	errno = error;
}

static void tick_every(time_t interval_s)
{
	const struct itimerval timer = { .it_interval.tv_sec = interval_s, .it_value.tv_sec = interval_s };

	setitimer(ITIMER_REAL, &timer, NULL);
}

void progress_begin(const char *doing)
{
	if (!isatty(STDERR_FILENO))
		return;
	what = doing;
	seconds = 0;
	sigaction(SIGALRM, &(struct sigaction){ .sa_handler = tick, .sa_flags = SA_RESTART }, NULL);
	tick_every(1);
}

static void erase(void)
{
	what = NULL;
	if (is_shown && write(STDERR_FILENO, ERASE, sizeof(ERASE) - 1) > 0)
		is_shown = false;
}

void progress_end(void)
{
	if (!what)
		return;
	tick_every(0);
	signal(SIGALRM, SIG_DFL);
	erase();
}

void progress_count_begin(const char *counted)
{
	what = isatty(STDERR_FILENO) ? counted : NULL;
}

void progress_count(size_t done)
{
	if (done == 0)
		erase();
	else if (what)
		show("", "", done, what);
}
