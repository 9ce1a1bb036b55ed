/* The TLS probe: at every cut, and with the same hello in records of another size.
 *
 * Input: the bytes of a connection. Beside that, the input without its first two bytes is taken as a
 * handshake message, which goes once in whole records and once in records of the size in those two bytes; the
 * probe must not see a difference. */
#include "../unit/cuts.h"
#include "../unit/tls_records.h"
#include "fuzz.h"

#define DENSE 256

static void records_compare(const uint8_t *message, size_t len, size_t record_len)
{
	static uint8_t whole[20000], torn[EVIDENCE_MAX];
	static struct answer a, b;

	/* A message that is longer than it says is refused, but torn ones only once that shows. */
	if (len < 4 || len > 16384 || record_len == 0 ||
		((size_t)message[1] << 16 | (size_t)message[2] << 8 | message[3]) + 4 < len)
		return;
	size_t whole_len = records_cut(whole, sizeof(whole), message, len, 16384);
	size_t torn_len = records_cut(torn, sizeof(torn), message, len, record_len);
	if (torn_len == 0)
		return;
	answer_get(&a, probe_find("tls"), whole, whole_len);
	answer_get(&b, probe_find("tls"), torn, torn_len);
	if (a.verdict != b.verdict)
		abort();
	for (int i = 0; i < ATTRIBUTE_COUNT; i++)
		if (!answer_equal(&a, &b, i))
			abort();
	if (cuts_check(probe_find("tls"), torn, torn_len, DENSE))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (cuts_check(probe_find("tls"), data, size, DENSE))
		abort();
	if (size > 2)
		records_compare(data + 2, size - 2, (size_t)(data[0] & 0x3f) << 8 | data[1]);
	return 0;
}
