/* Tells the master of a worker's connections. Writes to a file in memory, which never waits; refuses to write more than one line
 * for each connection, so the size is bounded by max_connections. Owns the evidence of connections that have ended. */
#include "report.h"
#include "connection.h"
#include "escape.h"
#include "fd.h"
#include "ipc.h"
#include "past.h"
#include "proxied.h"
#include "worker.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TEXT_MAX 1024

/* The first bytes of a connection, and who it was. */
struct kept {
	uint64_t id;
	const char *listener, *service, *protocol; /* the policy's, or in `past`; NULL: none */
	struct past *past;                         /* NULL: none */
	size_t len;
	uint8_t bytes[];
};

/* ---- words ---------------------------------------------------------------------------------------------------------- */

static const char *const phase_names[] = {
	[PHASE_PROXIED] = "proxy-header",
	[PHASE_DECIDING] = "deciding",
	[PHASE_ASKING] = "asking",
	[PHASE_CONNECTING] = "connecting",
	[PHASE_SPAWNING] = "spawning",
	[PHASE_HANDING_OVER] = "handing-over",
	[PHASE_RELAYING] = "relaying",
	[PHASE_ENDED] = "ended",
};

static void write_text(FILE *to, const char *key, const char *text)
{
	char escaped[TEXT_MAX];

	if (!text) {
		fprintf(to, ", \"%s\": null", key);
		return;
	}
	escape_json(escaped, sizeof(escaped), text, strlen(text));
	fprintf(to, ", \"%s\": \"%s\"", key, escaped);
}

static void write_address(FILE *to, const char *key, const struct address *address)
{
	char text[ADDRESS_TEXT_MAX];

	write_text(to, key, address->len ? address_format(address, text) : NULL);
}

static void write_session(FILE *to, const struct connection *connection)
{
	const struct worker *worker = connection->worker;
	uint64_t now_us = worker->loop.now_us;
	bool relays = connection->phase == PHASE_RELAYING;

	fprintf(to, "{\"id\": %" PRIu64, connection->id);
	write_address(to, "client", &connection->client);
	if (proxied_via(connection))
		write_address(to, "via", proxied_via(connection));
	write_text(to, "listener", connection->listener);
	write_text(to, "service", connection_service_name(connection));
	write_text(to, "protocol", connection_protocol(connection));
	write_text(to, "phase", phase_names[connection->phase]);
	fprintf(to, ", \"age_s\": %.3f", (double)(now_us - connection->accepted_us) / 1e6);
	if (relays)
		fprintf(to, ", \"idle_s\": %.3f", (double)(now_us - connection->relay.moved_us) / 1e6);
	fprintf(to, ", \"bytes_up\": %" PRIu64 ", \"bytes_down\": %" PRIu64 ", \"worker\": %d}\n",
		relays ? connection->relay.up.bytes : 0, relays ? connection->relay.down.bytes : 0, (int)getpid());
}

static void write_evidence(FILE *to, const struct kept *kept, const char *phase)
{
	fprintf(to, "{\"id\": %" PRIu64 ", \"transport\": \"tcp\"", kept->id);
	write_text(to, "listener", kept->listener);
	write_text(to, "service", kept->service);
	write_text(to, "protocol", kept->protocol);
	write_text(to, "phase", phase);
	fputs(", \"bytes\": \"", to);
	for (size_t i = 0; i < kept->len; i++)
		fprintf(to, "%02x", kept->bytes[i]);
	fputs("\"}\n", to);
}

/* ---- evidence --------------------------------------------------------------------------------------------------------- */

static struct kept *kept_new(const struct connection *connection, const uint8_t *bytes, size_t len)
{
	size_t most = connection->worker->policy->keep_evidence;
	struct kept *kept = malloc(sizeof(*kept) + (len < most ? len : most));

	if (!kept)
		return NULL;
	kept->id = connection->id;
	kept->listener = connection->listener;
	kept->service = kept->protocol = NULL;
	kept->past = NULL;
	kept->len = len < most ? len : most;
	memcpy(kept->bytes, bytes, kept->len);
	return kept;
}

void report_keep(struct connection *connection, const uint8_t *bytes, size_t len)
{
	if (connection->worker->policy->keep_evidence == 0)
		return;
	free(connection->kept);
	connection->kept = kept_new(connection, bytes, len);
}

const uint8_t *report_kept(const struct connection *connection, uint32_t *ret_len)
{
	*ret_len = connection->kept ? (uint32_t)connection->kept->len : 0;
	return connection->kept ? connection->kept->bytes : NULL;
}

static void kept_free(struct kept *kept)
{
	if (kept)
		free(kept->past);
	free(kept);
}

void report_ended(struct connection *connection)
{
	struct worker *worker = connection->worker;
	struct kept *kept = connection->kept;

	if (!kept)
		return;
	connection->kept = NULL;
	kept->service = connection_service_name(connection);
	kept->protocol = connection_protocol(connection);
	kept->past = connection->past;
	connection->past = NULL;
	struct kept **place = &worker->recent[worker->n_recent++ % REPORT_RECENT];
	kept_free(*place);
	*place = kept;
}

void report_forget_all(struct worker *worker)
{
	for (size_t i = 0; i < REPORT_RECENT; i++)
		kept_free(worker->recent[i]);
}

/* One that is not decided yet has what waits in its socket. */
static int report_live_evidence(struct connection *connection, FILE *to)
{
	struct worker *worker = connection->worker;

	if (connection->phase == PHASE_DECIDING) {
		ssize_t n = recv(connection_socket(connection), worker->peeked, EVIDENCE_MAX, MSG_PEEK);
		report_keep(connection, worker->peeked, n > 0 ? (size_t)n : 0);
	}
	if (!connection->kept)
		return -ENODATA;
	connection->kept->service = connection_service_name(connection);
	connection->kept->protocol = connection_protocol(connection);
	write_evidence(to, connection->kept, phase_names[connection->phase]);
	return 0;
}

static int report_recent_evidence(const struct worker *worker, uint64_t id, FILE *to)
{
	for (size_t i = 0; i < REPORT_RECENT; i++) {
		if (!worker->recent[i] || worker->recent[i]->id != id)
			continue;
		write_evidence(to, worker->recent[i], phase_names[PHASE_ENDED]);
		return 0;
	}
	return -ENOENT;
}

/* ---- answering ---------------------------------------------------------------------------------------------------------- */

static struct connection *connection_find(const struct worker *worker, uint64_t id)
{
	struct connection *connection = worker->connections;

	while (connection && (connection->id != id || connection->phase == PHASE_ENDED))
		connection = connection->next;
	return connection;
}

static int report_write(struct worker *worker, const struct message *request, FILE *to)
{
	struct connection *one = connection_find(worker, request->connection);

	switch (request->report) {
	case REPORT_SESSIONS:
		for (one = worker->connections; one; one = one->next)
			if (one->phase != PHASE_ENDED)
				write_session(to, one);
		return 0;
	case REPORT_EVIDENCE:
		if (worker->policy->keep_evidence == 0)
			return -EOPNOTSUPP;
		return one ? report_live_evidence(one, to) : report_recent_evidence(worker, request->connection, to);
	case REPORT_CLOSE:
		if (!one)
			return -ENOENT;
		connection_stop(one, END_CLOSED);
		return one->phase == PHASE_ENDED ? 0 : -EBUSY;
	}
	return -EINVAL;
}

void report_answer(struct worker *worker, const struct message *request, int fd)
{
	static char buffer[64 *
		1024]; /* given one, the C library does not ask for the file's status, which a worker may not */
	struct message answer = { .kind = MESSAGE_REPORTED, .serial = request->serial, .error = -EBADF };
	int own = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
	FILE *to = own >= 0 ? fdopen(own, "w") : NULL;

	if (to) {
		setvbuf(to, buffer, _IOFBF, sizeof(buffer));
		answer.error = report_write(worker, request, to);
		if (fclose(to) != 0)
			answer.error = -EIO;
	} else {
		fd_close(own);
	}
	ipc_send(worker->channel.fd, &answer, sizeof(answer), NULL, 0);
}
