/* A module that does what an intruder would: a client says "try NAME [NUMBER]\n", the probe makes that system call, straight to the
 * kernel, and logs what came of it. For tests of the sandbox. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include <usher/module.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

USHER_MODULE;

static struct usher_host *host;
static pid_t master; /* once it is a worker's, it may not ask */

static long connect_to(long port)
{
	const struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	long result = fd < 0 ? fd : connect(fd, (const struct sockaddr *)&to, sizeof(to));
	int error = errno;

	close(fd);
	errno = error;
	return result;
}

static long connect_fast(long port)
{
	const struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return sendto(fd, "x", 1, MSG_FASTOPEN, (const struct sockaddr *)&to, sizeof(to));
}

static long connect_abstract(long port)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int len = snprintf(to.sun_path + 1, sizeof(to.sun_path) - 1, "usher-test-%ld", port);
	long result = connect(fd, (const struct sockaddr *)&to,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len));
	int error = errno;

	close(fd);
	errno = error;
	return result;
}

static long bind_port(long port)
{
	const struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	return bind(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), (const struct sockaddr *)&at, sizeof(at));
}

static long attach_filter(long number)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	const struct sock_fprog program = { 1, &nothing };
	return setsockopt(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), SOL_SOCKET, SO_ATTACH_FILTER, &program,
		sizeof(program));
}

static long become_code(long number)
{
	return mprotect(host, 1, PROT_READ | PROT_EXEC); /* wherever that is */
}

#define CALL(name, ...)                                                                                              \
	static long try_##name(long number)                                                                          \
	{                                                                                                            \
		return syscall(__VA_ARGS__);                                                                         \
	}

CALL(read_file, SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY)
CALL(read_memory, SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR)
CALL(write_file, SYS_openat, AT_FDCWD, "/tmp/usher-prisoner", O_WRONLY | O_CREAT, 0600)
CALL(stat, SYS_newfstatat, AT_FDCWD, "/etc/passwd", NULL, 0)
CALL(unlink, SYS_unlinkat, AT_FDCWD, "/tmp/usher-prisoner", 0)
CALL(chdir, SYS_chdir, "/")
CALL(chroot, SYS_chroot, "/")
CALL(mount, SYS_mount, "none", "/", "tmpfs", 0, NULL)
CALL(execve, SYS_execve, "/bin/true", NULL, NULL)
CALL(execveat, SYS_execveat, AT_FDCWD, "/bin/true", NULL, NULL, 0)
CALL(fork, SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL)
CALL(clone3, SYS_clone3, NULL, 0)
CALL(unshare, SYS_unshare, CLONE_NEWUSER)
CALL(setns, SYS_setns, 0, 0)
CALL(ptrace, SYS_ptrace, PTRACE_TRACEME, 0, NULL, NULL)
CALL(read_other, SYS_process_vm_readv, master, NULL, 0, NULL, 0, 0)
CALL(kill, SYS_kill, master, 0)
CALL(tgkill, SYS_tgkill, master, master, 0)
CALL(pidfd, SYS_pidfd_open, master, 0)
CALL(setuid, SYS_setuid, 0)
CALL(capset, SYS_capset, NULL, NULL)
CALL(prctl, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)
CALL(seccomp, SYS_seccomp, 0, 0, NULL)
CALL(sigaction, SYS_rt_sigaction, SIGSYS, NULL, NULL, 8)
CALL(netlink, SYS_socket, AF_NETLINK, SOCK_RAW, 0)
CALL(packet, SYS_socket, AF_PACKET, SOCK_RAW, 0)
CALL(udp, SYS_socket, AF_INET, SOCK_DGRAM, 0)
CALL(raw, SYS_socket, AF_INET, SOCK_RAW, IPPROTO_ICMP)
CALL(mptcp, SYS_socket, AF_INET, SOCK_STREAM, IPPROTO_MPTCP)
CALL(vsock, SYS_socket, AF_VSOCK, SOCK_STREAM, 0)
CALL(listen, SYS_listen, 0, 1)
CALL(map_code, SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
CALL(memfd, SYS_memfd_create, "x", 0)
CALL(bpf, SYS_bpf, 0, NULL, 0)
CALL(perf, SYS_perf_event_open, NULL, 0, -1, -1, 0)
CALL(io_uring, SYS_io_uring_setup, 1, NULL)
CALL(userfaultfd, SYS_userfaultfd, 0)
CALL(keyctl, SYS_keyctl, 0, 0, 0, 0, 0)
CALL(ioctl, SYS_ioctl, 0, TIOCSTI, "x")
CALL(fcntl, SYS_fcntl, 0, F_SETOWN, master)
CALL(personality, SYS_personality, 0xffffffff)
CALL(landlock, SYS_landlock_create_ruleset, NULL, 0, 1)
CALL(nothing, 100000)

#define TRY(name)                                                                                                    \
	{                                                                                                            \
#name, try_##name                                                                                    \
	}

static const struct {
	const char *name;
	long (*run)(long number);
} attempts[] = { TRY(read_file), TRY(read_memory), TRY(write_file), TRY(stat), TRY(unlink), TRY(chdir), TRY(chroot),
	TRY(mount), TRY(execve), TRY(execveat), TRY(fork), TRY(clone3), TRY(unshare), TRY(setns), TRY(ptrace),
	TRY(read_other), TRY(kill), TRY(tgkill), TRY(pidfd), TRY(setuid), TRY(capset), TRY(prctl), TRY(seccomp),
	TRY(sigaction), TRY(netlink), TRY(packet), TRY(udp), TRY(raw), TRY(mptcp), TRY(vsock), TRY(listen),
	TRY(map_code), TRY(memfd), TRY(bpf), TRY(perf), TRY(io_uring), TRY(userfaultfd), TRY(keyctl), TRY(ioctl),
	TRY(fcntl), TRY(personality), TRY(landlock), TRY(nothing), { "connect", connect_to },
	{ "connect_fast", connect_fast }, { "connect_abstract", connect_abstract }, { "bind", bind_port },
	{ "attach_filter", attach_filter }, { "become_code", become_code } };

static enum usher_verdict try(void *context, const struct usher_evidence *evidence, struct usher_findings *findings)
{
	char name[32] = "", text[64] = "";
	long number = 0;

	if (evidence->len >= sizeof(text))
		return USHER_NO;
	memcpy(text, evidence->bytes, evidence->len);
	if (!strchr(text, '\n'))
		return USHER_MORE;
	if (sscanf(text, "try %31s %ld", name, &number) < 1)
		return USHER_NO;
	for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		if (strcmp(attempts[i].name, name) != 0)
			continue;
		long result = attempts[i].run(number);
		if (result < 0)
			host->log(host, USHER_NOTICE, "%s failed: %s", name, strerrorname_np(errno));
		else
			host->log(host, USHER_NOTICE, "%s succeeded", name);
		return USHER_YES;
	}
	host->log(host, USHER_NOTICE, "%s is not among the attempts", name);
	return USHER_YES;
}

int usher_module_init(struct usher_host *given)
{
	host = given;
	master = getppid();
	return host->probe_add(host, &(struct usher_probe){ .name = "try", .run = try });
}
