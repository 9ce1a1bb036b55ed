/* The terminal of `usher top', by ncurses. It writes printable ASCII alone. Refuses to know a socket and what a key does. The terminal is its
 * own between begin and end; ncurses gives it back where SIGINT or SIGTERM ends the process. */
#include "top_screen.h"
#include "escape.h"
#include "snapshot_text.h"
#include <curses.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define HEAD_LINES 6 /* totals, the views, the columns' titles */
#define FOOT_LINES 1

static const char keys_text[] = "q quit  TAB view  s sort  r reverse  / filter  p pause  c close  d drain  ? help";

static const char *const help_lines[] = {
	"TAB, 1, 2, 3  the next view; services; backends; sessions",
	"up, down, page up, page down, home, end",
	"              select a row",
	"s, S          sort by the next column, by the one before",
	"r             reverse the order",
	"/             show rows that have a text: ENTER keeps it, ESC ends it",
	"p             pause: nothing is asked until p is pressed again",
	"c             close the selected session, after a question",
	"d, u          drain the selected backend, or take it up again, after a",
	"              question",
	"?             this text",
	"q             quit",
	"",
	"NEW/s, UP/s and DOWN/s are since the line before. UP is from clients",
	"to servers, DOWN the other way.",
};

int top_screen_begin(void)
{
	SCREEN *screen = newterm(NULL, stdout, stdin);

	if (!screen)
		return -ENOTTY;
	set_term(screen);
	set_escdelay(25);
	cbreak();
	noecho();
	nonl();
	curs_set(0);
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	return 0;
}

void top_screen_end(void)
{
	endwin();
}

size_t top_screen_rows(void)
{
	return LINES > HEAD_LINES + FOOT_LINES ? (size_t)(LINES - HEAD_LINES - FOOT_LINES) : 1;
}

int top_screen_key(void)
{
	int key = getch();

	switch (key) {
	case ERR:
		return TOP_KEY_NONE;
	case KEY_UP:
		return TOP_KEY_UP;
	case KEY_DOWN:
		return TOP_KEY_DOWN;
	case KEY_PPAGE:
		return TOP_KEY_PAGE_UP;
	case KEY_NPAGE:
		return TOP_KEY_PAGE_DOWN;
	case KEY_HOME:
		return TOP_KEY_HOME;
	case KEY_END:
		return TOP_KEY_END;
	case KEY_BACKSPACE:
	case 127:
	case '\b':
		return TOP_KEY_BACKSPACE;
	case KEY_RESIZE:
		return TOP_KEY_RESIZED;
	case KEY_ENTER:
		return '\r';
	default:
		return key < 256 ? key : 0;
	}
}

/* ---- drawing ---- */

/* A line in full, cut where the terminal ends. */
static void put_line(int y, int attributes, const char *text)
{
	char line[512];
	size_t width = (size_t)COLS < sizeof(line) - 1 ? (size_t)COLS : sizeof(line) - 1;
	size_t len = 0;

	if (y >= LINES)
		return;
	for (; text[len] && len < width; len++)
		line[len] = escape_printable(text[len]);
	memset(line + len, ' ', width - len);
	attrset(attributes);
	mvaddnstr(y, 0, line, (int)width);
	attrset(A_NORMAL);
}

static double rate_of(const struct top_picture *picture, double now, double before)
{
	uint64_t elapsed_us = picture->before ? picture->totals->at_us - picture->before->at_us : 0;
	return elapsed_us && now > before ? (now - before) * 1e6 / (double)elapsed_us : 0;
}

static void draw_totals(const struct top_picture *picture)
{
	const struct top_totals *now = picture->totals;
	const struct top_totals none = { 0 }, *before = picture->before ? picture->before : &none;
	char line[768], up[SNAPSHOT_TEXT_MAX], down[SNAPSHOT_TEXT_MAX], age[SNAPSHOT_TEXT_MAX];

	if (!now) {
		put_line(0, A_BOLD, "usher");
		return;
	}
	snapshot_duration_text((double)time(NULL) - (double)now->since, age);
	snprintf(line, sizeof(line), "usher %s, %s, up for %s%s%s, %s", now->version, now->state, age,
		now->ending_since ? ", ending" : "", now->reloading_since ? ", reloading" : "", now->file);
	put_line(0, A_BOLD, line);
	snprintf(line, sizeof(line), "connections %.0f, undecided %.0f, programs %.0f, workers %.0f",
		now->connections, now->undecided, now->programs, now->workers);
	put_line(1, A_NORMAL, line);
	snapshot_size_text(rate_of(picture, now->bytes_up, before->bytes_up), up);
	snapshot_size_text(rate_of(picture, now->bytes_down, before->bytes_down), down);
	snprintf(line, sizeof(line), "accepted %.1f/s, ended %.1f/s, up %s/s, down %s/s",
		rate_of(picture, now->accepted, before->accepted), rate_of(picture, now->ended, before->ended), up,
		down);
	put_line(2, A_NORMAL, line);
	snprintf(line, sizeof(line), "failed %.0f, refused %.0f, shed %.0f, lost %.0f", now->failed, now->refused,
		now->shed, now->lost);
	put_line(3, A_NORMAL, line);
}

static void draw_views(const struct top_picture *picture)
{
	char line[512];
	size_t len = 0;

	for (int view = 0; view < TOP_VIEWS; view++)
		len += (size_t)snprintf(line + len, sizeof(line) - len,
			view == (int)picture->view ? "[%d %s] " : " %d %s  ", view + 1, top_view_kinds[view].title);
	len += (size_t)snprintf(line + len, sizeof(line) - len, " %zu of %zu", picture->n, picture->table->n_rows);
	if (*picture->filter)
		len += (size_t)snprintf(line + len, sizeof(line) - len, "  filter: %.60s", picture->filter);
	if (picture->is_paused)
		snprintf(line + len, sizeof(line) - len, "  PAUSED");
	put_line(4, A_NORMAL, line);
}

/* Texts to the left, numbers to the right. */
static size_t put_cell(char *line, size_t size, const char *text, unsigned width, bool is_text)
{
	int n = snprintf(line, size, is_text ? "%-*.*s " : "%*.*s ", (int)width, (int)width, text);
	return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

static void draw_table(const struct top_picture *picture)
{
	const struct top_column *columns = top_view_kinds[picture->view].columns;
	size_t n_columns = top_view_kinds[picture->view].n_columns, rows = top_screen_rows();
	size_t first = picture->selected < rows ? 0 : picture->selected - rows + 1;
	unsigned widths[TOP_COLUMNS_MAX];
	char line[512], title[32], text[TOP_CELL_MAX];
	size_t len = 0;

	top_columns_fit(columns, n_columns, (unsigned)COLS, widths);
	for (size_t i = 0; i < n_columns; i++) {
		bool is_sorted = picture->order.column == i;
		snprintf(title, sizeof(title), "%s%s", columns[i].title,
			!is_sorted                           ? ""
				: picture->order.is_reversed ? "^"
							     : "*");
		if (widths[i])
			len += put_cell(
				line + len, sizeof(line) - len, title, widths[i], columns[i].kind == TOP_TEXT);
	}
	line[len] = '\0';
	put_line(5, A_REVERSE, line);
	for (size_t i = first; i < picture->n && i - first < rows; i++) {
		const struct top_row *row = &picture->table->rows[picture->places[i]];
		len = 0;
		for (size_t j = 0; j < n_columns; j++)
			if (widths[j])
				len += put_cell(line + len, sizeof(line) - len,
					top_cell_text(&columns[j], &row->cells[j], text), widths[j],
					columns[j].kind == TOP_TEXT);
		line[len] = '\0';
		put_line(HEAD_LINES + (int)(i - first), i == picture->selected ? A_STANDOUT : A_NORMAL, line);
	}
}

void top_screen_draw(const struct top_picture *picture)
{
	erase();
	draw_totals(picture);
	draw_views(picture);
	if (picture->is_help)
		for (size_t i = 0; i < sizeof(help_lines) / sizeof(help_lines[0]); i++)
			put_line(HEAD_LINES + (int)i, A_NORMAL, help_lines[i]);
	else
		draw_table(picture);
	if (picture->prompt || *picture->message)
		put_line(LINES - FOOT_LINES, A_BOLD, picture->prompt ? picture->prompt : picture->message);
	else
		put_line(LINES - FOOT_LINES, A_DIM, picture->is_help ? "any key: back" : keys_text);
	refresh();
}
