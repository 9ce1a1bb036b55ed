/* status, sessions, backends, backend, bans, unban, close, reload, upgrade, log: ask a running usher, and have what it says shown.
 *
 * Refuses to guess where it runs: the socket is named, or that of the configuration, or the usual one. Owns what it was told. */
#include "control_client.h"
#include "command.h"
#include "control_show.h"
#include "fd.h"
#include "file.h"
#include "options.h"
#include "policy.h"
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WATCH_PRESET_S 2.0

struct options {
	const char *socket, *file;
	bool json;
	double watch_s; /* 0: once */
	char **words;   /* behind the command's own */
	int n_words;
};

int control_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	int error = -errno;
	fd_close(fd);
	return error;
}

int control_send(int fd, const char *request)
{
	struct iovec line[] = { { (void *)request, strlen(request) }, { (void *)"\n", 1 } };
	struct msghdr m = { .msg_iov = line, .msg_iovlen = 2 };

	ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	return (size_t)n == line[0].iov_len + 1 ? 0 : -EMSGSIZE; /* it blocks: a line is taken whole */
}

const char *control_error(int error)
{
	switch (error) {
	case -ENOENT:
		return "No such file or directory (is usher running, and has it `control' there?)";
	case -ECONNREFUSED:
		return "Connection refused (is usher running, and has it `control' there?)";
	default:
		return strerrordesc_np(-error);
	}
}

int control_ask_once(const char *path, const char *request, char **ret)
{
	size_t len;

	int fd = control_connect(path);
	if (fd < 0)
		return fd;
	int r = control_send(fd, request);
	if (r == 0 || r == -EPIPE) /* it may have said why it has closed */
		r = file_read_rest(fd, SIZE_MAX - 1, ret, &len);
	fd_close(fd);
	return r;
}

char *control_ask(const char *path, const char *request)
{
	char *answer = NULL;

	int error = control_ask_once(path, request, &answer);
	if (error < 0)
		fprintf(stderr, "usher: %s: %s\n", path, control_error(error));
	return error < 0 ? NULL : answer;
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

/* `watch`: may be asked again and again. */
static int options_read(struct options *ret, int argc, char **argv, bool may_watch)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "json", no_argument, NULL, 'j' },
		{ "socket", required_argument, NULL, 's' },
		{ "watch", optional_argument, NULL, 'w' },
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
		else if (option != 'w' || !may_watch)
			return -EINVAL;
		else if ((ret->watch_s = optarg ? option_seconds("--watch", optarg) : WATCH_PRESET_S) == 0)
			return -ERANGE;
	}
	ret->words = argv + optind;
	ret->n_words = argc - optind;
	return 0;
}

static int ask_and_show(const char *path, const char *word, const char *request, bool json, FILE *to)
{
	char *answer = control_ask(path, request);
	if (!answer)
		return 1;
	int status = control_show(word, answer, json, to);
	free(answer);
	return status;
}

/* What a terminal shows is replaced in one piece, once the new answer is there. */
static int ask_and_replace(const char *path, const struct options *options)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	if (!to) {
		fputs("usher: out of memory\n", stderr);
		return 1;
	}
	bool is_terminal = isatty(STDOUT_FILENO);
	fputs(is_terminal ? "\033[H\033[2J" : "", to); /* ECMA-48 8.3: home, all erased */
	int status = ask_and_show(path, "status", "status", options->json, to);
	fputs(is_terminal || options->json ? "" : "\n", to);
	fclose(to);
	if (status == 0 && (fwrite(text, 1, len, stdout) < len || fflush(stdout) != 0))
		status = 1;
	free(text);
	return status;
}

static int watch(const char *path, const struct options *options)
{
	const struct timespec pause = { .tv_sec = (time_t)options->watch_s,
		.tv_nsec = (long)((options->watch_s - (double)(time_t)options->watch_s) * 1e9) };

	for (;;) {
		int status = ask_and_replace(path, options);
		if (status != 0)
			return status;
		nanosleep(&pause, NULL);
	}
}

/* With no fewer and no more words than the request has. */
static int command_ask_or_watch(const char *word, int argc, char **argv, int least, int most, bool may_watch)
{
	struct options options = { 0 };
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)], request[1024];

	int r = options_read(&options, argc, argv, may_watch);
	if (r == 0 && (options.n_words < least || options.n_words > most))
		r = -EINVAL;
	if (r < 0)
		return r == -ERANGE ? 2 : command_usage(word);
	if (control_path(options.socket, options.file, path, sizeof(path)) < 0)
		return 2;
	if (options.watch_s > 0)
		return watch(path, &options);
	size_t len = (size_t)snprintf(request, sizeof(request), "%s", word);
	for (int i = 0; i < options.n_words && len < sizeof(request); i++)
		len += (size_t)snprintf(request + len, sizeof(request) - len, " %s", options.words[i]);
	return ask_and_show(path, word, request, options.json, stdout);
}

static int command_ask(const char *word, int argc, char **argv, int least, int most)
{
	return command_ask_or_watch(word, argc, argv, least, most, false);
}

int command_status(int argc, char **argv)
{
	return command_ask_or_watch("status", argc, argv, 0, 0, true);
}

int command_sessions(int argc, char **argv)
{
	return command_ask("sessions", argc, argv, 0, 0);
}

int command_backends(int argc, char **argv)
{
	return command_ask("backends", argc, argv, 0, 0);
}

int command_backend(int argc, char **argv)
{
	return command_ask("backend", argc, argv, 3, 4);
}

int command_bans(int argc, char **argv)
{
	return command_ask("bans", argc, argv, 0, 0);
}

int command_unban(int argc, char **argv)
{
	return command_ask("unban", argc, argv, 1, 1);
}

int command_reload(int argc, char **argv)
{
	return command_ask("reload", argc, argv, 0, 0);
}

int command_upgrade(int argc, char **argv)
{
	return command_ask("upgrade", argc, argv, 0, 0);
}

int command_close(int argc, char **argv)
{
	return command_ask("close", argc, argv, 1, 1);
}

int command_reopen(int argc, char **argv)
{
	return command_ask("reopen", argc, argv, 0, 0);
}

int command_log(int argc, char **argv)
{
	return command_ask("log", argc, argv, 1, 1);
}
