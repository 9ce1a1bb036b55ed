/* Tells the master of a worker's sessions. Writes to a file in memory, which never waits; refuses to write more than one line for each
 * session, so the size is bounded by max_connections. Owns nothing. */
#include "session_report.h"
#include "escape.h"
#include "evidence_kept.h"
#include "fd.h"
#include "snapshot.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *address_text(const struct address *address, char buf[ADDRESS_TEXT_MAX])
{
	return address && address->len ? address_format(address, buf) : NULL;
}

static void write_session(FILE *to, const struct session *session)
{
	uint64_t now_us = session->context->loop.now_us;
	char client[ADDRESS_TEXT_MAX], via[ADDRESS_TEXT_MAX];
	struct session_progress progress;

	session->transport->progress(session, &progress);
	snapshot_session_json(
		&(struct snapshot_session){
			.id = session->id,
			.client = address_text(&session->client, client),
			.via = address_text(session_via(session), via),
			.listener = session->listener,
			.service = session_service_name(session),
			.protocol = session_protocol(session),
			.known_by = progress.known_by,
			.phase = session_phase_names[session->phase],
			.age_s = (double)(now_us - session->accepted_us) / 1e6,
			.idle_s = progress.moved_us ? (double)(now_us - progress.moved_us) / 1e6 : -1,
			.datagrams_up = progress.datagrams_up,
			.datagrams_down = progress.datagrams_down,
			.bytes_up = progress.bytes_up,
			.bytes_down = progress.bytes_down,
			.worker = getpid(),
		},
		to);
}

static void write_evidence(FILE *to, const struct kept *kept, const char *phase)
{
	fprintf(to, "{\"id\": %" PRIu64 ", \"transport\": \"%s\"", kept->id, kept->transport);
	escape_json_member(to, "listener", kept->listener);
	escape_json_member(to, "service", kept->service);
	escape_json_member(to, "protocol", kept->protocol);
	escape_json_member(to, "phase", phase);
	fputs(", \"bytes\": \"", to);
	for (size_t i = 0; i < kept->len; i++)
		fprintf(to, "%02x", kept->bytes[i]);
	fputs("\"}\n", to);
}

static int report_sessions(const struct context *context, FILE *to)
{
	for (const struct session *one = session_first(context); one; one = session_next(one))
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
