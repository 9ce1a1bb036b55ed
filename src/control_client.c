/* status, sessions, close, drain, reload, log: ask a running usher, and print what it says for people, or as it came.
 *
 * Refuses to guess where it runs: the socket is named, or that of the configuration, or the usual one. Owns what it was told. */
#include "control_client.h"
#include "command.h"
#include "fd.h"
#include "policy.h"
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
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

static char *read_all(int fd)
{
	char *text = NULL, buffer[65536];
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	for (ssize_t n; to && (n = read(fd, buffer, sizeof(buffer))) > 0;)
		fwrite(buffer, 1, (size_t)n, to);
	if (to)
		fclose(to);
	return text;
}

char *control_ask(const char *path, const char *request)
{
	int fd = connect_to(path);
	char *answer = NULL;

	if (fd < 0)
		return NULL;
	if (dprintf(fd, "%s\n", request) < 0)
		fprintf(stderr, "usher: %s: %s\n", path, strerror(errno));
	else if (!(answer = read_all(fd)) || !*answer)
		fprintf(stderr, "usher: %s: no answer\n", path);
	fd_close(fd);
	if (answer && !*answer) {
		free(answer);
		answer = NULL;
	}
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

/* ---- for people ------------------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "-";
}

static json_int_t whole_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static const char *size_text(json_int_t bytes, char buf[32])
{
	static const char units[] = " KMGTP";
	double size = (double)bytes;
	size_t unit = 0;

	while (size >= 1024 && unit + 2 < sizeof(units)) {
		size /= 1024;
		unit++;
	}
	snprintf(buf, 32, unit ? "%.1f %ciB" : "%.0f B", size, units[unit]);
	return buf;
}

static const char *duration_text(double seconds, char buf[32])
{
	if (seconds < 60)
		snprintf(buf, 32, "%.1f s", seconds);
	else if (seconds < 3600)
		snprintf(buf, 32, "%.0f min", seconds / 60);
	else if (seconds < 86400)
		snprintf(buf, 32, "%.1f h", seconds / 3600);
	else
		snprintf(buf, 32, "%.1f d", seconds / 86400);
	return buf;
}

static void print_counts(const json_t *counts, const char *title)
{
	const char *key;
	json_t *value;
	bool any = false;

	json_object_foreach((json_t *)counts, key, value)
	{
		if (json_integer_value(value) == 0)
			continue;
		printf("%s%s %lld", any ? ", " : title, key, (long long)json_integer_value(value));
		any = true;
	}
	if (any)
		putchar('\n');
}

static void print_status(const json_t *status)
{
	char a[32], b[32];
	size_t i;
	json_t *one;

	printf("usher %s, process %lld, %s for %s, %lld connections\n", text_of(status, "version"),
		(long long)whole_of(status, "pid"), text_of(status, "state"),
		duration_text((double)(time(NULL) - whole_of(status, "since")), a),
		(long long)whole_of(status, "connections"));
	json_array_foreach(json_object_get(status, "generations"), i, one) printf("  %s: %zu workers, %s\n",
		text_of(one, "state"), json_array_size(json_object_get(one, "workers")), text_of(one, "file"));
	printf("\n%-32s %8s %10s %8s\n", "listener", "open", "accepted", "shed");
	json_array_foreach(json_object_get(status, "listeners"), i, one)
		printf("%-32s %8lld %10lld %8lld\n", text_of(one, "address"), (long long)whole_of(one, "open"),
			(long long)whole_of(one, "accepted"), (long long)whole_of(one, "shed"));
	printf("\n%-20s %8s %10s %8s %12s %12s\n", "service", "open", "total", "failed", "up", "down");
	json_array_foreach(json_object_get(status, "services"), i, one)
		printf("%-20s %8lld %10lld %8lld %12s %12s\n", text_of(one, "name"), (long long)whole_of(one, "open"),
			(long long)whole_of(one, "total"), (long long)whole_of(one, "failed"),
			size_text(whole_of(one, "bytes_up"), a), size_text(whole_of(one, "bytes_down"), b));
	putchar('\n');
	print_counts(json_object_get(status, "ended"), "ended:   ");
	print_counts(json_object_get(status, "refused"), "refused: ");
	print_counts(json_object_get(status, "shed"), "shed:    ");
}

static void print_session(const json_t *session)
{
	char age[32], up[32], down[32];

	printf("%-8lld %-24s %-14s %-10s %-12s %8s %10s %10s\n", (long long)whole_of(session, "id"),
		text_of(session, "client"), text_of(session, "service"), text_of(session, "protocol"),
		text_of(session, "phase"), duration_text(json_real_value(json_object_get(session, "age_s")), age),
		size_text(whole_of(session, "bytes_up"), up), size_text(whole_of(session, "bytes_down"), down));
}

/* 1 where it says that something went wrong. */
static int print_line(const char *word, const json_t *line)
{
	const char *error = json_string_value(json_object_get(line, "error"));

	if (error) {
		fprintf(stderr, "usher: %s\n", error);
		return 1;
	}
	if (strcmp(word, "status") == 0)
		print_status(line);
	else if (strcmp(word, "sessions") == 0)
		print_session(line);
	else
		printf("%s\n", text_of(line, "done"));
	return 0;
}

static int print_answer(const char *word, char *answer, bool json)
{
	int status = 0;

	if (!json && strcmp(word, "sessions") == 0 && *answer == '{')
		printf("%-8s %-24s %-14s %-10s %-12s %8s %10s %10s\n", "id", "client", "service", "protocol", "phase",
			"age", "up", "down");
	for (char *line = strtok(answer, "\n"); line; line = strtok(NULL, "\n")) {
		json_t *value = json_loads(line, 0, NULL);
		if (json) {
			puts(line);
			status |= json_object_get(value, "error") != NULL;
		} else if (value) {
			status |= print_line(word, value);
		}
		json_decref(value);
	}
	return status;
}

/* ---- commands ------------------------------------------------------------------------------------------------------------ */

static int usage(const char *word, const char *argument)
{
	fprintf(stderr, "usage: usher %s [-s SOCKET | -c FILE] [--json]%s%s\n", word, argument ? " " : "",
		argument ? argument : "");
	return 2;
}

static int options_read(struct options *ret, int argc, char **argv, bool wants_argument)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' }, { NULL } };
	int option;

	while ((option = getopt_long(argc, argv, "s:c:j", longs, NULL)) != -1) {
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

static int command_ask(const char *word, int argc, char **argv, const char *argument)
{
	struct options options = { 0 };
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)], request[512];

	if (options_read(&options, argc, argv, argument != NULL) < 0)
		return usage(word, argument);
	if (control_path(options.socket, options.file, path, sizeof(path)) < 0)
		return 2;
	snprintf(request, sizeof(request), "%s%s%s", word, options.argument ? " " : "",
		options.argument ? options.argument : "");
	char *answer = control_ask(path, request);
	if (!answer)
		return 1;
	int status = print_answer(word, answer, options.json);
	free(answer);
	return status;
}

int command_status(int argc, char **argv)
{
	return command_ask("status", argc, argv, NULL);
}

int command_sessions(int argc, char **argv)
{
	return command_ask("sessions", argc, argv, NULL);
}

int command_reload(int argc, char **argv)
{
	return command_ask("reload", argc, argv, NULL);
}

int command_drain(int argc, char **argv)
{
	return command_ask("drain", argc, argv, NULL);
}

int command_close(int argc, char **argv)
{
	return command_ask("close", argc, argv, "ID");
}

int command_log(int argc, char **argv)
{
	return command_ask("log", argc, argv, "LEVEL");
}
