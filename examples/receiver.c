/* A minimal server that receives connections from usher: it sends each client its attributes and closes the
 * connection. usage: receiver /path/of.sock
 *
 * It shows how to receive; it is not a model of a server, because it serves one client at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <usher/handover.h>

int main(int argc, char **argv)
{
	struct usher_receiver *receiver;
	struct usher_connection c;

	if (argc != 2 || usher_listen(argv[1], 0660, &receiver) < 0)
		return EXIT_FAILURE;
	while (usher_wait(receiver, -1) == 0) {
		while (usher_accept(receiver, &c) == 0) {
			dprintf(c.fd, "connection %llu of service %s\n", (unsigned long long)c.id, c.service);
			close(c.fd);
		}
	}
	usher_close(receiver);
	return EXIT_SUCCESS;
}
