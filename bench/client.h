/* What the load generators share: a clock, an epoll, sockets from many source addresses, one way to count
 * errors. They stand apart from src/base on purpose: a tool that measures usher must not have usher's own
 * mistakes. */
#pragma once
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/* Errors of one run. Any error makes the figure worthless, so the count and the first one's text are enough.
 */
struct errors {
	unsigned long count;
	char first[160];
};

void errors_add(struct errors *errors, const char *what, int error); /* error: errno, 0 when there is none */
void errors_print(const struct errors *errors);                      /* as two members of a JSON object */

uint64_t clock_ns(void);
int poll_new(void);                            /* an epoll descriptor; exits when there is none */
void poll_add(int epoll, int fd, void *owner); /* edge-triggered, both ways; exits on failure */
void files_raise_limit(void);                  /* as many descriptors as the hard limit allows */
unsigned long number_parse(const char *text, const char *what, unsigned long max); /* 1..max, else exits with 2 */

/* A non-blocking socket on its way to 127.0.0.1:port, or -1 with errno. Source addresses 127.0.1.1 to
 * 127.0.1.250 are taken in turn by `index`, so that 250 times the range of ephemeral ports is there. */
int client_connect(in_port_t port, unsigned long index);
int client_error(int fd); /* what became of the connect: 0 or errno */

/* A connected, non-blocking socket for datagrams to 127.0.0.1:port, or -1 with errno. It has an address and port of its own for
 * each `index`, always the same, outside the ephemeral ports. */
int client_datagrams(in_port_t port, unsigned long index);
void socket_buffers_raise(int fd); /* room for what many clients send at once, as far as this user may */

/* One request in one send() on a socket with an empty buffer: 0 or errno. */
int client_send(int fd, const char *request, size_t len);
