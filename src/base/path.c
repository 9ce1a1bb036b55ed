/* Where a path leads. Folders that do not exist yet are taken as they are written, `..` included. Refuses to open anything.
 * Owns nothing. */
#include "path.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 /* the kernel's own limit */

/* Takes the last part off the end of `dst`, which has the form /a/b. */
static void path_rise(char *dst)
{
	char *slash = strrchr(dst, '/');

	if (slash)
		*slash = '\0';
}

/* Without `//`, `/./` and `/dir/..`, by the text alone. `dst` has room for as much as `src`. */
static void path_normalize(char *dst, const char *src)
{
	*dst = '\0';
	while (*src) {
		size_t n = strcspn(src, "/");
		if (n == 2 && strncmp(src, "..", 2) == 0) {
			path_rise(dst);
		} else if (n > 0 && !(n == 1 && *src == '.')) {
			size_t len = strlen(dst);
			dst[len] = '/';
			memcpy(dst + len + 1, src, n);
			dst[len + 1 + n] = '\0';
		}
		src += n + (src[n] == '/');
	}
}

/* The folder with its links resolved, a slash, and the last part as it is. */
static bool path_resolve_folder(char dst[PATH_MAX], const char *path)
{
	char folder[PATH_MAX], real[PATH_MAX];
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	if (!realpath(folder, real))
		path_normalize(real, folder);
	int n = snprintf(dst, PATH_MAX, "%s/%s", strcmp(real, "/") == 0 ? "" : real, base);
	return n > 0 && n < PATH_MAX;
}

/* Where the path leads: to a place that is no link, whether anything is there or not. */
static bool path_resolve(char dst[PATH_MAX], const char *path)
{
	char at[PATH_MAX], target[PATH_MAX];

	if (strlen(path) >= sizeof(at))
		return false;
	strcpy(at, path);
	for (int i = 0; i < LINKS_MAX; i++) {
		if (!path_resolve_folder(dst, at))
			return false;
		ssize_t n = readlink(dst, target, sizeof(target) - 1);
		if (n < 0)
			return true;
		target[n] = '\0';
		char *slash = strrchr(dst, '/');
		slash[1] = '\0';
		int len = snprintf(at, sizeof(at), "%s%s", target[0] == '/' ? "" : dst, target);
		if (len < 0 || (size_t)len >= sizeof(at))
			return false;
	}
	return false;
}

bool path_same(const char *first, const char *second)
{
	char a[PATH_MAX], b[PATH_MAX];
	struct stat x, y;

	if (strcmp(first, second) == 0)
		return true;
	if (stat(first, &x) == 0 && stat(second, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino)
		return true;
	return path_resolve(a, first) && path_resolve(b, second) && strcmp(a, b) == 0;
}
