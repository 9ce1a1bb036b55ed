/* Preloaded into usher (LD_PRELOAD), makes allocations of its workers fail: USHER_NO_MEMORY=0.1 is how often, once a worker serves. Not for a program that
 * brings an allocator of its own, as sanitizers do. */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
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
static bool is_worker, active;

static bool happens(void)
{
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
	if (option == PR_SET_NAME && strcmp((const char *)words[0], "usher: worker") == 0 &&
		getenv("USHER_NO_MEMORY")) {
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
	return ((__typeof__(&epoll_wait))dlsym(RTLD_NEXT, "epoll_wait"))(fd, events, most, timeout_ms);
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
