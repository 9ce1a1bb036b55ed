/* Shared memory is a file in memory that has no name. Owns nothing: mapping and descriptor are the caller's. */
#include "shared_memory.h"
#include "failure.h"
#include "fd.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int shared_memory_new(size_t size)
{
	int fd = memfd_create("usher", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return failure_set(-errno, "no memory that processes share: memfd_create");
	/* Shrunk under a mapping it would end who reads there (SIGBUS). */
	if (ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	int error = failure_set(-errno, "no memory that processes share: ftruncate");
	fd_close(fd);
	return error;
}

/* At a multiple of SHARED_PART, which declarations of what is in it promise. As mmap(). */
static void *map_aligned(size_t size, int protection, int fd)
{
	uint8_t *room = mmap(NULL, size + SHARED_PART, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (room == MAP_FAILED)
		return MAP_FAILED;
	size_t before = -(uintptr_t)room % SHARED_PART, page = (size_t)sysconf(_SC_PAGESIZE);
	size_t end = (before + size + page - 1) / page * page;
	uint8_t *at = mmap(room + before, size, protection, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0);
	int error = errno;
	if (at == MAP_FAILED) {
		munmap(room, size + SHARED_PART);
		errno = error;
		return MAP_FAILED;
	}
	if (before > 0)
		munmap(room, before);
	if (end < size + SHARED_PART)
		munmap(room + end, size + SHARED_PART - end);
	return at;
}

int shared_memory_map(int *fd, size_t size, void **ret)
{
	struct stat status;
	int own = *fd < 0 ? shared_memory_new(size) : *fd;

	if (own < 0)
		return own;
	if (fstat(own, &status) < 0 || (size_t)status.st_size != size) {
		errno = EPROTO;
		*ret = MAP_FAILED;
	} else {
		*ret = map_aligned(size, PROT_READ | PROT_WRITE, own);
	}
	int error = *ret == MAP_FAILED ? -errno : 0;
	if (error < 0 && *fd < 0)
		fd_close(own);
	if (error == 0)
		*fd = own;
	return error;
}

int shared_memory_view(int fd, size_t size, const struct shared_part *parts, size_t n_parts, void **ret)
{
	int error = 0;
	/* What is mapped by a description that cannot be written through stays read-only whatever mprotect() is asked. */
	int reader = fd_reopen(fd, O_RDONLY);
	uint8_t *all = map_aligned(size, PROT_READ, reader >= 0 ? reader : fd);

	if (all == MAP_FAILED)
		error = -errno;
	for (size_t i = 0; error == 0 && i < n_parts; i++)
		if (parts[i].size > 0 &&
			mmap(all + parts[i].at, parts[i].size, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, (off_t)parts[i].at) == MAP_FAILED)
			error = -errno;
	if (reader >= 0)
		fd_close(reader);
	if (error == 0)
		*ret = all;
	else if (all != MAP_FAILED)
		munmap(all, size);
	return error;
}
