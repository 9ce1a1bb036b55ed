/* Preloaded into usher (LD_PRELOAD), makes system calls of its workers fail as a kernel under pressure does. What fails, and how often, is said by
 * the environment, with a seed:
 *
 *	USHER_FAULTS="seed=7 accept=0.2 socket=0.1 pipe=1 watch=0.05 connect=0.1 break=0.01 interrupt=0.1 refuse=0.1 short=0.3 clock=1"
 *
 * accept, socket, pipe, watch: EMFILE, ENFILE, ENOBUFS or ENOMEM, what each of them can say. connect: EADDRNOTAVAIL or ENOBUFS at once. break: ENOBUFS or
 * ENOMEM where bytes are moved, which ends that connection. interrupt: EINTR. refuse: EAGAIN. short: fewer bytes than could be moved.
 * clock: the wall clock jumps back and forth by up to a day at each reading.
 *
 * After EAGAIN, EINTR or fewer bytes than were asked for, whoever watches a descriptor for edges may count on another edge: it is given
 * one, by arming it again. Owns nothing; refuses to touch any process but a worker. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX 65536

enum fault { ACCEPT, SOCKET, PIPE, WATCH, CONNECT, BREAK, INTERRUPT, REFUSE, SHORT, CLOCK, FAULTS };

static const char *const names[FAULTS] = {
	"accept=", "socket=", "pipe=", "watch=", "connect=", "break=", "interrupt=", "refuse=", "short=", "clock="
};
static double rates[FAULTS];
static uint64_t seed = 1;
static bool active;  /* this is a worker */
static bool serving; /* and it has begun to: one that cannot start is another matter */
static unsigned long injected;

static struct {
	int epoll_fd;
	struct epoll_event event;
	bool watched;
} watches[FDS_MAX];

#define NEXT(function) ((__typeof__(&function))dlsym(RTLD_NEXT, #function))

static void read_rates(const char *text)
{
	const char *at = strstr(text, "seed=");

	if (at)
		seed = strtoull(at + 5, NULL, 10) * 0x9e3779b97f4a7c15ULL + 1;
	for (int i = 0; i < FAULTS; i++)
		if ((at = strstr(text, names[i])))
			rates[i] = strtod(at + strlen(names[i]), NULL);
}

static uint64_t draw(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dULL;
}

static bool happens(enum fault fault)
{
	if (!serving || rates[fault] <= 0 || (double)(draw() >> 11) / 9007199254740992.0 >= rates[fault])
		return false;
	injected++;
	return true;
}

/* So that a test knows that something was injected. */
void _exit(int status)
{
	char line[64];
	int len = snprintf(line, sizeof(line), "injected %lu faults\n", injected);

	if (active && len > 0 && NEXT(write)(STDERR_FILENO, line, (size_t)len) < 0)
		status = 1;
	NEXT(_exit)(status);
	__builtin_unreachable();
}

static int one_of(const int *errors, size_t n)
{
	errno = errors[draw() % n];
	return -1;
}

#define FAIL(...) one_of((const int[]){ __VA_ARGS__ }, sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int))

/* A worker names itself before it does anything else. */
int prctl(int option, ...)
{
	va_list args;
	unsigned long words[4];

	va_start(args, option);
	for (int i = 0; i < 4; i++)
		words[i] = va_arg(args, unsigned long);
	va_end(args);
	if (option == PR_SET_NAME && strcmp((const char *)words[0], "usher: worker") == 0 && getenv("USHER_FAULTS")) {
		read_rates(getenv("USHER_FAULTS"));
		seed += (uint64_t)getpid();
		active = true;
	}
	return NEXT(prctl)(option, words[0], words[1], words[2], words[3]);
}

/* ---- watching ---- */

int epoll_wait(int fd, struct epoll_event *events, int most, int timeout_ms)
{
	serving = active;
	return NEXT(epoll_wait)(fd, events, most, timeout_ms);
}

int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
	if (operation == EPOLL_CTL_ADD && happens(WATCH))
		return FAIL(ENOMEM, ENOSPC);
	int result = NEXT(epoll_ctl)(epoll_fd, operation, fd, event);
	if (result < 0 || fd < 0 || fd >= FDS_MAX)
		return result;
	watches[fd].watched = operation != EPOLL_CTL_DEL;
	watches[fd].epoll_fd = epoll_fd;
	if (event)
		watches[fd].event = *event;
	return 0;
}

/* What is ready is reported once more. */
static void arm_again(int fd)
{
	int saved = errno;

	if (fd >= 0 && fd < FDS_MAX && watches[fd].watched && watches[fd].event.events & EPOLLET)
		NEXT(epoll_ctl)(watches[fd].epoll_fd, EPOLL_CTL_MOD, fd, &watches[fd].event);
	errno = saved;
}

int close(int fd)
{
	if (fd >= 0 && fd < FDS_MAX)
		watches[fd].watched = false;
	return NEXT(close)(fd);
}

/* ---- making descriptors ---- */

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	if (happens(ACCEPT))
		return FAIL(EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EINTR);
	return NEXT(accept4)(fd, address, len, flags);
}

int socket(int family, int type, int protocol)
{
	if (happens(SOCKET))
		return FAIL(EMFILE, ENFILE, ENOBUFS, ENOMEM);
	return NEXT(socket)(family, type, protocol);
}

int pipe2(int fds[2], int flags)
{
	if (happens(PIPE))
		return FAIL(EMFILE, ENFILE);
	return NEXT(pipe2)(fds, flags);
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	if (happens(CONNECT))
		return FAIL(EADDRNOTAVAIL, ENOBUFS);
	return NEXT(connect)(fd, address, len);
}

/* ---- moving bytes ---- */

/* Of relayed bytes: sockets and pipes that are watched for edges. False: go on, with so many bytes. */
static bool fails(int fd, int other, size_t *len)
{
	bool watched = fd >= 0 && fd < FDS_MAX && watches[fd].watched && watches[fd].event.events & EPOLLET;

	if (!serving || !watched)
		return false;
	if (happens(BREAK)) {
		FAIL(ENOBUFS, ENOMEM);
		return true;
	}
	bool interrupted = happens(INTERRUPT), refused = !interrupted && happens(REFUSE);
	if (interrupted || refused) {
		errno = interrupted ? EINTR : EAGAIN;
	} else if (*len > 1 && happens(SHORT)) {
		*len = 1 + draw() % (*len - 1);
	} else {
		return false;
	}
	arm_again(fd);
	arm_again(other);
	return interrupted || refused;
}

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
	/* What is peeked has no end that moves: fewer bytes would be another client's hello. */
	size_t shown = len;
	if (fails(fd, -1, flags & MSG_PEEK ? &(size_t){ 1 } : &shown))
		return -1;
	return NEXT(recv)(fd, bytes, shown, flags);
}

/* Only of looks at first bytes: what comes from other processes with descriptors is another's test. */
ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	if (flags & MSG_PEEK && fails(fd, -1, &(size_t){ 1 }))
		return -1;
	return NEXT(recvmsg)(fd, message, flags);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
	return fails(fd, -1, &len) ? -1 : NEXT(send)(fd, bytes, len, flags);
}

ssize_t read(int fd, void *bytes, size_t len)
{
	return fails(fd, -1, &len) ? -1 : NEXT(read)(fd, bytes, len);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	return fails(fd, -1, &len) ? -1 : NEXT(write)(fd, bytes, len);
}

ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t len, unsigned flags)
{
	if (fails(from, to, &len) || fails(to, from, &len))
		return -1;
	return NEXT(splice)(from, from_at, to, to_at, len, flags);
}

/* ---- the wall clock ---- */

static time_t jump(void)
{
	return happens(CLOCK) ? (time_t)(draw() % 172800) - 86400 : 0;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int result = NEXT(clock_gettime)(clock, ret);
	if (result == 0 && clock == CLOCK_REALTIME)
		ret->tv_sec += jump();
	return result;
}

time_t time(time_t *ret)
{
	struct timespec now;

	NEXT(clock_gettime)(CLOCK_REALTIME, &now);
	now.tv_sec += jump();
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}
