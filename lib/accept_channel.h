/* A listening socket of the server's that is usher's channel in truth: an AF_UNIX datagram socket bound at the listener's
 * path. Which descriptor is one is asked of the kernel each time, so that it holds over dup, fork and exec. */
#pragma once
#include "accept_config.h"

/* The listener that `fd` is the channel of, or NULL. `errno` stays. */
struct accept_listener *channel_of(int fd);

/* Puts a channel in the place of `fd`, as bind() was to bind it. 0, or -1 and errno. */
int channel_bind(struct accept_listener *listener, int fd);

/* accept4(). */
int channel_accept(
	const struct accept_listener *listener, int fd, struct sockaddr *address, socklen_t *len, int flags);

/* Options that the kernel hands down from a listening socket to those accepted from it: what the server sets on one that is
 * a channel by now. */
void channel_set_option(struct accept_listener *listener, int level, int name, const void *value, socklen_t len);
int channel_option(const struct accept_listener *listener, int level, int name); /* 0 where it was not set */

/* Is a channel among what a program executed from here would inherit? */
bool channel_is_inherited(void);

extern struct accept_config accept_config; /* the library's */
