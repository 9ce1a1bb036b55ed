/* Requests for a handover, in a line: those that wait, or those that a channel keeps. */
#pragma once

struct handover_request;

struct handover_line {
	struct handover_request *first, *last;
};

void line_append(struct handover_line *line, struct handover_request *request);
void line_prepend(struct handover_line *line, struct handover_request *request);
void line_remove(struct handover_line *line, struct handover_request *request);
