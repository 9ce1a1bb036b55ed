/* One look at a connection's evidence. Consumes nothing: what is peeked stays in the socket, and the worker's one buffer is free again
 * after the look. Decides nothing about delivery. The names that it keeps are the connection's to free. */
#include "examine.h"
#include "connection.h"
#include "decider.h"
#include "identify.h"
#include "undecided.h"
#include "worker.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* The findings point into bytes that the next connection overwrites. */
static void keep_names(struct connection *connection, const struct findings *findings)
{
	const enum attribute kept[] = { ATTRIBUTE_SNI, ATTRIBUTE_ALPN, ATTRIBUTE_HOST };
	const char **names[] = { &connection->sni, &connection->alpn, &connection->host };
	size_t size = 0;

	/* A name with bytes that had to be escaped is not the one that the client offers. */
	connection->offers_one_alpn = findings->attribute[ATTRIBUTE_ALPN].count == 1 &&
		!memchr(findings->attribute[ATTRIBUTE_ALPN].value[0].at, '%',
			findings->attribute[ATTRIBUTE_ALPN].value[0].len);
	for (int i = 0; i < 3; i++)
		if (findings->attribute[kept[i]].count)
			size += findings->attribute[kept[i]].value[0].len + 1;
	if (size == 0 || !(connection->names = scraps_take(&connection->worker->scraps, size)))
		return;
	char *to = connection->names;
	for (int i = 0; i < 3; i++) {
		const struct finding *finding = &findings->attribute[kept[i]];
		if (!finding->count)
			continue;
		memcpy(to, finding->value[0].at, finding->value[0].len);
		to[finding->value[0].len] = '\0';
		*names[i] = to;
		to += finding->value[0].len + 1;
	}
}

/* Only with bytes that no identifier has seen yet, or with the news that there will be no more; one question at a time. */
static void ask_identifiers(struct connection *connection, const struct evidence *evidence, bool final)
{
	if (connection->identification || (evidence->len <= connection->asked && !final))
		return;
	connection->asked = final ? UINT32_MAX : (uint32_t)evidence->len;
	connection->identification =
		identify(connection->worker->identifiers, evidence, final, undecided_identified, connection);
	if (!connection->identification)
		connection->asked = UINT32_MAX;
}

/* They have not answered, or could answer otherwise with more bytes. */
static bool may_be_named(const struct connection *connection)
{
	return connection->worker->identifiers && connection->named == PROTOCOL_NONE &&
		(connection->identification || connection->asked != UINT32_MAX);
}

static enum examined conclude(
	const struct outcome *outcome, bool settled, bool closed, uint32_t *ret_service, uint32_t *ret_protocol)
{
	*ret_service = outcome->yes;
	*ret_protocol = outcome->protocol;
	if (outcome->yes != SERVICE_NONE)
		return EXAMINED_SERVICE;
	if (settled)
		return EXAMINED_UNKNOWN;
	return closed ? EXAMINED_GONE : EXAMINED_SILENT;
}

/* Who was shown a banner is somebody's who says the like. */
static const struct decider *examine_decider(const struct connection *connection)
{
	const struct policy *policy = connection->worker->policy;
	const struct banner *banner = connection->banner;

	if (banner && banner->known)
		return policy->listeners[connection->decider].banner_deciders[banner->kind];
	return policy->deciders[connection->decider];
}

enum examined examine(struct connection *connection, bool last, uint32_t *ret_service, uint32_t *ret_protocol)
{
	struct worker *worker = connection->worker;
	bool is_cut;
	ssize_t n = connection_peek(connection, EVIDENCE_MAX, &is_cut);

	if (n == 0)
		return EXAMINED_GONE;
	if (n < 0 && n != -EAGAIN && n != -EINTR)
		return EXAMINED_RESET;
	if (n < 0)
		return last ? EXAMINED_SILENT : EXAMINED_WAIT;

	connection->has_spoken = true;
	struct evidence evidence = {
		.bytes = worker->peeked,
		.len = (size_t)n,
		.greeting =
			connection->banner && connection->banner->known ? 1 + (uint8_t)connection->banner->kind : 0,
		.serial = connection->id,
		.named = connection->named + 1, /* none is 0 */
		.may_be_named = may_be_named(connection),
		.search_over = connection->search == SEARCH_OVER,
	};
	if (connection->search == SEARCH_NONE)
		connection->search = SEARCH_DUE;
	struct outcome outcome;
	decider_decide(examine_decider(connection), &evidence, worker->findings, &outcome);

	connection->client_waits = worker->findings->client_waits;
	bool settled = outcome.more == SERVICE_NONE;
	bool full = n == EVIDENCE_MAX || is_cut;
	bool closed = connection->client_events & (EPOLLRDHUP | EPOLLHUP);
	if (!settled && !last && outcome.ask)
		ask_identifiers(connection, &evidence, closed || full);
	if (!settled && !last && (connection->identification || !(closed || full)))
		return EXAMINED_WAIT;
	keep_names(connection, worker->findings);
	report_keep(connection, evidence.bytes, evidence.len);
	return conclude(&outcome, settled || full, closed, ret_service, ret_protocol);
}
