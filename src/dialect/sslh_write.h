/* What the files that write native text from sslh's configuration share. */
#pragma once
#include "sslh_config.h"
#include "writer.h"
#include <errno.h>

struct sslh_translation {
	const struct sslh_config *config;
	const struct sslh_options *options;
	const char *file; /* for complaints */
	bool foreground, inetd;
	struct writer *writer;
	struct complaints *complaints;
	int *error; /* of sslh_translate(): what was wrong first; 0: nothing yet */
};

/* A complaint about a line of the file; 0: about the command line. `error` is that of sslh_translate(); 0: a warning. */
void sslh_complain(const struct sslh_translation *translation, int error, unsigned line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
#define sslh_refuse(translation, line, ...) sslh_complain(translation, -EINVAL, line, __VA_ARGS__)
#define sslh_warn(translation, line, ...)   sslh_complain(translation, 0, line, __VA_ARGS__)

/* A port's number, also of a name in services(5). 0: it is none. */
unsigned sslh_port(const char *text);

/* The name or glob as usher has it, to be freed. NULL: no client can send it. */
char *sslh_name(const char *name, bool is_host_name);

void sslh_write_log(const struct sslh_translation *translation);
void sslh_write_services(const struct sslh_translation *translation);
