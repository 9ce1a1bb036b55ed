/* usher drain: has the running usher accept no more, and with --wait stays until it has ended. On a terminal one line says how many connections
 * are left; elsewhere nothing is said until the end. Refuses to end usher by itself. Owns what it was told. */
#include "command.h"
#include "control_client.h"
#include <getopt.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const struct timespec pause_between = { .tv_nsec = 200000000 };

/* False: it has ended, or another one is there that does not end. */
static bool is_ending(const char *path, uint64_t *ret_connections)
{
	char *answer = NULL;

	if (control_ask_once(path, "status", &answer) < 0)
		return false;
	json_t *status = json_loads(answer, 0, NULL);
	const char *state = json_string_value(json_object_get(status, "state"));
	bool is = !status || (state && strcmp(state, "ending") == 0); /* an answer that is cut: asked again */
	if (status)
		*ret_connections = (uint64_t)json_integer_value(json_object_get(status, "connections"));
	json_decref(status);
	free(answer);
	return is;
}

static void wait_for_end(const char *path)
{
	bool is_terminal = isatty(STDERR_FILENO);
	uint64_t connections = 0;

	while (is_ending(path, &connections)) {
		if (is_terminal) /* ECMA-48 8.3.41: the rest of the line is erased */
			fprintf(stderr, "\rwaiting for %lu connections\033[K", (unsigned long)connections);
		nanosleep(&pause_between, NULL);
	}
	if (is_terminal)
		fputs("\r\033[K", stderr);
}

int command_drain(int argc, char **argv)
{
	static const struct option longs[] = { CONTROL_LONG_OPTIONS, { "wait", no_argument, NULL, 'w' }, { NULL } };
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct control_options options = { 0 };
	bool waits = false;
	int option;

	while ((option = getopt_long(argc, argv, CONTROL_SHORT_OPTIONS, longs, NULL)) != -1) {
		if (control_option(&options, option, optarg))
			continue;
		if (option != 'w')
			return command_usage("drain");
		waits = true;
	}
	if (optind != argc)
		return command_usage("drain");
	if (control_path(options.socket, options.file, path, sizeof(path)) < 0)
		return 2;
	int status = control_ask_at(path, "drain", "drain", options.json, stdout);
	fflush(stdout);
	if (status == 0 && waits)
		wait_for_end(path);
	return status;
}
