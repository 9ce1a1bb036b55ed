/* Loaded into usher by LD_PRELOAD: counts what is asked of the heap, by all processes, in a file that is mapped into all of them. The
 * heap itself is the C library's. Counts nothing without COUNT_ALLOCATIONS, which names the file. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *from, size_t size);

static _Atomic unsigned long *counted;

static __attribute__((constructor)) void count_begin(void)
{
	const char *path = getenv("COUNT_ALLOCATIONS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*counted), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	counted = mapped == MAP_FAILED ? NULL : mapped;
	if (fd >= 0)
		close(fd);
}

static void count(void)
{
	if (counted)
		atomic_fetch_add(counted, 1);
}

void *malloc(size_t size)
{
	count();
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	count();
	return __libc_calloc(n, size);
}

void *realloc(void *from, size_t size)
{
	count();
	return __libc_realloc(from, size);
}
