/* What a stream is, whatever it is doing: its client's socket. */
#include "stream.h"
#include "peek.h"
#include "tcpmux_reply.h"

struct stream *stream_of(struct session *session)
{
	return container_of(session, struct stream, session);
}

int stream_socket(const struct stream *stream)
{
	return stream->relay.client.in.fd;
}

ssize_t stream_peek(struct stream *stream, size_t size, bool *ret_is_cut)
{
	return peek(stream_socket(stream), stream->session.context->peeked, size, stream->client_events & EPOLLPRI,
		ret_is_cut);
}

bool stream_watch(struct stream *stream)
{
	if (loop_watch_held(&stream->session.context->loop, &stream->relay.client.in, RELAY_EVENTS) == 0)
		return true;
	stream_end(stream, END_NO_MEMORY);
	return false;
}

void stream_reply(struct stream *stream, const char *why)
{
	if (!stream->owes_reply)
		return;
	stream->owes_reply = false;
	if (why)
		tcpmux_refuse(stream_socket(stream), why);
	else
		tcpmux_accept(stream_socket(stream));
}
