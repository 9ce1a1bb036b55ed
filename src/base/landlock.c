/* Landlock, with the kernel's numbers written out: the headers of older kernels lack what newer ones can do, and the program
 * may run under another kernel than it was built under. Keeps nothing open. */
#include "landlock.h"
#include "failure.h"
#include "fd.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

#define VERSION        1u /* a flag of landlock_create_ruleset() */
#define PATH_BENEATH   1
#define NET_PORT       2
#define FS_READ_FILE   (1u << 2)
#define NET_BIND       (1u << 0)
#define NET_CONNECT    (1u << 1)
#define SCOPE_ABSTRACT (1u << 0)
#define SCOPE_SIGNAL   (1u << 1)

/* Rights over files: 13 in the first ABI; REFER came with the second, TRUNCATE with the third, IOCTL_DEV with the fifth. */
#define FS_RIGHTS(abi) ((1u << (13 + ((abi) >= 2) + ((abi) >= 3) + ((abi) >= 5))) - 1)

struct ruleset {
	uint64_t fs;
	uint64_t net;    /* from ABI 4 */
	uint64_t scoped; /* from ABI 6 */
};

struct path_beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

struct net_port {
	uint64_t allowed;
	uint64_t port;
};

int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION);
	return abi < 0 ? 0 : (int)abi;
}

static int add_readable(int ruleset, const char *path)
{
	struct path_beneath rule = { .allowed = FS_READ_FILE, .parent = open(path, O_PATH | O_CLOEXEC) };
	if (rule.parent < 0)
		return 0;
	int error = syscall(SYS_landlock_add_rule, ruleset, PATH_BENEATH, &rule, 0) < 0
		? failure_set(-errno, "cannot enter the sandbox: landlock_add_rule of %s", path)
		: 0;
	fd_close(rule.parent);
	return error;
}

static int add_ports(int ruleset, const uint8_t *ports)
{
	for (unsigned port = 0; ports && port < LANDLOCK_PORTS; port++) {
		const struct net_port rule = { .allowed = NET_CONNECT, .port = port };
		if (!(ports[port / 8] >> port % 8 & 1))
			continue;
		if (syscall(SYS_landlock_add_rule, ruleset, NET_PORT, &rule, 0) < 0)
			return failure_set(-errno, "cannot enter the sandbox: landlock_add_rule of port %u", port);
	}
	return 0;
}

int landlock_enter(const struct landlock *wanted, int abi)
{
	struct ruleset handled = { 0 };

	if (abi < 1)
		return 0;
	handled.fs = FS_RIGHTS(abi);
	if (abi >= 4)
		handled.net = (wanted->limits_connect ? NET_CONNECT : 0) | (wanted->limits_bind ? NET_BIND : 0);
	if (abi >= 6)
		handled.scoped = SCOPE_ABSTRACT | SCOPE_SIGNAL;
	/* A kernel that has less takes the longer structure as long as what it does not know is zero. */
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);
	if (ruleset < 0)
		return failure_set(-errno, "cannot enter the sandbox: landlock_create_ruleset");
	int error = 0;
	for (size_t i = 0; error == 0 && i < wanted->n_readable; i++)
		error = add_readable(ruleset, wanted->readable[i]);
	if (error == 0 && handled.net & NET_CONNECT)
		error = add_ports(ruleset, wanted->ports);
	if (error == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		error = failure_set(-errno, "cannot enter the sandbox: landlock_restrict_self");
	fd_close(ruleset);
	return error;
}
