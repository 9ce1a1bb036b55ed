/* ban, open, shut: what is said of clients to a running usher. Refuses times and addresses that it would refuse, before it asks. Owns nothing. */
#include "command.h"
#include "control.h"
#include "control_client.h"
#include "control_show.h"
#include "options.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

struct options {
	const char *socket, *file, *from, *time;
	bool json;
	char **words;
	int n_words;
};

static int options_read(struct options *ret, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "for", required_argument, NULL, 't' },
		{ "from", required_argument, NULL, 'f' },
		{ "json", no_argument, NULL, 'j' },
		{ "socket", required_argument, NULL, 's' },
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
		else if (option == 't')
			ret->time = optarg;
		else if (option == 'f')
			ret->from = optarg;
		else
			return -1;
	}
	ret->words = argv + optind;
	ret->n_words = argc - optind;
	return 0;
}

static bool is_source(const char *text)
{
	struct live_source source;

	if (live_source_parse(&source, text) == 0)
		return true;
	fprintf(stderr,
		"usher: `%s': expected an address such as 192.0.2.7 or 2001:db8::7, or a prefix such as "
		"192.0.2.0/24\n",
		text);
	return false;
}

static int ask(const struct options *options, const char *word, const char *request)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];

	if (control_path(options->socket, options->file, path, sizeof(path)) < 0)
		return 2;
	char *answer = control_ask(path, request);
	if (!answer)
		return 1;
	int status = control_show(word, answer, options->json, stdout);
	free(answer);
	return status;
}

int command_ban(int argc, char **argv)
{
	struct options options = { 0 };
	char request[CONTROL_LINE_MAX], time[32] = "";
	uint64_t seconds;

	if (options_read(&options, argc, argv) < 0 || options.n_words != 1 || options.from)
		return command_usage("ban");
	if (!is_source(options.words[0]) ||
		(options.time && option_duration("--for", options.time, CONTROL_SECONDS_MAX, &seconds) < 0))
		return 2;
	if (options.time)
		snprintf(time, sizeof(time), " %llu", (unsigned long long)seconds);
	snprintf(request, sizeof(request), "ban %s%s", options.words[0], time);
	return ask(&options, "ban", request);
}

int command_open(int argc, char **argv)
{
	struct options options = { 0 };
	char request[CONTROL_LINE_MAX];
	uint64_t seconds;

	if (options_read(&options, argc, argv) < 0 || options.n_words != 1 || !options.from || !options.time)
		return command_usage("open");
	if (!is_source(options.from) || option_duration("--for", options.time, CONTROL_SECONDS_MAX, &seconds) < 0)
		return 2;
	snprintf(request, sizeof(request), "open %s %s %llu", options.words[0], options.from,
		(unsigned long long)seconds);
	return ask(&options, "open", request);
}

int command_shut(int argc, char **argv)
{
	struct options options = { 0 };
	char request[CONTROL_LINE_MAX];

	if (options_read(&options, argc, argv) < 0 || options.n_words != 1 || !options.from || options.time)
		return command_usage("shut");
	if (!is_source(options.from))
		return 2;
	snprintf(request, sizeof(request), "shut %s %s", options.words[0], options.from);
	return ask(&options, "shut", request);
}
