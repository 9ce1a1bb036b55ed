/* Which listening sockets of a server become usher's channels: read by usher-accept from its command line, told to the
 * library in the environment. */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#define ACCEPT_LISTENERS_MAX 16
#define ACCEPT_VARIABLE      "USHER_ACCEPT"
#define ACCEPT_TEXT_MAX      4096

union accept_address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct accept_listener {
	union accept_address address; /* that the server asks for */
	socklen_t len;
	char path[108]; /* absolute */
};

struct accept_config {
	unsigned mode; /* of the sockets */
	unsigned n;
	struct accept_listener listeners[ACCEPT_LISTENERS_MAX];
};

/* Adds "127.0.0.1:8443=/run/usher/web.sock" or "[::1]:8443=/...". 0; -EINVAL: not of that form; -EEXIST: the address or the
 * path is there already; -ENAMETOOLONG: the path; -E2BIG: too many. */
int accept_config_add(struct accept_config *config, const char *text, size_t len);

/* "0660" to `mode`. 0 or -EINVAL. */
int accept_config_mode(struct accept_config *config, const char *text, size_t len);

/* The value of the variable: mode and listeners with commas between them. 0, or what the two above say; what was read
 * until then stays. */
int accept_config_read(struct accept_config *config, const char *text);

/* The listener for which a server calls bind() with this address, or NULL. */
struct accept_listener *accept_config_find(
	struct accept_config *config, const struct sockaddr *address, socklen_t len);
