/* What systemd, or whoever else started usher with NOTIFY_SOCKET, is told (sd_notify(3)). */
#pragma once
#include "loop.h"

struct notify {
	struct loop *loop;
	const char *state; /* that there was no room for; NULL: none */
	struct timer again;
};

void notify_init(struct notify *notify, struct loop *loop);

/* A state such as "READY=1", a literal. A queue that is full is not waited for: it is sent later, unless another has taken its place. */
void notify_send(struct notify *notify, const char *state);
