/* Cuts configuration text into the few tokens that matter here. It is no parser: it knows strings, comments,
 * numbers, names and brackets, and leaves their meaning to libconfig. Owns no memory. */
#include "scan.h"
#include "numbers.h"
#include <assert.h>
#include <ctype.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum token {
	TOKEN_END,
	TOKEN_STRING,
	TOKEN_NUMBER,
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_COMMA,
	TOKEN_OTHER,
	TOKEN_UNCLOSED_STRING,
	TOKEN_UNCLOSED_COMMENT,
};

struct scan {
	const char *at, *end;
	unsigned line;
	const char *start; /* of the last token */
	unsigned start_line;
};

/* Of bytes, as in the C locale: looked up once or more for each byte of the text. */
enum { CLASS_BLANK = 1, CLASS_DIGIT = 2, CLASS_LETTER = 4, CLASS_NUMBER = 8, CLASS_NAME = 16 };

#define WORDS (CLASS_NUMBER | CLASS_NAME)

static const uint8_t classes[256] = {
	['\t' ... '\r'] = CLASS_BLANK,
	[' '] = CLASS_BLANK,
	['0' ... '9'] = CLASS_DIGIT | WORDS,
	['A' ... 'Z'] = CLASS_LETTER | WORDS,
	['a' ... 'z'] = CLASS_LETTER | WORDS,
	['.'] = CLASS_NUMBER,
	['-'] = CLASS_NAME,
	['_'] = CLASS_NAME,
	['*'] = CLASS_LETTER | CLASS_NAME,
};

static bool is_of(char c, uint8_t class)
{
	return classes[(unsigned char)c] & class;
}

static bool scan_begins(const struct scan *scan, const char *text)
{
	size_t len = strlen(text);
	return (size_t)(scan->end - scan->at) >= len && !memcmp(scan->at, text, len);
}

static void scan_skip_line(struct scan *scan)
{
	const char *end = memchr(scan->at, '\n', (size_t)(scan->end - scan->at));
	scan->at = end ? end : scan->end;
}

static bool scan_skip_comment(struct scan *scan)
{
	scan->start_line = scan->line;
	for (scan->at += 2; scan->at < scan->end && !scan_begins(scan, "*/"); scan->at++)
		scan->line += *scan->at == '\n';
	if (scan->at == scan->end)
		return false;
	scan->at += 2;
	return true;
}

/* Past blanks and comments; false at a comment that has no end. */
static bool scan_skip(struct scan *scan)
{
	for (;;) {
		for (; scan->at < scan->end && is_of(*scan->at, CLASS_BLANK); scan->at++)
			scan->line += *scan->at == '\n';
		if (scan->at == scan->end || (*scan->at != '#' && *scan->at != '/'))
			return true;
		if (*scan->at == '#' || scan_begins(scan, "//"))
			scan_skip_line(scan);
		else if (!scan_begins(scan, "/*"))
			return true;
		else if (!scan_skip_comment(scan))
			return false;
	}
}

static enum token scan_string(struct scan *scan)
{
	const char *at = scan->at + 1;
	enum token token = TOKEN_UNCLOSED_STRING;

	for (; at < scan->end && token != TOKEN_STRING; at++) {
		if (*at == '\\' && at + 1 < scan->end)
			at++;
		else if (*at == '"')
			token = TOKEN_STRING;
		scan->line += *at == '\n';
	}
	scan->at = at;
	return token;
}

static void scan_word(struct scan *scan, uint8_t class)
{
	while (scan->at < scan->end && is_of(*scan->at, class))
		scan->at++;
}

static enum token scan_next(struct scan *scan)
{
	if (!scan_skip(scan))
		return TOKEN_UNCLOSED_COMMENT;
	scan->start = scan->at;
	scan->start_line = scan->line;
	if (scan->at == scan->end)
		return TOKEN_END;

	char c = *scan->at;
	if (c == '"')
		return scan_string(scan);
	if (is_of(c, CLASS_DIGIT)) {
		scan_word(scan, CLASS_NUMBER);
		return TOKEN_NUMBER;
	}
	if (is_of(c, CLASS_LETTER)) {
		scan_word(scan, CLASS_NAME);
		return TOKEN_OTHER;
	}
	scan->at++;
	switch (c) {
	case '(':
	case '[':
	case '{':
		return TOKEN_OPEN;
	case ')':
	case ']':
	case '}':
		return TOKEN_CLOSE;
	case ',':
		return TOKEN_COMMA;
	default:
		return TOKEN_OTHER;
	}
}

static void check_string(const char *file, const struct scan *scan, struct complaints *complaints)
{
	const char *at = memchr(scan->start, '\\', (size_t)(scan->at - scan->start));

	for (; at && at + 3 < scan->at; at++) {
		if (*at != '\\')
			continue;
		if (!memcmp(at, "\\x00", 4)) {
			complaint_add(complaints, COMPLAINT_ERROR, file, scan->start_line,
				"\\x00 in a string, where it would be left out; expected `bytes' with hex "
				"digits instead");
			return;
		}
		at++; /* whatever is escaped begins no escape itself */
	}
}

static void check_number(const char *file, const struct scan *scan, struct complaints *complaints)
{
	size_t len = (size_t)(scan->at - scan->start);

	if (number_is_too_large(scan->start, len))
		complaint_add(complaints, COMPLAINT_ERROR, file, scan->start_line,
			"number `%.*s' is too large, expected at most %d", len > 60 ? 60 : (int)len, scan->start,
			INT_MAX);
}

static unsigned line_of(const char *text, const char *at)
{
	unsigned line = 1;
	for (; text < at; text++)
		line += *text == '\n';
	return line;
}

void scan_values(const char *file, const char *text, size_t len, struct complaints *complaints)
{
	struct scan scan = { .at = text, .end = text + len, .line = 1 };
	const char *nul = memchr(text, 0, len);

	if (nul) {
		complaint_add(complaints, COMPLAINT_ERROR, file, line_of(text, nul), "a NUL byte, expected text");
		return;
	}
	for (enum token token; (token = scan_next(&scan)) != TOKEN_END;) {
		if (token == TOKEN_STRING)
			check_string(file, &scan, complaints);
		else if (token == TOKEN_NUMBER)
			check_number(file, &scan, complaints);
		else if (token == TOKEN_UNCLOSED_STRING)
			return;
		else if (token == TOKEN_UNCLOSED_COMMENT) {
			complaint_add(complaints, COMPLAINT_ERROR, file, scan.start_line,
				"this comment has no closing `*/'");
			return;
		}
	}
}

static void moves_add(struct scan_moves *moves, char *from, char *to)
{
	if ((moves->n & (moves->n - 1)) == 0) { /* full at 0 and every power of two */
		moves->list = reallocarray(moves->list, moves->n ? 2 * moves->n : 1, sizeof(*moves->list));
		if (!moves->list)
			abort();
	}
	moves->list[moves->n++] = (struct scan_move){ from, to };
}

static void swap(char *a, char *b)
{
	char before = *a;
	*a = *b;
	*b = before;
}

/* `end` is just behind a string, `close` at the bracket behind that. */
static void straighten(char *end, char *close, struct scan_moves *moves)
{
	if (!is_of(*end, CLASS_BLANK))
		return; /* a comment begins there, or the bracket stands there already */
	swap(end, close);
	moves_add(moves, close, end);
}

static void number_simplify(const char *text, char *start, size_t len)
{
	if (number_form(start, len) == NUMBER_NONE)
		*start = '?'; /* right for some versions, and an error for others */
	else
		number_strip_zeros(text, start, len);
}

void scan_prepare(char *text, size_t len, struct scan_moves *moves)
{
	struct scan scan = { .at = text, .end = text + len, .line = 1 };
	char *comma = NULL; /* the last token, where it is a comma behind a value */
	char *end = NULL;   /* of the last token, or the one before that comma, where that is a string */

	for (enum token last = TOKEN_OPEN, token; (token = scan_next(&scan)) != TOKEN_END; last = token) {
		if (token == TOKEN_UNCLOSED_STRING || token == TOKEN_UNCLOSED_COMMENT)
			return;
		char *start = text + (scan.start - text);
		assert(start);
		bool closes_list = token == TOKEN_CLOSE && *start != '}';
		if (token == TOKEN_NUMBER)
			number_simplify(text, start, (size_t)(scan.at - scan.start));
		else if (token == TOKEN_COMMA && last == TOKEN_COMMA)
			*start = '?';
		else if (closes_list && comma)
			*comma = ' ';
		if (closes_list && end)
			straighten(end, start, moves);
		comma = token == TOKEN_COMMA && last != TOKEN_OPEN && last != TOKEN_COMMA ? start : NULL;
		if (token == TOKEN_STRING)
			end = text + (scan.at - text);
		else if (!comma)
			end = NULL;
	}
}

void scan_moves_undo(struct scan_moves *moves)
{
	for (size_t i = moves->n; i-- > 0;)
		swap(moves->list[i].from, moves->list[i].to);
	moves->n = 0;
}

void scan_moves_fini(struct scan_moves *moves)
{
	free(moves->list);
	*moves = (struct scan_moves){ 0 };
}

static bool begins_line(const char *text, const char *at)
{
	while (at > text && (at[-1] == ' ' || at[-1] == '\t'))
		at--;
	return at == text || at[-1] == '\n';
}

/* `scan` is behind the `@'. */
static bool scan_include_here(struct scan *scan, struct scan_include *ret)
{
	const char *at = scan->at + strlen("include");

	if (!scan_begins(scan, "include"))
		return false;
	while (at < scan->end && (*at == ' ' || *at == '\t'))
		at++;
	if (at == scan->at + strlen("include") || at == scan->end || *at != '"')
		return false;
	ret->start = scan->start;
	ret->line = scan->start_line;
	ret->path = at + 1;
	scan->at = at;
	if (scan_string(scan) != TOKEN_STRING)
		return false;
	ret->end = scan->at;
	ret->path_end = scan->at - 1;
	return true;
}

bool scan_find_include(const char *text, const char *end, struct scan_include *ret)
{
	struct scan scan = { .at = text, .end = end, .line = ret->line };

	if (!memmem(text, (size_t)(end - text), "@include", strlen("@include")))
		return false;
	for (enum token token; (token = scan_next(&scan)) != TOKEN_END;) {
		if (token == TOKEN_UNCLOSED_STRING || token == TOKEN_UNCLOSED_COMMENT)
			return false;
		if (*scan.start == '@' && begins_line(text, scan.start) && scan_include_here(&scan, ret))
			return true;
	}
	return false;
}

#define DEPTH_MAX 64

struct bracket {
	char open;
	unsigned line;
};

static char bracket_closing(char open)
{
	return open == '(' ? ')' : open == '[' ? ']' : '}';
}

static bool check_closing(
	const char *file, const struct scan *scan, const struct bracket *open, struct complaints *complaints)
{
	char close = *scan->start;
	if (!open)
		complaint_add(complaints, COMPLAINT_ERROR, file, scan->start_line, "`%c' closes nothing", close);
	else if (close != bracket_closing(open->open))
		complaint_add(complaints, COMPLAINT_ERROR, file, scan->start_line,
			"`%c' where `%c' was expected, which closes the `%c' of line %u", close,
			bracket_closing(open->open), open->open, open->line);
	else
		return false;
	return true;
}

/* Something of a list behind something of a list: two strings in a row are one, all else wants a comma
 * between. */
static bool comma_missing(enum token last, enum token token)
{
	bool before = last == TOKEN_STRING || last == TOKEN_NUMBER || last == TOKEN_CLOSE;
	bool after = token == TOKEN_STRING || token == TOKEN_NUMBER || token == TOKEN_OPEN;
	return before && after && !(last == TOKEN_STRING && token == TOKEN_STRING);
}

/* Inside a list or array `open`. */
static bool check_list(const char *file, const struct scan *scan, const struct bracket *open, enum token last,
	enum token token, struct complaints *complaints)
{
	if (comma_missing(last, token))
		complaint_add(complaints, COMPLAINT_ERROR, file, scan->start_line,
			"no comma before `%c', expected one in a list", *scan->start);
	else if (token == TOKEN_OTHER && (*scan->start == ';' || *scan->start == '='))
		complaint_add(complaints, COMPLAINT_ERROR, file, scan->start_line,
			"`%c' inside the `%c' of line %u, expected `,' or `%c'", *scan->start, open->open, open->line,
			bracket_closing(open->open));
	else if (token == TOKEN_COMMA && last == TOKEN_COMMA)
		complaint_add(complaints, COMPLAINT_ERROR, file, scan->start_line,
			"a comma behind a comma, expected one between the elements of a list");
	else
		return false;
	return true;
}

static bool check_string_end(const char *file, const struct scan *scan, enum token token, unsigned error_line,
	struct complaints *complaints)
{
	if (token == TOKEN_UNCLOSED_STRING)
		complaint_add(complaints, COMPLAINT_ERROR, file, scan->start_line, "this string has no closing `\"'");
	else if (token == TOKEN_STRING && scan->start_line < error_line && scan->line == error_line)
		complaint_add(complaints, COMPLAINT_ERROR, file, scan->start_line,
			"this string goes on to line %u, expected its closing `\"' on this one", error_line);
	else
		return false;
	return true;
}

/* The bytes of a quotation mark of print, which word processors put in the place of `"'; 0: there is none. */
static int typographic_mark(const struct scan *scan)
{
	static const char *const marks[] = { "\u2018", "\u2019", "\u201a", "\u201c", "\u201d", "\u201e", "\u00ab",
		"\u00bb" };

	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		if ((size_t)(scan->end - scan->start) >= strlen(marks[i]) &&
			!memcmp(scan->start, marks[i], strlen(marks[i])))
			return (int)strlen(marks[i]);
	return 0;
}

static bool check_word(const char *file, const struct scan *scan, enum token token, unsigned error_line,
	struct complaints *complaints)
{
	size_t len = (size_t)(scan->at - scan->start);
	int mark = token == TOKEN_OTHER ? typographic_mark(scan) : 0;

	if (scan->start_line != error_line)
		return false;
	if (mark)
		complaint_add(complaints, COMPLAINT_ERROR, file, scan->start_line,
			"`%.*s' is a typographic quotation mark, expected `\"'", mark, scan->start);
	else if (token == TOKEN_NUMBER && number_form(scan->start, len) == NUMBER_NONE)
		complaint_add(complaints, COMPLAINT_ERROR, file, scan->start_line,
			"`%.*s' is no number, expected one such as 10 or 1.5, or a string in double quotes",
			len > 60 ? 60 : (int)len, scan->start);
	else
		return false;
	return true;
}

bool scan_structure(
	const char *file, const char *text, size_t len, unsigned error_line, struct complaints *complaints)
{
	struct scan scan = { .at = text, .end = text + len, .line = 1 };
	struct bracket open[DEPTH_MAX], *top = NULL; /* those not closed yet, and the innermost of them */
	size_t depth = 0;

	for (enum token last = TOKEN_OTHER, token; (token = scan_next(&scan)) != TOKEN_END; last = token) {
		if (scan.start_line > error_line || token == TOKEN_UNCLOSED_COMMENT)
			return false;
		if (check_string_end(file, &scan, token, error_line, complaints) ||
			check_word(file, &scan, token, error_line, complaints))
			return true;
		if (token == TOKEN_CLOSE && check_closing(file, &scan, top, complaints))
			return true;
		if (top && top->open != '{' && check_list(file, &scan, top, last, token, complaints))
			return true;
		if (token == TOKEN_OPEN) {
			if (depth == DEPTH_MAX)
				return false;
			open[depth++] = (struct bracket){ *scan.start, scan.start_line };
		} else if (token == TOKEN_CLOSE) {
			depth--;
		}
		top = depth ? &open[depth - 1] : NULL;
	}
	if (top)
		complaint_add(complaints, COMPLAINT_ERROR, file, top->line,
			"this `%c' is never closed, expected `%c'", top->open, bracket_closing(top->open));
	return top != NULL;
}
