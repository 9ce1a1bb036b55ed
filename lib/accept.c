/* libusher-accept: loaded before a server's own libraries (LD_PRELOAD, which usher-accept sets), it puts usher's channel in
 * the place of a listening socket, and answers for it where the kernel's answer would give it away.
 *
 * Each function here first does what it always does. Only where the answer is one that no TCP socket gives is the descriptor
 * looked at, so that everything else in the server costs what it did, and asks the kernel for nothing that a sandbox might
 * forbid. The exceptions are bind(), for one of the addresses, and accept().
 *
 * Writes nothing, takes no lock, changes no signal; errno is as the wrapped functions have it. Refuses to reach into
 * programs that were given none of its channels: they get their environment as it was meant for them. */
#include "accept_channel.h"
#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXPORT          __attribute__((visibility("default")))
#define ENVIRONMENT_MAX 8192 /* words; a larger environment is left as it is */

/* As they were when the process began: it may have put something else there since. */
static char environment[2][sizeof(ACCEPT_VARIABLE) + ACCEPT_TEXT_MAX];

enum next {
	NEXT_bind,
	NEXT_listen,
	NEXT_accept,
	NEXT_accept4,
	NEXT_getsockname,
	NEXT_getsockopt,
	NEXT_setsockopt,
	NEXT_execve,
	N_NEXT
};

/* The functions behind ours. Looked up when the library is loaded: dlsym() takes a lock, which in the child of a process with threads
 * may be held for ever. */
static void *next_functions[N_NEXT];

static void next_functions_find(void)
{
	static const char *const names[] = { "bind", "listen", "accept", "accept4", "getsockname", "getsockopt",
		"setsockopt", "execve" };

	for (int i = 0; i < N_NEXT; i++)
		if (!next_functions[i])
			next_functions[i] = dlsym(RTLD_NEXT, names[i]);
}

static void *next_function(enum next which)
{
	if (!next_functions[which]) /* somebody's constructor runs before ours */
		next_functions_find();
	return next_functions[which];
}

#define NEXT(name) ((__typeof__(&(name)))next_function(NEXT_##name))

static void variable_keep(char *place, const char *name)
{
	const char *value = secure_getenv(name);

	if (value && snprintf(place, sizeof(environment[0]), "%s=%s", name, value) >= (int)sizeof(environment[0]))
		*place = '\0';
}

__attribute__((constructor)) static void library_start(void)
{
	next_functions_find();
	variable_keep(environment[0], ACCEPT_VARIABLE);
	variable_keep(environment[1], "LD_PRELOAD");
	if (*environment[0] && accept_config_read(&accept_config, environment[0] + sizeof(ACCEPT_VARIABLE)) < 0)
		accept_config.n = 0;
}

static bool is_stream(int fd)
{
	int type;
	socklen_t len = sizeof(type);

	return NEXT(getsockopt)(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

EXPORT int bind(int fd, const struct sockaddr *address, socklen_t len)
{
	struct accept_listener *listener = address ? accept_config_find(&accept_config, address, len) : NULL;

	return listener && is_stream(fd) ? channel_bind(listener, fd) : NEXT(bind)(fd, address, len);
}

EXPORT int listen(int fd, int backlog)
{
	int r = NEXT(listen)(fd, backlog);

	return r < 0 && errno == EOPNOTSUPP && channel_of(fd) ? 0 : r;
}

EXPORT int accept(int fd, struct sockaddr *address, socklen_t *len)
{
	struct accept_listener *listener = channel_of(fd);

	return listener ? channel_accept(listener, fd, address, len, 0) : NEXT(accept)(fd, address, len);
}

EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	struct accept_listener *listener = channel_of(fd);

	return listener ? channel_accept(listener, fd, address, len, flags) : NEXT(accept4)(fd, address, len, flags);
}

EXPORT int getsockname(int fd, struct sockaddr *address, socklen_t *len)
{
	socklen_t size = len ? *len : 0;
	int r = NEXT(getsockname)(fd, address, len);

	if (r < 0 || size < sizeof(address->sa_family) || address->sa_family != AF_UNIX)
		return r;
	struct accept_listener *listener = channel_of(fd);
	if (listener) {
		memcpy(address, &listener->address, size < listener->len ? size : listener->len);
		*len = listener->len;
	}
	return 0;
}

/* What a listening TCP socket says where ours said `value`; -1: that may as well be the truth. */
static int option_of_stream(int name, int value, sa_family_t family)
{
	switch (name) {
	case SO_TYPE:
		return value == SOCK_DGRAM ? SOCK_STREAM : -1;
	case SO_DOMAIN:
		return value == AF_UNIX ? family : -1;
	case SO_PROTOCOL:
		return value == 0 ? IPPROTO_TCP : -1;
	case SO_ACCEPTCONN:
		return value == 0 ? 1 : -1;
	default:
		return -1;
	}
}

static bool level_is_internet(int level)
{
	return level == IPPROTO_TCP || level == IPPROTO_IP || level == IPPROTO_IPV6;
}

EXPORT int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int r = NEXT(getsockopt)(fd, level, name, value, len);
	struct accept_listener *listener;
	int number = 0;

	if (accept_config.n == 0)
		return r;
	if (r == 0 && level == SOL_SOCKET && *len == sizeof(number)) {
		memcpy(&number, value, sizeof(number));
		if (option_of_stream(name, number, AF_INET) < 0 || !(listener = channel_of(fd)))
			return r;
		number = option_of_stream(name, number, listener->address.sa.sa_family);
		memcpy(value, &number, sizeof(number));
	}
	if (r < 0 && errno == EOPNOTSUPP && level_is_internet(level) && *len >= sizeof(number) &&
		(listener = channel_of(fd))) {
		number = channel_option(listener, level, name);
		memcpy(value, &number, sizeof(number));
		*len = sizeof(number);
		return 0;
	}
	return r;
}

EXPORT int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	int r = NEXT(setsockopt)(fd, level, name, value, len);
	struct accept_listener *listener;

	if (r == 0 || errno != EOPNOTSUPP || !(listener = channel_of(fd)))
		return r;
	channel_set_option(listener, level, name, value, len);
	return 0;
}

/* ---- exec ---- */

static bool is_variable(const char *word, const char *name)
{
	size_t len = strlen(name);

	return strncmp(word, name, len) == 0 && word[len] == '=';
}

/* A server that starts itself again with the sockets it has (nginx' upgrade) may give itself another environment. */
EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	size_t n = 0, kept = 0;
	char **words;

	while (envp && envp[n] && !is_variable(envp[n], ACCEPT_VARIABLE))
		n++;
	if (!envp || envp[n] || n > ENVIRONMENT_MAX || !*environment[1] || !channel_is_inherited())
		return NEXT(execve)(path, argv, envp);
	/* A child of vfork() may call this: it must not touch the heap. */
	/* cppcheck-suppress allocaCalled */
	words = alloca((n + 3) * sizeof(*words));
	for (size_t i = 0; i < n; i++)
		if (!is_variable(envp[i], "LD_PRELOAD"))
			words[kept++] = envp[i];
	words[kept++] = environment[0];
	words[kept++] = environment[1];
	words[kept] = NULL;
	return NEXT(execve)(path, argv, words);
}
