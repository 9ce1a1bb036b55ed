/* sniproxy's configuration file, read: what it says, not yet what it means to usher. */
#pragma once
#include "complaint.h"
#include <stddef.h>

struct sniproxy_value {
	char *text; /* NULL: absent */
	unsigned line;
};

struct sniproxy_log {
	struct sniproxy_value filename, syslog, priority;
	unsigned line; /* 0: there is none */
};

struct sniproxy_listener {
	struct sniproxy_value address, protocol, table, fallback, source, reuseport, v6only, bad_requests;
	struct sniproxy_log log;
};

struct sniproxy_entry {
	struct sniproxy_value pattern, target, option;
};

struct sniproxy_table {
	struct sniproxy_value name; /* "" without one */
	struct sniproxy_entry *entries;
	size_t n_entries;
};

struct sniproxy_file {
	struct sniproxy_value user, group, pidfile, nameserver, search, mode;
	struct sniproxy_log error_log, access_log;
	struct sniproxy_listener *listeners;
	size_t n_listeners;
	struct sniproxy_table *tables;
	size_t n_tables;
};

/* Everything that is wrong becomes a complaint. Start from a zeroed one. */
void sniproxy_read(
	struct sniproxy_file *ret, const char *file, const char *text, size_t len, struct complaints *complaints);
void sniproxy_file_fini(struct sniproxy_file *file);
