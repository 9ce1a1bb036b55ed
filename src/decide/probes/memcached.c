/* memcached by its first command: "protocol.txt" and "protocol-binary.txt" of its sources.
 *
 *     get KEY\r\n                                     text, in lower case: commands with as many words as each has,
 *     set KEY FLAGS TIME LENGTH [noreply]\r\n          a key of 1..250 bytes, numbers where numbers belong
 *                                         ^ YES with the line's end
 *     80 | op | KK KK | xl | 00 | vv vv | LL LL LL LL | opaque[4] | cas[8]      binary: lengths that agree with each
 *      request    key  extras data type   key, extras and value              ^ YES   other and with the operation,
 *                                                                                    which has a key, a value or neither
 *     id[2] | 00 00 | 00 01 | 00 00 | either              in a datagram: its number, of how many, and two bytes that are reserved
 *
 * A request in a datagram is in one alone. Refuses keys that begin with a slash, which are paths of HTTP, and `quit`.
 * Redis' commands have the same form: it takes `set` and `incr` with as many words as they have there, and `get` only in
 * capitals. Owns no memory. */
#include "finding.h"
#include "look.h"
#include "probe.h"

#include <string.h>

enum {
	KEY_MAX = 250,
	LINE_MAX_LEN = 8192, /* of many keys */
	WORDS_MAX = 8,
	NUMBER_MAX = 20,
	BINARY_LEN = 24,
	BINARY_VALUE_MAX = 64 << 20,
	FRAME_LEN = 8,
};

struct word {
	const uint8_t *at;
	size_t len;
};

/* What each word behind the command is; '+' repeats the last one, '*' lets anything follow. */
struct command {
	struct look_entry entry;
	const char *form; /* k key, n number, w word, r "noreply" or nothing */
};

static const struct command commands[] = {
	{ LOOK_ENTRY("get"), "k+" },
	{ LOOK_ENTRY("gets"), "k+" },
	{ LOOK_ENTRY("gat"), "nk+" },
	{ LOOK_ENTRY("gats"), "nk+" },
	{ LOOK_ENTRY("set"), "knnnr" },
	{ LOOK_ENTRY("add"), "knnnr" },
	{ LOOK_ENTRY("replace"), "knnnr" },
	{ LOOK_ENTRY("append"), "knnnr" },
	{ LOOK_ENTRY("prepend"), "knnnr" },
	{ LOOK_ENTRY("cas"), "knnnnr" },
	{ LOOK_ENTRY("delete"), "kr" },
	{ LOOK_ENTRY("incr"), "knr" },
	{ LOOK_ENTRY("decr"), "knr" },
	{ LOOK_ENTRY("touch"), "knr" },
	{ LOOK_ENTRY("stats"), "*" },
	{ LOOK_ENTRY("version"), "" },
	{ LOOK_ENTRY("verbosity"), "nr" },
	{ LOOK_ENTRY("flush_all"), "*" },
	{ LOOK_ENTRY("mn"), "" },
	{ LOOK_ENTRY("mg"), "k*" },
	{ LOOK_ENTRY("ms"), "kn*" },
	{ LOOK_ENTRY("md"), "k*" },
	{ LOOK_ENTRY("ma"), "k*" },
	{ LOOK_ENTRY("me"), "k*" },
};

static bool word_matches(const struct word *word, char form)
{
	size_t at = 0;

	switch (form) {
	case 'k':
		return word->len <= KEY_MAX && word->at[0] != '/' &&
			!(word->len >= 5 && memcmp(word->at, "HTTP/", 5) == 0);
	case 'n':
		at = word->at[0] == '-' && word->len > 1;
		while (at < word->len && word->at[at] >= '0' && word->at[at] <= '9')
			at++;
		return at == word->len && word->len <= NUMBER_MAX;
	case 'r':
		return word->len == 7 && memcmp(word->at, "noreply", 7) == 0;
	default:
		return true;
	}
}

/* All the words behind the command, which end with the line. */
static bool words_match(const struct command *command, const struct word *words, size_t n)
{
	const char *form = command->form;

	for (size_t i = 0; i < n; i++) {
		if (*form == '*')
			return true;
		char one = *form == '+' ? form[-1] : *form;
		if (one == 0 || !word_matches(&words[i], one))
			return false;
		form += *form != '+';
	}
	return *form == 0 || *form == '*' || *form == '+' || *form == 'r';
}

/* Ends with YES and the words, of which WORDS_MAX are kept, or with MORE at the end of what there is. */
static enum verdict words_read(const uint8_t *bytes, size_t len, struct word *words, size_t *ret_n)
{
	size_t at = 0, n = 0;

	for (;;) {
		while (at < len && bytes[at] == ' ')
			at++;
		size_t start = at;
		while (at < len && bytes[at] > ' ' && bytes[at] != 0x7f)
			at++;
		if (at == len || at > LINE_MAX_LEN)
			return at > LINE_MAX_LEN ? VERDICT_NO : VERDICT_MORE;
		if (at > start && n < WORDS_MAX)
			words[n++] = (struct word){ bytes + start, at - start };
		if (bytes[at] != ' ')
			break;
	}
	*ret_n = n;
	return look_line_end(bytes + at, len - at);
}

static enum verdict text_match(const uint8_t *bytes, size_t len)
{
	const struct command *command = NULL;
	struct word words[WORDS_MAX];
	bool is_more = false;
	size_t n;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct look_entry *entry = &commands[i].entry;
		enum verdict verdict = look_literal(bytes, len, entry->text, entry->len);
		if (verdict == VERDICT_NO)
			continue;
		if (verdict == VERDICT_MORE || len == entry->len)
			is_more = true;
		else if (bytes[entry->len] == ' ' || bytes[entry->len] == '\r' || bytes[entry->len] == '\n')
			command = &commands[i];
	}
	if (!command)
		return is_more ? VERDICT_MORE : VERDICT_NO;
	enum verdict verdict = words_read(bytes + command->entry.len, len - command->entry.len, words, &n);
	return verdict == VERDICT_YES && !words_match(command, words, n) ? VERDICT_NO : verdict;
}

enum part { PART_NONE, PART_ONE, PART_ANY }; /* of a request: it has none, must have one, may have one */

/* What each operation that a client begins with has; the others are NULL in `kinds`. */
static const struct operation {
	uint8_t extras_min, extras_max;
	enum part key, value;
} bare = { 0, 0, PART_NONE, PART_NONE },     /* quit, noop, version, list of SASL's mechanisms */
	get = { 0, 0, PART_ONE, PART_NONE }, /* delete, too */
	store = { 8, 8, PART_ONE, PART_ANY }, count = { 20, 20, PART_ONE, PART_NONE },
  flush = { 0, 4, PART_NONE, PART_NONE }, extend = { 0, 0, PART_ONE, PART_ANY }, /* append, prepend, SASL's */
	stat = { 0, 0, PART_ANY, PART_NONE }, number = { 4, 4, PART_NONE, PART_NONE },
  touch = { 4, 4, PART_ONE, PART_NONE }, hello = { 0, 0, PART_ANY, PART_ANY };

static const struct operation *const operations[] = { [0x00] = &get,
	[0x01] = &store,
	[0x02] = &store,
	[0x03] = &store,
	[0x04] = &get,
	[0x05] = &count,
	[0x06] = &count,
	[0x07] = &bare,
	[0x08] = &flush,
	[0x09] = &get,
	[0x0a] = &bare,
	[0x0b] = &bare,
	[0x0c] = &get,
	[0x0d] = &get,
	[0x0e] = &extend,
	[0x0f] = &extend,
	[0x10] = &stat,
	[0x11] = &store,
	[0x1b] = &number,
	[0x1c] = &touch,
	[0x1d] = &touch,
	[0x1e] = &touch,
	[0x1f] = &hello,
	[0x20] = &bare,
	[0x21] = &extend,
	[0x22] = &extend };

static bool part_fits(enum part part, uint32_t len)
{
	return part == PART_ANY || (len > 0) == (part == PART_ONE);
}

static enum verdict binary_match(const uint8_t *bytes, size_t len)
{
	if (len < 2)
		return VERDICT_MORE;
	if (bytes[1] >= sizeof(operations) / sizeof(operations[0]) || !operations[bytes[1]])
		return VERDICT_NO;
	const struct operation *operation = operations[bytes[1]];
	if ((len > 2 && bytes[2] != 0) || (len > 3 && (bytes[3] > KEY_MAX || !part_fits(operation->key, bytes[3]))))
		return VERDICT_NO;
	if ((len > 4 && (bytes[4] < operation->extras_min || bytes[4] > operation->extras_max)) ||
		(len > 5 && bytes[5] != 0))
		return VERDICT_NO;
	if (len < 12)
		return VERDICT_MORE;
	uint32_t body = look_be32(bytes + 8), head = bytes[3] + bytes[4];
	if (body < head || body - head > BINARY_VALUE_MAX)
		return VERDICT_NO;
	return part_fits(operation->value, body - head) ? VERDICT_YES : VERDICT_NO;
}

enum verdict probe_memcached(const struct evidence *evidence, struct findings *findings)
{
	size_t len = evidence_len(evidence);

	if (len == 0)
		return VERDICT_MORE;
	return evidence->bytes[0] == 0x80 ? binary_match(evidence->bytes, len) : text_match(evidence->bytes, len);
}

enum verdict probe_memcached_datagram(const struct evidence *evidence, struct findings *findings)
{
	struct evidence request = *evidence;

	if (evidence->len < FRAME_LEN || !look_is_memcached_frame(evidence->bytes))
		return VERDICT_NO;
	request.bytes += FRAME_LEN;
	request.len -= FRAME_LEN;
	return probe_memcached(&request, findings) == VERDICT_YES ? VERDICT_YES : VERDICT_NO;
}
