/* Fills in what each dial on behalf of a stream has alike. */
#include "stream_dial.h"
#include "access.h"
#include "backends.h"
#include "client_name.h"
#include "dial.h"
#include "self_connection.h"
#include "stream.h"
#include <errno.h>

static bool dial_reaches(const struct dial *dial, const struct address *address)
{
	return client_name_reaches(dial->target, address);
}

int stream_dial_init(struct dial *ret, struct stream *stream, uint32_t number)
{
	struct context *context = stream->session.context;
	const struct service *service = &context->policy->services[number];
	const struct target *target = &service->target;

	stream->relay.server.kind = SIDE_SOCKET;
	*ret = (struct dial){
		.loop = &context->loop,
		.lookup = context->lookup,
		.target = target,
		.choice = {
			.hash = backends_hash(&stream->session, target),
		},
		.fresh = target->connect.resolves,
		.keepalive_s = target->connect.keepalive_s,
		.patience_ms = service->patience_ms,
		.from = target->connect.transparent ? &stream->session.client : NULL,
		.socket_pool = context->sockets,
		.socket = &stream->relay.server.in,
		.is_ours = self_connection_reached,
		.context = stream,
	};
	if (target->connect.name_by != NAME_BY_FILE) {
		ret->source = access_source(&stream->session.client);
		ret->reaches = dial_reaches;
		return client_name(&stream->session, target, &ret->name);
	}
	ret->choice.chooser = backends_chooser(context, number, TRANSPORT_STREAM);
	return ret->choice.chooser ? 0 : -ENOMEM;
}
