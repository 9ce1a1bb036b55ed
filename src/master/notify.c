/* Datagrams to NOTIFY_SOCKET, a path or an abstract name. The library's sd_notify() waits where the receiver does not read; this does not.
 * Says nothing where there is no such socket, or none of ours. Owns nothing. */
#include "notify.h"
#include "fd.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define AGAIN_US 100000

static int send_now(const char *state)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t len = name ? strlen(name) : 0;

	if (len < 2 || len >= sizeof(address.sun_path) || (name[0] != '/' && name[0] != '@'))
		return 0;
	memcpy(address.sun_path, name, len);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int error = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
			    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0
		? -errno
		: 0;
	fd_close(fd);
	return error;
}

static void notify_again(struct timer *timer)
{
	struct notify *notify = container_of(timer, struct notify, again);

	if (notify->state)
		notify_send(notify, notify->state);
}

void notify_init(struct notify *notify, struct loop *loop)
{
	*notify = (struct notify){ .loop = loop, .again = { .fired = notify_again } };
}

void notify_send(struct notify *notify, const char *state)
{
	bool is_full = send_now(state) == -EAGAIN;

	notify->state = is_full ? state : NULL;
	if (is_full)
		loop_timer(notify->loop, &notify->again, notify->loop->now_us + AGAIN_US);
	else
		loop_timer_stop(notify->loop, &notify->again);
}
