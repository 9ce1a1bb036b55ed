/* Asks external identifiers what a session's first bytes are. Identifiers are programs of the operator's, run by the master:
 * one for each question (mode "once"), or kept and asked over pipes (mode "stream", usher.conf(5)).
 *
 * They are asked in the order of the policy until one gives a name that the policy knows. One that is slow, dies or talks rubbish
 * costs the sessions that wait for it the time that it may take, and counts as NO. */
#pragma once
#include "evidence.h"
#include "loop.h"
#include "policy.h"
#include "requester.h"

struct identifiers;    /* one a worker */
struct identification; /* one question, through all identifiers */

int identifiers_new(
	struct identifiers **ret, struct loop *loop, struct requester *requester, const struct policy *policy);
void identifiers_free(struct identifiers *identifiers); /* accepts NULL */

/* The protocol, or PROTOCOL_NONE and whether more bytes could have helped. */
typedef void identified_function(void *context, uint32_t protocol, bool more_could_help);

/* `closed`: no more bytes will come. `done` is called once, later. NULL when it cannot be asked; then `done` is not called. */
struct identification *identify(struct identifiers *identifiers, const struct evidence *evidence, bool closed,
	identified_function *done, void *context);
void identification_cancel(struct identification *identification); /* accepts NULL */

/* The program that was started for the request of this number has ended. Accepts NULL. */
void identifiers_exited(struct identifiers *identifiers, uint64_t number, int status);
