/* STARTTLS, with the server. Its answers are read one by one and consumed, since the client has had others in their place; behind the last of
 * them nothing is. Refuses a server that wants no TLS, or says more than the conversation may have. Owns nothing. */
#include "starttls_replay.h"
#include "ipc.h"
#include "stream.h"
#include <errno.h>
#include <sys/socket.h>

static enum starttls_step replay_say(struct stream *stream, enum starttls_step step)
{
	const struct starttls *starttls = stream->starttls;

	if (starttls->say_len == 0)
		return step;
	ssize_t n = send(stream->relay.server.in.fd, starttls->say, starttls->say_len, MSG_DONTWAIT | MSG_NOSIGNAL);
	stream->relay.server.written = true;
	return n == starttls->say_len ? step : STARTTLS_REFUSED;
}

enum starttls_step starttls_replay_begin(struct stream *stream)
{
	if (stream->relay.preface) /* the header did not go out whole, so nothing can follow yet */
		return STARTTLS_REFUSED;
	starttls_meet_server(stream->starttls);
	enum starttls_step step = replay_say(stream, STARTTLS_MORE);
	return step == STARTTLS_MORE ? starttls_replay(stream) : step;
}

enum starttls_step starttls_replay(struct stream *stream)
{
	uint8_t *bytes = stream->session.context->peeked;
	int server = stream->relay.server.in.fd;
	enum starttls_step step;
	size_t taken;
	bool unused;

	do {
		ssize_t n = recv(server, bytes, STARTTLS_MESSAGE_MAX, MSG_PEEK | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return STARTTLS_MORE;
		if (n <= 0)
			return STARTTLS_REFUSED;
		step = starttls_hear_server(stream->starttls, bytes, (size_t)n, &taken);
		if (step == STARTTLS_MORE)
			return step;
		if (ipc_receive_bytes(server, bytes, taken, 0, &unused) != (ssize_t)taken)
			return STARTTLS_REFUSED;
		step = replay_say(stream, step);
	} while (step == STARTTLS_ON);
	return step;
}
