/* Listeners for libusher-accept, from text.
 *
 * Refuses names, wildcards for ports, relative paths, and paths with a comma, which separates. Owns no memory. */
#include "accept_config.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 1 to 65535, digits only; 0: not one. */
static unsigned port_read(const char *text, size_t len)
{
	unsigned port = 0;

	if (len == 0 || len > 5)
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 0;
		port = port * 10 + (unsigned)(text[i] - '0');
	}
	return port <= 65535 ? port : 0;
}

static int address_read(struct accept_listener *listener, const char *text, size_t len)
{
	const char *colon = memrchr(text, ':', len);
	size_t host_len = colon ? (size_t)(colon - text) : 0;
	bool brackets = host_len > 2 && text[0] == '[' && text[host_len - 1] == ']';
	char host[INET6_ADDRSTRLEN] = "";

	if (!colon || host_len >= sizeof(host))
		return -EINVAL;
	unsigned port = port_read(colon + 1, len - host_len - 1);
	memcpy(host, text + brackets, host_len - 2 * brackets);
	if (port == 0)
		return -EINVAL;
	memset(&listener->address, 0, sizeof(listener->address));
	if (brackets) {
		listener->len = sizeof(listener->address.in6);
		listener->address.in6.sin6_family = AF_INET6;
		listener->address.in6.sin6_port = htons((uint16_t)port);
		return inet_pton(AF_INET6, host, &listener->address.in6.sin6_addr) == 1 ? 0 : -EINVAL;
	}
	listener->len = sizeof(listener->address.in);
	listener->address.in.sin_family = AF_INET;
	listener->address.in.sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &listener->address.in.sin_addr) == 1 ? 0 : -EINVAL;
}

static int listener_read(struct accept_listener *listener, const char *text, size_t len)
{
	const char *equals = memchr(text, '=', len);
	const char *path = equals ? equals + 1 : NULL;

	if (!equals)
		return -EINVAL;
	size_t path_len = len - (size_t)(path - text);
	if (path_len < 2 || *path != '/' || path[path_len - 1] == '/' || memchr(path, ',', path_len))
		return -EINVAL;
	if (path_len >= sizeof(listener->path))
		return -ENAMETOOLONG;
	memset(listener->path, 0, sizeof(listener->path));
	memcpy(listener->path, path, path_len);
	return address_read(listener, text, (size_t)(equals - text));
}

int accept_config_add(struct accept_config *config, const char *text, size_t len)
{
	struct accept_listener listener;
	int error = listener_read(&listener, text, len);

	if (error < 0)
		return error;
	if (config->n == ACCEPT_LISTENERS_MAX)
		return -E2BIG;
	for (unsigned i = 0; i < config->n; i++)
		if (strcmp(config->listeners[i].path, listener.path) == 0)
			return -EEXIST;
	if (accept_config_find(config, &listener.address.sa, listener.len))
		return -EEXIST;
	config->listeners[config->n++] = listener;
	return 0;
}

int accept_config_mode(struct accept_config *config, const char *text, size_t len)
{
	unsigned mode = 0;

	if (len == 0 || len > 4)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '7')
			return -EINVAL;
		mode = mode * 8 + (unsigned)(text[i] - '0');
	}
	if (mode > 0777)
		return -EINVAL;
	config->mode = mode;
	return 0;
}

int accept_config_read(struct accept_config *config, const char *text)
{
	size_t len = strcspn(text, ",");
	int error = accept_config_mode(config, text, len);

	for (text += len; error == 0 && *text; text += len) {
		text++;
		len = strcspn(text, ",");
		error = accept_config_add(config, text, len);
	}
	return error;
}

struct accept_listener *accept_config_find(
	struct accept_config *config, const struct sockaddr *address, socklen_t len)
{
	/* The caller's need not be aligned, nor as long as its family says. */
	union accept_address wanted = { .sa.sa_family = AF_UNSPEC };

	if (len < sizeof(wanted.sa.sa_family))
		return NULL;
	memcpy(&wanted, address, len < sizeof(wanted) ? len : sizeof(wanted));
	for (unsigned i = 0; i < config->n; i++) {
		struct accept_listener *l = &config->listeners[i];

		if (wanted.sa.sa_family != l->address.sa.sa_family || len < l->len)
			continue;
		if (wanted.sa.sa_family == AF_INET && wanted.in.sin_port == l->address.in.sin_port &&
			wanted.in.sin_addr.s_addr == l->address.in.sin_addr.s_addr)
			return l;
		if (wanted.sa.sa_family == AF_INET6 && wanted.in6.sin6_port == l->address.in6.sin6_port &&
			memcmp(&wanted.in6.sin6_addr, &l->address.in6.sin6_addr, sizeof(struct in6_addr)) == 0)
			return l;
	}
	return NULL;
}
