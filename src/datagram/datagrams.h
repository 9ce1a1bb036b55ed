/* What a worker has for datagrams: its sockets of the listeners, its flows, and the scratch that all of them share. One a worker whose policy
 * has a UDP listener. */
#pragma once
#include "context.h"
#include "session.h"

struct datagrams;

extern const struct transport flow_transport;

int datagrams_new(struct context *context, struct datagrams **ret); /* 0 or -errno */
void datagrams_free(struct datagrams *datagrams);                   /* its flows have ended; accepts NULL */

/* A socket of the policy's listener, its place among these; it is taken over, and read from datagrams_resume() on. 0 or -errno. */
int datagrams_listen(struct datagrams *datagrams, int fd, size_t listener, uint32_t place);

/* Reads nothing until datagrams_resume(): what clients send waits in the sockets. The answers to flows go on. */
void datagrams_hold(struct datagrams *datagrams);
void datagrams_resume(struct datagrams *datagrams);

/* No new flows any more; those that there are go on. */
void datagrams_drain(struct datagrams *datagrams);

/* usher ends, and waits for flows no longer than something passes in them. */
void datagrams_finish(struct datagrams *datagrams);

/* The flows that are still here end, and the sockets are closed: others have them now, or are to bind the port. */
void datagrams_close(struct datagrams *datagrams);
