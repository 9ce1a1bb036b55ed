/* Configuration text, read: typed values with the place where they stand, checked against the tables of keys.
 * The rest of the room sees settings through these functions only, and everything that is wrong becomes a
 * complaint. */
#pragma once
#include "complaint.h"
#include "keys.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct setting; /* one of libconfig's */

struct reader;
struct sources;

/* Parses. Complaints about the text's form are added; NULL with at least one error where there is nothing to
 * go on with. Paths of @include are relative to the folder of `file` where `is_file`, else to the current
 * one. What is included is added to `sources`; NULL: nobody wants to know. */
struct reader *reader_new(const char *file, bool is_file, const char *text, size_t len, struct sources *sources,
	struct complaints *complaints);
void reader_free(struct reader *reader); /* accepts NULL */

const struct setting *reader_root(const struct reader *reader);

/* Complaints with the place of a setting (NULL: the file as a whole). */
void reader_error(struct reader *reader, const struct setting *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void reader_warn(struct reader *reader, const struct setting *at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* With the place in another file that the configuration names. */
void reader_error_in(struct reader *reader, const char *file, unsigned line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* ", did you mean `x'?" for a name that was not found and the nearest one that exists (NULL: none), or "".
 * The text is the reader's until the next call. Few of them a reading: looking for the nearest of many names
 * is slow. */
struct index;
const char *reader_suggest(struct reader *reader, const char *name, const struct index *known);

/* "line 3", or "other.conf:3" where the setting stands in another file than `from`. The text is the reader's
 * until the next call. */
const char *reader_place(struct reader *reader, const struct setting *at, const struct setting *from);
unsigned setting_line(const struct setting *at);

bool setting_is_group(const struct setting *at);
const char *setting_text(const struct setting *at); /* NULL: not a string */

/* One or a list: a scalar or a group counts as a list of itself. */
size_t setting_count(const struct setting *at); /* 0 for NULL */
const struct setting *setting_item(const struct setting *at, size_t i);

/* Of any kind, and a group's members whatever they are called. */
enum setting_kind {
	SETTING_STRING,
	SETTING_WHOLE,
	SETTING_REAL,
	SETTING_BOOL,
	SETTING_OTHER,
};
enum setting_kind setting_kind(const struct setting *at);
int64_t setting_whole(const struct setting *at);
double setting_real(const struct setting *at); /* of a whole number too */
bool setting_bool(const struct setting *at);
const char *setting_name(const struct setting *at);
size_t setting_member_count(const struct setting *group);
const struct setting *setting_member(const struct setting *group, size_t i);
const struct setting *setting_find(const struct setting *group, const char *name); /* NULL: none */

/* One group of settings, sorted by the table of its keys. A value of the wrong type or out of range has been
 * complained about and is NULL, but `given`, so that nobody complains of its absence too. */
struct values {
	const struct setting *group;
	const struct section *section;
	const struct setting *value[SECTION_KEYS_MAX];
	bool given[SECTION_KEYS_MAX];
};

void values_read(
	struct reader *reader, struct values *ret, const struct setting *group, const struct section *section);

const char *values_text(const struct values *values, size_t key); /* NULL: absent */
double values_number(const struct values *values, size_t key);    /* the preset where absent */
unsigned values_choice(const struct values *values, size_t key);  /* the place of the choice in its list */
/* True, false or, of a KEY_SWITCH, a number: `preset` where absent, `yes` for true, 0 for false. */
int values_switch(const struct values *values, size_t key, int preset, int yes);
bool values_mode(const struct values *values, size_t key, unsigned *ret); /* false: absent */
