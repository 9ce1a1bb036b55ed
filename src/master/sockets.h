/* Listening sockets: the master's, bound once, kept over every reload that still names them.
 *
 * A UDP listener has a group of sockets (SO_REUSEPORT), which the workers share out among themselves. The kernel chooses one of them by
 * the addresses and ports of a datagram and by the group's size, so the group keeps its size and its order for as long as it is there:
 * with another number of workers whole sockets change hands (socket_reader()), and the flows of each with it. */
#pragma once
#include "address.h"
#include "policy.h"
#include "socket_file.h"
#include "worker.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct socket_held {
	struct address address;
	enum transport_kind transport; /* those of a group stand in the list in its order */
	int fd;
	bool handed;             /* by systemd: its file is not ours, and systemd has it open as well */
	bool fresh;              /* bound for a policy that is not in force yet */
	bool replaced;           /* of UDP: it was shut down, and another has its place in the group */
	struct socket_file file; /* of a UNIX socket that we bound */
};

struct sockets {
	struct socket_held *list;
	size_t count;
};

/* The number of the worker that reads the UDP socket of this place, of so many workers. */
static inline unsigned socket_reader(unsigned place, unsigned workers)
{
	return place % workers;
}

/* Takes the descriptors that systemd handed over (sd_listen_fds(3)): UDP sockets with one address are its group, in their order, and get
 * no others beside them. 0 or -errno. */
int sockets_adopt(struct sockets *sockets);

/* One that the image before this one held. 0 or -errno. */
int sockets_take(struct sockets *sockets, const struct socket_held *held);

/* False where somebody who has it as well has shut it down. Of UDP: for receiving; for sending alone cannot be seen. */
bool socket_listens(const struct socket_held *held);

/* The sockets of all listeners of the policy, *ret_list the caller's to free: held already, or bound now; bound again where somebody
 * has removed or replaced the file of a UNIX socket, or shut that or a UDP socket down. 0, or -errno after a message to `complain` that says which address, why, and
 * who holds it if that can be known; nothing new is held then. */
int sockets_open(struct sockets *sockets, const struct policy *policy, struct listening **ret_list, size_t *ret_count,
	void (*complain)(void *context, const char *message), void *context);

/* The policy for which it opened some does not come: those are closed. */
void sockets_forget_fresh(struct sockets *sockets);

/* What the policy wants of its sockets, for when it is in force: of one that stays another may have been in force until now. New ones
 * have it from sockets_open(). */
void sockets_set_options(const struct sockets *sockets, const struct policy *policy);

/* Of listeners whose flows the kernel may forward: who reads them sees the marks of datagrams. 0 or -errno. */
int sockets_show_marks(const struct sockets *sockets, const struct policy *policy);

/* Tells the log which workers get no datagrams, and whose receive buffers the kernel keeps small. */
void sockets_log_groups(const struct policy *policy, const struct listening *list, size_t count);

/* Closes those that are not in the list: where a policy serves these alone. With NULL all, at the end. Files of UNIX sockets that we bound
 * are removed. A stream socket that was handed over and that nobody serves would take clients for ever, since systemd has it as well:
 * where others are served it is shut down, with a warning. */
void sockets_close_others(struct sockets *sockets, const struct listening *list, size_t count);
