/* Tells the master of a worker's sessions. Writes to a file in memory, which never waits; refuses to write more than one line for each
 * session, so the size is bounded by max_connections. Owns nothing. */
#include "session_report.h"
#include "escape.h"
#include "evidence_kept.h"
#include "fd.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX 1024

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

static void write_session(FILE *to, const struct session *session)
{
	uint64_t now_us = session->context->loop.now_us;
	struct session_progress progress;

	session->transport->progress(session, &progress);
	fprintf(to, "{\"id\": %" PRIu64, session->id);
	write_address(to, "client", &session->client);
	if (session_via(session))
		write_address(to, "via", session_via(session));
	write_text(to, "listener", session->listener);
	write_text(to, "service", session_service_name(session));
	write_text(to, "protocol", session_protocol(session));
	write_text(to, "phase", session_phase_names[session->phase]);
	fprintf(to, ", \"age_s\": %.3f", (double)(now_us - session->accepted_us) / 1e6);
	if (progress.moved_us)
		fprintf(to, ", \"idle_s\": %.3f", (double)(now_us - progress.moved_us) / 1e6);
	fprintf(to, ", \"bytes_up\": %" PRIu64 ", \"bytes_down\": %" PRIu64 ", \"worker\": %d}\n", progress.bytes_up,
		progress.bytes_down, (int)getpid());
}

static void write_evidence(FILE *to, const struct kept *kept, const char *phase)
{
	fprintf(to, "{\"id\": %" PRIu64 ", \"transport\": \"%s\"", kept->id, kept->transport);
	write_text(to, "listener", kept->listener);
	write_text(to, "service", kept->service);
	write_text(to, "protocol", kept->protocol);
	write_text(to, "phase", phase);
	fputs(", \"bytes\": \"", to);
	for (size_t i = 0; i < kept->len; i++)
		fprintf(to, "%02x", kept->bytes[i]);
	fputs("\"}\n", to);
}

static int report_sessions(const struct context *context, FILE *to)
{
	for (const struct session *one = context->sessions; one; one = one->next)
		if (one->phase != PHASE_ENDED)
			write_session(to, one);
	return 0;
}

static int report_evidence(const struct context *context, uint64_t id, FILE *to)
{
	struct session *session = session_find(context, id);
	const struct kept *kept = session ? evidence_kept_of(session) : evidence_kept_recent(context, id);

	if (context->policy->keep_evidence == 0)
		return -EOPNOTSUPP;
	if (!kept)
		return session ? -ENODATA : -ENOENT;
	write_evidence(to, kept, session_phase_names[session ? session->phase : PHASE_ENDED]);
	return 0;
}

static int report_close(const struct context *context, uint64_t id)
{
	struct session *session = session_find(context, id);

	if (!session)
		return -ENOENT;
	session->transport->stop(session, END_CLOSED);
	return session->phase == PHASE_ENDED ? 0 : -EBUSY;
}

static int report_write(struct context *context, const struct message_report *request, FILE *to)
{
	switch (request->about) {
	case REPORT_SESSIONS:
		return report_sessions(context, to);
	case REPORT_EVIDENCE:
		return report_evidence(context, request->connection, to);
	case REPORT_CLOSE:
		return report_close(context, request->connection);
	default:
		return -EINVAL;
	}
}

int session_report(struct context *context, const struct message_report *request, int fd)
{
	/* Given one, the C library does not ask for the file's status, which a worker may not. */
	static char buffer[64 * 1024];
	int own = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
	FILE *to = own >= 0 ? fdopen(own, "w") : NULL;

	if (!to) {
		fd_close(own);
		return -EBADF;
	}
	setvbuf(to, buffer, _IOFBF, sizeof(buffer));
	int error = report_write(context, request, to);
	return fclose(to) != 0 ? -EIO : error;
}
