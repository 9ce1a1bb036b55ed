/* Asks a running usher, and has what it says shown.
 *
 * Refuses to guess where it runs: the socket is named, or that of the configuration, or the usual one. Owns what it was told. */
#include "control_client.h"
#include "control_show.h"
#include "fd.h"
#include "file.h"
#include "policy.h"
#include "progress.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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

	progress_begin("waiting for usher");
	int error = control_ask_once(path, request, &answer);
	progress_end();
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

bool control_option(struct control_options *options, int option, const char *argument)
{
	if (option == 's')
		options->socket = argument;
	else if (option == 'c')
		options->file = argument;
	else if (option == 'j')
		options->json = true;
	else
		return false;
	return true;
}

int control_ask_at(const char *path, const char *word, const char *request, bool json, FILE *to)
{
	char *answer = control_ask(path, request);
	if (!answer)
		return 1;
	int status = control_show(word, answer, json, to);
	free(answer);
	return status;
}

int control_ask_and_show(const struct control_options *options, const char *word, const char *request)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];

	if (control_path(options->socket, options->file, path, sizeof(path)) < 0)
		return 2;
	return control_ask_at(path, word, request, options->json, stdout);
}
