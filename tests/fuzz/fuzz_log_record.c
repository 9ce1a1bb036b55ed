/* Any bytes as values of a log record: the line stays one line of printable ASCII within its bounds, and JSON stays JSON.
 *
 *     byte 0: format and timestamps    then pieces: kind, length (2 bytes), bytes */
#include "../unit/json_strict.h"
#include "fuzz.h"
#include "log.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void put_piece(struct record *record, unsigned kind, const uint8_t *bytes, size_t len)
{
	uint64_t number = 0;
	struct address address = { .len = (socklen_t)len };

	memcpy(&number, bytes, len < sizeof(number) ? len : sizeof(number));
	memcpy(&address.un, bytes, len < sizeof(address.un) ? len : sizeof(address.un));
	switch (kind % 4) {
	case 0:
		record_bytes(record, "bytes", bytes, len);
		break;
	case 1:
		record_number(record, "number", number);
		break;
	case 2:
		record_ms(record, "ms", number);
		break;
	case 3:
		record_address(record, "address", &address);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record record;

	if (size == 0)
		return 0;
	struct log_settings settings = {
		.level = LEVEL_INFO,
		.format = data[0] & 1 ? LOG_JSON : LOG_TEXT,
		.timestamps = data[0] & 2,
	};
	log_setup(2, &settings);
	record_begin(&record, LEVEL_INFO, "event");
	for (size_t at = 1; at + 3 <= size;) {
		unsigned kind = data[at];
		size_t len = (size_t)data[at + 1] << 8 | data[at + 2];
		at += 3;
		if (len > size - at)
			len = size - at;
		put_piece(&record, kind, data + at, len);
		at += len;
	}
	record_end(&record);
	require(record.len > 4 && record.len <= LOG_LINE_MAX);
	require(memcmp(record.line, "<6>", 3) == 0 && record.line[record.len - 1] == '\n');
	for (size_t i = 0; i + 1 < record.len; i++)
		require(record.line[i] >= 0x20 && record.line[i] < 0x7f);
	if (settings.format == LOG_JSON)
		require(json_is_strict(record.line + 3, record.len - 4));
	return 0;
}
