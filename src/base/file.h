/* Files that others may have put in place: read so that nothing there can make the caller wait. */
#pragma once
#include <stddef.h>
#include <sys/types.h>

/* Opens a regular file, or the null device, for reading. -errno; -EMEDIUMTYPE: it is something else, a FIFO, a device, a socket;
 * -EISDIR: a folder. A lease that somebody holds on the file is not waited for (-EAGAIN). A network file system that hangs is. */
int file_open(const char *path);

/* All of a regular file, with a NUL behind it: *ret_text is the caller's, who frees it. 0 or -errno, as file_open(); -EFBIG: there
 * are more than `most` bytes. */
int file_read(const char *path, size_t most, char **ret_text, size_t *ret_len);

/* For people: as strerror(), of what the functions above return. */
const char *file_error(int error);
