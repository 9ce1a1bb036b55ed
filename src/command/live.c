/* ban, open, shut: what is said of clients to a running usher. Refuses times and addresses that it would refuse, before it asks. Owns nothing. */
#include "command.h"
#include "control.h"
#include "control_client.h"
#include "options.h"
#include <getopt.h>
#include <stdio.h>

struct options {
	struct control_options control;
	const char *from, *time;
	char **words;
	int n_words;
};

static int options_read(struct options *ret, int argc, char **argv)
{
	static const struct option longs[] = { CONTROL_LONG_OPTIONS, { "for", required_argument, NULL, 't' },
		{ "from", required_argument, NULL, 'f' }, { NULL } };
	int option;

	while ((option = getopt_long(argc, argv, CONTROL_SHORT_OPTIONS, longs, NULL)) != -1) {
		if (control_option(&ret->control, option, optarg))
			continue;
		if (option == 't')
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
	return control_ask_and_show(&options.control, "ban", request);
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
	return control_ask_and_show(&options.control, "open", request);
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
	return control_ask_and_show(&options.control, "shut", request);
}
