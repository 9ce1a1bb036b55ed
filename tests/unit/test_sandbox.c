/* The sandbox, each case in a process of its own: what every ABI of Landlock takes away, a kernel that has none, what stays
 * possible inside, and how a violation ends. Intruders are in tests/system/test_sandbox.py. */
#include "landlock.h"
#include "sandbox.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED true
#else
#define SANITIZED false
#endif

static struct shared_word {
	_Atomic uint32_t refused;
} * told;

static int abi_here; /* asked for before there is a sandbox, which it is none of the calls of */

static struct {
	int named, unnamed; /* listening, and their ports */
	uint16_t named_port, unnamed_port;
	int unix_path, unix_abstract;
	struct sockaddr_un path, abstract;
} world;

/* What a process ends with that runs `inside`; its status is what that returns. */
static int status_of(int (*inside)(void *context), void *context)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(inside(context));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

#define assert_ends_well(status)                                                                                     \
	do {                                                                                                         \
		int s_ = (status);                                                                                   \
		if (!WIFEXITED(s_) || WEXITSTATUS(s_) != 0)                                                          \
			fail_msg("ended with %s %d", WIFEXITED(s_) ? "line" : "signal",                              \
				WIFEXITED(s_) ? WEXITSTATUS(s_) : WTERMSIG(s_));                                     \
	} while (0)

/* In a child: the status is the line where things went wrong, modulo 256. */
#define EXPECT(what)                                                                                                 \
	do {                                                                                                         \
		if (!(what))                                                                                         \
			return __LINE__ % 255 + 1;                                                                   \
	} while (0)

static int connect_result(const void *address, socklen_t len)
{
	int fd = socket(((const struct sockaddr *)address)->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int result = connect(fd, address, len) < 0 ? -errno : 0;

	close(fd);
	return result;
}

static int connect_port(uint16_t port)
{
	const struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	return connect_result(&to, sizeof(to));
}

static int connect_path(void)
{
	return connect_result(&world.path, sizeof(world.path));
}

static int connect_abstract(void)
{
	return connect_result(&world.abstract,
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(world.abstract.sun_path + 1)));
}

static int bind_result(void)
{
	const struct sockaddr_in at = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int result = bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ? -errno : 0;

	close(fd);
	return result;
}

/* ---- Landlock ---- */

static int inside_landlock(void *context)
{
	static const char *const readable[] = { "/etc", "/does/not/exist", "/dev/null" };
	uint8_t ports[LANDLOCK_PORTS / 8] = { 0 };
	int abi = *(const int *)context;

	ports[world.named_port / 8] = (uint8_t)(1 << world.named_port % 8);
	EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	EXPECT(landlock_enter(&(struct landlock){ .readable = readable,
				      .n_readable = 3,
				      .limits_connect = true,
				      .limits_bind = true,
				      .ports = ports },
		       abi) == 0);
	bool confined = abi >= 1;
	EXPECT(open("/etc/passwd", O_RDONLY) >= 0);
	EXPECT(open("/dev/null", O_RDONLY) >= 0);
	EXPECT(!confined || (open("/dev/null", O_WRONLY) < 0 && errno == EACCES));
	EXPECT((open("/proc/self/status", O_RDONLY) >= 0) == !confined);
	EXPECT((open("/tmp", O_RDONLY) >= 0) == !confined);
	EXPECT(connect_port(world.named_port) == 0);
	EXPECT(connect_port(world.unnamed_port) == (abi >= 4 ? -EACCES : 0));
	EXPECT(bind_result() == (abi >= 4 ? -EACCES : 0));
	EXPECT(connect_path() == 0);
	EXPECT(connect_abstract() == (abi >= 6 ? -EPERM : 0));
	EXPECT((kill(getppid(), 0) == 0) == (abi < 6));
	return 0;
}

static void every_abi_takes_away_what_it_knows(void **state)
{
	int newest = abi_here;

	if (newest == 0)
		print_message("this kernel has no Landlock: only that is tested\n");
	for (int abi = 0; abi <= newest; abi++)
		assert_ends_well(status_of(inside_landlock, &abi));
}

static int inside_landlock_without_ports(void *context)
{
	EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	EXPECT(landlock_enter(&(struct landlock){ .limits_bind = true }, abi_here) == 0);
	EXPECT(connect_port(world.unnamed_port) == 0);
	EXPECT(bind_result() == (abi_here >= 4 ? -EACCES : 0));
	return 0;
}

static void ports_are_limited_only_where_that_is_asked_for(void **state)
{
	assert_ends_well(status_of(inside_landlock_without_ports, NULL));
}

/* As a kernel answers that was built without it, or told to do without. */
static int have_no_landlock(int error)
{
	scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);
	int result = seccomp_rule_add(context, SCMP_ACT_ERRNO((uint32_t)error), 444, 0);

	if (result == 0)
		result = seccomp_load(context);
	seccomp_release(context);
	return result;
}

/* ---- inside ---- */

static struct backend backends[1];
static struct service services[1];
static struct policy policy = { .services = services, .n_services = 1 };

static int enter(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return sandbox_enter_worker(&policy, &told->refused);
}

static int open_a_file(void *context)
{
	int error = context ? have_no_landlock(*(int *)context) : 0;

	EXPECT(error == 0);
	EXPECT(!context || landlock_abi() == 0);
	EXPECT(enter() == 0);
	syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
	return 255;
}

static void assert_refused(int status, uint32_t call, const char *name)
{
	char *said = sandbox_refused_name(atomic_load(&told->refused));

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
	assert_int_equal(atomic_exchange(&told->refused, 0), call + 1);
	assert_string_equal(said, name);
	free(said);
}

static void a_refused_call_ends_the_process_and_is_told(void **state)
{
	if (SANITIZED)
		skip();
	assert_null(sandbox_refused_name(0));
	assert_refused(status_of(open_a_file, NULL), SYS_openat, "openat");
}

static void without_landlock_the_list_still_holds(void **state)
{
	if (SANITIZED)
		skip();
	assert_refused(status_of(open_a_file, &(int){ ENOSYS }), SYS_openat, "openat");
	assert_refused(status_of(open_a_file, &(int){ EOPNOTSUPP }), SYS_openat, "openat");
}

/* Somebody who runs code of his own there may block the signal or wait for it: neither helps. */
static int block_the_signal(void *context)
{
	sigset_t all;

	EXPECT(enter() == 0);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY);
	return 255;
}

static void a_blocked_signal_ends_it_too(void **state)
{
	if (SANITIZED)
		skip();
	int status = status_of(block_the_signal, NULL);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	atomic_store(&told->refused, 0);
}

static int give_up(void *context)
{
	EXPECT(enter() == 0);
	abort();
}

static void abort_is_seen_as_what_it_is(void **state)
{
	if (SANITIZED)
		skip();
	int status = status_of(give_up, NULL);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* What a worker does all day, and what the C library does for it now and then. */
static int work(void *context)
{
	char text[512], byte = 'x';
	int ends[2], pipes[2], sent;
	struct tm tm;
	time_t now = time(NULL);

	int epoll = epoll_create1(EPOLL_CLOEXEC);
	EXPECT(epoll >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0 && enter() == 0);
	char *large = malloc(64 << 20);
	EXPECT(large);
	memset(large, 1, 64 << 20);
	EXPECT((large = realloc(large, 128 << 20)));
	free(large);
	void *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT(pages != MAP_FAILED && mprotect(pages, 4096, PROT_READ) == 0 && munmap(pages, 8192) == 0);
	EXPECT(localtime_r(&now, &tm) && gmtime_r(&now, &tm) &&
		snprintf(text, sizeof(text), "%f %s", 1e300 / 3, strerror(EIO)) > 0);
	EXPECT(pipe2(pipes, O_CLOEXEC | O_NONBLOCK) == 0);
	EXPECT(fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20) != 0 && fcntl(pipes[1], F_GETPIPE_SZ) > 0);
	EXPECT(write(ends[0], &byte, 1) == 1 && splice(ends[1], NULL, pipes[1], NULL, 1, SPLICE_F_NONBLOCK) == 1);
	EXPECT(read(pipes[0], &byte, 1) == 1 && byte == 'x');
	EXPECT(send(ends[0], &byte, 1, MSG_NOSIGNAL) == 1 && recv(ends[1], &byte, 1, MSG_PEEK) == 1);
	EXPECT(setsockopt(ends[0], SOL_SOCKET, SO_KEEPALIVE, &(int){ 1 }, sizeof(int)) == 0);
	EXPECT(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 && (sent = fcntl(ends[0], F_DUPFD_CLOEXEC, 3)) >= 0 &&
		close(sent) == 0);
	EXPECT(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &(struct epoll_event){ .events = EPOLLOUT }) == 0);
	EXPECT(epoll_wait(epoll, &(struct epoll_event){ 0 }, 1, 100) == 1);
	EXPECT(connect_port(world.named_port) == 0 && connect_path() == 0);
	EXPECT(connect_port(world.unnamed_port) == (abi_here >= 4 && !SANITIZED ? -EACCES : 0));
	EXPECT(accept4(world.named, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) >= 0);
	return 0;
}

static void a_worker_can_work(void **state)
{
	assert_ends_well(status_of(work, NULL));
}

static int transparent_work(void *context)
{
	policy.transparent = true;
	EXPECT(enter() == 0);
	EXPECT(bind_result() == 0);
	return 0;
}

static void with_transparent_services_a_worker_may_bind(void **state)
{
	assert_ends_well(status_of(transparent_work, NULL));
}

static int too_large(void *context)
{
	struct rlimit limit;

	EXPECT(enter() == 0);
	EXPECT(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	return 0;
}

static int write_too_much(void *context)
{
	int file = memfd_create("report", MFD_CLOEXEC);

	EXPECT(file >= 0 && enter() == 0);
	EXPECT(write(file, "x", 1) == 1);
	EXPECT(lseek(file, (off_t)1 << 40, SEEK_SET) > 0 && write(file, "x", 1) < 0 && errno == EFBIG);
	return 0;
}

static void a_file_that_grows_without_end_is_an_error_and_no_more(void **state)
{
	if (SANITIZED)
		skip();
	assert_ends_well(status_of(write_too_much, NULL));
	int status = status_of(too_large, NULL); /* asking for a limit is no worker's business either */
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	atomic_store(&told->refused, 0);
}

/* ---- logger and resolver ---- */

static int log_there(void *context)
{
	int file = open("/tmp", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);

	EXPECT(file >= 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && sandbox_enter_logger(NULL) == 0);
	EXPECT(write(file, "line\n", 5) == 5);
	EXPECT(pwrite(file, "x", 1, (off_t)1 << 31) == 1);
	EXPECT(connect_path() == 0);
	/* To nobody, or to whoever collects this machine's log. */
	openlog("usher-test", LOG_NDELAY, LOG_USER);
	syslog(LOG_DEBUG, "a test of usher's sandbox");
	closelog();
	syslog(LOG_DEBUG, "and another line");
	return 0;
}

static int log_elsewhere(void *context)
{
	EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && sandbox_enter_logger(NULL) == 0);
	return connect_port(world.named_port) == 0 ? 254 : 255;
}

static void the_logger_writes_and_reaches_no_network(void **state)
{
	assert_ends_well(status_of(log_there, NULL));
	if (SANITIZED)
		return;
	int status = status_of(log_elsewhere, NULL);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static int resolve(void *context)
{
	char line[256];

	EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && sandbox_enter_resolver(NULL) == 0);
	FILE *file = fopen("/etc/hosts", "r");
	EXPECT(file && fgets(line, sizeof(line), file) && fclose(file) == 0);
	EXPECT(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP) >= 0);
	EXPECT(connect_port(world.named_port) == 0); /* over TCP, to whichever port a name server has */
	if (abi_here < 1 || SANITIZED)
		return 0;
	EXPECT(!fopen("/proc/self/environ", "r") && errno == EACCES);
	EXPECT(open("/etc/hosts", O_WRONLY) < 0 && errno == EACCES);
	EXPECT(open("/etc/usher-test", O_WRONLY | O_CREAT, 0600) < 0 && errno == EACCES);
	return 0;
}

static void the_resolver_reads_what_it_needs(void **state)
{
	assert_ends_well(status_of(resolve, NULL));
}

/* ---- the world ---- */

static int listen_port(uint16_t *ret_port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 64) < 0 ||
		getsockname(fd, (struct sockaddr *)&at, &len) < 0)
		abort();
	*ret_port = ntohs(at.sin_port);
	return fd;
}

static int listen_unix(const struct sockaddr_un *at, size_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (const struct sockaddr *)at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0 ||
		listen(fd, 64) < 0)
		abort();
	return fd;
}

static int make_world(void **state)
{
	abi_here = landlock_abi();
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	world.named = listen_port(&world.named_port);
	world.unnamed = listen_port(&world.unnamed_port);
	world.path.sun_family = world.abstract.sun_family = AF_UNIX;
	int len = snprintf(
		world.path.sun_path, sizeof(world.path.sun_path), "/tmp/usher-test-sandbox-%d", (int)getpid());
	snprintf(world.abstract.sun_path + 1, sizeof(world.abstract.sun_path) - 1, "usher-test-%d", (int)getpid());
	world.unix_path = listen_unix(&world.path, (size_t)len + 1);
	world.unix_abstract = listen_unix(&world.abstract, 1 + strlen(world.abstract.sun_path + 1));
	backends[0].name = BACKEND_NO_NAME;
	backends[0].address.len = sizeof(backends[0].address.in);
	backends[0].address.in.sin_family = AF_INET;
	backends[0].address.in.sin_port = htons(world.named_port);
	services[0].target.delivery = DELIVERY_CONNECT;
	services[0].target.connect.backends = backends;
	services[0].target.connect.n_backends = 1;
	return 0;
}

static int end_world(void **state)
{
	return unlink(world.path.sun_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_abi_takes_away_what_it_knows),
		cmocka_unit_test(ports_are_limited_only_where_that_is_asked_for),
		cmocka_unit_test(a_refused_call_ends_the_process_and_is_told),
		cmocka_unit_test(without_landlock_the_list_still_holds),
		cmocka_unit_test(a_blocked_signal_ends_it_too),
		cmocka_unit_test(abort_is_seen_as_what_it_is),
		cmocka_unit_test(a_worker_can_work),
		cmocka_unit_test(with_transparent_services_a_worker_may_bind),
		cmocka_unit_test(a_file_that_grows_without_end_is_an_error_and_no_more),
		cmocka_unit_test(the_logger_writes_and_reaches_no_network),
		cmocka_unit_test(the_resolver_reads_what_it_needs),
	};
	return cmocka_run_group_tests(tests, make_world, end_world);
}
