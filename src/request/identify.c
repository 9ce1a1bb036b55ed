/* One question through all identifiers, in order, until one gives a name that the policy knows. Owns the questions and the
 * ways of asking; programs are the master's. Whatever an identifier does wrong is a NO of its own. */
#include "identify.h"
#include "identify_ways.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct identifiers {
	struct loop *loop;
	const struct policy *policy;
	struct once_way **once; /* one an identifier, NULL where it is of the other way */
	struct stream_way **stream;
	uint32_t *names; /* the protocols that identifiers can name, by their names */
	size_t n_names;
};

static void identification_forget(struct identification *identification)
{
	struct identifiers *identifiers = identification->identifiers;
	size_t number = identification->number;

	if (number >= identifiers->policy->n_identifiers)
		return;
	if (identifiers->once[number])
		once_forget(identifiers->once[number], identification);
	else
		stream_forget(identifiers->stream[number], identification);
}

static void identification_end(struct identification *identification, uint32_t protocol)
{
	loop_timer_stop(identification->identifiers->loop, &identification->patience);
	identification->done(
		identification->context, protocol, identification->more_could_help && !identification->closed);
	free(identification);
}

/* Asks the identifier whose turn it is. One that cannot be asked has said NO, but says it later. The timer runs, or has run
 * just now: there is room for it. */
static void identification_ask(struct identification *identification)
{
	struct identifiers *identifiers = identification->identifiers;
	size_t number = identification->number;

	if (number == identifiers->policy->n_identifiers) {
		identification_end(identification, PROTOCOL_NONE);
		return;
	}
	int error = identifiers->once[number] ? once_ask(identifiers->once[number], identification)
					      : stream_ask(identifiers->stream[number], identification);
	uint64_t wait_us = error < 0 ? 0 : identifiers->policy->identifiers[number].timeout_us;
	loop_timer(identifiers->loop, &identification->patience, identifiers->loop->now_us + wait_us);
}

static void identification_next(struct identification *identification)
{
	identification->number++;
	identification_ask(identification);
}

static void identification_out_of_patience(struct timer *timer)
{
	struct identification *identification = container_of(timer, struct identification, patience);
	struct stream_way *stream = identification->identifiers->stream[identification->number];

	identification_forget(identification);
	identification_next(identification);
	if (stream)
		stream_timed_out(stream);
}

static uint32_t protocol_by_name(const struct identifiers *identifiers, const char *name)
{
	const struct protocol *protocols = identifiers->policy->protocols;

	for (size_t low = 0, high = identifiers->n_names; low < high;) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, protocols[identifiers->names[middle]].name);
		if (order == 0)
			return identifiers->names[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return PROTOCOL_NONE;
}

void identification_answer(struct identification *identification, enum answer answer, const char *name)
{
	uint32_t protocol = PROTOCOL_NONE;

	if (answer == ANSWER_NAME)
		protocol = protocol_by_name(identification->identifiers, name);
	if (answer == ANSWER_MORE)
		identification->more_could_help = true;
	if (protocol != PROTOCOL_NONE)
		identification_end(identification, protocol);
	else
		identification_next(identification);
}

struct identification *identify(struct identifiers *identifiers, const struct evidence *evidence, bool closed,
	identified_function *done, void *context)
{
	size_t len = evidence->len < IDENTIFY_STREAM_BYTES ? evidence->len : IDENTIFY_STREAM_BYTES;
	struct identification *identification =
		identifiers->policy->n_identifiers ? malloc(sizeof(*identification) + len) : NULL;

	if (!identification)
		return NULL;
	*identification = (struct identification){
		.identifiers = identifiers,
		.closed = closed,
		.patience = { .fired = identification_out_of_patience },
		.done = done,
		.context = context,
		.len = len,
	};
	memcpy(identification->bytes, evidence->bytes, len);
	/* Without a timer it might wait for ever. Once it runs, moving it cannot fail. */
	if (loop_timer(identifiers->loop, &identification->patience, UINT64_MAX) < 0) {
		free(identification);
		return NULL;
	}
	identification_ask(identification);
	/* There is an identifier to ask, so it has not ended. NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	return identification;
}

void identification_cancel(struct identification *identification)
{
	if (!identification)
		return;
	identification_forget(identification);
	loop_timer_stop(identification->identifiers->loop, &identification->patience);
	free(identification);
}

void identifiers_exited(struct identifiers *identifiers, uint64_t number, int status)
{
	for (size_t i = 0; identifiers && i < identifiers->policy->n_identifiers; i++)
		if (identifiers->once[i])
			once_exited(identifiers->once[i], number, status);
		else
			stream_exited(identifiers->stream[i], number);
}

/* ---- all of a worker's ----------------------------------------------------------------------------------------------- */

static int names_compare(const void *a, const void *b, void *context)
{
	const struct protocol *protocols = context;
	return strcmp(protocols[*(const uint32_t *)a].name, protocols[*(const uint32_t *)b].name);
}

static int identifiers_index_names(struct identifiers *identifiers)
{
	const struct policy *policy = identifiers->policy;

	identifiers->names = calloc(policy->n_protocols + 1, sizeof(*identifiers->names));
	if (!identifiers->names)
		return -ENOMEM;
	for (uint32_t i = 0; i < policy->n_protocols; i++)
		if (policy->protocols[i].is_external)
			identifiers->names[identifiers->n_names++] = i;
	qsort_r(identifiers->names, identifiers->n_names, sizeof(*identifiers->names), names_compare,
		policy->protocols);
	return 0;
}

static int identifiers_make_ways(struct identifiers *identifiers, struct requester *requester)
{
	const struct policy *policy = identifiers->policy;

	identifiers->once = calloc(policy->n_identifiers, sizeof(struct once_way *));
	identifiers->stream = calloc(policy->n_identifiers, sizeof(struct stream_way *));
	bool made = identifiers->once && identifiers->stream;
	for (size_t i = 0; made && i < policy->n_identifiers; i++) {
		const struct identifier *identifier = &policy->identifiers[i];
		if (identifier->mode == IDENTIFIER_ONCE)
			made = (identifiers->once[i] = once_way_new(identifiers->loop, requester, identifier, i));
		else
			made = (identifiers->stream[i] = stream_way_new(identifiers->loop, requester, identifier, i));
	}
	return made ? 0 : -ENOMEM;
}

int identifiers_new(
	struct identifiers **ret, struct loop *loop, struct requester *requester, const struct policy *policy)
{
	struct identifiers *identifiers = calloc(1, sizeof(*identifiers));

	if (!identifiers)
		return -ENOMEM;
	*identifiers = (struct identifiers){ .loop = loop, .policy = policy };
	int error = identifiers_index_names(identifiers);
	if (error == 0)
		error = identifiers_make_ways(identifiers, requester);
	if (error < 0) {
		identifiers_free(identifiers);
		return error;
	}
	*ret = identifiers;
	return 0;
}

void identifiers_free(struct identifiers *identifiers)
{
	if (!identifiers)
		return;
	for (size_t i = 0; i < identifiers->policy->n_identifiers; i++) {
		if (identifiers->once)
			once_way_free(identifiers->once[i]);
		if (identifiers->stream)
			stream_way_free(identifiers->stream[i]);
	}
	free(identifiers->once);
	free(identifiers->stream);
	free(identifiers->names);
	free(identifiers);
}
