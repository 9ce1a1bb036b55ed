/* usher-accept: runs a server with libusher-accept in it, which makes channels of usher's out of its listening sockets.
 *
 * Becomes the server: same process, same standard streams. Refuses, with status 2, what the library could not work in. A
 * process of its own, no child of the server's, looks for some seconds whether the server listens, and warns where it does
 * not. Owns nothing that outlives it but the sockets of --listen-fds. */
#include "accept_config.h"
#include "executable.h"
#include "preload.h"
#include "socket.h"
#include "usher_accept_library.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIBRARY      "libusher-accept.so"
#define DEFAULT_MODE 0660
#define WATCH_TIMES  50
#define WATCH_MS     100
#define FIRST_FD     3 /* SD_LISTEN_FDS_START */

static const char usage[] = "usage: usher-accept --listen ADDRESS:PORT=PATH [--listen ...] [--mode MODE] "
			    "[--listen-fds] [--] SERVER [ARGUMENT ...]\n"
			    "\n"
			    "  -l, --listen ADDRESS:PORT=PATH  what SERVER would accept there comes from usher's "
			    "service with handover = \"PATH\"\n"
			    "  -m, --mode MODE                 permissions of the sockets, octal; 0660 without it\n"
			    "  -f, --listen-fds                SERVER is given the sockets, from descriptor 3 on, as "
			    "by systemd (LISTEN_FDS)\n"
			    "  -h, --help                      this text\n"
			    "  -V, --version                   the version\n"
			    "\n"
			    "usher-accept(1) says which servers it works with.\n";

struct arguments {
	struct accept_config config;
	char text[ACCEPT_TEXT_MAX]; /* the listeners again, for the environment */
	bool listen_fds;
	char **server;
};

/* A first line of what is wrong, and the status to end with. */
static int refuse(const char *what, const char *why)
{
	fprintf(stderr, "usher-accept: %s %s\n", what, why);
	return 2;
}

static int listener_add(struct arguments *a, const char *text)
{
	size_t len = strlen(a->text);

	switch (accept_config_add(&a->config, text, strlen(text))) {
	case 0:
		break;
	case -EEXIST:
		return refuse(text, "names an address or a path for the second time");
	case -E2BIG:
		return refuse(text, "is one too many: 16 are possible");
	case -ENAMETOOLONG:
		return refuse(text, "has a path longer than 107 bytes");
	default:
		return refuse(text,
			"is not ADDRESS:PORT=PATH, expected 127.0.0.1:8443=/run/usher/web.sock or "
			"[::1]:8443=/run/usher/web.sock");
	}
	if ((size_t)snprintf(a->text + len, sizeof(a->text) - len, ",%s", text) >= sizeof(a->text) - len)
		return refuse(text, "is too long beside the others");
	return 0;
}

/* Ends the process where there is nothing to run. 0 or the status to end with. */
static int arguments_read(struct arguments *a, int argc, char **argv)
{
	static const struct option options[] = { { "listen", required_argument, NULL, 'l' },
		{ "mode", required_argument, NULL, 'm' }, { "listen-fds", no_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { 0 } };
	int option, status = 0;

	a->config.mode = DEFAULT_MODE;
	while (status == 0 && (option = getopt_long(argc, argv, "+l:m:fhV", options, NULL)) != -1) {
		switch (option) {
		case 'l':
			status = listener_add(a, optarg);
			break;
		case 'm':
			if (accept_config_mode(&a->config, optarg, strlen(optarg)) < 0)
				status = refuse(optarg, "is not a mode, expected three octal digits such as 660");
			break;
		case 'f':
			a->listen_fds = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		case 'V':
			puts("usher-accept " VERSION);
			exit(0);
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	a->server = argv + optind;
	if (status == 0 && (a->config.n == 0 || !*a->server)) {
		fputs(usage, stderr);
		return 2;
	}
	return status;
}

/* Beside this program, in a build directory; else where it was installed. */
static void library_find(char path[PATH_MAX])
{
	char self[PATH_MAX] = "";

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) > 0 &&
		snprintf(path, PATH_MAX, "%s/" LIBRARY, dirname(self)) < PATH_MAX && access(path, R_OK) == 0)
		return;
	snprintf(path, PATH_MAX, "%s", usher_accept_library);
}

/* 0 or the status to end with. */
static int environment_set(const struct arguments *a)
{
	char preload[PATH_MAX * 2], library[PATH_MAX], value[ACCEPT_TEXT_MAX + 8];
	const char *before = getenv("LD_PRELOAD");

	library_find(library);
	if (access(library, R_OK) < 0)
		return refuse(library, strerror(errno));
	if (strpbrk(library, " :"))
		return refuse(library, "has a character in it that LD_PRELOAD cannot carry");
	if ((size_t)snprintf(preload, sizeof(preload), "%s%s%s", library, before && *before ? ":" : "",
		    before ? before : "") >= sizeof(preload))
		return refuse("LD_PRELOAD", "is too long");
	snprintf(value, sizeof(value), "%04o%s", a->config.mode, a->text);
	if (setenv("LD_PRELOAD", preload, 1) < 0 || setenv(ACCEPT_VARIABLE, value, 1) < 0)
		return refuse("environment:", strerror(errno));
	return 0;
}

/* The sockets themselves, for a server that makes none. What else is open there is closed: it was not promised. */
static int listen_fds_open(const struct accept_config *config)
{
	char n[12], pid[12];

	(void)syscall(SYS_close_range, FIRST_FD, FIRST_FD + config->n - 1, 0);
	for (unsigned i = 0; i < config->n; i++) {
		const struct accept_listener *listener = &config->listeners[i];
		struct path_socket s;
		int error = path_socket_listen(&s, listener->path, SOCK_DGRAM, config->mode);
		int fd = FIRST_FD + (int)i;

		if (error < 0)
			return refuse(listener->path, strerror(-error));
		close(s.directory);
		if (s.fd != fd && (dup2(s.fd, fd) < 0 || close(s.fd) < 0))
			return refuse(listener->path, strerror(errno));
		(void)fcntl(fd, F_SETFD, 0);
		(void)fcntl(fd, F_SETFL, 0); /* blocking, as systemd's are not, but as most expect */
	}
	snprintf(n, sizeof(n), "%u", config->n);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (setenv("LISTEN_FDS", n, 1) < 0 || setenv("LISTEN_PID", pid, 1) < 0 || unsetenv("LISTEN_FDNAMES") < 0)
		return refuse("environment:", strerror(errno));
	return 0;
}

/* ---- the watch ---- */

static bool path_is_listened_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int error = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
	close(fd);
	return error == 0 || error == EACCES; /* which cannot be told from here */
}

/* Until all are there, the time is up, or the server is gone: that needs no words of ours. */
static void watch(const struct arguments *a, int server)
{
	struct pollfd p = { .fd = server, .events = POLLIN };
	unsigned missing = (1u << a->config.n) - 1;

	for (int times = 0; times < WATCH_TIMES && missing; times++) {
		if (poll(&p, 1, WATCH_MS) > 0)
			return;
		for (unsigned i = 0; i < a->config.n; i++)
			if (path_is_listened_at(a->config.listeners[i].path))
				missing &= ~(1u << i);
	}
	for (unsigned i = 0; i < a->config.n; i++)
		if (missing & 1u << i)
			fprintf(stderr,
				"usher-accept: warning: after %d s %s still does not listen for %s: does it use that "
				"address, "
				"and the C library's bind()?\n",
				WATCH_TIMES * WATCH_MS / 1000, a->server[0], a->config.listeners[i].path);
}

/* A grandchild: a server may wonder about children that it did not start. */
static void watch_start(const struct arguments *a)
{
	int server = (int)syscall(SYS_pidfd_open, getpid(), 0);
	pid_t child = server < 0 ? -1 : fork();

	if (child == 0) {
		if (fork() == 0) {
			int kept = fcntl(server, F_DUPFD_CLOEXEC, FIRST_FD);

			close(STDIN_FILENO);
			close(STDOUT_FILENO);
			dup2(kept, STDIN_FILENO);
			(void)syscall(SYS_close_range, FIRST_FD, ~0u, 0);
			(void)setsid();
			watch(a, STDIN_FILENO);
		}
		_exit(0);
	}
	if (child > 0)
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	if (server >= 0)
		close(server);
}

int main(int argc, char **argv)
{
	static struct arguments a;
	char path[PATH_MAX];
	int status = arguments_read(&a, argc, argv);

	if (status != 0)
		return status;
	int error = executable_find(a.server[0], path, sizeof(path));
	if (error < 0) {
		refuse(a.server[0], strerror(-error));
		return error == -ENOENT ? 127 : 126;
	}
	const char *why = program_refusal(path);
	if (why)
		return refuse(path, why);
	if (a.listen_fds)
		status = listen_fds_open(&a.config);
	if (status == 0)
		status = environment_set(&a);
	if (status != 0)
		return status;
	watch_start(&a);
	execv(path, a.server);
	error = errno;
	refuse(path, strerror(error));
	return error == ENOENT ? 127 : 126;
}
