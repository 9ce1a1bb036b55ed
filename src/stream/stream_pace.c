/* Gives relays of services with `bandwidth` or `total_bandwidth` their paces. A relay without has none, and costs nothing more for it. Owns
 * the lines of its worker, one a service and direction, made when they are first needed. */
#include "stream_pace.h"
#include "relay_pool.h"
#include "stream.h"
#include <errno.h>
#include <stdlib.h>

enum direction { DOWNWARDS, UPWARDS, DIRECTIONS };

/* *ret NULL: the service has no such limit. 0 or -ENOMEM. */
static int line_of(
	struct context *context, const struct service *service, enum direction direction, struct pace_line **ret)
{
	const struct bandwidth *total = &service->total_bandwidth;
	const struct byte_rate *rate = direction == UPWARDS ? &total->up : &total->down;
	size_t number = (size_t)(service - context->policy->services);
	struct pace_line **line = &context->pace_lines[number * DIRECTIONS + direction];

	if (!*line && rate->each_s) {
		*line = malloc(sizeof(**line));
		if (!*line)
			return -ENOMEM;
		pace_line_init(*line, &context->loop, &context->shared->page->paces,
			pace_table_key(service->name, direction, rate), *rate);
	}
	*ret = *line;
	return 0;
}

int stream_pace(struct stream *stream, const struct service *service)
{
	struct context *context = stream->session.context;
	struct relay *relay = &stream->relay;
	struct pace_line *up, *down;

	if (!service || (!service->bandwidth.text && !service->total_bandwidth.text))
		return 0;
	if (line_of(context, service, UPWARDS, &up) < 0 || line_of(context, service, DOWNWARDS, &down) < 0)
		return -ENOMEM;
	relay->paces = relay_pool_take_paces(context->relay_pool);
	if (!relay->paces)
		return -ENOMEM;
	pace_init(&relay->paces->up, &context->loop, &relay->turn, service->bandwidth.up, up);
	pace_init(&relay->paces->down, &context->loop, &relay->turn, service->bandwidth.down, down);
	return 0;
}

void stream_paces_free(struct context *context)
{
	for (size_t i = 0; context->pace_lines && i < context->policy->n_services * DIRECTIONS; i++)
		free(context->pace_lines[i]);
	free(context->pace_lines);
	context->pace_lines = NULL;
}
