/* STARTTLS, with the client. These are the only bytes of a client that are consumed and not delivered, but for a proxy's header: they stand
 * before TLS, and its server is told the like (starttls_replay.c). What comes behind them stays in the socket and has to be a ClientHello:
 * whoever puts commands there in plain text (CVE-2011-0411) is turned away, however the bytes were cut.
 *
 * Refuses to wait for a client that does not read. Owns the conversation, until starttls_forget(). */
#include "starttls_answer.h"
#include "evidence_kept.h"
#include "peek.h"
#include "stream.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static int answer_say(const struct stream *stream)
{
	const struct starttls *starttls = stream->starttls;

	if (starttls->say_len == 0)
		return 0;
	ssize_t n = send(stream_socket(stream), starttls->say, starttls->say_len, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n == starttls->say_len ? 0 : -EPIPE;
}

int starttls_answer_begin(struct stream *stream, enum starttls_kind kind)
{
	stream->starttls = malloc(sizeof(*stream->starttls));
	if (!stream->starttls)
		return -ENOMEM;
	starttls_meet_client(stream->starttls, kind);
	return answer_say(stream);
}

static enum starttls_answered answer_message(struct stream *stream, size_t len)
{
	uint8_t *bytes = stream->session.context->peeked;
	size_t taken;

	enum starttls_step step = starttls_hear_client(stream->starttls, bytes, len, &taken);
	if (step == STARTTLS_MORE)
		return stream->client_events & (EPOLLRDHUP | EPOLLHUP) ? ANSWERED_GONE : ANSWERED_WAIT;
	evidence_take(&stream->session, bytes, taken);
	if (peek_consume(stream_socket(stream), bytes, taken) < 0 || answer_say(stream) < 0)
		return ANSWERED_RESET;
	if (step == STARTTLS_REFUSED)
		return ANSWERED_WRONG;
	return ANSWERED_AGREED;
}

enum starttls_answered starttls_answer(struct stream *stream)
{
	enum starttls_answered answered = ANSWERED_AGREED;

	while (!stream->starttls->is_agreed && answered == ANSWERED_AGREED) {
		bool unused;
		ssize_t n = stream_peek(stream, STARTTLS_MESSAGE_MAX, &unused);
		if (n < 0)
			return n == -EAGAIN || n == -EINTR ? ANSWERED_WAIT : ANSWERED_RESET;
		if (n == 0)
			return ANSWERED_GONE;
		stream->session.has_spoken = true;
		answered = answer_message(stream, (size_t)n);
	}
	return answered;
}

void starttls_forget(struct stream *stream)
{
	free(stream->starttls);
	stream->starttls = NULL;
}
