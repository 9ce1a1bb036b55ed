/* What each process may still do, call by call: the filters that the sandbox would load are run here, by a machine for BPF in the test, and
 * nothing is entered. The limits and what Landlock is told are looked at too. test_sandbox.c enters it all for real. */
#include "landlock.h"
#include "relay_pool.h"
#include "sandbox.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- between the sandbox and the kernel ------------------------------------------------------------------------------------ */

static struct sock_filter program[16384];
static size_t n_program; /* 0: nothing was loaded */
static int loading, abi, landlocking;
static struct landlock landlocked;
static uint8_t ports[LANDLOCK_PORTS / 8];
static bool ports_given;
static struct rlimit limits[RLIM_NLIMITS];
static unsigned n_limits;
static int limit_fails, limits_known; /* at the nth call */

int __wrap_seccomp_load(const scmp_filter_ctx context);
int __wrap_seccomp_load(const scmp_filter_ctx context)
{
	FILE *to = tmpfile();

	assert_non_null(to);
	assert_int_equal(seccomp_export_bpf(context, fileno(to)), 0);
	rewind(to);
	n_program = fread(program, sizeof(program[0]), sizeof(program) / sizeof(program[0]), to);
	assert_in_range(n_program, 1, sizeof(program) / sizeof(program[0]) - 1);
	fclose(to);
	return loading;
}

static unsigned rule_fails; /* the nth from now on; 0: none */
static bool remapping_fails;

int __real_seccomp_rule_add_array(
	scmp_filter_ctx filter, uint32_t action, int number, unsigned n, const struct scmp_arg_cmp *conditions);
int __wrap_seccomp_rule_add_array(
	scmp_filter_ctx filter, uint32_t action, int number, unsigned n, const struct scmp_arg_cmp *conditions);
int __wrap_seccomp_rule_add_array(
	scmp_filter_ctx filter, uint32_t action, int number, unsigned n, const struct scmp_arg_cmp *conditions)
{
	if (rule_fails && --rule_fails == 0)
		return -ENOMEM;
	return __real_seccomp_rule_add_array(filter, action, number, n, conditions);
}

int __real_seccomp_rule_add(scmp_filter_ctx filter, uint32_t action, int number, unsigned n, ...);
int __wrap_seccomp_rule_add(scmp_filter_ctx filter, uint32_t action, int number, unsigned n, ...);
int __wrap_seccomp_rule_add(scmp_filter_ctx filter, uint32_t action, int number, unsigned n, ...)
{
	assert_int_equal(n, 0);
	return remapping_fails ? -EFAULT : __real_seccomp_rule_add(filter, action, number, 0);
}

int __wrap_landlock_abi(void);
int __wrap_landlock_abi(void)
{
	return abi;
}

int __wrap_landlock_enter(const struct landlock *wanted, int with);
int __wrap_landlock_enter(const struct landlock *wanted, int with)
{
	assert_int_equal(with, abi);
	landlocked = *wanted;
	ports_given = wanted->ports != NULL;
	if (ports_given)
		memcpy(ports, wanted->ports, sizeof(ports));
	return landlocking;
}

/* By whichever name the C library's header has them. */
int __wrap_getrlimit(int resource, struct rlimit *ret), __wrap_getrlimit64(int resource, struct rlimit *ret);
int __wrap_setrlimit(int resource, const struct rlimit *to),
	__wrap_setrlimit64(int resource, const struct rlimit *to);

int __wrap_getrlimit(int resource, struct rlimit *ret)
{
	if (limits_known && --limits_known == 0) {
		errno = EINVAL;
		return -1;
	}
	*ret = limits[resource];
	return 0;
}

int __wrap_getrlimit64(int resource, struct rlimit *ret)
{
	return __wrap_getrlimit(resource, ret);
}

int __wrap_setrlimit(int resource, const struct rlimit *to)
{
	if (limit_fails && --limit_fails == 0) {
		errno = EPERM;
		return -1;
	}
	n_limits++;
	limits[resource] = *to;
	return 0;
}

int __wrap_setrlimit64(int resource, const struct rlimit *to)
{
	return __wrap_setrlimit(resource, to);
}

/* ---- the machine ----------------------------------------------------------------------------------------------------------- */

static uint32_t filter_run(const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (size_t at = 0; at < n_program; at++) {
		const struct sock_filter *step = &program[at];
		bool jumps = false;

		switch (step->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&a, (const uint8_t *)data + step->k, sizeof(a));
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= step->k;
			continue;
		case BPF_RET | BPF_K:
			return step->k;
		case BPF_JMP | BPF_JA:
			at += step->k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			jumps = a == step->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			jumps = a > step->k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			jumps = a >= step->k;
			break;
		default:
			fail_msg("an instruction that no filter had so far: %x", step->code);
		}
		at += jumps ? step->jt : step->jf;
	}
	fail_msg("a filter without an end");
	return 0;
}

static uint32_t otherwise; /* what becomes of all that is not listed */

/* The call with these arguments; those that are missing are 0. */
#define CALL(...)                 CALL_(__VA_ARGS__, 0, 0, 0, 0, 0)
#define CALL_(n, a, b, c, d, ...) n, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d)
#define MAY(...)                  assert_verdict(__LINE__, SECCOMP_RET_ALLOW, CALL(__VA_ARGS__))
#define MUST_NOT(...)             assert_verdict(__LINE__, otherwise, CALL(__VA_ARGS__))
#define FAILS(how, ...)           assert_verdict(__LINE__, SECCOMP_RET_ERRNO | (how), CALL(__VA_ARGS__))

static void assert_verdict(
	int line, uint32_t expected, const char *name, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	int number = seccomp_syscall_resolve_name(name);
	const struct seccomp_data data = { .nr = number, .arch = seccomp_arch_native(), .args = { a, b, c, d } };

	assert_int_not_equal(number, __NR_SCMP_ERROR);
	if (number < 0)
		return; /* this architecture has no such call */
	uint32_t found = filter_run(&data);
	if (found != expected)
		fail_msg("line %d: %s(%lx, %lx, %lx, %lx): %x rather than %x", line, name, (unsigned long)a,
			(unsigned long)b, (unsigned long)c, (unsigned long)d, found, expected);
}

#define HIGH (1ULL << 31)      /* the kernel looks at this bit of an int */
#define REST (0xdeadULL << 32) /* but not at these */
#define FREE (SOCK_NONBLOCK | SOCK_CLOEXEC)

/* ---- the processes --------------------------------------------------------------------------------------------------------- */

static struct policy policy;
static struct service services[3];
static struct backend backends[3];

static int setup(void **state)
{
	n_program = 0;
	loading = landlocking = limit_fails = limits_known = 0;
	rule_fails = 0;
	remapping_fails = false;
	n_limits = 0;
	abi = 4;
	otherwise = SECCOMP_RET_TRAP;
	for (size_t i = 0; i < RLIM_NLIMITS; i++)
		limits[i] = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	memset(&policy, 0, sizeof(policy));
	memset(services, 0, sizeof(services));
	memset(&landlocked, 0, sizeof(landlocked));
	ports_given = false;
	return 0;
}

static int teardown(void **state)
{
	signal(SIGSYS, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	return 0;
}

/* What holds for all. */
static void assert_common(void)
{
	static const char *const may[] = { "brk", "munmap", "madvise", "read", "write", "close", "recvfrom",
		"recvmsg", "getsockopt", "shutdown", "poll", "futex", "clock_gettime", "getrandom", "getpid",
		"rt_sigprocmask", "exit_group" };
	static const char *const must_not[] = { "execve", "execveat", "fork", "vfork", "clone", "clone3", "ptrace",
		"kill", "tkill", "unlink", "rename", "mount", "setuid", "listen", "accept", "process_vm_writev",
		"bpf", "io_uring_setup", "prctl", "seccomp", "sendfile", "pidfd_getfd", "open_by_handle_at", "keyctl",
		"chmod" };
	static const int commands[] = { F_SETFD, F_GETFL, F_DUPFD_CLOEXEC };

	for (size_t i = 0; i < sizeof(may) / sizeof(may[0]); i++)
		MAY(may[i]);
	for (size_t i = 0; i < sizeof(must_not) / sizeof(must_not[0]); i++)
		MUST_NOT(must_not[i]);
	MAY("mmap", 0, 0, PROT_READ | PROT_WRITE);
	MUST_NOT("mmap", 0, 0, PROT_READ | PROT_EXEC);
	MAY("mprotect", 0, 0, PROT_READ | PROT_WRITE);
	MUST_NOT("mprotect", 0, 0, PROT_EXEC);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		MAY("fcntl", 0, commands[i]);
	MAY("tgkill", getpid());
	MUST_NOT("tgkill", getpid() + 1);
	MUST_NOT("tgkill", getpid() | HIGH);
	const struct seccomp_data foreign = { .nr = 3, .arch = AUDIT_ARCH_I386 };
	assert_int_equal(filter_run(&foreign), SECCOMP_RET_KILL_PROCESS);
}

static void assert_fcntl(void)
{
	MAY("fcntl", 0, F_GETFL | REST);
	MUST_NOT("fcntl", 0, F_GETFL | HIGH);
	MUST_NOT("fcntl", 0, F_DUPFD);
	MUST_NOT("fcntl", 0, F_SETOWN);
	MUST_NOT("fcntl", 0, F_SETLK);
	MUST_NOT("fcntl", 0, F_SETFL | HIGH, O_NONBLOCK);
	MAY("fcntl", 0, F_SETFL | REST, O_NONBLOCK | REST);
	MAY("fcntl", 0, F_SETFL, O_NONBLOCK | O_RDWR | 0100000);
	MUST_NOT("fcntl", 0, F_SETFL, O_NONBLOCK | O_APPEND);
	MUST_NOT("fcntl", 0, F_SETFL, O_NONBLOCK | O_ASYNC);
	MUST_NOT("fcntl", 0, F_SETFL, O_NONBLOCK | O_DIRECT);
	MUST_NOT("fcntl", 0, F_SETFL, O_NONBLOCK | HIGH);
}

/* Of this kind and of no protocol but its own. */
static void assert_socket(int family, int type)
{
	int own = family == AF_UNIX ? 0 : type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;

	MAY("socket", family, type);
	MAY("socket", family | REST, type | FREE | REST, own | REST);
	for (int i = 1; i < 300; i++)
		if (i != own)
			MUST_NOT("socket", family, type, i);
	MUST_NOT("socket", family | HIGH, type);
	MUST_NOT("socket", family, type | HIGH);
	MUST_NOT("socket", family, type | 0x10);
	MUST_NOT("socket", family, type, HIGH);
}

static void assert_no_fast_open(void)
{
	MAY("sendto", 0, 0, 0, MSG_NOSIGNAL | MSG_MORE);
	MUST_NOT("sendto", 0, 0, 0, MSG_FASTOPEN);
	MAY("sendmsg", 0, 0, MSG_NOSIGNAL);
	MUST_NOT("sendmsg", 0, 0, MSG_FASTOPEN);
}

static void enter_worker(void)
{
	assert_int_equal(sandbox_enter_worker(&policy, NULL), 0);
	assert_int_not_equal(n_program, 0);
}

static void a_worker_accepts_connects_and_relays(void **state)
{
	static const char *const calls[] = { "epoll_ctl", "epoll_wait", "epoll_pwait", "accept4", "connect",
		"splice" };
	static const struct {
		int level, name;
	} options[] = { { SOL_SOCKET, SO_KEEPALIVE }, { SOL_SOCKET, SO_OOBINLINE }, { SOL_SOCKET, SO_PEEK_OFF },
		{ SOL_SOCKET, SO_REUSEADDR }, { IPPROTO_TCP, TCP_NODELAY }, { IPPROTO_TCP, TCP_KEEPIDLE },
		{ IPPROTO_TCP, TCP_KEEPINTVL }, { IPPROTO_TCP, TCP_KEEPCNT }, { IPPROTO_TCP, TCP_QUICKACK },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT }, { IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT } };
	static const unsigned long requests[] = { SIOCOUTQ, FIONREAD, TCGETS, TIOCGPTN };
	/* Of libraries that are no worker's, and of what it does before it is one. */
	static const char *const others[] = { "epoll_create1", "epoll_pwait2", "pread64", "pwrite64", "nanosleep",
		"clock_nanosleep", "sched_yield", "gettimeofday", "getppid", "getuid", "geteuid", "uname",
		"getrusage", "rseq", "membarrier", "rt_sigreturn", "sigaltstack" };

	enter_worker();
	assert_common();
	MAY("fcntl", 0, F_GETPIPE_SZ);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		MUST_NOT(others[i]);
	MUST_NOT("fcntl", 0, F_GETFD);
	MUST_NOT("ioctl", 0, TIOCGWINSZ);
	assert_fcntl();
	assert_no_fast_open();
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		MAY(calls[i]);
	MUST_NOT("bind");
	MUST_NOT("openat");
	MUST_NOT("rt_sigaction", SIGPIPE);
	MUST_NOT("fcntl", 0, F_SETFL, 0); /* nothing waits */
	MUST_NOT("fcntl", 0, F_SETFL, O_RDWR);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		MAY("setsockopt", 0, options[i].level | REST, options[i].name | REST);
		MUST_NOT("setsockopt", 0, options[i].level | HIGH, options[i].name);
		MUST_NOT("setsockopt", 0, options[i].level, options[i].name | HIGH);
	}
	MUST_NOT("setsockopt", 0, SOL_SOCKET, SO_LINGER);
	MUST_NOT("setsockopt", 0, SOL_SOCKET, SO_DEBUG);
	MUST_NOT("setsockopt", 0, IPPROTO_TCP, TCP_FASTOPEN_CONNECT);
	MUST_NOT("setsockopt", 0, IPPROTO_TCP, TCP_CORK);
	MUST_NOT("setsockopt", 0, IPPROTO_IPV6, TCP_NODELAY);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		MAY("ioctl", 0, requests[i] | REST);
		MUST_NOT("ioctl", 0, requests[i] ^ HIGH);
	}
	MUST_NOT("ioctl", 0, FIONBIO);
	MUST_NOT("ioctl", 0, TIOCSTI);
	FAILS(ENOMEM, "mremap");
}

static void a_worker_makes_pipes_and_pairs_of_its_own_kind(void **state)
{
	enter_worker();
	MAY("fcntl", 0, F_SETPIPE_SZ | REST, RELAY_PIPE_SIZE | REST);
	MUST_NOT("fcntl", 0, F_SETPIPE_SZ, RELAY_PIPE_SIZE / 2);
	MUST_NOT("fcntl", 0, F_SETPIPE_SZ, RELAY_PIPE_SIZE * 2);
	MUST_NOT("fcntl", 0, F_SETPIPE_SZ | HIGH, RELAY_PIPE_SIZE);
	MUST_NOT("fcntl", 0, F_SETPIPE_SZ, RELAY_PIPE_SIZE | HIGH);
	MAY("pipe2", 0, O_CLOEXEC | O_NONBLOCK | REST);
	MAY("pipe2", 0, 0);
	MUST_NOT("pipe2", 0, O_DIRECT);
	MUST_NOT("pipe2", 0, HIGH);
	MUST_NOT("pipe2", 0, 1);
	MUST_NOT("socketpair", AF_UNIX, SOCK_STREAM);
	policy.services = services;
	policy.n_services = 1;
	services[0].target.delivery = DELIVERY_HANDOVER; /* receipts come by a pair */
	enter_worker();
	MAY("socketpair", AF_UNIX | REST, SOCK_STREAM | FREE | REST);
	MUST_NOT("socketpair", AF_UNIX, SOCK_DGRAM);
	MUST_NOT("socketpair", AF_UNIX, SOCK_SEQPACKET);
	MUST_NOT("socketpair", AF_UNIX, SOCK_STREAM | HIGH);
	MUST_NOT("socketpair", AF_UNIX, SOCK_STREAM | 0x10);
	MUST_NOT("socketpair", AF_UNIX | HIGH, SOCK_STREAM);
	MUST_NOT("socketpair", AF_TIPC, SOCK_STREAM);
}

static void a_worker_has_sockets_of_few_kinds(void **state)
{
	enter_worker();
	assert_socket(AF_INET, SOCK_STREAM);
	assert_socket(AF_INET6, SOCK_STREAM);
	assert_socket(AF_UNIX, SOCK_STREAM);
	MUST_NOT("socket", AF_UNIX, SOCK_DGRAM);
	MUST_NOT("socket", AF_INET, SOCK_DGRAM);
	MUST_NOT("socket", AF_INET6, SOCK_DGRAM);
	MUST_NOT("socket", AF_INET, SOCK_RAW);
	MUST_NOT("socket", AF_UNIX, SOCK_SEQPACKET);
	MUST_NOT("socket", AF_NETLINK, SOCK_RAW);
	MUST_NOT("socket", AF_PACKET, SOCK_RAW);
	MUST_NOT("socket", AF_VSOCK, SOCK_STREAM);
}

static void a_worker_that_hands_over_may_make_sockets_wait(void **state)
{
	policy.services = services;
	policy.n_services = 2;
	enter_worker();
	MUST_NOT("fcntl", 0, F_SETFL, 0);
	services[1].target.delivery = DELIVERY_HANDOVER;
	enter_worker();
	assert_fcntl();
	assert_socket(AF_UNIX, SOCK_DGRAM);
	MAY("fcntl", 0, F_SETFL, 0);
	MUST_NOT("fcntl", 0, F_SETFL, O_APPEND);
}

static void a_worker_with_a_tarpit_may_make_buffers_small(void **state)
{
	policy.services = services;
	policy.n_services = 2;
	services[1].target.delivery = DELIVERY_REJECT;
	enter_worker();
	MUST_NOT("setsockopt", 0, SOL_SOCKET, SO_RCVBUF);
	services[1].target.reject.tarpit_us = 1;
	enter_worker();
	MAY("setsockopt", 0, SOL_SOCKET, SO_RCVBUF);
	MUST_NOT("setsockopt", 0, SOL_SOCKET, SO_SNDBUF);
}

static void a_worker_with_transparent_services_may_bind(void **state)
{
	policy.transparent = true;
	enter_worker();
	MAY("bind");
	assert_false(landlocked.limits_bind);
	assert_true(landlocked.limits_connect);
}

static void a_worker_reaches_the_ports_of_its_backends(void **state)
{
	policy.services = services;
	policy.n_services = 3;
	assert_int_equal(address_parse(&backends[0].address, "192.0.2.1:8080"), 0);
	backends[0].name = BACKEND_NO_NAME;
	assert_int_equal(address_parse(&backends[1].address, "unix:/run/server"), 0);
	backends[1].name = BACKEND_NO_NAME;
	backends[2] = (struct backend){ .name = 0, .port = 65535 };
	services[0].target.connect.backends = backends;
	services[0].target.connect.n_backends = 2;
	services[1].target.delivery = DELIVERY_REJECT;
	services[1].target.connect.n_backends = 1; /* whatever is there */
	services[2].target.connect.backends = backends + 1;
	services[2].target.connect.n_backends = 2;
	enter_worker();
	assert_true(ports_given);
	for (unsigned port = 0; port < 65536; port++)
		assert_int_equal(ports[port / 8] >> port % 8 & 1, port == 8080 || port == 65535);
	assert_true(landlocked.limits_connect);
	assert_true(landlocked.limits_bind);
	assert_int_equal(landlocked.n_readable, 0);
}

static void the_logger_writes_to_who_listens_here(void **state)
{
	assert_int_equal(sandbox_enter_logger(NULL), 0);
	assert_common();
	assert_no_fast_open();
	assert_socket(AF_UNIX, SOCK_STREAM);
	assert_socket(AF_UNIX, SOCK_DGRAM);
	MAY("connect");
	MAY("mremap");
	MUST_NOT("socket", AF_INET, SOCK_STREAM);
	MUST_NOT("socket", AF_INET6, SOCK_DGRAM);
	MUST_NOT("epoll_wait");
	MUST_NOT("openat");
	MUST_NOT("bind");
	MAY("rt_sigaction", SIGPIPE);
	MUST_NOT("rt_sigaction", SIGTERM);
	MUST_NOT("rt_sigaction", SIGSYS);
	MAY("ioctl", 0, TCGETS);
	MUST_NOT("ioctl", 0, TIOCGWINSZ);
	MAY("setsockopt", 0, SOL_SOCKET, SO_SNDBUF);
	MUST_NOT("setsockopt", 0, SOL_SOCKET, SO_KEEPALIVE);
	MUST_NOT("fcntl", 0, F_SETFL, O_NONBLOCK);
	assert_true(landlocked.limits_connect);
	assert_true(landlocked.limits_bind);
	assert_false(ports_given);
	assert_int_equal(landlocked.n_readable, 0);
}

static void explain_reads_and_prints(void **state)
{
	assert_int_equal(sandbox_enter_explain(), 0);
	assert_common();
	MAY("fstat");
	MUST_NOT("readv");
	MAY("mremap");
	MAY("ioctl", 0, TCGETS);
	MAY("ioctl", 0, TIOCGWINSZ);
	MUST_NOT("ioctl", 0, FIONREAD);
	MUST_NOT("socket", AF_UNIX, SOCK_STREAM);
	MUST_NOT("connect");
	MUST_NOT("openat");
	MUST_NOT("sendto");
	MUST_NOT("setsockopt");
	assert_true(landlocked.limits_connect);
	assert_true(landlocked.limits_bind);
}

static bool is_readable(const char *path)
{
	for (size_t i = 0; i < landlocked.n_readable; i++)
		if (strcmp(landlocked.readable[i], path) == 0)
			return true;
	return false;
}

static void assert_reader(void)
{
	static const int families[] = { AF_INET, AF_INET6, AF_UNIX };

	for (size_t i = 0; i < 3; i++) {
		assert_socket(families[i], SOCK_STREAM);
		assert_socket(families[i], SOCK_DGRAM);
	}
	MAY("connect");
	MAY("openat");
	MAY("newfstatat");
	MAY("sendto", 0, 0, 0, MSG_FASTOPEN); /* it may connect to where it wants anyway */
	MAY("setsockopt", 0, SOL_SOCKET, SO_SNDBUF);
	MAY("ioctl", 0, FIONBIO);
	FAILS(ENOMEM, "mremap");
	assert_false(landlocked.limits_connect);
	assert_true(landlocked.limits_bind);
	assert_true(is_readable("/etc"));
	assert_true(is_readable("/dev/urandom"));
	assert_int_equal(limits[RLIMIT_FSIZE].rlim_max, 0);
}

static void the_resolver_reads_files_and_asks_servers(void **state)
{
	static const unsigned long requests[] = { FIONREAD, FIONBIO, TCGETS, SIOCGIFNAME, SIOCGIFINDEX };

	assert_int_equal(sandbox_enter_resolver(NULL), 0);
	assert_common();
	assert_fcntl();
	assert_reader();
	MAY("fcntl", 0, F_SETFL, 0);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		MAY("ioctl", 0, requests[i]);
	MUST_NOT("ioctl", 0, TIOCSTI);
	MUST_NOT("socket", AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	MUST_NOT("bind");
	MUST_NOT("splice");
	assert_true(is_readable("/run"));
	assert_false(is_readable("/proc"));
}

/* What it may not do fails, so that a module of the machine's may go on without. */
static void modules_of_nsswitch_fail_at_what_they_may_not_do(void **state)
{
	otherwise = SECCOMP_RET_ERRNO | EPERM;
	assert_int_equal(sandbox_enter_names(), 0);
	assert_reader();
	MUST_NOT("execve");
	MUST_NOT("clone");
	MUST_NOT("kill");
	MUST_NOT("unlink");
	MAY("bind");
	MAY("getdents64");
	MAY("fcntl", 0, F_SETFL, 0);
	MAY("socket", AF_UNIX, SOCK_SEQPACKET);
	MAY("socket", AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	MAY("socket", AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE);
	MUST_NOT("socket", AF_NETLINK, SOCK_RAW, NETLINK_AUDIT);
	MUST_NOT("socket", AF_NETLINK, SOCK_DGRAM, NETLINK_GENERIC);
	MUST_NOT("socket", AF_UNIX, SOCK_SEQPACKET, 1);
	MUST_NOT("mmap", 0, 0, PROT_EXEC);
	assert_true(is_readable("/proc"));
}

/* ---- limits ---------------------------------------------------------------------------------------------------------------- */

static void limits_hold_where_the_list_has_a_hole(void **state)
{
	static const int none[] = { RLIMIT_CORE, RLIMIT_NPROC, RLIMIT_MSGQUEUE, RLIMIT_MEMLOCK };

	enter_worker();
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(limits[none[i]].rlim_cur, 0);
		assert_int_equal(limits[none[i]].rlim_max, 0);
	}
	assert_int_equal(limits[RLIMIT_FSIZE].rlim_cur, 64 << 20);
	assert_int_equal(limits[RLIMIT_FSIZE].rlim_max, 64 << 20);
	assert_int_equal(n_limits, 5);
	assert_ptr_equal(signal(SIGXFSZ, SIG_DFL), SIG_IGN);
}

static void a_limit_that_is_lower_already_stays(void **state)
{
	limits[RLIMIT_FSIZE].rlim_max = 4096;
	limits[RLIMIT_MEMLOCK].rlim_max = 0;
	enter_worker();
	assert_int_equal(limits[RLIMIT_FSIZE].rlim_max, 4096);
	assert_int_equal(n_limits, 3);
}

static void the_loggers_files_may_grow(void **state)
{
	assert_int_equal(sandbox_enter_logger(NULL), 0);
	assert_int_equal(limits[RLIMIT_FSIZE].rlim_max, RLIM_INFINITY);
	assert_int_equal(n_limits, 4);
	n_limits = 0;
	assert_int_equal(sandbox_enter_explain(), 0);
	assert_int_equal(limits[RLIMIT_FSIZE].rlim_max, RLIM_INFINITY);
}

static int enter(int which)
{
	n_program = 0;
	switch (which) {
	case 0:
		return sandbox_enter_worker(&policy, NULL);
	case 1:
		return sandbox_enter_logger(NULL);
	case 2:
		return sandbox_enter_explain();
	case 3:
		return sandbox_enter_resolver(NULL);
	default:
		return sandbox_enter_names();
	}
}

static void what_cannot_be_limited_is_not_entered(void **state)
{
	for (int which = 0; which < 5; which++) {
		for (int i = 1; i <= 4; i++) {
			limit_fails = i;
			for (size_t k = 0; k < RLIM_NLIMITS; k++)
				limits[k] = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
			assert_int_equal(enter(which), -EPERM);
			assert_int_equal(n_program, 0);
		}
		limits_known = 1;
		assert_int_equal(enter(which), -EINVAL);
		landlocking = -EACCES;
		limit_fails = limits_known = 0;
		assert_int_equal(enter(which), -EACCES);
		assert_int_equal(n_program, 0);
		landlocking = 0;
		loading = -EFAULT;
		assert_int_equal(enter(which), -EFAULT);
		loading = 0;
	}
}

/* The first error counts, and nothing is entered with a part of the list. */
static void a_list_that_is_not_whole_is_not_entered(void **state)
{
	for (int which = 0; which < 5; which++) {
		for (unsigned i = 1; i < 100; i += 7) {
			rule_fails = i;
			int error = enter(which);
			assert_int_equal(error, rule_fails ? 0 : -ENOMEM);
			assert_int_equal(n_program == 0, !rule_fails);
			rule_fails = 0;
		}
		remapping_fails = true;
		assert_int_equal(enter(which), which == 1 || which == 2 ? 0 : -EFAULT); /* those may */
		rule_fails = 1;
		assert_int_equal(enter(which), -ENOMEM);
		remapping_fails = false;
		rule_fails = 1;
		assert_int_equal(enter(which), -ENOMEM);
	}
}

/* ---- for people ------------------------------------------------------------------------------------------------------------ */

static void what_is_missing_is_said(void **state)
{
	char text[128];

	abi = 0;
	sandbox_describe(text, sizeof(text));
	assert_string_equal(text, "seccomp, no Landlock");
	assert_non_null(strstr(sandbox_missing(), "no Landlock here"));
	for (abi = 1; abi < 4; abi++) {
		sandbox_describe(text, sizeof(text));
		assert_memory_equal(text, "seccomp, Landlock ABI ", 22);
		assert_int_equal(atoi(text + 22), abi);
		assert_non_null(strstr(sandbox_missing(), "Landlock knows no ports here"));
	}
	abi = 4;
	assert_null(sandbox_missing());
}

static void a_refused_call_has_a_name(void **state)
{
	_Atomic uint32_t refused = SYS_execve + 1;
	char text[128];

	assert_null(sandbox_refused_name(0));
	char *name = sandbox_refused_name(SYS_read + 1);
	assert_string_equal(name, "read");
	free(name);
	name = sandbox_refused_name(100000);
	assert_string_equal(name, "99999");
	free(name);
	sandbox_describe_end(text, sizeof(text), SIGSYS, &refused);
	assert_string_equal(text, "was killed by signal 31 (Bad system call: execve)");
	assert_int_equal(refused, 0); /* said once */
	sandbox_describe_end(text, sizeof(text), SIGSEGV, &refused);
	assert_string_equal(text, "was killed by signal 11 (Segmentation fault)");
	sandbox_describe_end(text, sizeof(text), 3 << 8, &refused);
	assert_string_equal(text, "ended with status 3");
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(a_worker_accepts_connects_and_relays),
		UNIT(a_worker_makes_pipes_and_pairs_of_its_own_kind),
		UNIT(a_worker_has_sockets_of_few_kinds),
		UNIT(a_worker_that_hands_over_may_make_sockets_wait),
		UNIT(a_worker_with_a_tarpit_may_make_buffers_small),
		UNIT(a_worker_with_transparent_services_may_bind),
		UNIT(a_worker_reaches_the_ports_of_its_backends),
		UNIT(the_logger_writes_to_who_listens_here),
		UNIT(explain_reads_and_prints),
		UNIT(the_resolver_reads_files_and_asks_servers),
		UNIT(modules_of_nsswitch_fail_at_what_they_may_not_do),
		UNIT(limits_hold_where_the_list_has_a_hole),
		UNIT(a_limit_that_is_lower_already_stays),
		UNIT(the_loggers_files_may_grow),
		UNIT(what_cannot_be_limited_is_not_entered),
		UNIT(a_list_that_is_not_whole_is_not_entered),
		UNIT(what_is_missing_is_said),
		UNIT(a_refused_call_has_a_name),
	};
	if (sandbox_has_holes()) { /* as meson has it: the reason, and 77 */
		puts("a sanitizer's calls are in no list");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
