/* usher log-report: reads logs, plain or compressed with gzip, and says what they add up to. A file that ends in the middle of what gzip wrote
 * is reported as far as it goes, and is an error. Refuses to write anything but its report. Owns the buffer and the tally. */
#include "command.h"
#include "log_tally.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK      (256 * 1024)
#define TOP_PRESET 10

/* 0 ..  kept: a line whose end has not been read     kept .. n: what was read */
static char buffer[2 * CHUNK];

/* The whole lines in the first `n` bytes; at the end of the file the rest counts as one. A line that is longer than CHUNK is none of
 * usher's, and is counted in pieces. Returns how much is kept, -ENOMEM. */
static ssize_t lines_take(struct tally *tally, size_t n, bool at_end)
{
	char *at = buffer, *end = buffer + n;

	while (at < end) {
		char *newline = memchr(at, '\n', (size_t)(end - at));
		if (!newline && !at_end && end - at < CHUNK)
			break;
		char *line_end = newline ? newline : end;
		if (line_end > at && tally_line(tally, at, (size_t)(line_end - at)) < 0)
			return -ENOMEM;
		at = newline ? newline + 1 : end;
	}
	size_t kept = (size_t)(end - at);
	memmove(buffer, at, kept);
	return (ssize_t)kept;
}

/* 0; 1 after a message. */
static int read_all(struct tally *tally, gzFile from, const char *name)
{
	ssize_t kept = 0;
	int n;

	do {
		n = gzread(from, buffer + kept, CHUNK);
		kept = lines_take(tally, (size_t)kept + (n > 0 ? (size_t)n : 0), n <= 0);
		if (kept < 0) {
			fputs("usher: out of memory\n", stderr);
			return 1;
		}
	} while (n > 0);
	int error;
	const char *why = gzerror(from, &error);
	if (error == Z_OK || error == Z_STREAM_END)
		return 0;
	fprintf(stderr, "usher: %s: %s\n", name,
		error == Z_ERRNO               ? strerror(errno)
			: error == Z_BUF_ERROR ? "it ends in the middle of what gzip wrote"
					       : why);
	return 1;
}

static int read_file(struct tally *tally, const char *name)
{
	bool is_input = strcmp(name, "-") == 0;
	int fd = is_input ? dup(STDIN_FILENO) : open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	gzFile from = fd >= 0 ? gzdopen(fd, "rb") : NULL;
	if (!from) {
		fprintf(stderr, "usher: %s: %s\n", name, fd < 0 ? strerror(errno) : "out of memory");
		if (fd >= 0)
			close(fd);
		return 1;
	}
	gzbuffer(from, CHUNK);
	int status = read_all(tally, from, is_input ? "standard input" : name);
	gzclose(from);
	return status;
}

static bool top_read(const char *text, size_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoul(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && errno == 0;
}

int command_log_report(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "top", required_argument, NULL, 't' },
		{ NULL },
	};
	struct tally tally = { 0 };
	size_t top = TOP_PRESET;
	bool json = false;
	int option, status = 0;

	while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (option == 'j') {
			json = true;
		} else if (option != 't') {
			return command_usage("log-report");
		} else if (!top_read(optarg, &top)) {
			fprintf(stderr, "usher: --top %s: expected a number\n", optarg);
			return 2;
		}
	}
	if (optind == argc)
		status = read_file(&tally, "-");
	for (int i = optind; i < argc; i++)
		status |= read_file(&tally, argv[i]);
	if (json)
		tally_json(&tally, top, stdout);
	else
		tally_table(&tally, top, stdout);
	tally_fini(&tally);
	return fflush(stdout) == 0 ? status : 1;
}
