/* A client that asks for TLS within another protocol: answered in its server's place until it is TLS' turn. What it says then tells whose it
 * is. */
#pragma once
#include "starttls.h"
#include <stdbool.h>

struct stream;

/* The conversation begins, with its first words where there are any. 0, -ENOMEM, or -EPIPE: they do not go out. */
int starttls_answer_begin(struct stream *stream, enum starttls_kind kind);

enum starttls_answered {
	ANSWERED_WAIT,
	ANSWERED_AGREED, /* to TLS: what comes now is to be a ClientHello */
	ANSWERED_WRONG,  /* it said what has no answer */
	ANSWERED_GONE,
	ANSWERED_RESET,
};

/* Takes each whole message that is there and answers it, up to the request for TLS. */
enum starttls_answered starttls_answer(struct stream *stream);

/* The conversation is forgotten. Harmless where there is none. */
void starttls_forget(struct stream *stream);
