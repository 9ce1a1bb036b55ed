/* tcpmux's command line and configuration file, as native text. See usher-tcpmux(8) for what is accepted. */
#pragma once
#include "native.h"
#include <stdbool.h>
#include <stdint.h>

struct tcpmux_options {
	const char *file;    /* -c; NULL: the first of the default places where there is one */
	const char *address; /* -b; NULL: as the file says */
	uint16_t port;       /* -p; 0: as the file says */
	int log_level;       /* -l; -1: as the file says */
	bool daemon, inetd;  /* -d, -i */
	bool print;          /* --print, usher's own */
	const char *control; /* --control, usher's own; NULL: the usual place */
	bool help;           /* -h */
};

/* 0, or -EINVAL after a message on stderr. Texts are those of argv. */
int tcpmux_options_read(struct tcpmux_options *ret, int argc, char **argv);
void tcpmux_usage(FILE *to);

/* The file that is read: NULL where none is named and there is none in the default places. */
const char *tcpmux_file(const struct tcpmux_options *options);
extern const char tcpmux_places[]; /* those places, for people */

/* 0, or -EINVAL with at least one error among the complaints; warnings may come with either. */
int tcpmux_translate(
	struct native *ret, const char *file, const struct tcpmux_options *options, struct complaints *complaints);
int tcpmux_translate_text(struct native *ret, const char *file, const char *text, size_t len,
	const struct tcpmux_options *options, struct complaints *complaints);
