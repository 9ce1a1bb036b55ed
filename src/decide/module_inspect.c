/* A look at a module, from a safe distance: a child process without privileges loads it, runs its init and
 * reports what it registered. The child writes into a pipe, and is killed with all that it started once it
 * has said everything, died, or taken too long.
 *
 * Refuses, before any of that, a path without a slash (the loader would search for it), what is no file, and
 * as root what somebody else could have written. The child takes nothing along but the pipe. What comes out
 * is in the caller's arena. */
#include "failure.h"
#include "fd.h"
#include "helper_process.h"
#include "module_host.h"
#include "module_report.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- the file ---- */

/* Who but root could change what is here? NULL: nobody. With the sticky bit others may add to a folder, but
 * not touch what is root's in it. */
static const char *place_fault(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return strerrordesc_np(errno);
	if (st.st_uid != 0)
		return "does not belong to root";
	if (S_ISDIR(st.st_mode) && st.st_mode & S_ISVTX)
		return NULL;
	return st.st_mode & (S_IWGRP | S_IWOTH) ? "can be written by others than root" : NULL;
}

/* The file and every folder above it; `path` is absolute and is cut on the way. */
static int places_check(char *path, const char *module, char *error, size_t size)
{
	for (;;) {
		const char *fault = place_fault(*path ? path : "/");
		if (fault) {
			snprintf(error, size, "module `%s': `%s' %s", module, *path ? path : "/", fault);
			return -EPERM;
		}
		if (!*path)
			return 0;
		*strrchr(path, '/') = 0;
	}
}

static int file_check(const char *module, char *error, size_t size)
{
	char path[PATH_MAX], *real;
	struct stat st;
	int r = 0;

	if (!strchr(module, '/')) {
		snprintf(error, size, "module `%s': expected a path with a `/' in it", module);
		return -EINVAL;
	}
	if (stat(module, &st) < 0)
		r = -errno;
	else if (!S_ISREG(st.st_mode))
		r = S_ISDIR(st.st_mode) ? -EISDIR : -ENOEXEC;
	if (r < 0) {
		snprintf(error, size, "module `%s': %s, expected a shared object", module,
			r == -ENOEXEC ? "not a file" : strerrordesc_np(-r));
		return r;
	}
	if (geteuid() != 0)
		return 0;
	if (!(real = realpath(module, NULL)))
		return -errno;
	r = places_check(real, module, error, size);
	free(real);
	/* And the folders of the name itself, where a link could be put in another's place. */
	if (r == 0 && module[0] == '/' && (size_t)snprintf(path, sizeof(path), "%s", module) < sizeof(path)) {
		*strrchr(path, '/') = 0;
		r = places_check(path, module, error, size);
	}
	return r;
}

/* ---- the child ---- */

struct looker {
	struct module_use *use;
	const struct module_inspection *how;
	pid_t parent;
	int fd;
	struct report_head head;
	struct report_probe probes[USHER_PROBES_MAX];
};

static void looker_write(int fd, const void *bytes, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = write(fd, (const char *)bytes + at, len - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(1); /* nobody reads it any more */
		at += (size_t)n;
	}
}

static int probe_note(struct module_host *host, const struct usher_probe *probe)
{
	struct looker *looker = host->context;

	if (looker->how->is_taken && looker->how->is_taken(looker->how->context, probe->name))
		return -EEXIST;
	struct report_probe *note = &looker->probes[looker->head.n_probes++];
	*note = (struct report_probe){ .priority = probe->priority, .attributes = probe->attributes };
	strcpy(note->name, probe->name);
	return 0;
}

/* Nothing of ours stays reachable, and nothing of its misfortune shows: no core, no terminal. */
static int looker_confine(struct looker *looker)
{
	const struct rlimit no_core = { 0, 0 };

	setpgid(0, 0);
	setrlimit(RLIMIT_CORE, &no_core);
	return helper_process_begin(&(struct helper_process){
		.parent = looker->parent,
		.ignored = (int[]){ 0 }, /* none of them: all have their default effect */
		.n_null = 3,
		.keep = &looker->fd,
		.n_keep = 1,
		.drop_privileges = true,
		.drop_identity = looker->how->drop_identity,
		.uid = looker->how->uid,
		.gid = looker->how->gid,
	});
}

static int looker_look(struct looker *looker)
{
	char *sentence = looker->head.sentence;
	size_t size = sizeof(looker->head.sentence);
	module_init_function *init;
	struct module_host *host;

	int r = looker_confine(looker);
	if (r == 0)
		r = module_host_new(&host, looker->use);
	if (r != 0) {
		snprintf(sentence, size, "module `%s' cannot be looked at: %s", looker->use->path, failure_text(r));
		return r;
	}
	host->take = probe_note;
	host->context = looker;
	looker_write(looker->fd, &(char){ REPORT_LOADING }, 1);
	r = module_load(looker->use->path, &init, sentence, size);
	if (r < 0)
		return r;
	looker_write(looker->fd, &(char){ REPORT_INIT }, 1);
	return module_host_init(host, init, sentence, size);
}

static void __attribute__((noreturn)) looker_run(struct looker *looker)
{
	struct module_use *use = looker->use;

	for (size_t i = 0; i < use->n_settings; i++)
		use->settings[i].asked = false;
	looker->head.error = looker_look(looker);
	looker->head.n_settings = (uint32_t)use->n_settings;
	looker_write(looker->fd, &(char){ REPORT_DONE }, 1);
	looker_write(looker->fd, &looker->head, sizeof(looker->head));
	looker_write(looker->fd, looker->probes, looker->head.n_probes * sizeof(looker->probes[0]));
	for (size_t i = 0; i < use->n_settings; i++)
		looker_write(looker->fd, &(uint8_t){ use->settings[i].asked }, 1);
	_exit(0);
}

/* ---- the parent ---- */

struct watcher {
	pid_t child;
	int fd;
	uint64_t deadline_ms;
	uint8_t *bytes; /* REPORT_MAX + 1 of room: one more than any report has */
	size_t len;
	struct report report;
	int status; /* of the child, once it is gone; -1: it had to be killed */
};

static uint64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* More of the report. 0 at its end, -ETIME, or -errno. */
static int watcher_read(struct watcher *watcher)
{
	while (watcher->len < REPORT_MAX + 1) {
		uint64_t now = clock_ms();
		struct pollfd poll_fd = { .fd = watcher->fd, .events = POLLIN };
		if (now >= watcher->deadline_ms)
			return -ETIME;
		if (poll(&poll_fd, 1, (int)(watcher->deadline_ms - now)) <= 0)
			continue; /* the time is over, or a signal came */
		ssize_t n = read(watcher->fd, watcher->bytes + watcher->len, REPORT_MAX + 1 - watcher->len);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		watcher->len += n > 0 ? (size_t)n : 0;
		if (report_parse(watcher->bytes, watcher->len, &watcher->report) != -EAGAIN)
			return 0;
	}
	return 0;
}

/* How it ended by itself, for which a moment is left to it; or kills it. The group is all that it started. */
static void watcher_reap(struct watcher *watcher, bool wait)
{
	const struct timespec moment = { 0, 1000000 };
	pid_t gone = 0;

	watcher->status = -1;
	while (wait && gone == 0 && clock_ms() < watcher->deadline_ms) {
		gone = waitpid(watcher->child, &watcher->status, WNOHANG);
		if (gone == 0)
			nanosleep(&moment, NULL);
	}
	kill(-watcher->child, SIGKILL);
	if (gone != 0)
		return;
	kill(watcher->child, SIGKILL); /* it may not have got as far as having a group */
	while (waitpid(watcher->child, NULL, 0) < 0 && errno == EINTR) {
	}
}

/* The child's death, put into words. */
static int watcher_complain(const struct watcher *watcher, const struct module_use *use, unsigned limit_ms, bool late,
	char *error, size_t size)
{
	const char *where = watcher->report.phase == REPORT_INIT ? "in its init" : "while it was loaded";
	int status = watcher->status;

	if (late || status == -1)
		snprintf(error, size, "module `%s' is not ready after %g s, %s", use->path, limit_ms / 1000.0, where);
	else if (WIFSIGNALED(status))
		snprintf(error, size, "module `%s' crashed %s: %s", use->path, where, strsignal(WTERMSIG(status)));
	else
		snprintf(error, size, "module `%s' ended the process %s, with status %d", use->path, where,
			WEXITSTATUS(status));
	return late ? -ETIME : -ECHILD;
}

static int report_take(
	const struct report *report, struct module_use *use, struct arena *arena, char *error, size_t size)
{
	if (report->head.error < 0) {
		snprintf(error, size, "%s", report->head.sentence);
		return report->head.error;
	}
	if (report->head.n_settings != use->n_settings) {
		snprintf(error, size, "module `%s' disturbed the process that looks at it", use->path);
		return -EBADMSG;
	}
	struct module_probe *probes = arena_alloc(arena, report->head.n_probes * sizeof(*probes));
	for (size_t i = 0; i < report->head.n_probes; i++) {
		struct report_probe probe;
		report_probe_read(report, i, &probe);
		probes[i] = (struct module_probe){ .name = arena_strdup(arena, probe.name),
			.priority = probe.priority,
			.attributes = probe.attributes };
	}
	use->probes = probes;
	use->n_probes = report->head.n_probes;
	for (size_t i = 0; i < use->n_settings; i++)
		use->settings[i].asked = report->asked[i];
	return 0;
}

static int watcher_run(struct watcher *watcher, struct module_use *use, unsigned limit_ms, struct arena *arena,
	char *error, size_t size)
{
	watcher->deadline_ms = clock_ms() + limit_ms;
	int r = watcher_read(watcher);
	/* The caller frees what the watcher has. NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	int parsed = report_parse(watcher->bytes, watcher->len, &watcher->report);
	watcher_reap(watcher, r == 0 && parsed == -EAGAIN);
	if (parsed == 0)
		return report_take(&watcher->report, use, arena, error, size);
	if (parsed == -EAGAIN && (r == 0 || r == -ETIME))
		return watcher_complain(watcher, use, limit_ms, r == -ETIME, error, size);
	snprintf(error, size, "module `%s' disturbed the process that looks at it", use->path);
	return -EBADMSG;
}

int module_inspect(
	struct module_use *use, const struct module_inspection *how, struct arena *arena, char *error, size_t size)
{
	struct watcher watcher = { .bytes = malloc(REPORT_MAX + 1) };
	struct looker *looker = calloc(1, sizeof(*looker));
	int fds[2] = { -1, -1 };

	int r = file_check(use->path, error, size);
	if (r < 0)
		goto out;
	pid_t parent = getpid();
	if (!watcher.bytes || !looker || pipe2(fds, O_CLOEXEC) < 0 || (watcher.child = fork()) < 0) {
		r = watcher.bytes && looker ? -errno : -ENOMEM;
		snprintf(error, size, "module `%s' cannot be looked at: %s", use->path, strerrordesc_np(-r));
		goto out;
	}
	if (watcher.child == 0) {
		if (arena_part(arena) < 0)
			_exit(1);
		looker->parent = parent;
		looker->use = use;
		looker->how = how;
		looker->fd = fds[1];
		looker_run(looker);
	}
	fd_close(fds[1]);
	fds[1] = -1;
	watcher.fd = fds[0];
	r = watcher_run(&watcher, use, how->limit_ms ? how->limit_ms : MODULE_INIT_LIMIT_MS, arena, error, size);
out:
	fd_close(fds[0]);
	fd_close(fds[1]);
	free(looker);
	free(watcher.bytes);
	return r;
}
