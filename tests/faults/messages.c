/* Preloaded into usher (LD_PRELOAD), makes messages between its processes fail or vanish. The environment says which:
 *
 *	USHER_MESSAGES="seed=7 master=0.3 worker=0.3 names=1 logger=1 lose=answer:2"
 *
 * master, worker, names, logger: how often a message that this process sends fails, with EAGAIN, ENOBUFS, ENOMEM or ETOOMANYREFS; a rate of 1 is
 * the first 20 of each process. lose: so many messages of that kind, the first ones of each process that sends them, are said to be sent and are not.
 *
 * After EAGAIN whoever watches for edges may count on one: it is given one, by arming the descriptor again. Owns nothing; touches pairs of
 * sockets alone, not the channels of receivers, which have names. */
#include "message.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FDS_MAX    65536
#define FIRST_ONES 20

#define NEXT(function) ((__typeof__(&function))dlsym(RTLD_NEXT, #function))

static const char *const kinds[MESSAGE_KINDS] = { [MESSAGE_READY] = "ready",
	[MESSAGE_HELD] = "held",
	[MESSAGE_REPORTED] = "reported",
	[MESSAGE_SPAWN] = "spawn",
	[MESSAGE_ANSWER] = "answer",
	[MESSAGE_VERDICT] = "verdict",
	[MESSAGE_EXITED] = "exited",
	[MESSAGE_RESUME] = "resume",
	[MESSAGE_REPORT] = "report" };

static double rate;
static uint64_t seed = 1;
static long failed, lost[MESSAGE_KINDS];

static struct {
	int epoll_fd;
	struct epoll_event event;
} watches[FDS_MAX];

/* A process names itself before it does anything else. */
int prctl(int option, ...)
{
	va_list args;
	unsigned long words[4];
	const char *text = getenv("USHER_MESSAGES");

	va_start(args, option);
	for (int i = 0; i < 4; i++)
		words[i] = va_arg(args, unsigned long);
	va_end(args);
	if (option == PR_SET_NAME && text && strncmp((const char *)words[0], "usher: ", 7) == 0) {
		char key[32];
		snprintf(key, sizeof(key), " %s=", (const char *)words[0] + 7);
		const char *at = strstr(text, key);
		rate = at ? strtod(at + strlen(key), NULL) : 0;
		at = strstr(text, "seed=");
		seed = ((at ? strtoull(at + 5, NULL, 10) : 1) + (uint64_t)getpid()) * 0x9e3779b97f4a7c15ULL + 1;
	}
	return NEXT(prctl)(option, words[0], words[1], words[2], words[3]);
}

int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
	int result = NEXT(epoll_ctl)(epoll_fd, operation, fd, event);

	if (result == 0 && fd >= 0 && fd < FDS_MAX) {
		watches[fd].epoll_fd = operation == EPOLL_CTL_DEL ? -1 : epoll_fd;
		if (event)
			watches[fd].event = *event;
	}
	return result;
}

static bool is_pair(int fd)
{
	struct sockaddr_un name;
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_SEQPACKET)
		return false;
	len = sizeof(name);
	if (getsockname(fd, (struct sockaddr *)&name, &len) < 0 || len > sizeof(sa_family_t))
		return false;
	len = sizeof(name);
	return getpeername(fd, (struct sockaddr *)&name, &len) < 0 || len <= sizeof(sa_family_t);
}

static bool is_lost(const struct msghdr *header)
{
	const char *text = getenv("USHER_MESSAGES");
	struct message message;
	char key[32];

	if (header->msg_iov[0].iov_len < offsetof(struct message, spawn) ||
		header->msg_iov[0].iov_len > sizeof(message))
		return false;
	memcpy(&message, header->msg_iov[0].iov_base, offsetof(struct message, spawn));
	if (message.kind >= MESSAGE_KINDS || !kinds[message.kind] ||
		header->msg_iov[0].iov_len < offsetof(struct message, spawn))
		return false;
	snprintf(key, sizeof(key), " lose=%s:", kinds[message.kind]);
	const char *at = text ? strstr(text, key) : NULL;
	return at && lost[message.kind]++ < atol(at + strlen(key));
}

static bool fails(int fd)
{
	static const int errors[] = { EAGAIN, ENOBUFS, ENOMEM, ETOOMANYREFS };

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	if (rate <= 0 || (rate >= 1 && failed >= FIRST_ONES) ||
		(double)(seed * 0x2545f4914f6cdd1dULL >> 11) / 9007199254740992.0 >= rate)
		return false;
	errno = errors[failed++ % 4];
	if (errno == EAGAIN && fd < FDS_MAX && watches[fd].epoll_fd > 0) {
		NEXT(epoll_ctl)(watches[fd].epoll_fd, EPOLL_CTL_MOD, fd, &watches[fd].event);
		errno = EAGAIN;
	}
	return true;
}

ssize_t sendmsg(int fd, const struct msghdr *header, int flags)
{
	int before = errno;

	if (getenv("USHER_MESSAGES") && is_pair(fd)) {
		if (fails(fd))
			return -1;
		if (is_lost(header))
			return (ssize_t)header->msg_iov[0].iov_len;
	}
	errno = before;
	return NEXT(sendmsg)(fd, header, flags);
}
