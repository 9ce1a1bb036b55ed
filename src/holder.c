/* Who holds a port: the inode of a listening socket from /proc/net, then the process that has it open. Only ever used on
 * the way out, with an error to explain. */
#include "holder.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TCP_LISTEN_STATE 10 /* in /proc/net/tcp */

static unsigned long listening_inode(const char *table, unsigned port)
{
	char line[512];
	unsigned long inode = 0;
	FILE *file = fopen(table, "re");

	while (file && !inode && fgets(line, sizeof(line), file)) {
		unsigned local_port, state;
		unsigned long found;
		if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu", &local_port,
			    &state, &found) == 3 &&
			local_port == port && state == TCP_LISTEN_STATE)
			inode = found;
	}
	if (file)
		fclose(file);
	return inode;
}

static bool process_has_socket(const char *pid, const char *link)
{
	char path[300], target[64];
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	DIR *fds = opendir(path);
	for (struct dirent *entry; fds && !found && (entry = readdir(fds));) {
		ssize_t n = readlinkat(dirfd(fds), entry->d_name, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		found = strcmp(target, link) == 0;
	}
	if (fds)
		closedir(fds);
	return found;
}

static void describe_process(const char *pid, char *ret, size_t size)
{
	char path[300], name[32] = "a process";
	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	FILE *file = fopen(path, "re");
	if (file) {
		if (fgets(name, sizeof(name), file))
			name[strcspn(name, "\n")] = '\0';
		fclose(file);
	}
	snprintf(ret, size, "%s, pid %s", name, pid);
}

bool holder_of_port(const struct address *address, char *ret, size_t size)
{
	char link[64];
	bool found = false;

	if (!address_is_ip(address))
		return false;
	const char *table = address->sa.sa_family == AF_INET6 ? "/proc/net/tcp6" : "/proc/net/tcp";
	unsigned long inode = listening_inode(table, address_port(address));
	if (!inode && address->sa.sa_family == AF_INET) /* by a socket that serves both families */
		inode = listening_inode("/proc/net/tcp6", address_port(address));
	if (!inode)
		return false;

	snprintf(link, sizeof(link), "socket:[%lu]", inode);
	DIR *processes = opendir("/proc");
	for (struct dirent *entry; processes && !found && (entry = readdir(processes));) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || !process_has_socket(entry->d_name, link))
			continue;
		describe_process(entry->d_name, ret, size);
		found = true;
	}
	if (processes)
		closedir(processes);
	return found;
}
