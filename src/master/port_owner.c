/* Who holds a port: the inode of a listening socket, or of a UDP socket that has it, from /proc/net, then the process that has it open. Only ever used on
 * the way out, with an error to explain. */
#include "port_owner.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TCP_LISTEN_STATE 10 /* in /proc/net/tcp */

/* As the kernel prints it there: each 32 bits of the address as a number of this machine's byte order. */
static void table_address(const struct address *address, char ret[33])
{
	const uint32_t *words = (const uint32_t *)&address->in.sin_addr;
	size_t n_words = 1;

	if (address->sa.sa_family == AF_INET6) {
		words = (const uint32_t *)&address->in6.sin6_addr;
		n_words = 4;
	}
	for (size_t i = 0; i < n_words; i++)
		snprintf(ret + 8 * i, 9, "%08X", words[i]);
}

static bool is_any_address(const char *text)
{
	return strspn(text, "0") == strlen(text);
}

/* One on another of the machine's addresses is not in the way, unless either of the two is on all of them. */
static unsigned long holding_inode(
	const char *table, enum transport_kind transport, const char *wanted, unsigned port, uid_t *ret_owner)
{
	char line[512], local[33];
	unsigned long inode = 0;
	FILE *file = fopen(table, "re");

	while (file && !inode && fgets(line, sizeof(line), file)) {
		unsigned local_port, state, owner;
		unsigned long found;
		if (sscanf(line, " %*d: %32[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %u %*s %lu", local,
			    &local_port, &state, &owner, &found) != 5 ||
			local_port != port || (transport == TRANSPORT_STREAM && state != TCP_LISTEN_STATE))
			continue;
		if (strcmp(local, wanted) == 0 || is_any_address(local) || is_any_address(wanted)) {
			inode = found;
			*ret_owner = owner;
		}
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

/* Whose descriptors may not be looked at; the kernel's table says whose it is. His name would be the word of a name service, which may
 * be slow. */
static void describe_owner(uid_t owner, char *ret, size_t size)
{
	snprintf(ret, size, "a process of user %u", (unsigned)owner);
}

bool port_owner(const struct address *address, enum transport_kind transport, char *ret, size_t size)
{
	static const char *const tables[TRANSPORT_COUNT][2] = {
		[TRANSPORT_STREAM] = { "/proc/net/tcp", "/proc/net/tcp6" },
		[TRANSPORT_DATAGRAM] = { "/proc/net/udp", "/proc/net/udp6" },
	};
	char link[64], wanted[33];
	bool found = false;
	uid_t owner = 0;

	if (!address_is_ip(address))
		return false;
	table_address(address, wanted);
	bool v6 = address->sa.sa_family == AF_INET6;
	uint16_t port = address_port(address);
	unsigned long inode = holding_inode(tables[transport][v6], transport, wanted, port, &owner);
	if (!inode && !v6) /* by a socket that serves both families */
		inode = holding_inode(tables[transport][1], transport, wanted, port, &owner);
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
	if (!found)
		describe_owner(owner, ret, size);
	return true;
}
