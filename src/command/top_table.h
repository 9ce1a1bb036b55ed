/* The tables of `usher top': columns, rows, rates since the table before, order and filter. No terminal and no socket. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOP_COLUMNS_MAX 12
#define TOP_CELL_MAX    64 /* bytes of a cell that is shown */

enum top_kind { TOP_TEXT, TOP_COUNT, TOP_BYTES, TOP_SECONDS, TOP_MS, TOP_RATE, TOP_BYTE_RATE };

struct top_column {
	const char *title;
	enum top_kind kind;
	unsigned width; /* 0: what the others leave */
	unsigned of;    /* of a rate: the column that it is the growth of */
	unsigned rank;  /* where the terminal is narrow, the highest goes first; 0: never */
	bool is_key;    /* tells rows apart, from one table to the next */
};

/* A text (NULL: none) or a number, as its column says. */
struct top_cell {
	const char *text;
	double number;
};

struct top_row {
	struct top_cell cells[TOP_COLUMNS_MAX];
};

/* Texts are borrowed from `source`, which is the table's. */
struct top_table {
	const struct top_column *columns;
	size_t n_columns;
	struct json_t *source;
	uint64_t at_us; /* when it was true, by the monotonic clock */
	struct top_row *rows;
	size_t n_rows;
};

struct top_order {
	unsigned column;
	bool is_reversed; /* texts begin with the last letter, numbers with the smallest */
};

void top_table_fini(struct top_table *table);

/* Fills in the rates of `now`: 0 for a row that `before` has not, and where a number has become smaller. 0 or -ENOMEM. */
int top_table_rates(struct top_table *now, const struct top_table *before);

/* The rows that have `filter` in one of their texts, whatever the case ("": all), in this order: their places in `rows`, to be freed. NULL:
 * no memory. */
size_t *top_table_shown(const struct top_table *table, struct top_order order, const char *filter, size_t *ret_n);

/* The place of the row of `table` that has the key of `row`; SIZE_MAX: there is none. */
size_t top_table_find(const struct top_table *table, const struct top_row *row);

/* As it is shown: printable ASCII. */
const char *top_cell_text(const struct top_column *column, const struct top_cell *cell, char ret[TOP_CELL_MAX]);

/* The columns that fit into `width` characters with a blank between them: their widths, 0: left out. */
void top_columns_fit(const struct top_column *columns, size_t n, unsigned width, unsigned ret[TOP_COLUMNS_MAX]);
