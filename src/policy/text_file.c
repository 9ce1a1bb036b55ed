/* Reads configuration text, of every format, with one set of words for what stands in the way. */
#include "text_file.h"
#include "file.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MARK "\xef\xbb\xbf" /* the byte order mark, as UTF-8 */

const char *text_file_fault(int error, char *buf, size_t size)
{
	if (error == -EFBIG)
		snprintf(buf, size, "is too large, expected at most %u MiB", TEXT_FILE_MAX >> 20);
	else
		snprintf(buf, size, "cannot be read: %s", file_error(error));
	return buf;
}

int text_file_load(const char *file, char **ret_text, size_t *ret_len)
{
	int error = file_read(file, TEXT_FILE_MAX, ret_text, ret_len);

	if (error == 0 && strncmp(*ret_text, MARK, strlen(MARK)) == 0) {
		*ret_len -= strlen(MARK);
		memmove(*ret_text, *ret_text + strlen(MARK), *ret_len + 1);
	}
	return error;
}

char *text_file_read(const char *file, size_t *ret_len, struct complaints *complaints)
{
	char *text = NULL, fault[128];
	int error = text_file_load(file, &text, ret_len);

	if (error == 0)
		return text;
	complaint_add(complaints, COMPLAINT_ERROR, file, 0, "%s", text_file_fault(error, fault, sizeof(fault)));
	return NULL;
}
