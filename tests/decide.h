/* Decisions for tests, fuzzers and benches: with a scratch that fits every decider that it is asked for. */
#pragma once
#include "decider.h"
#include <stdlib.h>

static inline void decider_ask(const struct decider *decider, const struct evidence *evidence,
	struct findings *findings, struct outcome *ret)
{
	static struct decider_scratch *scratch;

	if (!scratch)
		scratch = decider_scratch_new();
	if (!scratch || decider_scratch_fit(scratch, decider) < 0)
		abort();
	decider_decide(decider, evidence, findings, scratch, ret);
}
