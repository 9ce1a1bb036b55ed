/* Gigabytes a second: a few streams, each asks for one large file over and over on one connection and compares it with
 * the pattern of which it is made.
 *
 * The file is the pattern repeated. The pattern is kept twice in a row, so that a piece read at any place in it is compared
 * in one go:
 *
 *	pattern  [ 0 .. place .. len ][ 0 .. len ]     place = bytes of this file read so far, modulo len
 *	piece          [ ........... ]                 at most len bytes
 *
 * What is to be measured is the mux, not how fast this program reads: past the first COMPARED_WHOLE bytes of a stream one
 * piece in COMPARED_ONE_IN is compared and the others are only counted, which the kernel does without a copy. The pattern's
 * length is a prime, so a piece that is lost or doubled among these shifts all that are compared after it.
 *
 * Refuses answers without a Content-Length. Owns the pattern, one buffer for all streams, and the array of
 *streams. */
#include "client.h"
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_MAX      2048
#define PATTERN_MAX     (1 << 20)
#define COMPARED_WHOLE  (16 << 20)
#define COMPARED_ONE_IN 16

struct stream {
	int fd;
	bool asked;        /* a request is out */
	size_t header_len; /* of `header`, while body_left is 0 */
	char header[HEADER_MAX + 1];
	uint64_t body_read, body_left; /* bytes of the file */
	uint64_t all_read;             /* bytes of all files */
	unsigned pieces;               /* since one was compared */
};

struct bulk {
	char request[256];
	size_t request_len;
	char *pattern; /* twice; see above */
	char *piece;
	size_t pattern_len;
	uint64_t bytes; /* right ones, of all streams */
	struct errors errors;
};

static void bulk_wrong(struct bulk *bulk, const char *what, int error)
{
	errors_add(&bulk->errors, what, error);
}

/* A whole header is there: learn the length of the file. */
static void stream_begin_body(struct bulk *bulk, struct stream *stream)
{
	const char *length = strcasestr(stream->header, "\r\nContent-Length: ");

	if (strncmp(stream->header, "HTTP/1.1 200 ", 13) != 0 || length == NULL)
		return bulk_wrong(bulk, "wrong header of an answer", 0);
	stream->body_left = strtoull(length + strlen("\r\nContent-Length: "), NULL, 10);
	stream->body_read = 0;
	stream->header_len = 0;
	if (stream->body_left == 0)
		bulk_wrong(bulk, "an empty answer", 0);
}

/* Takes the header byte for byte, some 200 bytes in a file of many megabytes: 0 at its end, -1 with errno. */
static ssize_t stream_read_header(struct bulk *bulk, struct stream *stream)
{
	ssize_t got = recv(stream->fd, stream->header + stream->header_len, 1, 0);

	if (got <= 0)
		return got;
	stream->header_len++;
	stream->header[stream->header_len] = '\0';
	if (stream->header_len == HEADER_MAX)
		bulk_wrong(bulk, "header too long", 0);
	else if (stream->header_len >= 4 && strcmp(stream->header + stream->header_len - 4, "\r\n\r\n") == 0)
		stream_begin_body(bulk, stream);
	return got;
}

static ssize_t stream_read_body(struct bulk *bulk, struct stream *stream)
{
	bool compared = stream->all_read < COMPARED_WHOLE || stream->pieces >= COMPARED_ONE_IN;
	size_t most = compared ? bulk->pattern_len : PATTERN_MAX;
	size_t want = stream->body_left < most ? stream->body_left : most;
	ssize_t got = recv(stream->fd, bulk->piece, want, compared ? 0 : MSG_TRUNC);

	if (got <= 0)
		return got;
	stream->pieces = compared ? 0 : stream->pieces + 1;
	stream->all_read += (uint64_t)got;
	if (compared && memcmp(bulk->piece, bulk->pattern + stream->body_read % bulk->pattern_len, (size_t)got) != 0)
		bulk_wrong(bulk, "wrong bytes in the file", 0);
	stream->body_read += (uint64_t)got;
	stream->body_left -= (uint64_t)got;
	stream->asked = stream->body_left > 0;
	bulk->bytes += (uint64_t)got;
	return got;
}

static void stream_ask(struct bulk *bulk, struct stream *stream)
{
	int error = client_send(stream->fd, bulk->request, bulk->request_len);

	if (error != 0)
		bulk_wrong(bulk, "sending a request", error);
	stream->asked = true;
}

/* Reads until there is nothing more for now, or the time is up. */
static void stream_event(struct bulk *bulk, struct stream *stream, uint64_t deadline_ns)
{
	while (bulk->errors.count == 0 && clock_ns() < deadline_ns) {
		ssize_t got;

		if (!stream->asked) {
			stream_ask(bulk, stream);
			continue;
		}
		got = stream->body_left > 0 ? stream_read_body(bulk, stream) : stream_read_header(bulk, stream);
		if (got < 0 && errno == EAGAIN)
			return;
		if (got < 0)
			bulk_wrong(bulk, "reading", errno);
		else if (got == 0)
			bulk_wrong(bulk, "end of the connection in the middle", 0);
	}
}

static void stream_open(struct bulk *bulk, struct stream *stream, int epoll, in_port_t port, unsigned long index)
{
	stream->fd = client_connect(port, index);
	if (stream->fd < 0)
		return bulk_wrong(bulk, "connect", errno);
	poll_add(epoll, stream->fd, stream);
}

/* One stream that fails ends the run: the figure is lost. Returns the seconds that it took. */
static double bulk_run(struct bulk *bulk, int epoll, uint64_t milliseconds)
{
	uint64_t begin_ns = clock_ns(), deadline_ns = begin_ns + milliseconds * 1000000;

	while (bulk->errors.count == 0 && clock_ns() < deadline_ns) {
		struct epoll_event events[64];
		int count = epoll_wait(epoll, events, 64, 100);

		for (int i = 0; i < count; i++)
			if ((events[i].events & (EPOLLERR | EPOLLHUP)) != 0)
				bulk_wrong(
					bulk, "connection", client_error(((struct stream *)events[i].data.ptr)->fd));
			else
				stream_event(bulk, events[i].data.ptr, deadline_ns);
	}
	return (double)(clock_ns() - begin_ns) / 1e9;
}

static void bulk_load_pattern(struct bulk *bulk, const char *path)
{
	FILE *file = fopen(path, "rb");

	bulk->pattern = malloc(2 * PATTERN_MAX);
	bulk->piece = malloc(PATTERN_MAX);
	if (file == NULL || bulk->pattern == NULL || bulk->piece == NULL)
		err(1, "%s", path);
	bulk->pattern_len = fread(bulk->pattern, 1, PATTERN_MAX, file);
	if (bulk->pattern_len == 0)
		errx(2, "%s: no pattern in it", path);
	memcpy(bulk->pattern + bulk->pattern_len, bulk->pattern, bulk->pattern_len);
	fclose(file);
}

int main(int argc, char **argv)
{
	struct bulk bulk = { 0 };
	struct stream *streams;
	size_t n_streams;
	int epoll = poll_new();
	double seconds;

	if (argc != 6) {
		fputs("usage: bulk PORT MILLISECONDS STREAMS PATH PATTERN-FILE\n", stderr);
		return 2;
	}
	n_streams = number_parse(argv[3], "STREAMS", 1000);
	streams = calloc(n_streams, sizeof(*streams));
	if (streams == NULL)
		err(1, "calloc");
	bulk.request_len = (size_t)snprintf(
		bulk.request, sizeof(bulk.request), "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", argv[4]);
	if (bulk.request_len >= sizeof(bulk.request))
		errx(2, "PATH is too long");
	bulk_load_pattern(&bulk, argv[5]);
	for (size_t i = 0; i < n_streams; i++)
		stream_open(&bulk, &streams[i], epoll, (in_port_t)number_parse(argv[1], "PORT", 65535), i);
	seconds = bulk_run(&bulk, epoll, number_parse(argv[2], "MILLISECONDS", 3600000));
	printf("{\"bytes\": %llu, \"seconds\": %.6f, ", (unsigned long long)bulk.bytes, seconds);
	errors_print(&bulk.errors);
	puts("}");
	free(bulk.pattern);
	free(bulk.piece);
	free(streams);
	return 0;
}
