/* Any bytes on the log's pipe, whole and in pieces: the same lines come out, whole ones of printable ASCII.
 *
 *     byte 0, 1   how long the pieces are; whether "<N>" stays
 *     the rest    what workers wrote */
#include "fd.h"
#include "fuzz.h"
#include "log.h"
#include "log_sink.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define INPUT_MAX 60000 /* a pipe takes it at once */

/* What is written of it; to be freed. */
static char *written(const uint8_t *data, size_t size, size_t piece, bool prefixed, size_t *ret_len)
{
	static struct sink sink;
	int ends[2];

	sink.sink = SINK_FILE;
	sink.prefixed = prefixed;
	sink.broken_line = false;
	sink.in_len = sink.out_len = 0;
	sink.fd = memfd_create("log", MFD_CLOEXEC);
	require(sink.fd >= 0 && pipe2(ends, O_CLOEXEC) == 0);
	for (size_t at = 0; at < size; at += piece) {
		size_t len = size - at < piece ? size - at : piece;
		require(write(ends[1], data + at, len) == (ssize_t)len);
		require(log_sink_read(&sink, ends[0]));
	}
	fd_close(ends[1]);
	require(!log_sink_read(&sink, ends[0]));
	fd_close(ends[0]);
	require(sink.lost == 0 && sink.in_len == 0 && sink.out_len == 0);

	off_t end = lseek(sink.fd, 0, SEEK_END);
	char *text = malloc((size_t)end + 1);
	require(end >= 0 && text && pread(sink.fd, text, (size_t)end, 0) == end);
	*ret_len = (size_t)end;
	log_sink_reopen(&sink, -1);
	return text;
}

static void lines_check(const char *text, size_t len)
{
	size_t line = 0;

	require(len == 0 || text[len - 1] == '\n');
	for (size_t i = 0; i < len; i++) {
		require(text[i] == '\n' || (text[i] >= ' ' && text[i] <= '~'));
		line = text[i] == '\n' ? 0 : line + 1;
		require(line <= LOG_LINE_MAX + 3);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t whole_len, pieces_len;

	if (size < 2 || size > INPUT_MAX)
		return 0;
	bool prefixed = data[1] & 1;
	size_t piece = 1 + ((size_t)(data[1] >> 1) << 8 | data[0]);
	log_setup(2, &(struct log_settings){ .level = LEVEL_WARNING });
	char *whole = written(data + 2, size - 2, INPUT_MAX, prefixed, &whole_len);
	char *pieces = written(data + 2, size - 2, piece, prefixed, &pieces_len);
	require(whole_len == pieces_len && memcmp(whole, pieces, whole_len) == 0);
	lines_check(whole, whole_len);
	free(whole);
	free(pieces);
	return 0;
}
