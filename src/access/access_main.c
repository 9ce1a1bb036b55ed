/* usher-access: stands before a server on one connection, asks a policy, and becomes the server or ends the connection. A program
 * of its own that knows nothing of usher, run by usher, tcpmux, inetd or by hand.
 *
 * Whatever is wrong refuses: a policy with an error in it, a state file that cannot be used, a descriptor 0 that is no
 * connection. It reads nothing that the client sent, unless to throw it away. */
#include "access_policy.h"
#include "access_rates.h"
#include "executable.h"
#include "paths.h"
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define THROWN_AWAY (256 * 1024)
#define USAGE                                                                                                        \
	"usage: usher-access [-e] [-c POLICY] PROTOCOL PROGRAM [ARGUMENT ...]\n"                                     \
	"       usher-access -t [-c POLICY]\n"

struct options {
	const char *policy;
	bool errors_too; /* -e: to standard error as well */
	bool test;
	const char *protocol;
	char **program;
};

static void say(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool say_on_stderr;

static void say(int level, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	syslog(level, "%s", text);
	if (say_on_stderr)
		fprintf(stderr, "usher-access: %s\n", text);
}

static void say_complaints(const struct complaints *complaints)
{
	for (size_t i = 0; i < complaints->count; i++) {
		const struct complaint *complaint = &complaints->list[i];
		say(LOG_ERR, "%s:%u: %s", complaint->file ? complaint->file : "policy", complaint->line,
			complaint->text);
	}
}

/* ---- judging ---- */

static uint64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* NULL: admitted; else the rule that refuses. */
static const char *judge(const struct options *options, const struct access_policy *policy,
	const struct access_rule *rule, const struct address *client)
{
	if (!rule)
		return "protocol";
	const struct access *access = &rule->access;
	const char *refused = access_judge(access, client, false, time(NULL));
	uint64_t source = access_source(client);
	if (refused || !access->rate.burst || !source)
		return refused;
	int taken = access_rates_take(policy->state, &access->rate, options->protocol, source, now_us());
	if (taken < 0)
		say(LOG_ERR, "%s: %s", policy->state, strerror(-taken));
	return taken == 1 ? NULL : "rate";
}

/* ---- the end of a connection ---- */

/* Bytes that nobody has read would turn a close into a reset. */
static void connection_close(bool reset)
{
	char buffer[4096];
	size_t left = THROWN_AWAY;
	ssize_t n;

	if (reset) {
		setsockopt(0, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
		return; /* the last one who holds it resets it */
	}
	shutdown(0, SHUT_WR);
	while (left > 0 && (n = recv(0, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0)
		left -= left < (size_t)n ? left : (size_t)n;
}

/* ---- the server ---- */

/* Some servers start themselves again by argv[0], and need all of its path. */
static int program_become(const struct options *options)
{
	char path[PATH_MAX];

	int r = executable_find(options->program[0], path, sizeof(path));
	if (r == 0) {
		options->program[0] = path;
		execv(path, options->program);
		r = -errno;
	}
	say(LOG_ERR, "%s: %s", options->program[0], strerror(-r));
	connection_close(false);
	return 127;
}

/* Behind a proxy's header the connection's peer is the proxy; usher says who the client is. Without usher nobody does whom we could
 * believe. */
static void client_as_told(struct address *client)
{
	const char *host = getenv("USHER_SERVICE") ? getenv("TCPREMOTEIP") : NULL;
	const char *port = getenv("TCPREMOTEPORT");
	struct address told;
	char text[ADDRESS_TEXT_MAX];

	if (!host)
		return;
	snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port ? port : "0");
	if (address_parse(&told, text) == 0)
		*client = told;
}

/* ---- main ---- */

static int serve(const struct options *options)
{
	struct address client = { .len = sizeof(client.un) };
	struct complaints complaints = { 0 };
	struct access_policy *policy = NULL;
	const struct access_rule *rule = NULL;
	char host[ADDRESS_TEXT_MAX];

	if (getpeername(0, &client.sa, &client.len) < 0) {
		say(LOG_ERR, "descriptor 0 is no connection: %s", strerror(errno));
		return 1;
	}
	client_as_told(&client);
	const char *refused = "policy";
	if (access_policy_load(&policy, options->policy, &complaints) == 0) {
		rule = access_policy_find(policy, options->protocol);
		refused = judge(options, policy, rule, &client);
	}
	say_complaints(&complaints);
	complaints_fini(&complaints);
	if (refused) {
		say(LOG_NOTICE, "refused protocol=%s client=%s rule=%s", options->protocol,
			address_format(&client, host), refused);
		connection_close(rule && rule->access.reset);
	}
	access_policy_free(policy);
	return refused ? 1 : program_become(options);
}

static int test(const struct options *options)
{
	struct complaints complaints = { 0 };
	struct access_policy *policy = NULL;
	int error = access_policy_load(&policy, options->policy, &complaints);

	complaints_print(&complaints, stderr);
	complaints_fini(&complaints);
	access_policy_free(policy);
	return error < 0 ? 2 : 0;
}

static bool options_read(struct options *ret, int argc, char **argv)
{
	int option;

	*ret = (struct options){ .policy = path_access_policy };
	while ((option = getopt(argc, argv, "+c:et")) != -1) {
		if (option == 'c')
			ret->policy = optarg;
		else if (option == 'e')
			ret->errors_too = true;
		else if (option == 't')
			ret->test = true;
		else
			return false;
	}
	if (ret->test)
		return optind == argc;
	if (argc - optind < 2)
		return false;
	ret->protocol = argv[optind];
	ret->program = argv + optind + 1;
	return true;
}

int main(int argc, char **argv)
{
	struct options options;

	opterr = 0; /* descriptor 2 may be the client */
	if (!options_read(&options, argc, argv)) {
		openlog("usher-access", LOG_PID, LOG_AUTH);
		syslog(LOG_ERR, "wrong arguments, expected [-e] [-c POLICY] PROTOCOL PROGRAM [ARGUMENT ...]");
		if (isatty(2))
			fputs(USAGE, stderr);
		return 2;
	}
	if (options.test)
		return test(&options);
	say_on_stderr = options.errors_too;
	openlog("usher-access", LOG_PID, LOG_AUTH);
	return serve(&options);
}
