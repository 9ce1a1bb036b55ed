/* usher-libwrap SERVICE: an access program that asks hosts.allow and hosts.deny, as servers with libwrap do
 * (hosts_access(5)), about the client that its environment names. Exit status 0: they admit it.
 *
 * Whatever is wrong refuses. Rules may run commands and even become one (hosts_options(5)): they are asked in a
 * child, whose word counts only if it comes back. Names of clients are looked up where a rule asks for them, and
 * not otherwise. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>
// after the ones above
#include <tcpd.h>

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

static void __attribute__((noreturn)) child_main(const char *service, int answer_fd)
{
	struct sockaddr_storage client, local;
	struct request_info request;

	if (!endpoint_read(&client, "TCPREMOTEIP", "TCPREMOTEPORT"))
		_exit(1);
	bool has_local = endpoint_read(&local, "TCPLOCALIP", "TCPLOCALPORT");
	request_init(&request, RQ_DAEMON, service, RQ_CLIENT_SIN, &client, RQ_SERVER_SIN,
		has_local ? (void *)&local : NULL, 0);
	sock_methods(&request);
	if (hosts_access(&request) && write(answer_fd, "y", 1) == 1)
		_exit(0);
	_exit(1);
}

int main(int argc, char **argv)
{
	int ends[2];
	char answer;

	if (argc != 2 || !*argv[1]) {
		fputs("usage: usher-libwrap SERVICE\n", stderr);
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
		child_main(argv[1], ends[1]);
	close(ends[1]);
	bool admitted = pid > 0 && read(ends[0], &answer, 1) == 1;
	return admitted ? 0 : 1;
}
