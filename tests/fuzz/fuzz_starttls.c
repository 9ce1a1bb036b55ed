/* What either side says in a conversation about TLS: the same is said, and the same comes of it, however it is cut; and the probe that begins
 * one never takes a verdict back. The first byte is the kind and the side, the second where the bytes are cut. */
#include "../unit/starttls_talks.h"
#include "fuzz.h"

static void probe_at_every_cut(enum starttls_kind kind, const uint8_t *data, size_t size)
{
	static struct findings findings;
	enum verdict old = VERDICT_MORE;

	for (size_t len = 1; len <= size && len <= 512; len++) {
		struct evidence evidence = { .bytes = data, .len = len };
		findings_reset(&findings);
		enum verdict verdict = probe_run(starttls_probe(kind), &evidence, &findings);
		require(old == VERDICT_MORE || verdict == old);
		old = verdict;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct talk whole, cut, bytes;

	if (size < 2)
		return 0;
	enum starttls_kind kind = (enum starttls_kind)(data[0] / 2 % STARTTLS_KINDS);
	bool is_server = data[0] & 1;
	size_t at = data[1];
	data += 2;
	size -= 2;
	probe_at_every_cut(kind, data, size);
	talk_begin(&whole, kind, is_server);
	talk_hear(&whole, data, size);
	talk_begin(&cut, kind, is_server);
	talk_hear(&cut, data, at < size ? at : size);
	talk_hear(&cut, data, size);
	require(talk_is_like(&whole, &cut));
	talk_begin(&bytes, kind, is_server);
	for (size_t len = 0; len <= size && len <= 2048; len++)
		talk_hear(&bytes, data, len);
	require(size > 2048 || talk_is_like(&whole, &bytes));
	require(whole.step != STARTTLS_MORE || size - whole.taken < STARTTLS_MESSAGE_MAX);
	return 0;
}
