/* The sandbox. It takes away and never gives: whoever calls must have let go of identity and capabilities before
 * (process_drop_privileges()), and have loaded what comes from files.
 *
 * A call that is not listed does not fail, it ends the process. Whoever makes one is either taken over or has a fault that
 * this list knows nothing of; neither is to go on with what it holds. SECCOMP_RET_KILL_PROCESS would do that without a word
 * for the operator; SECCOMP_RET_TRAP refuses the call just as well and runs a handler of ours, which says which one it was and
 * dies. The handler is there for one call and cannot be put back, since no process may call sigaction() afterwards: the
 * second one would find the signal's default action, which is the end. Owns nothing. */
#include "sandbox.h"
#include "failure.h"
#include "landlock.h"
#include "log_remote.h"
#include "relay_pool.h"
#include "sandbox_ports.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define KERNEL_O_LARGEFILE 0100000 /* the C library says that it is 0 */

/* A list of sessions is the largest file that a worker writes: some 400 bytes for each. More than CONTROL_PART_MAX is not sent. */
#define WORKER_FILE_MAX (64ul << 20)

/* ---- violations ---- */

static _Atomic uint32_t *told;

/* Nothing that could wait or allocate: it runs in the middle of anything. */
static void refused(int signal_number, siginfo_t *info, void *context)
{
	if (told)
		atomic_store(told, (uint32_t)info->si_syscall + 1);
	syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGSYS); /* the handler is gone by now: SA_RESETHAND */
	_exit(128 + SIGSYS);
}

static int catch_refused(_Atomic uint32_t *ret_refused)
{
	struct sigaction action = { .sa_sigaction = refused, .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER };

	told = ret_refused;
	return sigaction(SIGSYS, &action, NULL) < 0 ? failure_set(-errno, "cannot enter the sandbox: rt_sigaction")
						    : 0;
}

char *sandbox_refused_name(uint32_t number)
{
	char *name = number ? seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)(number - 1)) : NULL;
	char digits[16];

	if (name || !number)
		return name;
	snprintf(digits, sizeof(digits), "%u", number - 1);
	return strdup(digits);
}

void sandbox_describe_end(char *buf, size_t size, int status, _Atomic uint32_t *refused)
{
	char *call = sandbox_refused_name(atomic_exchange(refused, 0));

	if (WIFSIGNALED(status))
		snprintf(buf, size, "was killed by signal %d (%s%s%s)", WTERMSIG(status), strsignal(WTERMSIG(status)),
			call ? ": " : "", call ? call : "");
	else
		snprintf(buf, size, "ended with status %d", WEXITSTATUS(status));
	free(call);
}

/* ---- the lists ---- */

/* By name, so that a call that this architecture or this libseccomp does not know is passed over. Which of several calls a
 * function of the C library makes is its own business and changes with its versions: all of them are listed. */

/* What every process of ours needs of its memory, its time and its end. tests/system/test_sandbox_linked.py compares what a worker and
 * `usher explain' may call with what they are linked with. */
static const char *const common_calls[] = { "brk", "munmap", "madvise",
	/* descriptors that are open */
	"read", "write", "writev", "close", "lseek", "_llseek", "recv", "recvfrom", "recvmsg", "getsockopt",
	"getsockname", "getpeername", "shutdown",
	/* waiting */
	"poll", "ppoll", "ppoll_time64", "restart_syscall", "futex", "futex_time64",
	/* time, chance, who one is */
	"clock_gettime", "clock_gettime64", "time", "getrandom", "getpid", "gettid",
	/* the end */
	"rt_sigprocmask", "exit", "exit_group" };

/* What libraries may want that talk to the journal and to name servers: they are others' and change. */
static const char *const library_calls[] = { "pread64", "pwrite64", "nanosleep", "clock_nanosleep",
	"clock_nanosleep_time64", "sched_yield", "clock_getres", "clock_getres_time64", "gettimeofday", "getppid",
	"getuid", "getuid32", "geteuid", "geteuid32", "getgid", "getgid32", "getegid", "getegid32", "uname",
	"sysinfo", "getrusage", "getcpu", "rseq", "membarrier", "rt_sigreturn", "sigreturn", "sigaltstack" };

/* sysinfo: qsort() of some C libraries asks how much memory there is. */
static const char *const worker_calls[] = { "epoll_ctl", "epoll_wait", "epoll_pwait", "accept4", "connect", "splice",
	"sysinfo" };

/* libmicrohttpd's. */
static const char *const exporter_calls[] = { "accept4", "epoll_ctl", "epoll_wait", "epoll_pwait", "sysinfo" };

static const char *const checker_calls[] = { "connect", "epoll_ctl", "epoll_wait", "epoll_pwait", "sysinfo" };

static const char *const logger_calls[] = { "connect", "mremap" };

/* The C library asks what kind of file it reads and writes. */
static const char *const explain_calls[] = { "fstat", "fstat64", "newfstatat", "fstatat64", "statx", "mremap",
	"sysinfo" };

static const char *const resolver_calls[] = { "connect", "openat", "open", "fstat", "fstat64", "stat", "stat64",
	"newfstatat", "fstatat64", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "send",
	"sendto", "sendmsg", "sendmmsg" };

/* What modules of nsswitch.conf(5) may want besides: netlink for the machine's own addresses, loops of their own. */
static const char *const names_calls[] = { "bind", "alarm", "setitimer", "select", "_newselect", "pselect6",
	"pselect6_time64", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2",
	"timerfd_create", "timerfd_settime", "socketpair", "pipe2", "dup", "dup3", "getdents64", "getcwd", "statfs",
	"rt_sigaction", "sched_getaffinity", "prlimit64", "getrlimit", "set_robust_list", "ioctl", "fcntl",
	"fcntl64" };

/* What a sanitizer's report needs to name the lines: files, and a program that reads them. */
static const char *const sanitizer_calls[] = { "openat", "open", "stat", "newfstatat", "statx", "access", "readlink",
	"readlinkat", "getdents", "getdents64", "mmap", "mprotect", "prctl", "clone", "clone3", "fork", "vfork",
	"execve", "wait4", "waitid", "dup2", "dup3", "pipe2", "kill", "tgkill", "fcntl", "ioctl", "getcwd",
	"rt_sigaction", "sched_getaffinity", "prlimit64", "ptrace", "set_robust_list", "unlink", "getrlimit",
	"close_range" };

struct option {
	int level, name;
};

/* Not SO_LINGER: with a time in it whoever closes the socket last waits, and that may be the master. */
static const struct option worker_options[] = { { SOL_SOCKET, SO_KEEPALIVE }, { SOL_SOCKET, SO_OOBINLINE },
	{ SOL_SOCKET, SO_PEEK_OFF }, { SOL_SOCKET, SO_REUSEADDR }, { IPPROTO_TCP, TCP_NODELAY },
	{ IPPROTO_TCP, TCP_KEEPIDLE }, { IPPROTO_TCP, TCP_KEEPINTVL }, { IPPROTO_TCP, TCP_KEEPCNT },
	{ IPPROTO_TCP, TCP_QUICKACK }, { IPPROTO_TCP, TCP_USER_TIMEOUT }, { IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT } };

/* A client in a tarpit sends to a small buffer. */
static const struct option tarpit_options[] = { { SOL_SOCKET, SO_RCVBUF } };

/* What datagrams need besides. */
static const struct option datagram_options[] = { { IPPROTO_UDP, UDP_GRO }, { IPPROTO_IP, IP_RECVTOS },
	{ IPPROTO_IP, IP_PKTINFO }, { IPPROTO_IP, IP_MTU_DISCOVER }, { IPPROTO_IPV6, IPV6_RECVTCLASS },
	{ IPPROTO_IPV6, IPV6_RECVPKTINFO }, { IPPROTO_IPV6, IPV6_MTU_DISCOVER }, { SOL_SOCKET, SO_RXQ_OVFL } };

/* The same library's, on its clients' sockets. */
static const struct option exporter_options[] = { { IPPROTO_TCP, TCP_NODELAY }, { IPPROTO_TCP, TCP_CORK } };

static const int descriptor_commands[] = { F_SETFD, F_GETFL, F_DUPFD_CLOEXEC };

/* TCGETS: tcgetattr(). Not FIONBIO: whether it makes a descriptor wait stands in memory,
 * where a filter does not look. */
static const unsigned long worker_requests[] = { SIOCOUTQ, FIONREAD, TCGETS, TIOCGPTN };
static const unsigned long resolver_requests[] = { FIONREAD, FIONBIO, TCGETS, SIOCGIFNAME, SIOCGIFINDEX };

/* ---- building the filter ---- */

struct filter {
	scmp_filter_ctx context;
	int error; /* the first one */
};

static void allow(struct filter *filter, const char *name, unsigned n, const struct scmp_arg_cmp *conditions)
{
	int number = seccomp_syscall_resolve_name(name);

	if (filter->error < 0 || number == __NR_SCMP_ERROR)
		return;
	int error = seccomp_rule_add_array(filter->context, SCMP_ACT_ALLOW, number, n, conditions);
	if (error < 0 && error != -EEXIST)
		filter->error = error;
}

static void allow_all(struct filter *filter, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		allow(filter, names[i], 0, NULL);
}

/* Where bits of `mask` are as in `value`. */
static void allow_masked(struct filter *filter, const char *name, unsigned argument, uint64_t mask, uint64_t value)
{
	allow(filter, name, 1, &SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, mask, value));
}

/* The kernel reads 32 bits of these arguments. */
static void allow_value(struct filter *filter, const char *name, unsigned argument, uint64_t value)
{
	allow_masked(filter, name, argument, 0xffffffff, value);
}

/* No memory that can be run: what a worker writes stays data. */
static void allow_memory(struct filter *filter)
{
	allow_masked(filter, "mmap", 2, PROT_EXEC, 0);
	allow_masked(filter, "mmap2", 2, PROT_EXEC, 0);
	allow_masked(filter, "mprotect", 2, PROT_EXEC, 0);
}

/* It would grow a mapping of shared memory into what is another's. The C library copies where it fails. */
static void refuse_remapping(struct filter *filter)
{
	int error = seccomp_rule_add(filter->context, SCMP_ACT_ERRNO(ENOMEM), SCMP_SYS(mremap), 0);

	if (filter->error == 0 && error < 0)
		filter->error = error;
}

/* With a third argument whose bits of `mask` are as in `value`. */
static void allow_fcntl(struct filter *filter, int command, uint64_t mask, uint64_t value)
{
	const struct scmp_arg_cmp conditions[] = {
		SCMP_CMP(1, SCMP_CMP_MASKED_EQ, 0xffffffff, (uint64_t)command),
		SCMP_CMP(2, SCMP_CMP_MASKED_EQ, mask, value),
	};
	allow(filter, "fcntl", mask ? 2 : 1, conditions);
	allow(filter, "fcntl64", mask ? 2 : 1, conditions);
}

/* Flags of a description are everybody's who has it. A worker may see to it that one does not wait; that it does, only where it hands
 * sockets over, whose receivers expect it. */
static void allow_flags(struct filter *filter, bool may_wait)
{
	const uint32_t free_ones = O_ACCMODE | KERNEL_O_LARGEFILE | (may_wait ? O_NONBLOCK : 0);
	allow_fcntl(filter, F_SETFL, ~free_ones & 0xffffffff, may_wait ? 0 : O_NONBLOCK);
}

/* To the size that the log's pipe has as well: that one is everybody's. */
static void allow_pipes(struct filter *filter)
{
	allow_fcntl(filter, F_SETPIPE_SZ, 0xffffffff, RELAY_PIPE_SIZE);
	allow_masked(filter, "pipe2", 1, ~(uint64_t)(O_CLOEXEC | O_NONBLOCK) & 0xffffffff, 0);
}

/* A pair of connected sockets is of UNIX alone; of other families (TIPC) it would be one that Landlock knows nothing of. */
static void allow_pairs(struct filter *filter, int type)
{
	const struct scmp_arg_cmp conditions[] = {
		SCMP_CMP(0, SCMP_CMP_MASKED_EQ, 0xffffffff, AF_UNIX),
		SCMP_CMP(1, SCMP_CMP_MASKED_EQ, ~(uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC) & 0xffffffff,
			(uint64_t)type),
	};
	allow(filter, "socketpair", 2, conditions);
}

static bool policy_hands_over(const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_services; i++)
		if (policy->services[i].target.delivery == DELIVERY_HANDOVER)
			return true;
	return false;
}

static void allow_socket_of(struct filter *filter, int family, int type, int protocol)
{
	const uint64_t kind = ~(uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC) & 0xffffffff;
	const struct scmp_arg_cmp conditions[] = {
		SCMP_CMP(0, SCMP_CMP_MASKED_EQ, 0xffffffff, (uint64_t)family),
		SCMP_CMP(1, SCMP_CMP_MASKED_EQ, kind, (uint64_t)type),
		SCMP_CMP(2, SCMP_CMP_MASKED_EQ, 0xffffffff, (uint64_t)protocol),
	};
	allow(filter, "socket", 3, conditions);
}

/* Of one family and kind, and of the protocol that goes without saying: others of the same kind (MPTCP, SMC, SCTP) are not
 * what Landlock's ports are about. */
static void allow_socket(struct filter *filter, int family, int type)
{
	allow_socket_of(filter, family, type, 0);
	if (family != AF_UNIX)
		allow_socket_of(filter, family, type, type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP);
}

/* Not with MSG_FASTOPEN: it connects, past Landlock. */
static void allow_sending(struct filter *filter)
{
	allow_masked(filter, "send", 3, MSG_FASTOPEN, 0);
	allow_masked(filter, "sendto", 3, MSG_FASTOPEN, 0);
	allow_masked(filter, "sendmsg", 2, MSG_FASTOPEN, 0);
}

static void allow_options(struct filter *filter, const struct option *options, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct scmp_arg_cmp conditions[] = {
			SCMP_CMP(1, SCMP_CMP_MASKED_EQ, 0xffffffff, (uint64_t)options[i].level),
			SCMP_CMP(2, SCMP_CMP_MASKED_EQ, 0xffffffff, (uint64_t)options[i].name),
		};
		allow(filter, "setsockopt", 2, conditions);
	}
}

static void allow_libraries(struct filter *filter)
{
	allow_all(filter, library_calls, sizeof(library_calls) / sizeof(library_calls[0]));
	allow_fcntl(filter, F_GETFD, 0, 0);
}

static void allow_common(struct filter *filter)
{
	allow_all(filter, common_calls, sizeof(common_calls) / sizeof(common_calls[0]));
	allow_memory(filter);
	for (size_t i = 0; i < sizeof(descriptor_commands) / sizeof(descriptor_commands[0]); i++)
		allow_fcntl(filter, descriptor_commands[i], 0, 0);
	/* abort(), of itself alone */
	allow_value(filter, "tgkill", 0, (uint64_t)getpid());
	if (SANITIZED) {
		allow_all(filter, sanitizer_calls, sizeof(sanitizer_calls) / sizeof(sanitizer_calls[0]));
		allow_libraries(filter);
	}
}

static void allow_requests(struct filter *filter, const unsigned long *requests, size_t n)
{
	for (size_t i = 0; i < n; i++)
		allow_value(filter, "ioctl", 1, requests[i]);
}

static int filter_init(struct filter *filter, uint32_t otherwise)
{
	*filter = (struct filter){ .context = seccomp_init(otherwise) };
	if (!filter->context)
		return -ENOMEM;
	seccomp_attr_set(filter->context, SCMP_FLTATR_API_SYSRAWRC, 1); /* the kernel's own error, not ECANCELED */
	seccomp_attr_set(filter->context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* A tree rather than a list; a libseccomp that has none makes a list. */
	seccomp_attr_set(filter->context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	allow_common(filter);
	return 0;
}

static int filter_enter(struct filter *filter, _Atomic uint32_t *ret_refused)
{
	int error = filter->error;

	if (error == 0)
		error = catch_refused(ret_refused);
	if (error == 0 && (error = seccomp_load(filter->context)) < 0)
		failure_set(error,
			"cannot enter the sandbox (needs a kernel and a container that allow seccomp filters): "
			"seccomp");
	seccomp_release(filter->context);
	return error;
}

static bool policy_has_tarpit(const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_services; i++)
		if (policy->services[i].target.delivery == DELIVERY_REJECT &&
			policy->services[i].target.reject.tarpit_us)
			return true;
	return false;
}

static bool policy_has_datagrams(const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_listeners; i++)
		if (policy->listeners[i].transport == TRANSPORT_DATAGRAM)
			return true;
	return false;
}

/* Landlock knows no ports of UDP: a worker that was taken over could send to any. */
static void allow_datagrams(struct filter *filter)
{
	allow_socket(filter, AF_INET, SOCK_DGRAM);
	allow_socket(filter, AF_INET6, SOCK_DGRAM);
	allow(filter, "recvmmsg", 0, NULL);
	allow(filter, "recvmmsg_time64", 0, NULL);
	allow_masked(filter, "sendmmsg", 3, MSG_FASTOPEN, 0);
	allow_options(filter, datagram_options, sizeof(datagram_options) / sizeof(datagram_options[0]));
}

static int enter_worker_calls(const struct policy *policy, _Atomic uint32_t *ret_refused)
{
	struct filter filter;
	int error = filter_init(&filter, SCMP_ACT_TRAP);

	if (error < 0)
		return error;
	bool hands_over = policy_hands_over(policy);

	allow_all(&filter, worker_calls, sizeof(worker_calls) / sizeof(worker_calls[0]));
	allow_fcntl(&filter, F_GETPIPE_SZ, 0, 0);
	allow_sending(&filter);
	allow_flags(&filter, hands_over);
	allow_pipes(&filter);
	refuse_remapping(&filter);
	allow_socket(&filter, AF_INET, SOCK_STREAM);
	allow_socket(&filter, AF_INET6, SOCK_STREAM);
	allow_socket(&filter, AF_UNIX, SOCK_STREAM);
	if (hands_over) { /* receivers may have a socket of datagrams, whose receipts come by a pair */
		allow_socket(&filter, AF_UNIX, SOCK_DGRAM);
		allow_pairs(&filter, SOCK_STREAM);
	}
	allow_options(&filter, worker_options, sizeof(worker_options) / sizeof(worker_options[0]));
	if (policy_has_tarpit(policy))
		allow_options(&filter, tarpit_options, sizeof(tarpit_options) / sizeof(tarpit_options[0]));
	allow_requests(&filter, worker_requests, sizeof(worker_requests) / sizeof(worker_requests[0]));
	if (policy_has_datagrams(policy))
		allow_datagrams(&filter);
	if (hands_over && policy_has_datagrams(policy)) /* in which a flow's first datagrams go over */
		allow_pairs(&filter, SOCK_SEQPACKET);
	if (policy->transparent)
		allow(&filter, "bind", 0, NULL);
	return filter_enter(&filter, ret_refused);
}

static int enter_logger_calls(const struct log_remote *server)
{
	struct filter filter;
	int error = filter_init(&filter, SCMP_ACT_TRAP);

	if (error < 0)
		return error;
	allow_all(&filter, logger_calls, sizeof(logger_calls) / sizeof(logger_calls[0]));
	allow_libraries(&filter);
	allow_sending(&filter);
	allow_socket(&filter, AF_UNIX, SOCK_STREAM);
	allow_socket(&filter, AF_UNIX, SOCK_DGRAM);
	if (server)
		allow_socket(&filter, server->to.sa.sa_family,
			server->transport == TRANSPORT_DATAGRAM ? SOCK_DGRAM : SOCK_STREAM);
	/* Older C libraries look after SIGPIPE in syslog(). */
	allow_value(&filter, "rt_sigaction", 0, SIGPIPE);
	allow_value(&filter, "ioctl", 1, TCGETS);
	allow_options(&filter, (const struct option[]){ { SOL_SOCKET, SO_SNDBUF } }, 1);
	return filter_enter(&filter, NULL);
}

static int enter_exporter_calls(_Atomic uint32_t *ret_refused)
{
	struct filter filter;
	int error = filter_init(&filter, SCMP_ACT_TRAP);

	if (error < 0)
		return error;
	allow_all(&filter, exporter_calls, sizeof(exporter_calls) / sizeof(exporter_calls[0]));
	allow_libraries(&filter);
	allow_sending(&filter);
	refuse_remapping(&filter);
	allow_options(&filter, exporter_options, sizeof(exporter_options) / sizeof(exporter_options[0]));
	return filter_enter(&filter, ret_refused);
}

static int enter_checker_calls(_Atomic uint32_t *ret_refused)
{
	struct filter filter;
	int error = filter_init(&filter, SCMP_ACT_TRAP);

	if (error < 0)
		return error;
	allow_all(&filter, checker_calls, sizeof(checker_calls) / sizeof(checker_calls[0]));
	allow_libraries(&filter); /* OpenSSL's */
	allow_sending(&filter);
	refuse_remapping(&filter);
	allow_socket(&filter, AF_INET, SOCK_STREAM);
	allow_socket(&filter, AF_INET6, SOCK_STREAM);
	allow_socket(&filter, AF_UNIX, SOCK_STREAM);
	allow_socket(&filter, AF_INET, SOCK_DGRAM);
	allow_socket(&filter, AF_INET6, SOCK_DGRAM);
	return filter_enter(&filter, ret_refused);
}

static int enter_explain_calls(void)
{
	static const unsigned long requests[] = { TCGETS, TIOCGWINSZ };
	struct filter filter;
	int error = filter_init(&filter, SCMP_ACT_TRAP);

	if (error < 0)
		return error;
	allow_all(&filter, explain_calls, sizeof(explain_calls) / sizeof(explain_calls[0]));
	allow_requests(&filter, requests, sizeof(requests) / sizeof(requests[0]));
	return filter_enter(&filter, NULL);
}

/* Who asks others for names. */
static void allow_asking(struct filter *filter)
{
	static const int families[] = { AF_INET, AF_INET6, AF_UNIX };

	allow_all(filter, resolver_calls, sizeof(resolver_calls) / sizeof(resolver_calls[0]));
	allow_libraries(filter);
	refuse_remapping(filter);
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		allow_socket(filter, families[i], SOCK_STREAM);
		allow_socket(filter, families[i], SOCK_DGRAM);
	}
	allow(filter, "setsockopt", 0, NULL);
}

static int enter_resolver_calls(_Atomic uint32_t *ret_refused)
{
	struct filter filter;
	int error = filter_init(&filter, SCMP_ACT_TRAP);

	if (error < 0)
		return error;
	allow_asking(&filter);
	allow_flags(&filter, true);
	allow_requests(&filter, resolver_requests, sizeof(resolver_requests) / sizeof(resolver_requests[0]));
	return filter_enter(&filter, ret_refused);
}

static int enter_names_calls(void)
{
	struct filter filter;
	int error = filter_init(&filter, SCMP_ACT_ERRNO(EPERM));

	if (error < 0)
		return error;
	allow_asking(&filter);
	allow_all(&filter, names_calls, sizeof(names_calls) / sizeof(names_calls[0]));
	allow_socket_of(&filter, AF_UNIX, SOCK_SEQPACKET, 0);
	allow_socket_of(&filter, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	allow_socket_of(&filter, AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE);
	return filter_enter(&filter, NULL);
}

/* ---- the rest ---- */

static int limit(int resource, rlim_t most)
{
	const struct rlimit wanted = { most, most };
	struct rlimit now;

	if (getrlimit(resource, &now) < 0)
		return failure_set(-errno, "cannot limit itself: getrlimit");
	if (now.rlim_max <= most)
		return 0;
	return setrlimit(resource, &wanted) < 0 ? failure_set(-errno, "cannot limit itself: setrlimit") : 0;
}

/* The filter refuses all of this already; these hold where it has a hole. A sanitizer needs what all but the first take away. */
static int set_limits(rlim_t largest_file)
{
	const struct {
		int resource;
		rlim_t most;
	} limits[] = { { RLIMIT_CORE, 0 }, { RLIMIT_NPROC, 0 }, { RLIMIT_MSGQUEUE, 0 }, { RLIMIT_MEMLOCK, 0 },
		{ RLIMIT_FSIZE, largest_file } };
	int error = 0;

	for (size_t i = 0; error == 0 && i < (SANITIZED ? 1 : sizeof(limits) / sizeof(limits[0])); i++)
		error = limit(limits[i].resource, limits[i].most);
	return error;
}

static int confine(const struct landlock *landlock)
{
	return SANITIZED ? 0 : landlock_enter(landlock, landlock_abi());
}

/* What the C library reads once and then knows. */
static void load_time_zone(void)
{
	struct tm unused;
	time_t now = time(NULL);

	tzset();
	localtime_r(&now, &unused);
}

int sandbox_enter_worker(const struct policy *policy, _Atomic uint32_t *ret_refused)
{
	uint8_t ports[LANDLOCK_PORTS / 8] = { 0 };

	load_time_zone();
	sandbox_ports_connect(ports, policy);
	/* A list of sessions that is too long fails, and no more than that. */
	signal(SIGXFSZ, SIG_IGN);
	int error = set_limits(WORKER_FILE_MAX);
	if (error == 0)
		error = confine(&(struct landlock){
			.limits_connect = true, .limits_bind = !policy->transparent, .ports = ports });
	return error < 0 ? error : enter_worker_calls(policy, ret_refused);
}

/* Who opens nothing: what it reads and writes is open. */
static int limit_to_what_is_open(void)
{
	int error = set_limits(RLIM_INFINITY);
	return error < 0 ? error : confine(&(struct landlock){ .limits_connect = true, .limits_bind = true });
}

int sandbox_enter_logger(const struct log_remote *server)
{
	uint8_t ports[LANDLOCK_PORTS / 8] = { 0 };
	uint16_t port = server && server->transport == TRANSPORT_STREAM ? address_port(&server->to) : 0;

	load_time_zone();
	if (port > 0)
		ports[port / 8] |= (uint8_t)(1u << port % 8);
	int error = set_limits(RLIM_INFINITY);
	if (error == 0)
		error = confine(&(struct landlock){
			.limits_connect = true, .limits_bind = true, .ports = port > 0 ? ports : NULL });
	return error < 0 ? error : enter_logger_calls(server);
}

int sandbox_enter_exporter(_Atomic uint32_t *ret_refused)
{
	load_time_zone();
	int error = limit_to_what_is_open();
	return error < 0 ? error : enter_exporter_calls(ret_refused);
}

int sandbox_enter_checker(const struct policy *policy, _Atomic uint32_t *ret_refused)
{
	uint8_t ports[LANDLOCK_PORTS / 8] = { 0 };

	load_time_zone();
	sandbox_ports_check(ports, policy);
	int error = set_limits(0);
	if (error == 0)
		error = confine(&(struct landlock){ .limits_connect = true, .limits_bind = true, .ports = ports });
	return error < 0 ? error : enter_checker_calls(ret_refused);
}

int sandbox_enter_explain(void)
{
	int error = limit_to_what_is_open();
	return error < 0 ? error : enter_explain_calls();
}

/* Who may read what is below these paths, and write nothing. */
static int limit_reader(const char *const *readable, size_t n)
{
	load_time_zone();
	int error = set_limits(0);
	return error < 0 ? error
			 : confine(&(struct landlock){ .readable = readable, .n_readable = n, .limits_bind = true });
}

/* /etc/resolv.conf is a link into /run on many machines, to a file that comes and goes with its folder. */
int sandbox_enter_resolver(_Atomic uint32_t *ret_refused)
{
	static const char *const readable[] = { "/etc", "/run", "/var/run", "/usr/lib", "/dev/urandom" };
	int error = limit_reader(readable, sizeof(readable) / sizeof(readable[0]));
	return error < 0 ? error : enter_resolver_calls(ret_refused);
}

int sandbox_enter_names(void)
{
	static const char *const readable[] = { "/etc", "/run", "/var/run", "/usr", "/lib", "/lib64", "/var/lib",
		"/var/cache", "/var/db", "/proc", "/sys", "/dev/urandom" };
	int error = limit_reader(readable, sizeof(readable) / sizeof(readable[0]));
	return error < 0 ? error : enter_names_calls();
}

void sandbox_describe(char *buf, size_t size)
{
	int abi = landlock_abi();

	if (SANITIZED)
		snprintf(buf, size, "seccomp with holes for a sanitizer, no Landlock");
	else if (abi > 0)
		snprintf(buf, size, "seccomp, Landlock ABI %d", abi);
	else
		snprintf(buf, size, "seccomp, no Landlock");
}

bool sandbox_has_holes(void)
{
	return SANITIZED;
}

const char *sandbox_missing(void)
{
	int abi = landlock_abi();

	if (SANITIZED)
		return "built with a sanitizer: the list of system calls has holes for it, and there is no Landlock";
	if (abi < 1)
		return "no Landlock here: files and ports are left to the list of system calls, which knows no ports";
	if (abi < 4)
		return "Landlock knows no ports here: a worker that was taken over could connect to any";
	return NULL;
}
