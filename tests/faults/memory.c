/* Preloaded into usher (LD_PRELOAD), makes allocations fail. Of its workers USHER_NO_MEMORY=0.1 is how often, once a worker serves. Of its master, or of the
 * process that compiles a configuration for it, one that is ordered: the file $USHER_NO_MEMORY_ORDER says "master 12" or "compiler 12", is read and removed
 * by the master when it next wakes up, and $USHER_NO_MEMORY_ORDER.done is there once the twelfth allocation after that, or of that process, has failed.
 * Not for a program that brings an allocator of its own, as sanitizers do. */
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
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);

static double rate;
static uint64_t seed = 1;
static bool is_worker, active, is_master;
static long master_order, compiler_order; /* allocations until the one that fails; 0: none */
static long *order = &master_order;       /* of this process; NULL: it has none */

static const char *order_path(const char *end)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s%s", getenv("USHER_NO_MEMORY_ORDER"), end);
	return path;
}

/* Without a stream: this is no time to allocate. */
static void order_read(void)
{
	char text[64] = "";
	int fd = open(order_path(""), O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text) - 1) > 0)
		unlink(order_path(""));
	close(fd);
	master_order = strncmp(text, "master ", 7) == 0 ? atol(text + 7) : 0;
	compiler_order = strncmp(text, "compiler ", 9) == 0 ? atol(text + 9) : 0;
}

static bool is_ordered(void)
{
	if (!order || *order <= 0 || --*order > 0)
		return false;
	close(open(order_path(".done"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	return true;
}

static bool happens(void)
{
	if (is_ordered())
		return true;
	if (!active)
		return false;
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (double)(seed >> 11) / 9007199254740992.0 < rate;
}

int prctl(int option, ...)
{
	va_list args;
	unsigned long words[4];

	va_start(args, option);
	for (int i = 0; i < 4; i++)
		words[i] = va_arg(args, unsigned long);
	va_end(args);
	const char *name = option == PR_SET_NAME ? (const char *)words[0] : "";
	is_master = (is_master && option != PR_SET_NAME) ||
		(getenv("USHER_NO_MEMORY_ORDER") && strcmp(name, "usher: master") == 0);
	if (option == PR_SET_NAME)
		order = is_master ? &master_order : strcmp(name, "usher: compiler") == 0 ? &compiler_order : NULL;
	if (strcmp(name, "usher: worker") == 0 && getenv("USHER_NO_MEMORY")) {
		rate = strtod(getenv("USHER_NO_MEMORY"), NULL);
		seed += (uint64_t)getpid() * 0x9e3779b97f4a7c15ULL;
		is_worker = true;
	}
	return ((__typeof__(&prctl))dlsym(RTLD_NEXT, "prctl"))(option, words[0], words[1], words[2], words[3]);
}

/* A worker that cannot start is another matter: from its first sleep on. */
int epoll_wait(int fd, struct epoll_event *events, int most, int timeout_ms)
{
	active = is_worker;
	int n = ((__typeof__(&epoll_wait))dlsym(RTLD_NEXT, "epoll_wait"))(fd, events, most, timeout_ms);
	int error = errno;
	if (is_master)
		order_read();
	errno = error;
	return n;
}

static void *no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

void *malloc(size_t size)
{
	return happens() ? no_memory() : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return happens() ? no_memory() : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	return happens() ? no_memory() : __libc_realloc(old, size);
}
