/* A server over UDP that receives flows from usher: it sends each datagram back. One process for each flow, which ends when nothing has come for
 * half a minute. usage: flow-receiver /path/of.sock
 *
 * The datagrams that came before the flow had a socket of its own come first (usher_early()), then those of the socket. */
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <usher/handover.h>

#define IDLE_MS 30000

static void serve(struct usher_connection *c)
{
	static uint8_t bytes[65536];
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	ssize_t n;

	while ((n = usher_early(c, bytes, sizeof(bytes), NULL)) >= 0)
		(void)send(c->fd, bytes, (size_t)n, 0);
	while (poll(&p, 1, IDLE_MS) > 0)
		if ((n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) >= 0)
			(void)send(c->fd, bytes, (size_t)n, 0);
}

int main(int argc, char **argv)
{
	struct usher_receiver *receiver;
	struct usher_connection c;

	signal(SIGCHLD, SIG_IGN); /* ended processes are not waited for */
	if (argc != 2 || usher_listen(argv[1], 0660, &receiver) < 0)
		return EXIT_FAILURE;
	while (usher_wait(receiver, -1) == 0) {
		while (usher_accept(receiver, &c) == 0) {
			if (c.early >= 0 && fork() == 0) {
				serve(&c);
				_exit(EXIT_SUCCESS);
			}
			close(c.early);
			close(c.fd);
		}
	}
	usher_close(receiver);
	return EXIT_SUCCESS;
}
