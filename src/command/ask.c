/* The commands that are one question to a running usher and its answer: status, sessions, backends, backend, bans, unban, close, reload, upgrade,
 * log, reopen; and status asked again and again. */
#include "command.h"
#include "control_client.h"
#include "options.h"
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WATCH_PRESET_S 2.0

struct options {
	struct control_options control;
	double watch_s; /* 0: once */
	char **words;   /* behind the command's own */
	int n_words;
};

/* `watch`: may be asked again and again. */
static int options_read(struct options *ret, int argc, char **argv, bool may_watch)
{
	static const struct option longs[] = { CONTROL_LONG_OPTIONS, { "watch", optional_argument, NULL, 'w' },
		{ NULL } };
	int option;

	while ((option = getopt_long(argc, argv, CONTROL_SHORT_OPTIONS, longs, NULL)) != -1) {
		if (control_option(&ret->control, option, optarg))
			continue;
		if (option != 'w' || !may_watch)
			return -EINVAL;
		if ((ret->watch_s = optarg ? option_seconds("--watch", optarg) : WATCH_PRESET_S) == 0)
			return -ERANGE;
	}
	ret->words = argv + optind;
	ret->n_words = argc - optind;
	return 0;
}

/* What a terminal shows is replaced in one piece, once the new answer is there. */
static int ask_and_replace(const char *path, const struct options *options)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	if (!to) {
		fputs("usher: out of memory\n", stderr);
		return 1;
	}
	bool is_terminal = isatty(STDOUT_FILENO);
	fputs(is_terminal ? "\033[H\033[2J" : "", to); /* ECMA-48 8.3: home, all erased */
	int status = control_ask_at(path, "status", "status", options->control.json, to);
	fputs(is_terminal || options->control.json ? "" : "\n", to);
	fclose(to);
	if (status == 0 && (fwrite(text, 1, len, stdout) < len || fflush(stdout) != 0))
		status = 1;
	free(text);
	return status;
}

static int watch(const struct options *options)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const struct timespec pause = { .tv_sec = (time_t)options->watch_s,
		.tv_nsec = (long)((options->watch_s - (double)(time_t)options->watch_s) * 1e9) };

	if (control_path(options->control.socket, options->control.file, path, sizeof(path)) < 0)
		return 2;
	for (;;) {
		int status = ask_and_replace(path, options);
		if (status != 0)
			return status;
		nanosleep(&pause, NULL);
	}
}

/* With no fewer and no more words than the request has. */
static int command_ask_or_watch(const char *word, int argc, char **argv, int least, int most, bool may_watch)
{
	struct options options = { 0 };
	char request[1024];

	int r = options_read(&options, argc, argv, may_watch);
	if (r == 0 && (options.n_words < least || options.n_words > most))
		r = -EINVAL;
	if (r < 0)
		return r == -ERANGE ? 2 : command_usage(word);
	if (options.watch_s > 0)
		return watch(&options);
	size_t len = (size_t)snprintf(request, sizeof(request), "%s", word);
	for (int i = 0; i < options.n_words && len < sizeof(request); i++)
		len += (size_t)snprintf(request + len, sizeof(request) - len, " %s", options.words[i]);
	return control_ask_and_show(&options.control, word, request);
}

static int command_ask(const char *word, int argc, char **argv, int least, int most)
{
	return command_ask_or_watch(word, argc, argv, least, most, false);
}

int command_status(int argc, char **argv)
{
	return command_ask_or_watch("status", argc, argv, 0, 0, true);
}

int command_sessions(int argc, char **argv)
{
	return command_ask("sessions", argc, argv, 0, 0);
}

int command_backends(int argc, char **argv)
{
	return command_ask("backends", argc, argv, 0, 0);
}

int command_backend(int argc, char **argv)
{
	return command_ask("backend", argc, argv, 3, 4);
}

int command_bans(int argc, char **argv)
{
	return command_ask("bans", argc, argv, 0, 0);
}

int command_unban(int argc, char **argv)
{
	return command_ask("unban", argc, argv, 1, 1);
}

int command_reload(int argc, char **argv)
{
	return command_ask("reload", argc, argv, 0, 0);
}

int command_upgrade(int argc, char **argv)
{
	return command_ask("upgrade", argc, argv, 0, 0);
}

int command_close(int argc, char **argv)
{
	return command_ask("close", argc, argv, 1, 1);
}

int command_reopen(int argc, char **argv)
{
	return command_ask("reopen", argc, argv, 0, 0);
}

int command_log(int argc, char **argv)
{
	return command_ask("log", argc, argv, 1, 1);
}
