/* Listening sockets: the master's, bound once, kept over every reload that still names them. */
#pragma once
#include "address.h"
#include "policy.h"
#include <stdbool.h>
#include <stddef.h>

struct socket_held {
	struct address address;
	int fd;
	bool handed; /* by systemd: never unlinked */
};

struct sockets {
	struct socket_held *list;
	size_t count;
};

/* Takes the descriptors that systemd handed over (sd_listen_fds(3)). 0 or -errno. */
int sockets_adopt(struct sockets *sockets);

/* One that the image before this one held. 0 or -errno. */
int sockets_take(struct sockets *sockets, const struct address *address, int fd, bool handed);

/* The socket of every listener of the policy, in `ret_fds`: held already, or bound now. 0, or -errno after a message to
 * `complain` that says which address, why, and who holds it if that can be known; nothing new is held then. */
int sockets_open(struct sockets *sockets, const struct policy *policy, int *ret_fds,
	void (*complain)(void *context, const char *message), void *context);

/* What the policy wants of its sockets, for when it is in force: of one that stays another may have been in force until now. New ones
 * have it from sockets_open(). */
void sockets_set_options(const struct sockets *sockets, const struct policy *policy);

/* Closes those that the policy does not name; with NULL all. UNIX sockets that we bound are unlinked. */
void sockets_close_others(struct sockets *sockets, const struct policy *policy);
