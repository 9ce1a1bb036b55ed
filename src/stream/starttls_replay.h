/* A server is asked for TLS in the place of its client, which has asked already. */
#pragma once
#include "starttls.h"

struct stream;

/* It was connected to: what the client says first goes there, behind a PROXY header that was sent. Then each time that something has come from
 * it. TLS: it agrees, its answer is consumed, and what follows is between it and the client. ON and MORE: it has not said so yet. REFUSED: it
 * does not, or is gone. */
enum starttls_step starttls_replay_begin(struct stream *stream);
enum starttls_step starttls_replay(struct stream *stream);
