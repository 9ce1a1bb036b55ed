/* What the files that write native text from sslh's configuration share. */
#pragma once
#include "sslh_config.h"
#include "writer.h"
#include <errno.h>

/* By what clients come. */
enum sslh_way { SSLH_TCP, SSLH_UDP, SSLH_WAYS };

/* The listeners that were written, each as usher has it. */
struct sslh_written {
	char **texts[SSLH_WAYS];
	size_t n[SSLH_WAYS];
};

struct sslh_translation {
	const struct sslh_config *config;
	const struct sslh_options *options;
	const char *file; /* for complaints */
	bool foreground, inetd;
	bool has[SSLH_WAYS]; /* addresses to listen on; TCP has UNIX sockets too */
	struct sslh_written *written;
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

/* The entries of `protocols' that are served, with complaints about the others. To be freed. */
struct sslh_services;
struct sslh_services *sslh_services_new(const struct sslh_translation *translation);
void sslh_services_free(struct sslh_services *services);

/* The name of the service for datagrams that no entry matches; NULL: none. */
const char *sslh_services_unknown(const struct sslh_services *services);
/* False: no entry takes datagrams. */
bool sslh_services_take_datagrams(const struct sslh_services *services);

/* Behind the listeners, whose addresses are in it. */
void sslh_services_write(struct sslh_services *services);
