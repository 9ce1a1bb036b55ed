/* What `usher top' shows: its views, and the line of totals above them, made of answers of the control socket. */
#pragma once
#include "top_table.h"

#define TOP_MESSAGE_MAX 256

enum top_view { TOP_SERVICES, TOP_BACKENDS, TOP_SESSIONS, TOP_VIEWS };

struct top_view_kind {
	const char *title;
	const struct top_column *columns;
	size_t n_columns;
	struct top_order order; /* at the beginning */
};

extern const struct top_view_kind top_view_kinds[TOP_VIEWS];

/* Totals of all, and what they have become by each second since those before. */
struct top_totals {
	char version[32], state[32], file[256];
	int64_t since, ending_since, reloading_since; /* seconds of the wall clock; of the last two 0: it is not */
	uint64_t at_us;
	double connections, undecided, programs, workers;
	double accepted, ended, failed, refused, shed, lost, bytes_up, bytes_down;
};

/* `status` is taken over, also where it fails. 0 or -ENOMEM. */
int top_services_read(struct top_table *ret, struct top_totals *ret_totals, struct json_t *status, uint64_t at_us);
/* Of the same answer. */
int top_backends_read(struct top_table *ret, struct json_t *status, uint64_t at_us);
/* What a row is called in an order to usher: its service, and its address or name. */
void top_backend_of(const struct top_row *row, const char **ret_service, const char **ret_address);
/* Of the whole answer, an array of its lines. Likewise. */
int top_sessions_read(struct top_table *ret, struct json_t *sessions, uint64_t at_us);

/* An answer of the control socket as an array of its lines, but for a line that says what went wrong: that is in ret_error, else "". NULL: no
 * memory, or it is not what usher says. */
struct json_t *top_answer_read(char *answer, char ret_error[TOP_MESSAGE_MAX]);
