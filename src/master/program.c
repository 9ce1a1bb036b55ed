/* Runs a service's program. Reads nothing that a client sent. What the environment says of the connection is the worker's
 * word: names are checked for their characters here, but a worker that was taken over can name any address. */
#include "program.h"
#include "fd.h"
#include "spawn.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENVIRONMENT_MAX 24

struct environment {
	char text[4096];
	size_t used;
	char *list[ENVIRONMENT_MAX + 1];
	size_t count;
};

static void environment_set(struct environment *environment, const char *name, const char *value)
{
	size_t room = sizeof(environment->text) - environment->used;
	char *at = environment->text + environment->used;
	int n = snprintf(at, room, "%s=%s", name, value);

	if (n < 0 || (size_t)n >= room || environment->count == ENVIRONMENT_MAX)
		return;
	environment->list[environment->count++] = at;
	environment->used += (size_t)n + 1;
}

/* Names from the wire are host names and names of protocols; anything else is not passed on. */
static void environment_set_name(struct environment *environment, const char *name, const char *value, size_t size)
{
	if (value[0] == '\0' || strnlen(value, size) == size)
		return;
	for (const char *c = value; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("._-+:[]", *c))
			return;
	environment_set(environment, name, value);
}

static void environment_set_address(
	struct environment *environment, const struct address *address, const char *host_name, const char *port_name)
{
	char host[ADDRESS_TEXT_MAX], port[8];

	if (!address_is_ip(address))
		return;
	address_format_host(address, host);
	snprintf(port, sizeof(port), "%u", address_port(address));
	environment_set(environment, host_name, host);
	environment_set(environment, port_name, port);
}

static void environment_set_peers(struct environment *environment, const struct message_spawn *request,
	const char *proto, const char *remote_host, const char *remote_port, const char *local_host,
	const char *local_port)
{
	environment_set(environment, "PROTO", proto);
	environment_set_address(environment, &request->client, remote_host, remote_port);
	environment_set_address(environment, &request->client, "REMOTE_ADDR", "REMOTE_PORT");
	environment_set_address(environment, &request->local, local_host, local_port);
}

static void environment_inherit(struct environment *environment, const char *name, const char *otherwise)
{
	const char *value = getenv(name);
	if (value || otherwise)
		environment_set(environment, name, value ? value : otherwise);
}

static void environment_build(struct environment *environment, const struct program *program, const char *service,
	const struct message_spawn *request)
{
	environment_inherit(environment, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	environment_inherit(environment, "LANG", NULL);
	environment_inherit(environment, "TZ", NULL);
	if (program->user) {
		environment_set(environment, "USER", program->user);
		environment_set(environment, "LOGNAME", program->user);
		environment_set(environment, "HOME", program->home);
		environment_set(environment, "SHELL", program->shell);
	} else {
		environment_inherit(environment, "USER", NULL);
		environment_inherit(environment, "HOME", NULL);
		environment_inherit(environment, "SHELL", NULL);
	}
	if (service)
		environment_set(environment, "USHER_SERVICE", service);
	environment->list[environment->count] = NULL;
	if (!request)
		return;
	if (request->is_datagram)
		environment_set_peers(
			environment, request, "UDP", "UDPREMOTEIP", "UDPREMOTEPORT", "UDPLOCALIP", "UDPLOCALPORT");
	else if (request->client.sa.sa_family != AF_UNIX)
		environment_set_peers(
			environment, request, "TCP", "TCPREMOTEIP", "TCPREMOTEPORT", "TCPLOCALIP", "TCPLOCALPORT");
	else
		environment_set(environment, "PROTO", "UNIX");
	environment_set_name(environment, "USHER_PROTOCOL", request->protocol, sizeof(request->protocol));
	environment_set_name(environment, "USHER_SNI", request->sni, sizeof(request->sni));
	environment->list[environment->count] = NULL;
}

/* ---- stdio ---- */

struct stdio_ends {
	int in, out; /* the program's */
	int ours[2]; /* its output and its input, or its terminal */
	bool same;   /* in and out are one descriptor, and the caller's */
};

static int stdio_open_pipes(struct stdio_ends *ends)
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(out, O_CLOEXEC) < 0) {
		int error = -errno;
		fd_close(in[0]);
		fd_close(in[1]);
		return error;
	}
	*ends = (struct stdio_ends){ .in = in[0], .out = out[1], .ours = { out[0], in[1] } };
	fd_set_nonblocking(ends->ours[0], true);
	fd_set_nonblocking(ends->ours[1], true);
	return 0;
}

static int stdio_open_terminal(struct stdio_ends *ends, const struct program *program)
{
	char name[64];
	int error = 0, terminal = -1;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

	if (master < 0)
		return -errno;
	if (grantpt(master) < 0 || unlockpt(master) < 0)
		error = -errno;
	if (error == 0)
		error = -ptsname_r(master, name, sizeof(name));
	if (error == 0 && (terminal = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
		error = -errno;
	if (error == 0 && program->own_identity && fchown(terminal, program->uid, (gid_t)-1) < 0)
		error = -errno;
	if (error < 0) {
		fd_close(terminal);
		fd_close(master);
		return error;
	}
	*ends = (struct stdio_ends){ .in = terminal, .out = terminal, .ours = { master, -1 } };
	return 0;
}

/* A program expects what accept() gives: a descriptor that waits. */
static int stdio_take_socket(struct stdio_ends *ends, int client)
{
	*ends = (struct stdio_ends){ .in = client, .out = client, .ours = { -1, -1 }, .same = true };
	return client < 0 ? -EBADF : fd_set_stream_nonblocking(client, false);
}

static int stdio_open(struct stdio_ends *ends, const struct program *program, int client)
{
	switch (program->stdio) {
	case STDIO_PIPE:
		return stdio_open_pipes(ends);
	case STDIO_PTY:
		return stdio_open_terminal(ends, program);
	default:
		return stdio_take_socket(ends, client);
	}
}

int program_start(const struct program *program, const char *service, const struct message_spawn *request, int client,
	int ret_fds[2], pid_t *ret_pid, bool *ret_greeted)
{
	struct environment environment = { 0 };
	struct stdio_ends ends = { 0 };

	int error = stdio_open(&ends, program, client);
	if (error < 0)
		return error;
	environment_build(&environment, program, service, request);
	error = spawn_program(
		&(struct spawn){
			.argv = program->argv,
			.env = environment.list,
			.in = ends.in,
			.out = ends.out,
			.err = program->stdio == STDIO_PTY ? ends.out : -1,
			.terminal = program->stdio == STDIO_PTY,
			.own_identity = program->own_identity,
			.uid = program->uid,
			.gid = program->gid,
			.groups = program->groups,
			.n_groups = program->n_groups,
			.greeting = ret_greeted && ends.same && request->greets ? MESSAGE_TCPMUX_ACCEPT : NULL,
			.ret_greeted = ret_greeted,
		},
		ret_pid);
	if (!ends.same) {
		fd_close(ends.in);
		if (ends.out != ends.in)
			fd_close(ends.out);
	}
	if (error < 0) {
		fd_close(ends.ours[0]);
		fd_close(ends.ours[1]);
		if (ends.same) /* whoever serves the client instead must not wait for it */
			fd_set_stream_nonblocking(client, true);
		return error;
	}
	ret_fds[0] = ends.ours[0];
	ret_fds[1] = ends.ours[1];
	return 0;
}

int program_start_server(const struct program *program, const char *service, pid_t *ret_pid)
{
	struct environment environment = { 0 };

	environment_build(&environment, program, service, NULL);
	return spawn_program(
		&(struct spawn){
			.argv = program->argv,
			.env = environment.list,
			.in = -1,
			.out = -1,
			.err = -1,
			.own_identity = program->own_identity,
			.uid = program->uid,
			.gid = program->gid,
			.groups = program->groups,
			.n_groups = program->n_groups,
		},
		ret_pid);
}
