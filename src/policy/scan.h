/* A look at configuration text beside libconfig's: for what a version of libconfig takes in silently and wrong, or not as another
 * version does, and for a better word than "syntax error". */
#pragma once
#include "complaint.h"
#include <stdbool.h>
#include <stddef.h>

/* Complains of what libconfig would change without a word: \x00 in a string (left out), a NUL byte and a
 * comment without an end (all that follows left out), a whole number that is too large (cut). */
void scan_values(const char *file, const char *text, size_t len, struct complaints *complaints);

/* Where brackets were moved; the list starts from a zeroed one. */
struct scan_move {
	char *from, *to;
};

struct scan_moves {
	struct scan_move *list;
	size_t n;
};

/* What is different from version to version of libconfig becomes what all read alike: leading zeros of whole numbers become
 * blanks, and so does a comma behind the last element of a list; what some versions only take, 0o660 or two commas in a row, becomes an error
 * for all.
 *
 * libconfig notes the line of a string in a list when it has seen what follows the string. Moves the bracket
 * that closes a list right behind its last string, so that the line of that one is right; what follows the
 * bracket stays where it is. */
void scan_prepare(char *text, size_t len, struct scan_moves *moves);

/* Moves the brackets back, for the line of an error. */
void scan_moves_undo(struct scan_moves *moves);
void scan_moves_fini(struct scan_moves *moves);

/* For text that libconfig refused at `error_line`: complains of the string, comma or bracket up to there that
 * is the reason. False where none is: somebody else must find words. */
bool scan_structure(
	const char *file, const char *text, size_t len, unsigned error_line, struct complaints *complaints);

/* An `@include "path"` at the beginning of a line. */
struct scan_include {
	const char *start, *end;     /* of the directive, quotation marks included */
	const char *path, *path_end; /* as written: `\"' and `\\' are escapes */
	unsigned line;               /* in: of the text's beginning. out: of the directive, which ends on it */
};

/* The first one of the text; false where there is none. What begins inside a line is searched as if a line began there. */
bool scan_find_include(const char *text, const char *end, struct scan_include *ret);
