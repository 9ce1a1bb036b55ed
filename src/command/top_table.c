/* The tables of `usher top'. Refuses to know a terminal, a socket, and what the rows are about. Owns the rows of a table and what their
 * texts are borrowed from. */
#include "top_table.h"
#include "escape.h"
#include "snapshot_text.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLEXIBLE_MIN 21 /* an IPv4 address with its port */

void top_table_fini(struct top_table *table)
{
	json_decref(table->source);
	free(table->rows);
	*table = (struct top_table){ .columns = table->columns, .n_columns = table->n_columns };
}

/* ---- comparing ---- */

static int cells_compare(const struct top_column *column, const struct top_cell *a, const struct top_cell *b)
{
	if (column->kind == TOP_TEXT)
		return strcmp(a->text ? a->text : "", b->text ? b->text : "");
	return (a->number > b->number) - (a->number < b->number);
}

static int keys_compare(const struct top_table *table, const struct top_row *a, const struct top_row *b)
{
	int difference = 0;

	for (size_t i = 0; i < table->n_columns && difference == 0; i++)
		if (table->columns[i].is_key)
			difference = cells_compare(&table->columns[i], &a->cells[i], &b->cells[i]);
	return difference;
}

static int rows_compare_by_key(const void *a, const void *b, void *table)
{
	return keys_compare(table, *(const struct top_row *const *)a, *(const struct top_row *const *)b);
}

struct sorting {
	const struct top_table *table;
	struct top_order order;
};

/* Equal ones stay as they came. */
static int places_compare(const void *a, const void *b, void *context)
{
	const struct sorting *by = context;
	size_t left = *(const size_t *)a, right = *(const size_t *)b;
	unsigned at = by->order.column;
	const struct top_column *column = &by->table->columns[at];

	int difference = cells_compare(column, &by->table->rows[left].cells[at], &by->table->rows[right].cells[at]);
	if (difference == 0)
		return (left > right) - (left < right);
	return (column->kind == TOP_TEXT) != by->order.is_reversed ? difference : -difference;
}

/* ---- rates ---- */

static void row_rates(
	const struct top_table *table, struct top_row *now, const struct top_row *before, uint64_t elapsed_us)
{
	for (size_t i = 0; i < table->n_columns; i++) {
		const struct top_column *column = &table->columns[i];
		if (column->kind != TOP_RATE && column->kind != TOP_BYTE_RATE)
			continue;
		double growth = now->cells[column->of].number - before->cells[column->of].number;
		now->cells[i].number = growth > 0 ? growth * 1e6 / (double)elapsed_us : 0;
	}
}

int top_table_rates(struct top_table *now, const struct top_table *before)
{
	if (before->n_rows == 0 || now->at_us <= before->at_us)
		return 0;
	const struct top_row **sorted = malloc(before->n_rows * sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < before->n_rows; i++)
		sorted[i] = &before->rows[i];
	qsort_r(sorted, before->n_rows, sizeof(*sorted), rows_compare_by_key, now);
	for (size_t i = 0; i < now->n_rows; i++) {
		const struct top_row *row = &now->rows[i];
		size_t from = 0, to = before->n_rows;
		while (from < to) {
			size_t middle = from + (to - from) / 2;
			if (keys_compare(now, sorted[middle], row) < 0)
				from = middle + 1;
			else
				to = middle;
		}
		if (from < before->n_rows && keys_compare(now, sorted[from], row) == 0)
			row_rates(now, &now->rows[i], sorted[from], now->at_us - before->at_us);
	}
	free(sorted);
	return 0;
}

/* ---- what is shown ---- */

static bool row_has(const struct top_table *table, const struct top_row *row, const char *filter)
{
	if (!*filter)
		return true;
	for (size_t i = 0; i < table->n_columns; i++)
		if (table->columns[i].kind == TOP_TEXT && row->cells[i].text &&
			strcasestr(row->cells[i].text, filter))
			return true;
	return false;
}

size_t *top_table_shown(const struct top_table *table, struct top_order order, const char *filter, size_t *ret_n)
{
	size_t *places = malloc((table->n_rows + 1) * sizeof(*places));
	size_t n = 0;

	if (!places)
		return NULL;
	for (size_t i = 0; i < table->n_rows; i++)
		if (row_has(table, &table->rows[i], filter))
			places[n++] = i;
	qsort_r(places, n, sizeof(*places), places_compare, &(struct sorting){ table, order });
	*ret_n = n;
	return places;
}

size_t top_table_find(const struct top_table *table, const struct top_row *row)
{
	for (size_t i = 0; i < table->n_rows; i++)
		if (keys_compare(table, &table->rows[i], row) == 0)
			return i;
	return SIZE_MAX;
}

const char *top_cell_text(const struct top_column *column, const struct top_cell *cell, char ret[TOP_CELL_MAX])
{
	char text[SNAPSHOT_TEXT_MAX];

	switch (column->kind) {
	case TOP_TEXT:
		snprintf(ret, TOP_CELL_MAX, "%s", cell->text ? cell->text : "-");
		for (char *at = ret; *at; at++)
			*at = escape_printable(*at);
		break;
	case TOP_COUNT:
		snprintf(ret, TOP_CELL_MAX, "%.0f", cell->number);
		break;
	case TOP_MS:
		snprintf(ret, TOP_CELL_MAX, "%.1f ms", cell->number);
		break;
	case TOP_RATE:
		snprintf(ret, TOP_CELL_MAX, "%.1f", cell->number);
		break;
	case TOP_SECONDS:
		snprintf(ret, TOP_CELL_MAX, "%s", snapshot_duration_text(cell->number, text));
		break;
	default:
		snprintf(ret, TOP_CELL_MAX, "%s", snapshot_size_text(cell->number, text));
	}
	return ret;
}

/* ---- columns ---- */

/* What is left for the flexible column, below 0: too much is shown. */
static int width_left(const struct top_column *columns, size_t n, unsigned width, unsigned most_rank)
{
	int left = (int)width + 1;

	for (size_t i = 0; i < n; i++)
		if (columns[i].rank <= most_rank)
			left -= (int)columns[i].width + 1;
	return left;
}

void top_columns_fit(const struct top_column *columns, size_t n, unsigned width, unsigned ret[TOP_COLUMNS_MAX])
{
	unsigned rank = 0;

	for (size_t i = 0; i < n; i++)
		rank = columns[i].rank > rank ? columns[i].rank : rank;
	while (rank > 0 && width_left(columns, n, width, rank) < FLEXIBLE_MIN)
		rank--;
	int left = width_left(columns, n, width, rank);
	for (size_t i = 0; i < n; i++)
		ret[i] = columns[i].rank > rank ? 0
			: columns[i].width      ? columns[i].width
			: left > 1              ? (unsigned)left
						: 1;
}
