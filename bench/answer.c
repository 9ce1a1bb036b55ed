/* The server that is run for each connection: reads one request from its standard input, writes one answer, ends. Linked
 * statically, so that starting it costs little more than the kernel's part. With nothing to read (/dev/null) it just ends.
 *
 * usage: answer BODY */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char request[1024], answer[1024];
	ssize_t got = read(0, request, sizeof(request));

	if (argc != 2)
		return 2;
	if (got <= 0)
		return 0;
	int len = snprintf(
		answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(argv[1]), argv[1]);
	if (len < 0 || (size_t)len >= sizeof(answer))
		return 2;
	return write(1, answer, (size_t)len) == len ? 0 : 1;
}
