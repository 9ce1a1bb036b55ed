/* A silent client is shown what the server of a service says first: the backend is connected to and what it says goes to the
 * client, while the client is still to be told apart by what it answers. */
#pragma once
#include "dial.h"
#include "server_banner.h"

struct stream;

struct banner {
	struct stream *stream;
	void (*whole)(struct stream *stream);
	struct dial dial;
	uint32_t service;
	uint32_t server_events; /* all that were seen: edges are not repeated */
	bool connected;
	bool shown;              /* the client has got some of it */
	bool known;              /* it is whole, and of this kind */
	enum server_banner kind; /* once known */
	size_t len;
	uint8_t said[SERVER_BANNER_MAX];
};

/* The client has said nothing for long. Does nothing where the service may not have it, or there is no memory. `whole`: it was shown
 * a whole banner that others say as well, so that its answer decides. */
void banner_begin(struct stream *stream, void (*whole)(struct stream *stream));

/* Closes the backend and forgets it. Harmless where there is none. */
void banner_end(struct stream *stream);

/* Forgets it, but leaves the backend's socket in the relay, watched. Returns the events that were seen there, and how many
 * bytes of its server the client has got. */
uint32_t banner_leave(struct stream *stream, size_t *ret_shown);
