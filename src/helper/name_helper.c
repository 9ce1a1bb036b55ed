/* A helper waits for a number, calls getaddrinfo() for that name of the table, and writes what it says. Refuses to be asked twice at a time; a
 * call that takes more than half a minute ends it. The modules are loaded before the sandbox is entered, which lets no code be loaded. Owns
 * the channels. */
#include "name_helper.h"
#include "fd.h"
#include "helper_process.h"
#include "ipc.h"
#include "log.h"
#include "sandbox.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALL_MOST_S 30

/* ---- the helper ---- */

/* They stay: the C library finds by their names what is loaded already. */
static void modules_load(const struct nsswitch *nsswitch)
{
	char file[NSSWITCH_NAME_MAX + 32];

	for (size_t i = 0; i < nsswitch->n; i++) {
		if (!nsswitch_is_foreign(nsswitch->services[i]))
			continue;
		snprintf(file, sizeof(file), "libnss_%s.so.2", nsswitch->services[i]);
		if (!dlopen(file, RTLD_NOW))
			log_warning("names: %s", dlerror());
	}
}

static void answer_add(struct name_answer *answer, const struct addrinfo *from)
{
	if (answer->n == RESOLVED_ADDRESSES_MAX || (from->ai_family != AF_INET && from->ai_family != AF_INET6))
		return;
	uint32_t at = answer->n++;
	answer->addresses[at].family = (uint32_t)from->ai_family;
	if (from->ai_family == AF_INET) {
		memcpy(answer->addresses[at].bytes, &((const struct sockaddr_in *)from->ai_addr)->sin_addr, 4);
	} else {
		const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)from->ai_addr;
		memcpy(answer->addresses[at].bytes, &six->sin6_addr, 16);
		answer->addresses[at].scope = six->sin6_scope_id;
	}
}

/* A module does not look whether the resolver is still there: while it runs, the end of the channel is a signal that ends the
 * process. (Not PR_SET_PDEATHSIG alone: a resolver whose Landlock keeps signals in cannot send that one either.) */
static void channel_guard(int channel, bool on)
{
	struct pollfd now = { .fd = channel };

	fcntl(channel, F_SETFL, O_NONBLOCK | (on ? O_ASYNC : 0));
	poll(&now, 1, 0);
	if (now.revents & POLLHUP)
		_exit(0);
}

static void name_ask(const struct resolved *table, uint32_t name, int channel, struct name_answer *ret)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;

	*ret = (struct name_answer){ .name = name };
	alarm(CALL_MOST_S);
	channel_guard(channel, true);
	ret->error = getaddrinfo(resolved_name(table, name), NULL, &hints, &list);
	channel_guard(channel, false);
	alarm(0);
	if (ret->error)
		return;
	for (const struct addrinfo *at = list; at; at = at->ai_next)
		answer_add(ret, at);
	freeaddrinfo(list);
}

static void __attribute__((noreturn))
helper_main(const struct nsswitch *nsswitch, const struct resolved *table, int log_fd, int channel, pid_t resolver)
{
	static const int ignored[] = { SIGINT, SIGHUP, SIGPIPE };
	struct ipc_fds fds;
	uint32_t name;

	int error = helper_process_begin(&(struct helper_process){
		.role = "names",
		.parent = resolver,
		.ignored = ignored,
		.n_ignored = sizeof(ignored) / sizeof(ignored[0]),
		.keep = (int[]){ channel, log_fd },
		.n_keep = 2,
	});
	if (error == 0) {
		fcntl(channel, F_SETOWN, getpid());
		modules_load(nsswitch);
		error = sandbox_enter_names();
	}
	if (error < 0) {
		log_error("a helper for names cannot start: %s", strerrordesc_np(-error));
		_exit(1);
	}
	for (;;) {
		struct pollfd wait = { .fd = channel, .events = POLLIN };
		struct name_answer answer;
		poll(&wait, 1, -1);
		ssize_t n = ipc_receive(channel, &name, sizeof(name), &fds);
		ipc_close_fds(&fds);
		if (n == 0)
			_exit(0);
		if (n != sizeof(name) || name >= resolved_count(table))
			continue;
		name_ask(table, name, channel, &answer);
		ipc_send_waiting(
			channel, &answer, sizeof(answer)); /* without an answer it would be asked for nothing more */
	}
}

/* ---- the resolver's side ---- */

int name_helpers_start(struct name_helpers *helpers, size_t n, const struct nsswitch *nsswitch,
	const struct resolved *table, int log_fd)
{
	pid_t resolver = getpid();

	while (helpers->n < n && helpers->n < NAME_HELPERS_MAX) {
		int channel;
		pid_t pid = helper_process_fork(&channel);
		if (pid == 0)
			helper_main(nsswitch, table, log_fd, channel, resolver);
		if (pid < 0)
			return pid;
		helpers->helpers[helpers->n].pid = pid;
		helpers->helpers[helpers->n++].channel = channel;
	}
	return 0;
}

bool name_helpers_ask(struct name_helpers *helpers, uint32_t name)
{
	for (size_t i = 0; i < helpers->n; i++) {
		if (helpers->helpers[i].asked ||
			ipc_send(helpers->helpers[i].channel, &name, sizeof(name), NULL, 0) < 0)
			continue;
		helpers->helpers[i].asked = true;
		helpers->helpers[i].name = name;
		return true;
	}
	return false;
}

bool name_answer_read(const struct name_answer *answer, struct address ret[RESOLVED_ADDRESSES_MAX], size_t *ret_n)
{
	if (answer->n > RESOLVED_ADDRESSES_MAX)
		return false;
	for (uint32_t i = 0; i < answer->n; i++) {
		bool v6 = answer->addresses[i].family == AF_INET6;
		if (!v6 && answer->addresses[i].family != AF_INET)
			return false;
		ret[i] = (struct address){ .len = v6 ? sizeof(ret[i].in6) : sizeof(ret[i].in) };
		ret[i].sa.sa_family = (sa_family_t)answer->addresses[i].family;
		if (v6) {
			memcpy(&ret[i].in6.sin6_addr, answer->addresses[i].bytes, 16);
			ret[i].in6.sin6_scope_id = answer->addresses[i].scope;
		} else {
			memcpy(&ret[i].in.sin_addr, answer->addresses[i].bytes, 4);
		}
	}
	*ret_n = answer->n;
	return true;
}

static void helper_forget(struct name_helpers *helpers, size_t at)
{
	fd_close(helpers->helpers[at].channel);
	helpers->helpers[at] = helpers->helpers[--helpers->n];
}

bool name_helpers_hear(struct name_helpers *helpers, struct name_answer *ret,
	struct address ret_addresses[RESOLVED_ADDRESSES_MAX], size_t *ret_n, bool *ret_gone)
{
	struct ipc_fds fds;

	for (size_t i = 0; i < helpers->n; i++) {
		bool asked = helpers->helpers[i].asked;
		uint32_t name = helpers->helpers[i].name;
		ssize_t n = ipc_receive(helpers->helpers[i].channel, ret, sizeof(*ret), &fds);
		if (n == -EAGAIN)
			continue;
		ipc_close_fds(&fds);
		*ret_gone = n != sizeof(*ret) || !asked || ret->name != name ||
			!name_answer_read(ret, ret_addresses, ret_n);
		helpers->helpers[i].asked = false;
		if (!*ret_gone)
			return true;
		helper_forget(helpers, i); /* it ends when it sees that its channel is closed */
		ret->name = asked ? name : UINT32_MAX;
		return true;
	}
	return false;
}
