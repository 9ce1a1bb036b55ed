/* sslh's configuration, read from its file and its command line: what they say, not yet what it means to usher. For
 * the files sslh*.c only. */
#pragma once
#include "complaint.h"
#include "sslh.h"
#include <stdbool.h>
#include <stddef.h>

#define SSLH_COMMAND_LINE "the command line" /* in place of a file's name */

struct setting;
struct reader;

/* `line` 0: of the command line, or absent. */
struct sslh_text {
	const char *text; /* NULL: absent */
	unsigned line;
};

struct sslh_number {
	bool given;
	long value; /* of true 1, of false 0 */
	unsigned line;
};

struct sslh_listen {
	struct sslh_text host, port;
	struct sslh_number is_udp, is_unix, keepalive, max_connections, proxyprotocol;
	unsigned line;
};

struct sslh_protocol {
	struct sslh_text name, host, port, service;
	struct sslh_number is_udp, is_unix, udp_timeout, fork, tfo_ok, transparent, resolve_on_forward, log_level,
		keepalive, max_connections, minlength, proxyprotocol;
	const struct setting *sni_hostnames, *alpn_protocols, *regex_patterns, *probe; /* NULL: absent */
	unsigned line;
};

enum sslh_class {
	SSLH_CONFIG,
	SSLH_CONFIG_ERROR,
	SSLH_CONNECTIONS,
	SSLH_CONNECTIONS_TRY,
	SSLH_CONNECTIONS_ERROR,
	SSLH_FD,
	SSLH_PACKETS,
	SSLH_PROBE_INFO,
	SSLH_PROBE_ERROR,
	SSLH_SYSTEM_ERROR,
	SSLH_INT_ERROR,
	SSLH_CLASS_COUNT
};

struct sslh_config {
	struct reader *reader; /* NULL: there is no file */
	char *text;            /* of the file, as the reader got it */

	struct sslh_number verbose, classes[SSLH_CLASS_COUNT];
	struct sslh_number foreground, background, inetd, numeric, transparent, timeout, udp_max_connections;
	struct sslh_text user, pidfile, chroot, syslog_facility, logfile, on_timeout, prefix;

	struct sslh_listen *listens;
	size_t n_listens;
	struct sslh_protocol *protocols;
	size_t n_protocols;

	char **owned; /* parts of arguments */
	size_t n_owned;
};

/* Start from a zeroed one. Everything that is wrong becomes a complaint. */
void sslh_file_read(
	struct sslh_config *config, const char *file, const char *text, size_t len, struct complaints *complaints);
/* The command line goes before the file: to be called behind sslh_file_read(). */
void sslh_arguments_apply(
	struct sslh_config *config, const struct sslh_options *options, struct complaints *complaints);
void sslh_config_fini(struct sslh_config *config);

/* A protocol that the command line may name: "ssh", "tls" ... In the order in which usage tells of them. */
extern const char *const sslh_protocol_options[];
extern const size_t sslh_n_protocol_options;

/* `ssl' is an old name of `tls'. */
const char *sslh_probe_name(const char *name);

/* The global key of this name, in the configuration: a text, or a number. NULL: no such, or of the other kind. */
struct sslh_text *sslh_global_text(struct sslh_config *config, const char *key);
struct sslh_number *sslh_global_number(struct sslh_config *config, const char *key);

/* A number as the command line and strings have it: decimal digits, perhaps with a sign. */
bool sslh_number_parse(const char *text, long *ret);
