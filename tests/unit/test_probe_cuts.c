/* The hellos of real clients, whole, cut and damaged, under every probe. */
#include "cuts.h"
#include "probe_example.h"
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MUTATIONS 40 /* for each sample and probe */

static uint64_t seed = 20240607;

static uint32_t draw(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(seed >> 33) % below;
}

/* The values of an attribute as the samples have them. */
static void values_print(char *dst, size_t size, const struct finding *finding)
{
	size_t at = 0;

	dst[0] = 0;
	for (size_t i = 0; i < finding->count; i++)
		at += (size_t)snprintf(dst + at, size - at, "%s%.*s", i > 0 ? " " : "", (int)finding->value[i].len,
			(const char *)finding->value[i].at);
}

/* What cannot be helped, as the manual says: any bytes at all; any word on a line of its own; the three bytes after which a
 * SOCKS 5 client waits, and the two of an old Minecraft. */
static bool overlap_is_known(const struct probe *probe, const struct sample *sample, enum verdict verdict)
{
	if (probe->stream == probe_any || probe->stream == probe_tcpmux)
		return true;
	if (strcmp(sample->name, "minecraft_old_ping") == 0)
		return verdict == VERDICT_MORE;
	return probe->stream == probe_mongodb && verdict == VERDICT_MORE && sample->len == 3 &&
		strcmp(sample->protocol, "socks5") == 0;
}

static void real_clients_are_told_apart(void **state)
{
	static struct findings findings;

	for (size_t i = 0; i < N_SAMPLES; i++) {
		for (size_t k = 0; k < n_probes; k++) {
			uint32_t end = (uint32_t)samples[i].len;
			struct evidence evidence = { .bytes = samples[i].bytes,
				.len = samples[i].len,
				.ends = &end,
				.n_datagrams = samples[i].is_datagram };
			findings_reset(&findings);
			findings.wanted = UINT32_MAX;
			enum verdict verdict = probe_run(&probes[k], &evidence, &findings);
			bool is_it = strcmp(probes[k].name, samples[i].protocol) == 0;
			if (!is_it && overlap_is_known(&probes[k], &samples[i], verdict))
				continue;
			if (verdict != (is_it ? VERDICT_YES : VERDICT_NO))
				fail_msg("%s: %s says %d", samples[i].name, probes[k].name, verdict);
			for (int a = 0; is_it && a < ATTRIBUTE_COUNT; a++) {
				char text[4096];
				values_print(text, sizeof(text), &findings.attribute[a]);
				assert_string_equal(text, samples[i].value[a] ? samples[i].value[a] : "");
				assert_int_equal(findings.settled >> a & 1, probes[k].attributes >> a & 1);
			}
		}
	}
}

static bool is_meant(const char *protocol, const struct probe *probe)
{
	return strcmp(protocol, probe->name) == 0 || probe->stream == probe_any;
}

/* A word on a line of its own is what TCPMUX wants, and others have such words: `usher check` warns. */
static bool is_shared(const struct probe_example *example, const struct probe *probe)
{
	const uint8_t *end = memchr(example->bytes, '\n', example->len);

	return probe->stream == probe_tcpmux && end && !memchr(example->bytes, ' ', (size_t)(end - example->bytes));
}

static void examples_are_their_own(void **state)
{
	static struct findings findings;

	for (size_t k = 0; k < n_probes; k++) {
		bool has_stream = !probes[k].stream || probes[k].stream == probe_any;
		bool has_datagram = !probes[k].datagram || probes[k].datagram == probe_any;
		for (size_t i = 0; i < n_probe_examples; i++) {
			const struct probe_example *example = &probe_examples[i];
			const uint32_t end = (uint32_t)example->len;
			struct evidence evidence = { .bytes = example->bytes,
				.len = example->len,
				.ends = &end,
				.n_datagrams = example->is_datagram };
			findings_reset(&findings);
			enum verdict verdict = probe_run(&probes[k], &evidence, &findings);
			bool is_it = is_meant(example->protocol, &probes[k]);
			has_stream |= is_it && !example->is_datagram;
			has_datagram |= is_it && example->is_datagram;
			if (is_it != (verdict == VERDICT_YES) &&
				!(verdict == VERDICT_YES && is_shared(example, &probes[k])))
				fail_msg("%s: example %zu (%s) is %d", probes[k].name, i, example->protocol, verdict);
		}
		if (!has_stream || !has_datagram)
			fail_msg("%s has no example in probe_example.c", probes[k].name);
	}
}

static void every_cut_gives_the_same_answer(void **state)
{
	for (size_t i = 0; i < N_SAMPLES; i++)
		for (size_t k = 0; k < n_probes; k++)
			assert_null(cuts_check(&probes[k], samples[i].bytes, samples[i].len, EVIDENCE_MAX));
}

static void datagrams_are_answered_at_once(void **state)
{
	for (size_t i = 0; i < N_SAMPLES; i++)
		for (size_t k = 0; k < n_probes; k++)
			for (size_t len = 1; probes[k].datagram && len <= samples[i].len; len++)
				assert_null(datagram_check(&probes[k], samples[i].bytes, len));
}

/* One damage: a byte changed, a byte out, a run doubled, or the tail of another sample. */
static size_t mutate(uint8_t *bytes, size_t len, size_t room)
{
	size_t at = draw((uint32_t)len), n;
	const struct sample *other;

	switch (draw(5)) {
	case 0:
		bytes[at] = (uint8_t)draw(256);
		return len;
	case 1:
		bytes[at] ^= (uint8_t)(1U << draw(8));
		return len;
	case 2:
		memmove(bytes + at, bytes + at + 1, len - at - 1);
		return len > 1 ? len - 1 : len;
	case 3:
		n = draw(24) + 1;
		if (n > len - at || len + n > room)
			return len;
		memmove(bytes + at + n, bytes + at, len - at);
		return len + n;
	default:
		other = &samples[draw(N_SAMPLES)];
		n = at < other->len ? other->len - at : 0;
		if (n == 0 || at + n > room)
			return len;
		memcpy(bytes + at, other->bytes + at, n);
		return at + n;
	}
}

static void damaged_hellos_never_take_an_answer_back(void **state)
{
	uint8_t bytes[2048];

	for (size_t i = 0; i < N_SAMPLES; i++) {
		for (int round = 0; round < MUTATIONS; round++) {
			size_t len = samples[i].len;
			memcpy(bytes, samples[i].bytes, len);
			for (uint32_t n = draw(4) + 1; n > 0; n--)
				len = mutate(bytes, len, sizeof(bytes));
			for (size_t k = 0; k < n_probes; k++) {
				assert_null(cuts_check(&probes[k], bytes, len, 200));
				if (probes[k].datagram)
					assert_null(datagram_check(&probes[k], bytes, len));
			}
		}
	}
}

static void random_bytes_never_take_an_answer_back(void **state)
{
	static const char alphabet[] = "\x16\x03\x01\x00\x02 \r\n:/.-AGETHSPRIhost12";
	uint8_t bytes[64];

	for (int round = 0; round < 8000; round++) {
		size_t len = draw(sizeof(bytes)) + 1;
		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)alphabet[draw(sizeof(alphabet) - 1)];
		for (size_t k = 0; k < n_probes; k++)
			assert_null(cuts_check(&probes[k], bytes, len, sizeof(bytes)));
	}
}

static void each_probe_is_found_by_its_name(void **state)
{
	for (size_t i = 0; i < n_probes; i++)
		assert_ptr_equal(probe_find(probes[i].name), &probes[i]);
	assert_null(probe_find("gopher"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_clients_are_told_apart),
		cmocka_unit_test(examples_are_their_own),
		cmocka_unit_test(every_cut_gives_the_same_answer),
		cmocka_unit_test(datagrams_are_answered_at_once),
		cmocka_unit_test(damaged_hellos_never_take_an_answer_back),
		cmocka_unit_test(random_bytes_never_take_an_answer_back),
		cmocka_unit_test(each_probe_is_found_by_its_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
