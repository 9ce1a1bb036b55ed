/* The terminal of `usher top`: what is drawn on it, and the keys that come from it. */
#pragma once
#include "top_views.h"

enum top_key {
	TOP_KEY_NONE = -1,
	TOP_KEY_UP = 256, /* below: a character */
	TOP_KEY_DOWN,
	TOP_KEY_PAGE_UP,
	TOP_KEY_PAGE_DOWN,
	TOP_KEY_HOME,
	TOP_KEY_END,
	TOP_KEY_BACKSPACE,
	TOP_KEY_RESIZED,
	TOP_KEY_LOST, /* the terminal is gone */
};

/* All that is on the screen. */
struct top_picture {
	const struct top_totals *totals, *before; /* NULL: there are none yet */
	enum top_view view;
	const struct top_table *table;
	const size_t *places; /* of the rows that are shown, n of them */
	size_t n, selected;   /* of `places` */
	struct top_order order;
	const char *filter;
	bool is_paused, is_help;
	const char *message; /* what went wrong or was done; "": nothing */
	const char *prompt;  /* a question, in place of the keys; NULL: none */
};

/* Takes the terminal. 0; -ENOTTY: its type is not known. */
int top_screen_begin(void);
void top_screen_end(void); /* gives it back as it was */
void top_screen_draw(const struct top_picture *picture);
size_t top_screen_rows(void); /* of a table, that fit */
int top_screen_key(void);     /* a character, or enum top_key; never waits */
