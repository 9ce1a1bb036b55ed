/* A memfd, mapped shared where it is filled and private where it is used, at one range of addresses that was reserved before the
 * fork. What is filled has to be in it from end to end: no pointer out of it to the heap of the process that fills it.
 *
 * Refuses to be used while a shared mapping that could be written to is left anywhere: the kernel gives no F_SEAL_WRITE then. Owns the range and the
 * descriptor. */
#include "region.h"
#include "failure.h"
#include "fd.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Addresses are plenty, unless somebody limits them (RLIMIT_AS) or a word has 32 bits: then half as many, and so on. */
#define RESERVE_MOST  (sizeof(void *) > 4 ? (size_t)1 << 36 : (size_t)1 << 29)
#define RESERVE_LEAST ((size_t)1 << 24)

struct region {
	unsigned char *start;
	size_t size; /* reserved; once taken what is used of it */
	size_t used;
	int fd; /* -1 once taken */
	unsigned users;
};

/* Not more than a quarter of what there may be: others need some in between. */
static void *addresses_reserve(size_t *ret_size)
{
	for (size_t size = RESERVE_MOST; size >= RESERVE_LEAST; size /= 2) {
		void *whole = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (whole == MAP_FAILED)
			continue;
		if (size < RESERVE_MOST) {
			munmap((unsigned char *)whole + size / 2, size / 2);
			size /= 2;
		}
		*ret_size = size;
		return whole;
	}
	return MAP_FAILED;
}

struct region *region_new(void)
{
	struct region *region = calloc(1, sizeof(*region));

	if (!region) {
		failure_set(-ENOMEM, "no memory for a configuration");
		return NULL;
	}
	*region = (struct region){ .users = 1, .fd = memfd_create("usher-policy", MFD_CLOEXEC | MFD_ALLOW_SEALING) };
	region->start = region->fd < 0 ? MAP_FAILED : addresses_reserve(&region->size);
	if (region->start != MAP_FAILED)
		return region;
	int error = errno;
	failure_set(-error, "no memory for a configuration: %s", region->fd < 0 ? "memfd_create" : "mmap");
	fd_close(region->fd);
	free(region);
	errno = error;
	return NULL;
}

void *region_grow(struct region *region, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *at = region->start + region->used;

	if (size > region->size - region->used)
		return NULL;
	size = (size + page - 1) / page * page;
	if (size > region->size - region->used || ftruncate(region->fd, (off_t)(region->used + size)) < 0)
		return NULL;
	if (mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, region->fd,
		    (off_t)region->used) == MAP_FAILED)
		return NULL;
	region->used += size;
	return at;
}

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

int region_finish(struct region *region)
{
	if (region->used > 0)
		munmap(region->start, region->used);
	return fcntl(region->fd, F_ADD_SEALS, SEALS) < 0 ? -errno : 0;
}

int region_part(struct region *region)
{
	void *at = region->start;

	if (region->used > 0)
		at = mmap(at, region->used, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, region->fd, 0);
	int error = at == MAP_FAILED ? -errno : 0;
	region->fd = fd_close(region->fd);
	return error;
}

int region_fd(const struct region *region)
{
	return region->fd;
}

int region_take(struct region *region)
{
	struct stat status;

	if (fcntl(region->fd, F_GET_SEALS) != SEALS)
		return -EBUSY;
	if (fstat(region->fd, &status) < 0)
		return -errno;
	size_t used = (size_t)status.st_size;
	if (used == 0 || used > region->size)
		return -EMSGSIZE;
	if (mmap(region->start, used, PROT_READ, MAP_PRIVATE | MAP_FIXED, region->fd, 0) == MAP_FAILED)
		return -errno;
	munmap(region->start + used, region->size - used);
	region->size = region->used = used;
	region->fd = fd_close(region->fd);
	return 0;
}

void *region_start(const struct region *region)
{
	return region->used > 0 ? region->start : NULL;
}

int region_own(struct region *region)
{
	return mprotect(region->start, region->size, PROT_READ | PROT_WRITE) < 0 ? -errno : 0;
}

struct region *region_share(struct region *region)
{
	region->users++;
	return region;
}

void region_free(struct region *region)
{
	if (!region || --region->users > 0)
		return;
	if (region->size > 0)
		munmap(region->start, region->size);
	fd_close(region->fd);
	free(region);
}
