/* Processors and the quota of control groups. A container with half a processor sees all of the machine's otherwise. Refuses to guess:
 * a file that says something else than cgroups(7) and the kernel's cgroup-v2 document limits nothing. Owns nothing past a call. */
#include "cpus.h"
#include "file.h"
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX 65536u
#define FILE_MAX 256u

static unsigned processors(void)
{
	cpu_set_t set;
	int count = sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : CPU_COUNT(&set);

	return count < 1 ? 1 : (unsigned)count;
}

/* "max" and -1 are no number that counts. */
static unsigned whole(long quota, long period)
{
	return quota > 0 && period > 0 ? (unsigned)((quota + period - 1) / period) : UINT_MAX;
}

/* A folder's quota; UINT_MAX: none. */
static unsigned quota_of(const char *folder)
{
	static const char *const names[] = { "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us" };
	long numbers[] = { 0, 0, 0 }, period = 0;
	char path[PATH_MAX + 32];

	for (size_t i = 0; i < 3; i++) {
		char *text;
		size_t len;
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		if (file_read(path, FILE_MAX, &text, &len) < 0)
			continue;
		if (sscanf(text, i == 0 ? "%ld %ld" : "%ld", &numbers[i], &period) < 1)
			numbers[i] = 0;
		free(text);
		if (i == 0)
			return whole(numbers[0], period);
	}
	return whole(numbers[1], numbers[2]);
}

/* The least of a group's quota and of all above it. In a container the group's path may be the host's, of which only the mounted root
 * is seen. */
static unsigned quota_up(const char *mounted, const char *group)
{
	unsigned least = UINT_MAX;
	char folder[PATH_MAX];

	int root = snprintf(folder, sizeof(folder), "%s", mounted);
	if (root < 0 ||
		(size_t)snprintf(folder + root, sizeof(folder) - (size_t)root, "%s", group) >=
			sizeof(folder) - (size_t)root)
		return least;
	for (;;) {
		unsigned here = quota_of(folder);
		char *slash = strrchr(folder + root, '/');
		if (here < least)
			least = here;
		if (!slash)
			return least;
		*slash = '\0';
	}
}

static bool lists_cpu(const char *controllers)
{
	for (const char *at = controllers; *at; at += strcspn(at, ","), at += *at == ',')
		if (strcspn(at, ",") == 3 && strncmp(at, "cpu", 3) == 0)
			return true;
	return false;
}

/* A line of /proc/self/cgroup: "0::/path", or "4:cpu,cpuacct:/path". */
static unsigned quota_of_line(char *line, const char *mounted)
{
	static const char *const version_2[] = { "", "/unified" }, *const version_1[] = { "/cpu", "/cpu,cpuacct" };
	char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
	unsigned least = UINT_MAX;

	if (!group)
		return least;
	*group++ = '\0';
	controllers++;
	if (*controllers && !lists_cpu(controllers))
		return least;
	for (size_t i = 0; i < 2; i++) {
		char root[PATH_MAX];
		snprintf(root, sizeof(root), "%s%s", mounted, *controllers ? version_1[i] : version_2[i]);
		unsigned here = quota_up(root, group);
		if (here < least)
			least = here;
	}
	return least;
}

unsigned cpus_available(const char *own, const char *mounted)
{
	unsigned least = processors();
	char *text, *rest;
	size_t len;

	if (file_read(own, LIST_MAX, &text, &len) < 0)
		return least;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		unsigned here = quota_of_line(line, mounted);
		if (here < least)
			least = here;
	}
	free(text);
	return least;
}
