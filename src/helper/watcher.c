/* The watcher's process. It reads the configuration to know its files, as the compiler does and with the same rights, and what it says to
 * the master is a byte. Refuses to tell of files that are still being written: it waits until they were left alone for a moment, but
 * not for ever. Owns the list of files. */
#include "watcher.h"
#include "helper_process.h"
#include "ipc.h"
#include "sources.h"
#include "timer.h"
#include "watch_list.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUIET_MS 200
#define MOST_MS  2000
#define LOOK_MS  10000 /* where the kernel does not tell */

struct watcher {
	const char *file;
	int channel;
	struct sources sources;
	char *state; /* of the sources, a line each */
	bool looks;  /* and said so */
};

static void say(const struct watcher *watcher, char what)
{
	if (ipc_send_waiting(watcher->channel, &what, sizeof(what)) < 0)
		_exit(0);
}

/* ---- the files ---- */

static void state_write(FILE *to, const struct source *source)
{
	struct stat status;

	fprintf(to, "%s", source->path);
	if (source->is_pattern)
		fputs(" *\n", to);
	else if (stat(source->path, &status) < 0)
		fprintf(to, " %d\n", errno);
	else
		fprintf(to, " %ju %ju %jd %jd.%09ld %jd.%09ld\n", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino,
			(intmax_t)status.st_size, (intmax_t)status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
			(intmax_t)status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
}

/* True: the files are others than at the look before, or have changed. */
static bool look(struct watcher *watcher)
{
	char *state = NULL;
	size_t len;
	FILE *to = open_memstream(&state, &len);

	if (!to)
		abort();
	sources_free(&watcher->sources);
	sources_read(watcher->file, &watcher->sources);
	for (size_t i = 0; i < watcher->sources.n; i++)
		state_write(to, &watcher->sources.list[i]);
	if (fclose(to) != 0)
		abort();
	bool differs = watcher->state && strcmp(watcher->state, state) != 0;
	free(watcher->state);
	watcher->state = state;
	return differs;
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

/* Of a link, the link and what it leads to. */
static bool changed_since(const struct watcher *watcher, const struct timespec *since)
{
	struct stat status;

	for (size_t i = 0; i < watcher->sources.n; i++) {
		const struct source *source = &watcher->sources.list[i];
		if (source->is_pattern)
			continue;
		if ((lstat(source->path, &status) == 0 && is_later(&status.st_ctim, since)) ||
			(stat(source->path, &status) == 0 && is_later(&status.st_ctim, since)))
			return true;
	}
	return false;
}

/* ---- waiting ---- */

/* Until something has happened to the files (true), or for so long. */
static bool wait_for_event(const struct watcher *watcher, struct watch_list *list, int ms)
{
	uint64_t end_us = ms < 0 ? 0 : clock_monotonic_us() + (uint64_t)ms * 1000;

	for (;;) {
		uint64_t now_us = clock_monotonic_us();
		int left = ms < 0 ? -1 : now_us >= end_us ? 0 : (int)((end_us - now_us + 999) / 1000);
		struct pollfd fds[] = {
			{ .fd = watcher->channel, .events = POLLIN },
			{ .fd = list ? watch_list_fd(list) : -1, .events = POLLIN },
		};
		int n = poll(fds, 2, left);
		if (fds[0].revents) /* the master says nothing: it has closed it */
			_exit(0);
		if (n > 0 && watch_list_read(list))
			return true;
		if (n == 0 && left == 0)
			return false;
	}
}

static void wait_until_quiet(const struct watcher *watcher, struct watch_list *list)
{
	uint64_t end_us = clock_monotonic_us() + MOST_MS * 1000;

	while (wait_for_event(watcher, list, QUIET_MS) && clock_monotonic_us() < end_us)
		;
}

static void __attribute__((noreturn)) watcher_run(struct watcher *watcher, const struct timespec *since)
{
	look(watcher);
	if (changed_since(watcher, since))
		say(watcher, WATCHER_CHANGED);
	for (;;) {
		struct watch_list *list = watch_list_new(&watcher->sources);
		bool is_whole = list && watch_list_is_whole(list);
		if (!is_whole && !watcher->looks)
			say(watcher, WATCHER_LOOKS);
		watcher->looks = !is_whole;
		/* What happened before the kernel was asked is seen now. */
		if (!look(watcher)) {
			if (wait_for_event(watcher, list, is_whole ? -1 : LOOK_MS))
				wait_until_quiet(watcher, list);
			if (look(watcher))
				say(watcher, WATCHER_CHANGED);
		} else {
			say(watcher, WATCHER_CHANGED);
		}
		watch_list_free(list);
	}
}

static void __attribute__((noreturn))
watcher_main(const char *file, const struct timespec *since, pid_t master, int channel)
{
	static const int ignored[] = { SIGINT, SIGHUP, SIGTERM, SIGPIPE };
	struct watcher watcher = { .file = file, .channel = channel };

	int error = helper_process_begin(&(struct helper_process){
		.role = "watcher",
		.parent = master,
		.ignored = ignored,
		.n_ignored = sizeof(ignored) / sizeof(ignored[0]),
		.n_null = 3,
		.keep = &watcher.channel,
		.n_keep = 1,
	});
	if (error < 0)
		_exit(1);
	watcher_run(&watcher, since);
}

int watcher_start(const char *file, const struct timespec *since, pid_t *ret_pid, int *ret_channel)
{
	pid_t master = getpid();
	int channel;
	pid_t pid = helper_process_fork(&channel);

	if (pid == 0)
		watcher_main(file, since, master, channel);
	if (pid < 0)
		return pid;
	*ret_pid = pid;
	*ret_channel = channel;
	return 0;
}
