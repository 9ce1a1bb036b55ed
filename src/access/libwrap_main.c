/* usher-libwrap [-n] SERVICE: an access program that asks hosts.allow and hosts.deny, as servers with libwrap do
 * (hosts_access(5)), about the client that its environment names. Exit status 0: they admit it.
 *
 * Whatever is wrong refuses. Rules may run commands and even become one (hosts_options(5)): they are asked in a
 * child, whose word counts only if it comes back. Names of clients are looked up where a rule asks for them, and
 * not otherwise; with -n never. A name that is not found within 5 seconds is unknown, which is what a name is
 * that nobody knows: no rule names it. So a name server that does not answer shuts out nobody but those who are
 * let in by their name alone. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>
// after the ones above
#include <tcpd.h>

#define NAME_MOST_MS 5000 /* less than access programs have */

/* The library's: what a rule is logged as. */
int allow_severity = LOG_AUTH | LOG_INFO, deny_severity = LOG_AUTH | LOG_WARNING;

/* Of a link-local address with its interface, which hosts_access(5) knows nothing of, the address. */
static bool endpoint_read(struct sockaddr_storage *ret, const char *ip_key, const char *port_key)
{
	const char *given = getenv(ip_key), *port = getenv(port_key);
	char *ip = given ? strndup(given, strcspn(given, "%")) : NULL;
	uint16_t number = htons((uint16_t)(port ? atoi(port) : 0));
	struct sockaddr_in *four = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (ip && inet_pton(AF_INET, ip, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = number;
	} else if (ip && inet_pton(AF_INET6, ip, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = number;
	}
	free(ip);
	return ret->ss_family != AF_UNSPEC;
}

/* The library's look-up, which compares the address of the name that it found, may take as long as name servers
 * make it: it is done in a process that is not waited for longer than that. */
static void name_find(struct host_info *host)
{
	int ends[2];
	ssize_t len = 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		sock_hostname(host);
		_exit(write(ends[1], host->name, strlen(host->name)) < 0);
	}
	close(ends[1]);
	struct pollfd found = { .fd = ends[0], .events = POLLIN };
	if (pid > 0 && poll(&found, 1, NAME_MOST_MS) == 1)
		len = read(ends[0], host->name, sizeof(host->name) - 1);
	else
		syslog(LOG_WARNING, "the name of %s was not found within %d s: to the rules it has none",
			eval_hostaddr(host), NAME_MOST_MS / 1000);
	if (len > 0)
		host->name[len] = '\0';
	else
		strcpy(host->name, STRING_UNKNOWN);
	close(ends[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

static void __attribute__((noreturn)) child_main(const char *service, bool numeric, int answer_fd)
{
	struct sockaddr_storage client, local;
	struct request_info request;

	if (!endpoint_read(&client, "TCPREMOTEIP", "TCPREMOTEPORT"))
		_exit(1);
	bool has_local = endpoint_read(&local, "TCPLOCALIP", "TCPLOCALPORT");
	request_init(&request, RQ_DAEMON, service, RQ_CLIENT_SIN, &client, RQ_SERVER_SIN,
		has_local ? (void *)&local : NULL, 0);
	sock_methods(&request);
	request.hostname = numeric ? NULL : name_find;
	if (hosts_access(&request) && write(answer_fd, "y", 1) == 1)
		_exit(0);
	_exit(1);
}

int main(int argc, char **argv)
{
	int ends[2];
	char answer;

	bool numeric = argc == 3 && strcmp(argv[1], "-n") == 0;
	const char *service = argv[argc - 1];

	if (argc != 2 + numeric || !*service) {
		fputs("usage: usher-libwrap [-n] SERVICE\n", stderr);
		return 2;
	}
	openlog("usher-libwrap", LOG_PID, LOG_AUTH);
	const char *protocol = getenv("PROTO");
	if (protocol && strcmp(protocol, "UNIX") == 0)
		return 0; /* no address that a rule could be about */
	if (pipe2(ends, O_CLOEXEC) < 0)
		return 1;
	pid_t pid = fork();
	if (pid == 0)
		child_main(service, numeric, ends[1]);
	close(ends[1]);
	bool admitted = pid > 0 && read(ends[0], &answer, 1) == 1;
	return admitted ? 0 : 1;
}
