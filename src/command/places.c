/* Looks at paths that are to be written, before anybody relies on them. Refuses to make, open for long or change anything. Owns nothing. */
#include "places.h"
#include "fd.h"
#include "file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
	const struct policy *policy;
	struct complaints *complaints;
	const char *what; /* "pid file" */
	const char *path;
	unsigned line;
	enum complaint_kind kind; /* of what `run` would say of it */
};

static void complain(const struct place *place, int error, const char *where, const char *format)
{
	char text[PATH_MAX + 64];
	bool is_mine = (error == -EACCES || error == -EPERM) && geteuid() != 0;

	snprintf(text, sizeof(text), format, where);
	complaint_add(place->complaints, is_mine ? COMPLAINT_WARNING : place->kind, place->policy->file, place->line,
		"%s %s: %s%s%s%s", place->what, place->path, text, error ? ": " : "", error ? file_error(error) : "",
		is_mine ? ", for the user that asks" : "");
}

/* The folder that the file is made in. */
static void check_folder(const struct place *place, bool is_made)
{
	char folder[PATH_MAX];
	struct stat status;
	const char *slash = strrchr(place->path, '/');

	snprintf(folder, sizeof(folder), "%.*s", slash > place->path ? (int)(slash - place->path) : 1, place->path);
	if (stat(folder, &status) < 0) {
		const struct place above = { .policy = place->policy,
			.complaints = place->complaints,
			.what = place->what,
			.path = folder,
			.line = place->line,
			.kind = place->kind };
		if (errno == ENOENT && is_made)
			check_folder(&above, false);
		else
			complain(place, -errno, folder, "folder %s");
	} else if (!S_ISDIR(status.st_mode)) {
		complain(place, 0, folder, "%s is no folder");
	} else if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) < 0) {
		complain(place, -errno, folder, "cannot write in folder %s");
	}
}

static void check_log(const struct place *place)
{
	char file[PATH_MAX];

	if (file_descriptor(place->path) >= 0) /* which of them `run` will have is its caller's to say */
		return;
	int fd = file_follow(place->path, file);
	if (fd == 0)
		fd = file_append(file, 0640);
	const struct place made = { .policy = place->policy,
		.complaints = place->complaints,
		.what = place->what,
		.path = file,
		.kind = place->kind };
	if (fd == -ENOENT)
		check_folder(&made, false);
	else if (fd < 0)
		complain(place, fd, "", "cannot be written%s");
	fd_close(fd < 0 ? -1 : fd);
}

/* What stands there already must be of the kind that usher replaces. */
static void check_entry(const struct place *place, mode_t kind, const char *expected, bool is_made)
{
	struct stat status;

	if (lstat(place->path, &status) == 0 && (status.st_mode & S_IFMT) != kind)
		complain(place, 0, expected, "something else stands there, expected %s or nothing");
	else
		check_folder(place, is_made);
}

void places_check(const struct policy *policy, struct complaints *complaints)
{
	struct place place = { .policy = policy, .complaints = complaints };

	if (policy->log_sink == SINK_FILE) {
		place.what = "log", place.path = policy->log_file;
		check_log(&place);
	}
	if (policy->pid_file) {
		place.what = "pid file", place.path = policy->pid_file;
		check_entry(&place, S_IFREG, "a regular file", false);
	}
	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct listener_policy *listener = &policy->listeners[i];
		if (address_is_ip(&listener->address))
			continue;
		place.what = "listener", place.path = listener->address.un.sun_path, place.line = listener->line;
		check_entry(&place, S_IFSOCK, "a socket", false);
	}
	if (policy->control) {
		place.what = "control socket", place.path = policy->control, place.line = 0;
		place.kind = COMPLAINT_WARNING;
		check_entry(&place, S_IFSOCK, "a socket", true);
	}
}
