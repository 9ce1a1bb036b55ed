/* Files that others may have put in place: read so that nothing there can make the caller wait. */
#pragma once
#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

/* Opens a regular file, or the null device, for reading. -errno; -EMEDIUMTYPE: it is something else, a FIFO, a device, a socket;
 * -EISDIR: a folder. A lease that somebody holds on the file is not waited for (-EAGAIN). A network file system that hangs is. */
int file_open(const char *path);

/* All of a regular file, with a NUL behind it: *ret_text is the caller's, who frees it. 0 or -errno, as file_open(); -EFBIG: there
 * are more than `most` bytes. */
int file_read(const char *path, size_t most, char **ret_text, size_t *ret_len);

/* The same of what is left to be read of any descriptor, which waits as read() does. */
int file_read_rest(int fd, size_t most, char **ret_text, size_t *ret_len);

/* The descriptor of this process that a path stands for: that of "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd/N" and
 * "/proc/self/fd/N", and of symbolic links to them. -1: none. */
int file_descriptor(const char *path);

/* Where a path leads, through symbolic links in its last place that are root's or the caller's own; -ELOOP: one is somebody else's.
 * 0 or -errno, of which -ENOENT fills `ret` too: nothing is there yet. */
int file_follow(const char *path, char ret[PATH_MAX]);

/* Opens a file for appending, and makes it, with this mode, where there is none. Not a copy, but the same open file, where the path
 * stands for a descriptor. Follows links as file_follow() does. A FIFO
 * without a reader is not waited for (-ENXIO). A file that has a second name may be anybody's (-EMLINK). The descriptor, or -errno. */
int file_append(const char *path, mode_t mode);

/* For people: as strerror(), of what the functions above return. */
const char *file_error(int error);
