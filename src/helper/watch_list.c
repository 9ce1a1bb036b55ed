/* inotify for each name on the way to a file:
 *
 *	/etc/usher/usher.conf -> ..data/usher.conf      in /: etc; in /etc: usher; in /etc/usher: usher.conf,
 *	/etc/usher/..data -> ..2026_12_01               ..data and ..2026_12_01; in ..2026_12_01: usher.conf
 *
 * and for the file itself, which may be mounted there alone: then writes to it are no events of the directory. Other names in these
 * directories wake nobody up for longer than it takes to compare them.
 *
 * Refuses to follow more links than the kernel does. Owns the descriptor and the names. */
#include "watch_list.h"
#include "fd.h"
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40

#define DIRECTORY_EVENTS                                                                                             \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_ONLYDIR)
#define FILE_EVENTS (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

struct entry {
	int wd;
	char *name; /* NULL: any */
};

struct watch_list {
	int fd;
	bool is_partial;
	struct entry *entries;
	size_t n;
};

/* A directory that is not there, or may not be read, is on the way of nothing that could be read. */
static void entry_add(struct watch_list *list, const char *path, uint32_t events, const char *name)
{
	int wd = inotify_add_watch(list->fd, path, events);

	if (wd < 0) {
		list->is_partial = list->is_partial || (errno != ENOENT && errno != ENOTDIR && errno != EACCES);
		return;
	}
	for (size_t i = 0; name && i < list->n; i++)
		if (list->entries[i].wd == wd && list->entries[i].name && strcmp(list->entries[i].name, name) == 0)
			return;
	char *copy = name ? strdup(name) : NULL;
	list->entries = reallocarray(list->entries, list->n + 1, sizeof(*list->entries));
	if (!list->entries || (name && !copy))
		abort();
	list->entries[list->n++] = (struct entry){ wd, copy };
}

/* The rest of the way continues with what the link says. False: that is too long. */
static bool link_follow(const char *link, char *rest, char *folder)
{
	char target[PATH_MAX], joined[PATH_MAX];
	ssize_t len = readlink(link, target, sizeof(target) - 1);

	if (len <= 0)
		return false;
	target[len] = '\0';
	if (snprintf(joined, sizeof(joined), "%s/%s", target, rest) >= (int)sizeof(joined))
		return false;
	strcpy(rest, joined);
	if (target[0] == '/')
		strcpy(folder, "/");
	return true;
}

static void way_add(struct watch_list *list, const char *path)
{
	char folder[PATH_MAX], rest[PATH_MAX], at[PATH_MAX], name[NAME_MAX + 1];
	struct stat status;
	unsigned links = 0;

	if (snprintf(rest, sizeof(rest), "%s", path) >= (int)sizeof(rest))
		return;
	strcpy(folder, path[0] == '/' ? "/" : ".");
	for (;;) {
		size_t skip = strspn(rest, "/"), len = strcspn(rest + skip, "/");
		if (len == 0 || len > NAME_MAX)
			return;
		memcpy(name, rest + skip, len);
		name[len] = '\0';
		memmove(rest, rest + skip + len, strlen(rest + skip + len) + 1);
		entry_add(list, folder, DIRECTORY_EVENTS, name);
		if (snprintf(at, sizeof(at), "%s%s%s", folder, strcmp(folder, "/") == 0 ? "" : "/", name) >=
				(int)sizeof(at) ||
			lstat(at, &status) < 0)
			return;
		if (!S_ISLNK(status.st_mode))
			strcpy(folder, at);
		else if (++links > LINKS_MAX || !link_follow(at, rest, folder))
			return;
	}
}

/* All that the pattern looks into, each directory that matches its beginning. */
static void pattern_add(struct watch_list *list, const char *pattern)
{
	bool is_wild = false;

	for (const char *at = pattern, *end; *at; at = end) {
		at += strspn(at, "/");
		end = at + strcspn(at, "/");
		for (const char *c = at; c < end; c++) {
			if (*c == '\\' && c + 1 < end)
				c++;
			else if (strchr("*?[", *c))
				is_wild = true;
		}
		if (!is_wild)
			continue;
		char *before = strndup(pattern, (size_t)(at - pattern));
		glob_t found = { 0 };
		if (!before)
			abort();
		if (glob(*before ? before : ".", 0, NULL, &found) == 0)
			for (size_t i = 0; i < found.gl_pathc; i++) {
				way_add(list, found.gl_pathv[i]);
				entry_add(list, found.gl_pathv[i], DIRECTORY_EVENTS, NULL);
			}
		globfree(&found);
		free(before);
	}
	if (!is_wild)
		way_add(list, pattern);
}

/* Where the directory of a pattern is not there yet, it may come. */
static void pattern_parents_add(struct watch_list *list, const char *pattern)
{
	char *plain = strndup(pattern, strcspn(pattern, "*?[")), *to = plain;

	if (!plain)
		abort();
	for (const char *from = plain; *from; from++) {
		from += *from == '\\' && from[1];
		*to++ = *from;
	}
	*to = '\0';
	char *slash = strrchr(plain, '/');
	if (slash) {
		*slash = '\0';
		way_add(list, plain);
	}
	free(plain);
}

struct watch_list *watch_list_new(const struct sources *sources)
{
	struct watch_list *list = calloc(1, sizeof(*list));

	if (!list)
		return NULL;
	list->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (list->fd < 0) {
		free(list);
		return NULL;
	}
	for (size_t i = 0; i < sources->n; i++) {
		const struct source *source = &sources->list[i];
		if (source->is_pattern) {
			pattern_parents_add(list, source->path);
			pattern_add(list, source->path);
		} else {
			way_add(list, source->path);
			entry_add(list, source->path, FILE_EVENTS, NULL);
		}
	}
	return list;
}

void watch_list_free(struct watch_list *list)
{
	if (!list)
		return;
	for (size_t i = 0; i < list->n; i++)
		free(list->entries[i].name);
	free(list->entries);
	fd_close(list->fd);
	free(list);
}

int watch_list_fd(const struct watch_list *list)
{
	return list->fd;
}

bool watch_list_is_whole(const struct watch_list *list)
{
	return !list->is_partial;
}

static bool is_ours(const struct watch_list *list, const struct inotify_event *event)
{
	if (event->mask & (IN_Q_OVERFLOW | IN_UNMOUNT | IN_IGNORED))
		return true;
	for (size_t i = 0; i < list->n; i++) {
		const struct entry *entry = &list->entries[i];
		if (entry->wd == event->wd && (!entry->name || (event->len && strcmp(entry->name, event->name) == 0)))
			return true;
	}
	return false;
}

bool watch_list_read(struct watch_list *list)
{
	_Alignas(struct inotify_event) char buffer[16384];
	bool ours = false;
	ssize_t n;

	while ((n = read(list->fd, buffer, sizeof(buffer))) > 0) {
		const struct inotify_event *event;
		for (char *at = buffer; at < buffer + n; at += sizeof(*event) + event->len) {
			event = (const struct inotify_event *)at;
			ours = ours || is_ours(list, event);
		}
	}
	return ours;
}
