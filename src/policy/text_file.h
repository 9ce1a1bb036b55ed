/* Configuration files, read whole. */
#pragma once
#include "complaint.h"
#include <stddef.h>

#define TEXT_FILE_MAX (64U << 20)

/* As file_read(), up to TEXT_FILE_MAX, without the byte order mark that some editors put in front. */
int text_file_load(const char *file, char **ret_text, size_t *ret_len);

/* The same: the file's text with a NUL behind it, the caller's to free. NULL with a complaint where it cannot be read, is no regular file, or is
 * larger than TEXT_FILE_MAX. */
char *text_file_read(const char *file, size_t *ret_len, struct complaints *complaints);

/* What the complaint says: "cannot be read: ...", of an error of file_read(). */
const char *text_file_fault(int error, char *buf, size_t size);
