/* usher demo: a configuration that needs nothing installed and no root. The programs that its services run are in this
 * file too ("usher demo page" and so on), so that one binary is the whole demonstration. Keys for ssh are made in a temporary
 * directory, which goes when the demonstration ends. */
#include "command.h"
#include "fd.h"
#include "master.h"
#include "options.h"
#include "process.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SSHD      "/usr/sbin/sshd"
#define DIRECTORY "/tmp/usher-demo-XXXXXX"

struct demo {
	char usher[512];    /* this program */
	char directory[64]; /* empty: no ssh */
	const char *login;
	uint16_t port;
	char *text; /* the configuration */
};

static struct demo demo = { .port = 8080 };

/* ---- the programs ---- */

/* Started as root they need none of it. */
static void become_nobody(void)
{
	const struct passwd *nobody = geteuid() == 0 ? getpwnam("nobody") : NULL;
	if (process_drop_privileges(nobody, nobody ? nobody->pw_uid : 0, nobody ? nobody->pw_gid : 0) < 0)
		_exit(1);
}

static const char *told(const char *name)
{
	const char *value = getenv(name);
	return value ? value : "-";
}

/* Reads a request's header, or as much as a patient server would. */
static void read_request(void)
{
	char request[8192];
	size_t len = 0;
	struct pollfd input = { .fd = 0, .events = POLLIN };

	while (len < sizeof(request) - 1 && poll(&input, 1, 5000) == 1) {
		ssize_t n = read(0, request + len, sizeof(request) - 1 - len);
		if (n <= 0)
			return;
		len += (size_t)n;
		request[len] = '\0';
		if (strstr(request, "\r\n\r\n") || strstr(request, "\n\n"))
			return;
	}
}

/* Says that this was all, and lets the client finish: closing with something unread would reset the connection. */
static int end_politely(void)
{
	char rest[4096];
	struct pollfd input = { .fd = 0, .events = POLLIN };

	fflush(stdout);
	shutdown(1, SHUT_WR);
	for (int reads = 0; reads < 1000 && poll(&input, 1, 2000) == 1 && read(0, rest, sizeof(rest)) > 0; reads++)
		;
	return 0;
}

static int program_page(void)
{
	char page[1024];
	read_request();
	int n = snprintf(page, sizeof(page),
		"This page comes from a program that usher ran on your connection.\n\n"
		"  service    %s\n"
		"  protocol   %s\n"
		"  client     %s port %s\n"
		"  listener   %s port %s\n",
		told("USHER_SERVICE"), told("USHER_PROTOCOL"), told("REMOTE_ADDR"), told("REMOTE_PORT"),
		told("TCPLOCALIP"), told("TCPLOCALPORT"));
	printf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: "
	       "close\r\n\r\n%s",
		n, page);
	return end_politely();
}

static int program_echo(void)
{
	char buffer[16384];
	ssize_t n;
	while ((n = read(0, buffer, sizeof(buffer))) > 0)
		for (ssize_t done = 0, m; done < n; done += m)
			if ((m = write(1, buffer + done, (size_t)(n - done))) < 0)
				return 1;
	return 0;
}

static int program_hint(void)
{
	struct pollfd input = { .fd = 0, .events = POLLIN };
	if (poll(&input, 1, 0) == 1)
		puts("usher: no service knows what you sent, so `on_unknown' got you. Try HTTP, or a line "
		     "that begins with echo.");
	else
		puts("usher: you said nothing until the deadline, so `on_silence' got you. Try HTTP, or a "
		     "line that begins with echo.");
	return end_politely();
}

/* ---- ssh ---- */

static int run_quietly(const char *const argv[])
{
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		int null = fd_open_null();
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -ECHILD;
}

static int write_ssh_config(void)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/ssh_config", demo.directory);
	FILE *file = fopen(path, "wxe");
	if (!file)
		return -errno;
	fprintf(file,
		"Host demo\n  HostName 127.0.0.1\n  Port %u\n  User %s\n  IdentityFile %s/key\n  "
		"IdentitiesOnly yes\n"
		"  UserKnownHostsFile %s/known_hosts\n  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n",
		demo.port, demo.login, demo.directory, demo.directory);
	return fclose(file) == 0 ? 0 : -errno;
}

/* Keys of its own: the real ones of the machine are root's, and a visitor's are nobody's business. */
static void prepare_ssh(void)
{
	char host_key[128], key[128];
	const struct passwd *self = getpwuid(geteuid());

	if (access(SSHD, X_OK) < 0 || !self)
		return;
	demo.login = strdup(self->pw_name);
	strcpy(demo.directory, DIRECTORY);
	if (!demo.login || !mkdtemp(demo.directory)) {
		demo.directory[0] = '\0';
		return;
	}
	if (geteuid() == 0)
		mkdir("/run/sshd", 0755); /* what its unit does; sshd refuses to run as root without it */
	snprintf(host_key, sizeof(host_key), "%s/host_key", demo.directory);
	snprintf(key, sizeof(key), "%s/key", demo.directory);
	const char *const make_host_key[] = { "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host_key, NULL };
	const char *const make_key[] = { "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key, NULL };
	if (run_quietly(make_host_key) < 0 || run_quietly(make_key) < 0 || write_ssh_config() < 0)
		fputs("usher: no keys could be made (ssh-keygen): the demonstration goes without ssh\n", stderr);
	else
		return;
	rmdir(demo.directory);
	demo.directory[0] = '\0';
}

static void clean_up(void)
{
	static const char *const files[] = { "host_key", "host_key.pub", "key", "key.pub", "ssh_config",
		"known_hosts", "known_hosts.old" };
	char path[128];

	if (!demo.directory[0])
		return;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", demo.directory, files[i]);
		unlink(path);
	}
	rmdir(demo.directory);
}

/* ---- the configuration ---- */

static int demo_write(FILE *to)
{
	const char *user = geteuid() == 0 ? " user = \"root\";" : "";

	fprintf(to,
		"# usher's demonstration: one port, several services, each a program run on the client's "
		"socket.\n"
		"listen = [ \"127.0.0.1:%u\" ];\n"
		"decide_timeout = 3.0;\n"
		"\n"
		"protocols = ( { name = \"echo\"; string = \"echo\"; } );\n"
		"\n"
		"services = (\n"
		"  { name = \"echo\"; match = \"echo\"; exec = [ \"%s\", \"demo\", \"echo\" ];%s },\n"
		"  { name = \"page\"; match = \"http\"; exec = [ \"%s\", \"demo\", \"page\" ];%s },\n",
		demo.port, demo.usher, user, demo.usher, user);
	if (demo.directory[0])
		fprintf(to,
			"  # Its keys are made when the demonstration starts, in a folder that goes when it ends.\n"
			"  { name = \"ssh\"; match = \"ssh\"; exec = [ \"" SSHD
			"\", \"-i\", \"-f\", \"/dev/null\", \"-h\", \"%s/host_key\",\n"
			"      \"-o\", \"AuthorizedKeysFile=%s/key.pub\", \"-o\", \"StrictModes=no\", "
			"\"-o\", \"UsePAM=no\",\n"
			"      \"-o\", \"PasswordAuthentication=no\", \"-o\", "
			"\"KbdInteractiveAuthentication=no\" ];%s },\n",
			demo.directory, demo.directory, user);
	fprintf(to,
		"  { name = \"hint\"; exec = [ \"%s\", \"demo\", \"hint\" ];%s } );\n"
		"on_silence = \"hint\";  on_unknown = \"hint\";\n",
		demo.usher, user);
	return ferror(to) ? -EIO : 0;
}

static int demo_load(const void *context, struct arena *arena, struct policy **ret, struct complaints *complaints)
{
	return policy_load_text(ret, "demonstration", demo.text,
		&(struct policy_options){ .arena = arena, .process_ends = true, .keep_settings = true }, complaints);
}

static void demo_serving(const struct policy *policy)
{
	printf("usher serves a demonstration on 127.0.0.1:%u. In another terminal, try\n\n"
	       "  curl http://127.0.0.1:%u/\n"
	       "  printf 'echo hello\\n' | nc -N 127.0.0.1 %u\n",
		demo.port, demo.port, demo.port);
	if (demo.directory[0])
		printf("  ssh -F %s/ssh_config demo 'echo hello from sshd'\n", demo.directory);
	else
		printf("  sleep 4 | nc -N 127.0.0.1 %u\n", demo.port);
	printf("\n`usher demo --print' shows its configuration. Ctrl-C ends it.\n\n");
	fflush(stdout);
}

static int demo_serve(void)
{
	static const struct master_options options = { .load = demo_load, .serving = demo_serving };
	size_t size;

	prepare_ssh();
	FILE *text = open_memstream(&demo.text, &size);
	int error = text ? demo_write(text) : -errno;
	if (text && fclose(text) != 0)
		error = -errno;
	int status = 1;
	if (error < 0)
		fprintf(stderr, "usher: cannot prepare the demonstration: %s\n", strerrordesc_np(-error));
	else
		status = master_run(&options);
	clean_up();
	return status;
}

static int demo_options(int argc, char **argv, bool *ret_print)
{
	static const struct option longs[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "print", no_argument, NULL, 'P' },
		{ NULL },
	};
	int option;

	while ((option = getopt_long(argc, argv, "p:", longs, NULL)) != -1) {
		if (option == 'P')
			*ret_print = true;
		else if (option != 'p')
			return command_usage("demo");
		else if (!(demo.port = option_port(optarg)))
			return 2;
	}
	return optind < argc ? command_usage("demo") : 0;
}

int command_demo(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} programs[] = { { "page", program_page }, { "echo", program_echo }, { "hint", program_hint } };
	bool print = false;

	for (size_t i = 0; argc == 2 && i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (strcmp(argv[1], programs[i].name) != 0)
			continue;
		become_nobody();
		return programs[i].run();
	}
	int error = demo_options(argc, argv, &print);
	if (error)
		return error;
	ssize_t n = readlink("/proc/self/exe", demo.usher, sizeof(demo.usher) - 1);
	if (n < 0) {
		perror("usher: /proc/self/exe");
		return 1;
	}
	demo.usher[n] = '\0';
	if (print) {
		if (access(SSHD, X_OK) == 0)
			strcpy(demo.directory, DIRECTORY);
		return demo_write(stdout) < 0;
	}
	return demo_serve();
}
