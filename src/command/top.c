/* usher top: a running usher, live in a terminal. It asks the control socket again and again, and never waits for an answer; a session is
 * closed, and a backend drained, after a question to whoever sits there. Refuses to run where there is no terminal. Owns the tables, two of each view. */
#include "command.h"
#include "control_client.h"
#include "options.h"
#include "timer.h"
#include "top_asked.h"
#include "top_screen.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define PAUSED_LOOK_MS 1000
#define DELAY_PRESET_S 2.0
#define SLOW_US        3000000 /* an answer that takes as long is said to be waited for */
#define FILTER_MAX     64

enum asked { ASKED_STATUS, ASKED_SESSIONS, ASKED_ORDER, ASKED };

enum mode { MODE_TABLE, MODE_FILTER, MODE_CONFIRM, MODE_HELP };

struct top {
	const char *path;
	uint64_t delay_us, next_us; /* when it is asked again */
	struct top_asked asked[ASKED];
	uint64_t asked_us; /* since when the status is waited for */

	struct top_totals totals, before;
	bool has_totals, has_before;
	struct top_table tables[TOP_VIEWS];
	struct top_order orders[TOP_VIEWS];
	size_t *places; /* of the rows that are shown */
	size_t n_places, selected;

	enum top_view view;
	enum mode mode;
	bool is_paused, is_over;
	char filter[FILTER_MAX], message[TOP_MESSAGE_MAX];
	char trouble[TOP_MESSAGE_MAX];  /* why there is no status; "": there is */
	char question[512], order[512]; /* what is asked of the person, and what `y' tells usher */
};

/* ---- what is shown ---- */

static const struct top_row *top_selected(const struct top *top)
{
	return top->selected < top->n_places ? &top->tables[top->view].rows[top->places[top->selected]] : NULL;
}

/* The rows that are shown, after any of the things that they follow from has changed. */
static void top_arrange(struct top *top)
{
	free(top->places);
	top->n_places = 0;
	top->places = top_table_shown(&top->tables[top->view], top->orders[top->view], top->filter, &top->n_places);
	if (top->selected >= top->n_places)
		top->selected = top->n_places ? top->n_places - 1 : 0;
}

/* Another table of the view: the selected row stays selected, wherever it is now. */
static void top_replace(struct top *top, enum top_view view, struct top_table *now)
{
	struct top_table *table = &top->tables[view];
	const struct top_row *selected = view == top->view ? top_selected(top) : NULL;
	size_t place = SIZE_MAX;

	top_table_rates(now, table);
	if (selected)
		place = top_table_find(now, selected);
	top_table_fini(table);
	*table = *now;
	if (view != top->view)
		return;
	top_arrange(top);
	for (size_t i = 0; i < top->n_places; i++)
		if (top->places[i] == place)
			top->selected = i;
}

static void top_draw(const struct top *top)
{
	char filter_prompt[FILTER_MAX + 32], waiting[64] = "";
	uint64_t now_us = clock_monotonic_us();

	if (top->asked[ASKED_STATUS].fd >= 0 && now_us - top->asked_us > SLOW_US)
		snprintf(waiting, sizeof(waiting), "no answer for %" PRIu64 " s", (now_us - top->asked_us) / 1000000);
	snprintf(filter_prompt, sizeof(filter_prompt), "filter: %s_", top->filter);
	top_screen_draw(&(struct top_picture){
		.totals = top->has_totals ? &top->totals : NULL,
		.before = top->has_before ? &top->before : NULL,
		.view = top->view,
		.table = &top->tables[top->view],
		.places = top->places,
		.n = top->n_places,
		.selected = top->selected,
		.order = top->orders[top->view],
		.filter = top->filter,
		.is_paused = top->is_paused,
		.is_help = top->mode == MODE_HELP,
		.message = *waiting     ? waiting
			: *top->trouble ? top->trouble
					: top->message,
		.prompt = top->mode == MODE_FILTER  ? filter_prompt
			: top->mode == MODE_CONFIRM ? top->question
						    : NULL,
	});
}

/* ---- asking ---- */

static void top_ask(struct top *top, enum asked about, const char *request)
{
	if (top->asked[about].fd >= 0)
		return;
	int r = top_asked_begin(&top->asked[about], top->path, request);
	if (r < 0)
		snprintf(top->trouble, sizeof(top->trouble), "%s", control_error(r));
	else if (about == ASKED_STATUS)
		top->asked_us = clock_monotonic_us();
}

static void top_ask_all(struct top *top)
{
	top->next_us = clock_monotonic_us() + top->delay_us;
	top_ask(top, ASKED_STATUS, "status");
	if (top->view == TOP_SESSIONS)
		top_ask(top, ASKED_SESSIONS, "sessions");
}

static void top_answered_status(struct top *top, const json_t *lines)
{
	json_t *status = json_incref(json_array_get(lines, 0));
	struct top_totals totals;
	struct top_table table;

	if (!status || top_services_read(&table, &totals, status, clock_monotonic_us()) < 0)
		return;
	top->before = top->totals;
	top->has_before = top->has_totals && top->totals.since == totals.since;
	top->totals = totals;
	top->has_totals = true;
	top->trouble[0] = '\0';
	top_replace(top, TOP_SERVICES, &table);
	if (top_backends_read(&table, json_incref(status), top->totals.at_us) == 0)
		top_replace(top, TOP_BACKENDS, &table);
}

static void top_answered(struct top *top, enum asked about, char *answer)
{
	char error[TOP_MESSAGE_MAX];
	struct top_table table;

	json_t *lines = top_answer_read(answer, error);
	if (!lines)
		snprintf(error, sizeof(error), "the answer is not what usher says");
	else if (about == ASKED_STATUS)
		top_answered_status(top, lines);
	else if (about == ASKED_SESSIONS && top_sessions_read(&table, json_incref(lines), clock_monotonic_us()) == 0)
		top_replace(top, TOP_SESSIONS, &table);
	if (about == ASKED_ORDER && !*error) {
		const char *done = json_string_value(json_object_get(json_array_get(lines, 0), "done"));
		snprintf(error, sizeof(error), "%s", done ? done : "-");
		top->next_us = 0; /* what it has become is shown at once */
	}
	if (about == ASKED_ORDER || *error)
		snprintf(top->message, sizeof(top->message), "%s", error);
	json_decref(lines);
}

static void top_hear(struct top *top, enum asked about)
{
	struct top_asked *asked = &top->asked[about];

	int r = top_asked_read(asked);
	if (r == 0)
		return;
	if (r < 0)
		snprintf(top->trouble, sizeof(top->trouble), "no answer: %s", strerrordesc_np(-r));
	else
		top_answered(top, about, asked->text);
	top_asked_end(asked);
}

/* ---- keys ---- */

static void top_ask_to_close(struct top *top)
{
	const struct top_row *row = top_selected(top);
	char client[TOP_CELL_MAX], id[TOP_CELL_MAX];

	if (top->view != TOP_SESSIONS || !row) {
		snprintf(top->message, sizeof(top->message), "select a session first (3)");
		return;
	}
	const struct top_column *columns = top_view_kinds[TOP_SESSIONS].columns;
	top_cell_text(&columns[0], &row->cells[0], id);
	top_cell_text(&columns[1], &row->cells[1], client);
	snprintf(top->question, sizeof(top->question), "Close session %s of %s? (y/n)", id, client);
	snprintf(top->order, sizeof(top->order), "close %s", id);
	top->mode = MODE_CONFIRM;
}

/* `word`: "drain" or "up". */
static void top_ask_to_order(struct top *top, const char *word)
{
	const struct top_row *row = top_selected(top);
	const char *service = NULL, *address = NULL;

	if (top->view == TOP_BACKENDS && row)
		top_backend_of(row, &service, &address);
	if (!service || !address) {
		snprintf(top->message, sizeof(top->message), "select a backend first (2)");
		return;
	}
	snprintf(top->question, sizeof(top->question), "%s backend %s of %s? (y/n)",
		strcmp(word, "up") == 0 ? "Take up" : "Drain", address, service);
	snprintf(top->order, sizeof(top->order), "backend %s %s %s", service, address, word);
	top->mode = MODE_CONFIRM;
}

static void top_select(struct top *top, int key)
{
	size_t page = top_screen_rows(), last = top->n_places ? top->n_places - 1 : 0;
	size_t at = top->selected;

	switch (key) {
	case TOP_KEY_UP:
		at -= at > 0;
		break;
	case TOP_KEY_DOWN:
		at += 1;
		break;
	case TOP_KEY_PAGE_UP:
		at = at > page ? at - page : 0;
		break;
	case TOP_KEY_PAGE_DOWN:
		at += page;
		break;
	case TOP_KEY_HOME:
		at = 0;
		break;
	case TOP_KEY_END:
		at = last;
		break;
	default:
		return;
	}
	top->selected = at < last ? at : last;
}

static void top_view(struct top *top, enum top_view view)
{
	top->view = view;
	top->selected = 0;
	if (view == TOP_SESSIONS && !top->is_paused)
		top_ask(top, ASKED_SESSIONS, "sessions");
}

static void top_sort(struct top *top, bool next)
{
	unsigned n = (unsigned)top_view_kinds[top->view].n_columns;
	struct top_order *order = &top->orders[top->view];

	order->column = (order->column + (next ? 1 : n - 1)) % n;
}

static void top_key_in_table(struct top *top, int key)
{
	top->message[0] = '\0';
	if (key >= '1' && key < '1' + TOP_VIEWS)
		top_view(top, (enum top_view)(key - '1'));
	switch (key) {
	case 'q':
		top->is_over = true;
		break;
	case '\t':
		top_view(top, (enum top_view)((top->view + 1) % TOP_VIEWS));
		break;
	case 's':
	case 'S':
		top_sort(top, key == 's');
		break;
	case 'r':
		top->orders[top->view].is_reversed ^= true;
		break;
	case '/':
		top->mode = MODE_FILTER;
		break;
	case 'p':
		top->is_paused ^= true;
		top->next_us = 0;
		break;
	case 'c':
		top_ask_to_close(top);
		break;
	case 'd':
	case 'u':
		top_ask_to_order(top, key == 'd' ? "drain" : "up");
		break;
	case '?':
	case 'h':
		top->mode = MODE_HELP;
		break;
	default:
		top_select(top, key);
	}
}

static void top_key_in_filter(struct top *top, int key)
{
	size_t len = strlen(top->filter);

	if (key == '\r' || key == '\n' || key == '\x1b')
		top->mode = MODE_TABLE;
	if (key == '\x1b')
		top->filter[0] = '\0';
	else if (key == TOP_KEY_BACKSPACE && len > 0)
		top->filter[len - 1] = '\0';
	else if (key >= ' ' && key <= '~' && len < FILTER_MAX - 1)
		top->filter[len] = (char)key, top->filter[len + 1] = '\0';
}

static void top_key(struct top *top, int key)
{
	switch (top->mode) {
	case MODE_FILTER:
		top_key_in_filter(top, key);
		break;
	case MODE_CONFIRM:
		if (key == 'y')
			top_ask(top, ASKED_ORDER, top->order);
		top->mode = MODE_TABLE;
		break;
	case MODE_HELP:
		top->mode = MODE_TABLE;
		break;
	default:
		top_key_in_table(top, key);
	}
	top_arrange(top);
}

/* ---- the loop ---- */

static void top_run(struct top *top)
{
	while (!top->is_over) {
		uint64_t now_us = clock_monotonic_us();
		if (!top->is_paused && now_us >= top->next_us) {
			top_ask_all(top);
			continue;
		}
		top_draw(top);
		struct pollfd fds[1 + ASKED] = { { .fd = STDIN_FILENO, .events = POLLIN } };
		for (int i = 0; i < ASKED; i++)
			fds[1 + i] = (struct pollfd){ .fd = top->asked[i].fd, .events = POLLIN };
		int wait_ms = top->is_paused ? PAUSED_LOOK_MS : (int)((top->next_us - now_us) / 1000 + 1);
		if (poll(fds, 1 + ASKED, wait_ms) < 0)
			memset(fds, 0, sizeof(fds));
		for (int i = 0; i < ASKED; i++)
			if (fds[1 + i].revents)
				top_hear(top, (enum asked)i);
		if (fds[0].revents & (POLLHUP | POLLERR))
			return;
		/* Whatever has come: that the terminal has another size is a key too, and the signal may have come before poll(). */
		for (int key; (key = top_screen_key()) != TOP_KEY_NONE;)
			if (key != TOP_KEY_RESIZED)
				top_key(top, key);
	}
}

static int top_begin(struct top *top)
{
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		fputs("usher: top needs a terminal; without one: usher status --watch\n", stderr);
		return 1;
	}
	int fd = control_connect(top->path);
	if (fd < 0) {
		fprintf(stderr, "usher: %s: %s\n", top->path, control_error(fd));
		return 1;
	}
	close(fd);
	if (top_screen_begin() == 0)
		return 0;
	fputs("usher: top needs a terminal whose type is known (TERM); without one: usher status --watch\n", stderr);
	return 1;
}

int command_top(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "delay", required_argument, NULL, 'd' },
		{ "socket", required_argument, NULL, 's' },
		{ NULL },
	};
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *socket = NULL, *file = NULL;
	struct top top = { .path = path };
	double delay_s = DELAY_PRESET_S;
	int option;

	while ((option = getopt_long(argc, argv, "s:c:d:", longs, NULL)) != -1) {
		if (option == 's')
			socket = optarg;
		else if (option == 'c')
			file = optarg;
		else if (option != 'd')
			return command_usage("top");
		else if ((delay_s = option_seconds("-d", optarg)) == 0)
			return 2;
	}
	if (optind != argc)
		return command_usage("top");
	if (control_path(socket, file, path, sizeof(path)) < 0)
		return 2;
	top.delay_us = (uint64_t)(delay_s * 1e6);
	for (int i = 0; i < ASKED; i++)
		top.asked[i].fd = -1;
	for (int i = 0; i < TOP_VIEWS; i++)
		top.orders[i] = top_view_kinds[i].order;
	int status = top_begin(&top);
	if (status != 0)
		return status;
	top_run(&top);
	top_screen_end();
	for (int i = 0; i < ASKED; i++)
		top_asked_end(&top.asked[i]);
	for (int i = 0; i < TOP_VIEWS; i++)
		top_table_fini(&top.tables[i]);
	free(top.places);
	return 0;
}
