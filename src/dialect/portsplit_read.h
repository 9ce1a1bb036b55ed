/* portsplit's configuration file, read: what it says, not yet what it means to usher. */
#pragma once
#include "complaint.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A value and where it stands. `text` is NULL where it is absent; it may hold NUL bytes where it is a
 * string to match. */
struct portsplit_value {
	char *text;
	size_t len;
	unsigned line;
};

struct portsplit_list {
	struct portsplit_value *items;
	size_t count;
};

struct portsplit_section {
	char *name;
	unsigned line;
	struct portsplit_list strings; /* their bytes, escapes done */
	struct portsplit_value connect, exec;
	struct portsplit_list arguments;
	bool pty;
};

struct portsplit_file {
	struct portsplit_list binds;
	struct portsplit_value maxconn, timeout, pid;
	struct portsplit_section *sections; /* in file order */
	size_t n_sections;
};

/* Everything that is wrong becomes a complaint. Start from a zeroed one. */
void portsplit_read(
	struct portsplit_file *ret, const char *file, const char *text, size_t len, struct complaints *complaints);
void portsplit_file_fini(struct portsplit_file *file);
