/* sslh's command line and configuration file, as native text. See usher-sslh(8) for what is accepted. */
#pragma once
#include "native.h"
#include <stdbool.h>

/* One of the command line: a global key or "listen" or a protocol, by the name that the file has for it. */
struct sslh_argument {
	const char *key;   /* with `_', never `-' */
	const char *value; /* "1" for what takes none */
};

struct sslh_options {
	const char *file;                /* -F; NULL: none, everything is on the command line */
	struct sslh_argument *arguments; /* in their order */
	size_t n_arguments;
	bool print;                /* --print, usher's own */
	const char *control;       /* --control, usher's own; NULL: the usual place */
	bool help, version;        /* asked for */
	const char *const *handed; /* addresses of sockets that were handed over at start: instead of all others */
	size_t n_handed;
	/* hosts_access(5) has rules, so that `service' counts; and the program that asks them, NULL where there is none */
	bool has_rules;
	const char *asks_rules;
};

/* 0, or -EBADMSG after a message on stderr. Texts are those of argv, where `_' in names of options becomes `-'. */
int sslh_options_read(struct sslh_options *ret, int argc, char **argv);
void sslh_options_fini(struct sslh_options *options);
void sslh_usage(FILE *to);

/* How it is to run: what the file and the command line say of it, as far as they can be read. */
struct sslh_mode {
	bool foreground, inetd;
};
void sslh_mode_read(struct sslh_mode *ret, const struct sslh_options *options);

/* 0, or with at least one error among the complaints what kind the first one was:
 *   -EBADMSG       the command line, or a file that cannot be read
 *   -EHOSTUNREACH  the name of a host or of a port that nobody knows
 *   -ENOENT        a user that is not there
 *   -EINVAL        any other
 * Warnings may come with either. */
int sslh_translate(struct native *ret, const struct sslh_options *options, struct complaints *complaints);
int sslh_translate_text(struct native *ret, const char *text, size_t len, const struct sslh_options *options,
	struct complaints *complaints);
