/* Requests in a line, linked through themselves. Owns none of them. */
#include "handover_line.h"
#include "handover.h"

void line_append(struct handover_line *line, struct handover_request *request)
{
	request->next = NULL;
	request->previous = line->last;
	if (line->last)
		line->last->next = request;
	else
		line->first = request;
	line->last = request;
}

void line_prepend(struct handover_line *line, struct handover_request *request)
{
	request->previous = NULL;
	request->next = line->first;
	if (line->first)
		line->first->previous = request;
	else
		line->last = request;
	line->first = request;
}

void line_remove(struct handover_line *line, struct handover_request *request)
{
	if (request->previous)
		request->previous->next = request->next;
	else
		line->first = request->next;
	if (request->next)
		request->next->previous = request->previous;
	else
		line->last = request->previous;
	request->next = request->previous = NULL;
}
