/* tcpmux's configuration file, read: what it says, not yet what it means to usher. */
#pragma once
#include "complaint.h"
#include <stdbool.h>
#include <stddef.h>

/* One entry of a list. Texts are the reader's. */
struct tcpmux_entry {
	const char *name;  /* name, or proto */
	const char *value; /* identifier, file, channel or server; NULL where the list has none */
	const char *para;  /* NULL: absent */
	int priority;
	bool disabled;
	unsigned line;
};

struct tcpmux_list {
	struct tcpmux_entry *items;
	size_t count;
};

struct tcpmux_number {
	bool given;
	int value;
	unsigned line;
};

struct reader;

struct tcpmux_file {
	struct reader *reader;
	const char *bind_addr; /* NULL: absent */
	unsigned bind_addr_line;
	struct tcpmux_number listen_port, log_level;
	struct tcpmux_list identifiers, internals; /* in ascending priority, ties in file order */
	struct tcpmux_list modules, proxies, programs;
};

/* Everything that is wrong becomes a complaint. An entry that tcpmux would pass over without a word is left
 * out with a warning. Start from a zeroed one. */
void tcpmux_read(
	struct tcpmux_file *ret, const char *file, const char *text, size_t len, struct complaints *complaints);
void tcpmux_file_fini(struct tcpmux_file *file);

/* The entry of that name; NULL. */
const struct tcpmux_entry *tcpmux_find(const struct tcpmux_list *list, const char *name);
