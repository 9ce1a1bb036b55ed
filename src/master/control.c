/* Serves the control socket in the master's loop. A client's life: its line is read, the answer is made (at once, or when workers
 * have reported or a reload is over), written, and the connection closed.
 *
 * Refuses whoever may not change things to do so; who may connect at all is said by the mode of the socket. One descriptor is
 * kept in reserve, so that there is an answer when all others are used up. Owns the socket, its path and its clients. */
#include "control.h"
#include "control_parts.h"
#include "control_socket.h"
#include "escape.h"
#include "fd.h"
#include "ipc.h"
#include "log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_OUT_MAX  1024 /* more than a socket has room for */
#define PIECES_A_TURN 64

enum client_state {
	CLIENT_FREE,
	CLIENT_READING,
	CLIENT_REPORTS,
	CLIENT_RELOAD_ASKED,
	CLIENT_RELOADING,
	CLIENT_UPGRADING,
	CLIENT_WRITING
};

struct client {
	struct control *control;
	enum client_state state;
	struct watch watch;
	struct timer patience;
	struct task again; /* there is more to write than fits in one turn */
	bool may_change;
	char line[CONTROL_LINE_MAX];
	size_t line_len;
	struct control_request request;

	uint64_t number; /* of the report that it waits for */
	struct control_parts parts;
	unsigned n_answered;
	int part_error; /* the best that a worker said */

	char *answer;
	size_t answer_len, answer_at;
	const char *missing; /* why not all is told, said at the end; NULL: it is */
};

struct control {
	struct loop *loop;
	const struct control_hooks *hooks;
	void *context;
	struct watch listener;
	char *path; /* of the socket that is there; NULL: none */
	struct socket_file file;
	bool has_group;
	gid_t gid;
	int reserve;
	uint64_t last_number; /* of a report */
	struct client clients[CONTROL_CLIENTS];
};

static void client_ready(struct watch *watch, uint32_t events);
static void client_out_of_patience(struct timer *timer);

/* What the client sent and nobody read may have descriptors beside it, which the kernel would close. */
static void client_read_out(struct client *client)
{
	char buffer[4096];
	bool unused;

	for (unsigned i = 0; i < READ_OUT_MAX; i++)
		if (ipc_receive_bytes(client->watch.fd, buffer, sizeof(buffer), MSG_DONTWAIT, &unused) <= 0)
			return;
}

static void client_close(struct client *client)
{
	loop_timer_stop(client->control->loop, &client->patience);
	loop_cancel(client->control->loop, &client->again);
	client_read_out(client);
	fd_close(loop_unwatch(client->control->loop, &client->watch));
	control_parts_close(&client->parts);
	free(client->answer);
	client->answer = NULL;
	client->state = CLIENT_FREE;
}

/* ---- answers ---- */

/* More of the answer in place of what was sent, so that no more than a piece is held here. False: that was all. */
static bool client_refill(struct client *client)
{
	free(client->answer);
	client->answer = NULL;
	client->answer_at = 0;
	client->answer_len = control_parts_next(&client->parts, &client->answer);
	if (client->answer_len > 0 || !client->missing)
		return client->answer_len > 0;
	int len = asprintf(&client->answer, "{\"error\": \"%s\"}\n", client->missing);
	client->missing = NULL;
	if (len < 0)
		client->answer = NULL;
	client->answer_len = client->answer ? (size_t)len : 0;
	return client->answer_len > 0;
}

static void client_write(struct client *client)
{
	for (unsigned pieces = 0; client->answer_at < client->answer_len || client_refill(client); pieces++) {
		if (pieces == PIECES_A_TURN) { /* a fast reader does not keep us from others */
			loop_defer(client->control->loop, &client->again);
			return;
		}
		ssize_t n = send(client->watch.fd, client->answer + client->answer_at,
			client->answer_len - client->answer_at, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			break;
		client->answer_at += (size_t)n;
	}
	client_close(client);
}

static void client_write_again(struct task *task)
{
	client_write(container_of(task, struct client, again));
}

/* Takes the text over. */
static void client_answer(struct client *client, char *text, size_t len)
{
	struct loop *loop = client->control->loop;

	client->state = CLIENT_WRITING;
	client->answer = text;
	client->answer_len = text ? len : 0;
	client->answer_at = 0;
	loop_timer(loop, &client->patience, loop->now_us + CONTROL_PATIENCE_US);
	client_write(client);
}

static void client_answer_error(struct client *client, const char *why)
{
	char escaped[4096], *text = NULL;

	escape_json(escaped, sizeof(escaped), why, strlen(why));
	int len = asprintf(&text, "{\"error\": \"%s\"}\n", escaped);
	client_answer(client, len < 0 ? NULL : text, len < 0 ? 0 : (size_t)len);
}

static void client_answer_done(struct client *client, const char *what)
{
	char *text = NULL;
	int len = asprintf(&text, "{\"done\": \"%s\"}\n", what);

	client_answer(client, len < 0 ? NULL : text, len < 0 ? 0 : (size_t)len);
}

/* What a hook writes. */
static void client_tell(struct client *client, int (*write)(void *context, FILE *to))
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	if (!to) {
		client_answer_error(client, "out of memory");
		return;
	}
	int error = write(client->control->context, to);
	if (fclose(to) != 0 || error < 0) {
		free(text);
		client_answer_error(client, "out of memory");
		return;
	}
	client_answer(client, text, len);
}

/* ---- what workers report ---- */

static const char *report_failure(const struct client *client)
{
	if (client->missing)
		return client->missing;
	switch (client->part_error) {
	case -ENOENT:
		return "there is no such connection";
	case -EBUSY:
		return "a program is being started for that connection: try again";
	case -EOPNOTSUPP:
		return "no evidence is kept, expected `keep_evidence' in the configuration";
	default:
		return "the worker cannot tell";
	}
}

/* All have answered, or were waited for long enough. */
static void client_reports_over(struct client *client)
{
	bool is_about_one = client->request.word != CONTROL_SESSIONS;

	if (client->n_answered < client->parts.n)
		client->missing = "a worker did not answer within ten seconds";
	if (is_about_one && client->part_error != 0) {
		const char *why = report_failure(client);
		control_parts_close(&client->parts);
		client_answer_error(client, why);
		return;
	}
	if (client->request.word == CONTROL_CLOSE) {
		control_parts_close(&client->parts);
		client_answer_done(client, "closed");
		return;
	}
	client_answer(client, NULL, 0);
}

static unsigned clients_asking(const struct control *control)
{
	unsigned n = 0;

	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		n += control->clients[i].state != CLIENT_FREE && control->clients[i].parts.n > 0;
	return n;
}

static void client_ask_workers(struct client *client)
{
	static const enum report_about reports[] = {
		[CONTROL_SESSIONS] = REPORT_SESSIONS,
		[CONTROL_EVIDENCE] = REPORT_EVIDENCE,
		[CONTROL_CLOSE] = REPORT_CLOSE,
	};
	struct control *control = client->control;
	bool is_missed = false;
	struct message message = {
		.kind = MESSAGE_REPORT,
		.number = client->number = ++control->last_number,
		.report = { .about = reports[client->request.word], .connection = client->request.id },
	};

	if (clients_asking(control) >= CONTROL_ASKING_MAX) {
		client_answer_error(client, "as many ask workers as may at a time: try again");
		return;
	}
	client->state = CLIENT_REPORTS;
	client->n_answered = 0;
	client->missing = NULL;
	client->part_error = -ENOENT;
	client->parts.n = control->hooks->report(control->context, &message, client->parts.fd, &is_missed);
	if (is_missed)
		client->missing = "a worker cannot be asked: try again";
	if (client->parts.n == 0)
		client_reports_over(client);
	else
		loop_timer(control->loop, &client->patience, control->loop->now_us + CONTROL_REPORT_US);
}

void control_reported(struct control *control, uint64_t number, int error)
{
	for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
		struct client *client = &control->clients[i];
		if (client->state != CLIENT_REPORTS || client->number != number)
			continue;
		client->n_answered++;
		if (error == 0 || (client->part_error == -ENOENT && error != -ENOENT))
			client->part_error = error;
		if (client->n_answered == client->parts.n ||
			(error == 0 && client->request.word != CONTROL_SESSIONS)) {
			client->n_answered = client->parts.n;
			client_reports_over(client);
		}
		return;
	}
}

/* ---- requests ---- */

static void client_begin(struct client *client, enum client_state state, int (*begin)(void *context))
{
	struct control *control = client->control;

	client->state = state; /* its answer may come before the hook is back */
	loop_timer_stop(control->loop, &client->patience);
	int error = begin(control->context);
	if (error < 0 && client->state == state)
		client_answer_error(client,
			error == -EBUSY ? "a reload or an upgrade is under way: try again" : "usher is ending");
}

static void control_tell(struct control *control, enum client_state waiting, const char *complaints, const char *done)
{
	for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
		struct client *client = &control->clients[i];
		if (client->state != waiting)
			continue;
		if (complaints)
			client_answer_error(client, complaints);
		else
			client_answer_done(client, done);
	}
}

void control_reload_begins(struct control *control)
{
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		if (control->clients[i].state == CLIENT_RELOAD_ASKED)
			control->clients[i].state = CLIENT_RELOADING;
}

void control_ending(struct control *control)
{
	control_reload_begins(control);
	control_reloaded(control, "usher is ending");
}

/* Who asked while it was under way has the next one's answer. */
void control_reloaded(struct control *control, const char *complaints)
{
	control_tell(control, CLIENT_RELOADING, complaints, "reloaded");
}

void control_upgraded(struct control *control, const char *complaints)
{
	control_tell(control, CLIENT_UPGRADING, complaints, "upgraded");
}

static void client_reopen(struct client *client)
{
	struct control *control = client->control;
	char why[128];

	int error = control->hooks->reopen(control->context);
	if (error == 0) {
		client_answer_done(client, "log reopened");
		return;
	}
	snprintf(why, sizeof(why), "the log cannot be reopened: %s", strerrordesc_np(-error));
	client_answer_error(client, why);
}

static void client_order_backend(struct client *client)
{
	static const char *const orders[] = {
		[CONTROL_BACKEND_DRAIN] = "drain",
		[CONTROL_BACKEND_DOWN] = "down",
		[CONTROL_BACKEND_UP] = "up",
		[CONTROL_BACKEND_WEIGHT] = "weight",
	};
	const struct control *control = client->control;
	const struct control_backend *order = &client->request.backend;
	char why[512] = "", done[64];

	int n = control->hooks->backend(control->context, order, why, sizeof(why));
	if (n < 0) {
		client_answer_error(client, why);
		return;
	}
	int len = snprintf(done, sizeof(done), "%d backend%s: %s", n, n == 1 ? "" : "s", orders[order->order]);
	if (order->order == CONTROL_BACKEND_WEIGHT)
		snprintf(done + len, sizeof(done) - (size_t)len, " %u", order->weight);
	client_answer_done(client, done);
}

static void client_order_live(struct client *client)
{
	static const char *const done[] = {
		[CONTROL_LIVE_BAN] = "banned",
		[CONTROL_LIVE_UNBAN] = "banned no more",
		[CONTROL_LIVE_OPEN] = "open",
		[CONTROL_LIVE_SHUT] = "open no more",
	};
	const struct control *control = client->control;
	const struct control_live *order = &client->request.live;
	char why[512] = "";

	if (control->hooks->live(control->context, order, why, sizeof(why)) < 0)
		client_answer_error(client, why);
	else
		client_answer_done(client, done[order->order]);
}

static void client_serve(struct client *client)
{
	struct control *control = client->control;
	const char *why;

	if (control_parse(client->line, client->line_len, &client->request, &why) < 0) {
		client_answer_error(client, why);
		return;
	}
	bool reads = client->request.word <= CONTROL_EVIDENCE;
	if (!reads && !client->may_change) {
		client_answer_error(
			client, "only root, the user that started usher, and the group of `control' may do that");
		return;
	}
	switch (client->request.word) {
	case CONTROL_STATUS:
		client_tell(client, control->hooks->status);
		break;
	case CONTROL_BACKENDS:
		client_tell(client, control->hooks->backends);
		break;
	case CONTROL_SETTINGS:
		client_tell(client, control->hooks->settings);
		break;
	case CONTROL_BACKEND:
		client_order_backend(client);
		break;
	case CONTROL_BANS:
		client_tell(client, control->hooks->bans);
		break;
	case CONTROL_LIVE:
		client_order_live(client);
		break;
	case CONTROL_SESSIONS:
	case CONTROL_EVIDENCE:
	case CONTROL_CLOSE:
		client_ask_workers(client);
		break;
	case CONTROL_DRAIN:
		client_answer_done(client, "draining");
		control->hooks->drain(control->context);
		break;
	case CONTROL_RELOAD:
		client_begin(client, CLIENT_RELOAD_ASKED, control->hooks->reload);
		break;
	case CONTROL_UPGRADE:
		client_begin(client, CLIENT_UPGRADING, control->hooks->upgrade);
		break;
	case CONTROL_LOG:
		control->hooks->log_level(control->context, client->request.level);
		client_answer_done(client, "log level set");
		break;
	case CONTROL_REOPEN:
		client_reopen(client);
		break;
	case CONTROL_UNKNOWN:
		break;
	}
}

static void client_read(struct client *client)
{
	size_t room = sizeof(client->line) - client->line_len;
	bool unused;
	ssize_t n = ipc_receive_bytes(client->watch.fd, client->line + client->line_len, room, 0, &unused);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_close(client);
		return;
	}
	char *end = memchr(client->line + client->line_len, '\n', (size_t)n);
	client->line_len += (size_t)n;
	if (end) {
		client->line_len = (size_t)(end - client->line);
		client_serve(client);
	} else if (client->line_len == sizeof(client->line)) {
		client_answer_error(client, "the request is too long, expected a line of at most 511 bytes");
	}
}

static void client_ready(struct watch *watch, uint32_t events)
{
	struct client *client = container_of(watch, struct client, watch);

	if (client->state == CLIENT_READING)
		client_read(client);
	else if (client->state == CLIENT_WRITING)
		client_write(client);
	else if (events & (EPOLLHUP | EPOLLERR))
		client_close(client);
}

static void client_out_of_patience(struct timer *timer)
{
	struct client *client = container_of(timer, struct client, patience);

	if (client->state == CLIENT_REPORTS)
		client_reports_over(client);
	else
		client_close(client);
}

/* ---- who comes ---- */

static void control_serve(struct control *control, int fd)
{
	struct client *client = NULL;

	for (size_t i = 0; i < CONTROL_CLIENTS && !client; i++)
		if (control->clients[i].state == CLIENT_FREE)
			client = &control->clients[i];
	if (!client) {
		static const char busy[] = "{\"error\": \"as many are served here as there may be: try again\"}\n";
		(void)!send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL);
		fd_close(fd);
		return;
	}
	*client = (struct client){
		.control = control,
		.state = CLIENT_READING,
		.watch = { .fd = -1, .ready = client_ready },
		.patience = { .fired = client_out_of_patience },
		.again = { .run = client_write_again },
		.may_change = control_socket_trusts(fd, control->has_group ? &control->gid : NULL),
	};
	if (loop_watch(control->loop, &client->watch, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0) {
		fd_close(fd);
		client->state = CLIENT_FREE;
		return;
	}
	loop_timer(control->loop, &client->patience, control->loop->now_us + CONTROL_PATIENCE_US);
}

const char *control_leave(const struct control *control, int *ret_fd, struct socket_file *ret_file, int *ret_client)
{
	*ret_file = control->file;
	*ret_fd = control->path ? control->listener.fd : -1;
	*ret_client = -1;
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		if (control->clients[i].state == CLIENT_UPGRADING)
			*ret_client = control->clients[i].watch.fd;
	return control->path;
}

void control_adopt(struct control *control, const char *path, int fd, const struct socket_file *file, int client)
{
	control->file = *file;
	if (fd >= 0 && (control->path = strdup(path)) &&
		loop_watch(control->loop, &control->listener, fd, EPOLLIN) < 0)
		fd_close(fd);
	if (client < 0)
		return;
	control_serve(control, client);
	for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
		struct client *one = &control->clients[i];
		if (one->state != CLIENT_READING || one->watch.fd != client)
			continue;
		one->state = CLIENT_UPGRADING;
		loop_timer_stop(control->loop, &one->patience);
	}
}

/* With every descriptor in use the one in reserve is given up for as long as it takes to answer. */
static int control_accept(struct control *control)
{
	int fd = accept4(control->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0 || (errno != EMFILE && errno != ENFILE) || control->reserve < 0)
		return fd;
	control->reserve = fd_close(control->reserve);
	return accept4(control->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void control_ready(struct watch *watch, uint32_t events)
{
	struct control *control = container_of(watch, struct control, listener);

	for (int fd; (fd = control_accept(control)) >= 0;)
		control_serve(control, fd);
	if (control->reserve < 0)
		control->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* ---- the socket ---- */

/* Whoever is in line has an answer yet. */
static void control_close(struct control *control)
{
	if (!control->path)
		return;
	control_ready(&control->listener, EPOLLIN);
	socket_file_remove(control->path, &control->file);
	free(control->path);
	control->path = NULL;
	fd_close(loop_unwatch(control->loop, &control->listener));
}

/* In the place of the one before, which stays where this fails. */
static int control_replace(struct control *control, const struct policy *policy)
{
	struct socket_file file;
	char *path = strdup(policy->control);

	int fd = path ? control_socket_open(policy, &file) : -ENOMEM;
	if (fd < 0) {
		free(path);
		return fd;
	}
	control_close(control);
	int error = loop_watch(control->loop, &control->listener, fd, EPOLLIN);
	if (error < 0) {
		socket_file_remove(path, &file);
		fd_close(fd);
		free(path);
		return error;
	}
	control->path = path;
	control->file = file;
	return 0;
}

int control_listen(struct control *control, const struct policy *policy)
{
	int error = 0;

	if (!policy->control)
		control_close(control);
	else if (control->path && strcmp(control->path, policy->control) == 0)
		error = control_socket_admit(policy, &control->file);
	else
		error = -ESTALE;
	if (error == -ESTALE)
		error = control_replace(control, policy);
	if (error < 0)
		return error;
	control->has_group = policy->control_group != NULL;
	control->gid = policy->control_gid;
	return 0;
}

int control_new(struct control **ret, struct loop *loop, const struct control_hooks *hooks, void *context)
{
	struct control *control = calloc(1, sizeof(*control));

	if (!control)
		return -ENOMEM;
	control->loop = loop;
	control->hooks = hooks;
	control->context = context;
	control->listener = (struct watch){ .fd = -1, .ready = control_ready };
	control->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		control->clients[i] = (struct client){ .control = control, .watch.fd = -1 };
	*ret = control;
	return 0;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	for (size_t i = 0; i < CONTROL_CLIENTS; i++)
		if (control->clients[i].state != CLIENT_FREE)
			client_close(&control->clients[i]);
	control_close(control);
	fd_close(control->reserve);
	free(control);
}
