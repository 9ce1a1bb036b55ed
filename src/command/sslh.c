/* usher sslh: serve under sslh's configuration file and command line. */
#include "sslh.h"
#include "address.h"
#include "command.h"
#include "file.h"
#include "foreign.h"
#include "master.h"
#include "paths.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define RULES_MAX (16U << 20)

#ifdef HAVE_LIBSYSTEMD
static bool is_listed(const char *const *texts, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(texts[i], text) == 0)
			return true;
	return false;
}
#endif

/* Sockets that systemd hands over take the place of all that is configured, as with sslh. */
static const char **handed_addresses(size_t *ret_count)
{
	const char **texts = NULL;

	*ret_count = 0;
#ifdef HAVE_LIBSYSTEMD
	int n = sd_listen_fds(0);
	texts = calloc(n > 0 ? (size_t)n : 1, sizeof(*texts));
	for (int i = 0; texts && i < n; i++) {
		struct address address = { .len = sizeof(address.un) };
		char text[ADDRESS_TEXT_MAX];
		int fd = SD_LISTEN_FDS_START + i;
		bool datagrams = sd_is_socket(fd, AF_UNSPEC, SOCK_DGRAM, -1) > 0;
		char *copy;
		if ((!datagrams && sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0) ||
			getsockname(fd, &address.sa, &address.len) < 0 || (datagrams && !address_is_ip(&address)))
			continue;
		if (asprintf(&copy, "%s%s", datagrams ? "udp:" : "", address_format(&address, text)) < 0)
			abort();
		if (is_listed(texts, *ret_count, copy)) /* one of a group */
			free(copy);
		else
			texts[(*ret_count)++] = copy;
	}
#endif
	return texts;
}

/* Has any line of the file something to say? One that cannot be read may have. */
static bool file_has_rules(const char *path)
{
	char *text = NULL, *line;
	bool found = false;
	size_t len;

	int error = file_read(path, RULES_MAX, &text, &len);
	if (error < 0)
		return error != -ENOENT;
	for (char *rest = text; !found && (line = strsep(&rest, "\n"));) {
		const char *at = line + strspn(line, " \t\r");
		found = *at && *at != '#';
	}
	free(text);
	return found;
}

/* Where it is installed, or beside this program, which may be one that was only built. NULL: it was not built. */
static const char *libwrap_program(void)
{
	static char beside[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", beside, sizeof(beside) - sizeof("usher-libwrap"));
	char *slash = len > 0 ? memrchr(beside, '/', (size_t)len) : NULL;

	if (!path_libwrap[0])
		return NULL;
	if (slash && access(path_libwrap, X_OK) < 0) {
		strcpy(slash + 1, "usher-libwrap");
		return beside;
	}
	return path_libwrap;
}

struct run {
	const struct sslh_options *options;
	int error; /* of the last reading, which is another process's: so the memory is shared */
};

/* At each reading: rules may have come, or gone. */
static int translate(const void *context, struct native *ret, const char *file, struct complaints *complaints)
{
	struct run *run = *(struct run *const *)context;
	struct sslh_options options = *run->options;

	options.has_rules = file_has_rules("/etc/hosts.allow") || file_has_rules("/etc/hosts.deny");
	options.asks_rules = libwrap_program();
	return run->error = sslh_translate(ret, &options, complaints);
}

/* As sslh has them, who has several where usher says that the configuration is wrong. */
static int exit_status(int status, int error)
{
	if (status != 2)
		return status;
	switch (error) {
	case -EBADMSG:
		return 6;
	case -EHOSTUNREACH:
		return 4;
	case -ENOENT:
		return 2;
	default:
		return 1;
	}
}

static int serve(struct run *run)
{
	const struct sslh_options *options = run->options;
	struct sslh_mode mode;
	const struct foreign foreign = {
		.file = options->file ? options->file : "the command line",
		.translate = translate,
		.options = &run,
		.control = options->control,
	};

	if (options->print)
		return foreign_print(&foreign);
	sslh_mode_read(&mode, options);
	return master_run(&(struct master_options){
		.load = foreign_load,
		.context = &foreign,
		.daemon = !mode.foreground && !mode.inetd,
		.inetd = mode.inetd,
		.leaves_workers = !mode.inetd,
	});
}

static int run_shared(const struct sslh_options *options)
{
	struct run *run = mmap(NULL, sizeof(*run), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (run == MAP_FAILED) {
		perror("usher sslh");
		return 1;
	}
	*run = (struct run){ .options = options };
	int status = serve(run);
	status = exit_status(status, run->error);
	munmap(run, sizeof(*run));
	return status;
}

int command_sslh(int argc, char **argv)
{
	struct sslh_options options;
	int status = 0;

	if (sslh_options_read(&options, argc, argv) < 0)
		return exit_status(2, -EBADMSG);
	const char **handed = handed_addresses(&options.n_handed);
	options.handed = handed;
	if (options.help)
		sslh_usage(stdout);
	else if (options.version)
		puts("usher " VERSION ", as sslh");
	else
		status = run_shared(&options);
	for (size_t i = 0; i < options.n_handed; i++)
		free((char *)handed[i]);
	free(handed);
	sslh_options_fini(&options);
	return status;
}
