/* Shared memory is a file in memory that has no name. Owns nothing: mapping and descriptor are the caller's. */
#include "shared_memory.h"
#include "failure.h"
#include "fd.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int shared_memory_new(size_t size)
{
	int fd = memfd_create("usher", MFD_CLOEXEC);

	if (fd < 0)
		return failure_set(-errno, "no memory that processes share: memfd_create");
	if (ftruncate(fd, (off_t)size) == 0)
		return fd;
	int error = failure_set(-errno, "no memory that processes share: ftruncate");
	fd_close(fd);
	return error;
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
		*ret = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, own, 0);
	}
	int error = *ret == MAP_FAILED ? -errno : 0;
	if (error < 0 && *fd < 0)
		fd_close(own);
	if (error == 0)
		*fd = own;
	return error;
}
