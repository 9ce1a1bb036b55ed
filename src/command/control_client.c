/* status, sessions, close, drain, reload, upgrade, log: ask a running usher, and have what it says shown.
 *
 * Refuses to guess where it runs: the socket is named, or that of the configuration, or the usual one. Owns what it was told. */
#include "control_client.h"
#include "command.h"
#include "control_show.h"
#include "fd.h"
#include "file.h"
#include "policy.h"
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct options {
	const char *socket, *file;
	bool json;
	const char *argument; /* NULL: none */
};

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path)) {
		fprintf(stderr, "usher: %s: %s\n", path, fd < 0 ? strerror(errno) : "the path is too long");
		fd_close(fd);
		return -1;
	}
	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	fprintf(stderr, "usher: %s: %s%s\n", path, strerror(errno),
		errno == ENOENT || errno == ECONNREFUSED ? " (is usher running, and has it `control' there?)" : "");
	fd_close(fd);
	return -1;
}

char *control_ask(const char *path, const char *request)
{
	int fd = connect_to(path);
	char *answer = NULL;
	size_t len;
	int error;

	if (fd < 0)
		return NULL;
	if (dprintf(fd, "%s\n", request) < 0)
		fprintf(stderr, "usher: %s: %s\n", path, strerror(errno));
	else if ((error = file_read_rest(fd, SIZE_MAX - 1, &answer, &len)) < 0)
		fprintf(stderr, "usher: %s: no answer: %s\n", path, strerror(-error));
	fd_close(fd);
	return answer;
}

int control_path(const char *socket, const char *file, char *ret, size_t size)
{
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;
	int error = 0;

	if (socket || !file) {
		snprintf(ret, size, "%s", socket ? socket : DEFAULT_CONTROL);
		return 0;
	}
	if (policy_load(&policy, file, NULL, &complaints) < 0) {
		complaints_print(&complaints, stderr);
		error = -EINVAL;
	} else if (!policy->control) {
		fprintf(stderr, "usher: %s: no `control' in it, expected control = \"" DEFAULT_CONTROL "\"\n", file);
		error = -ENOENT;
	} else {
		snprintf(ret, size, "%s", policy->control);
	}
	complaints_fini(&complaints);
	policy_free(policy);
	return error;
}

/* ---- commands ---- */

static int options_read(struct options *ret, int argc, char **argv, bool wants_argument)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "socket", required_argument, NULL, 's' },
		{ NULL },
	};
	int option;

	while ((option = getopt_long(argc, argv, "s:c:", longs, NULL)) != -1) {
		if (option == 's')
			ret->socket = optarg;
		else if (option == 'c')
			ret->file = optarg;
		else if (option == 'j')
			ret->json = true;
		else
			return -EINVAL;
	}
	if (argc - optind != wants_argument)
		return -EINVAL;
	ret->argument = wants_argument ? argv[optind] : NULL;
	return 0;
}

static int command_ask(const char *word, int argc, char **argv, bool wants_argument)
{
	struct options options = { 0 };
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)], request[512];

	if (options_read(&options, argc, argv, wants_argument) < 0)
		return command_usage(word);
	if (control_path(options.socket, options.file, path, sizeof(path)) < 0)
		return 2;
	snprintf(request, sizeof(request), "%s%s%s", word, options.argument ? " " : "",
		options.argument ? options.argument : "");
	char *answer = control_ask(path, request);
	if (!answer)
		return 1;
	int status = control_show(word, answer, options.json, stdout);
	free(answer);
	return status;
}

int command_status(int argc, char **argv)
{
	return command_ask("status", argc, argv, false);
}

int command_sessions(int argc, char **argv)
{
	return command_ask("sessions", argc, argv, false);
}

int command_reload(int argc, char **argv)
{
	return command_ask("reload", argc, argv, false);
}

int command_upgrade(int argc, char **argv)
{
	return command_ask("upgrade", argc, argv, false);
}

int command_drain(int argc, char **argv)
{
	return command_ask("drain", argc, argv, false);
}

int command_close(int argc, char **argv)
{
	return command_ask("close", argc, argv, true);
}

int command_reopen(int argc, char **argv)
{
	return command_ask("reopen", argc, argv, false);
}

int command_log(int argc, char **argv)
{
	return command_ask("log", argc, argv, true);
}
