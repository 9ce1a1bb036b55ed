/* Many flows in one go: reads a line, feeds its segments one after the other, writes the answer.
 *
 *     {"id": ..., "transport": "tcp" | "udp", "segments": ["5353482d", ...]}
 *
 * Refuses lines that are no such object, hex digits that are none, and lines past BATCH_LINE_MAX, each with an answer of its own; a
 * bad line never ends the others. Owns one buffer that grows with the longest line. */
#include "explain_batch.h"
#include "escape.h"
#include "hex.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE (256U << 10)

static void write_error(const char *label, const char *error, FILE *to)
{
	fprintf(to, "{%s\"error\": ", label);
	escape_json_write(to, error, strlen(error));
	fputs("}\n", to);
}

/* "\"id\": 7, ", or nothing where the line has no id. To be freed. */
static char *label_new(const json_t *id)
{
	char *text = NULL, *label = NULL;

	if (!id)
		return strdup("");
	text = json_dumps(id, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT);
	if (text && asprintf(&label, "\"id\": %s, ", text) < 0)
		label = NULL;
	free(text);
	return label;
}

/* Decodes at most EVIDENCE_MAX bytes, but looks at every digit. */
static bool hex_decode(const char *hex, size_t len, uint8_t *ret, size_t *ret_len)
{
	size_t n = 0;

	if (len % 2 != 0)
		return false;
	for (size_t i = 0; i < len; i += 2) {
		int high = hex_value(hex[i]), low = hex_value(hex[i + 1]);
		if (high < 0 || low < 0)
			return false;
		if (n < EVIDENCE_MAX)
			ret[n++] = (uint8_t)(high << 4 | low);
	}
	*ret_len = n;
	return true;
}

/* What is wrong with it; NULL: it was fed. */
static const char *flow_feed(struct explainer *explainer, const json_t *line)
{
	static uint8_t bytes[EVIDENCE_MAX];
	const json_t *segments = json_object_get(line, "segments");
	const char *transport = json_string_value(json_object_get(line, "transport"));
	size_t n_bytes;

	if (!transport || (strcmp(transport, "tcp") != 0 && strcmp(transport, "udp") != 0))
		return "`transport' is missing or something else than \"tcp\" or \"udp\"";
	if (!json_is_array(segments))
		return "`segments' is missing or no list";
	explainer_begin(explainer, strcmp(transport, "udp") == 0);
	for (size_t i = 0; i < json_array_size(segments); i++) {
		const json_t *segment = json_array_get(segments, i);
		if (!json_is_string(segment) ||
			!hex_decode(json_string_value(segment), json_string_length(segment), bytes, &n_bytes))
			return "`segments' has something else than strings of pairs of hex digits";
		explainer_feed(explainer, bytes, n_bytes);
	}
	return NULL;
}

bool explain_line(struct explainer *explainer, const char *line, size_t len, FILE *to)
{
	json_error_t what;
	json_t *object = json_loadb(line, len, JSON_ALLOW_NUL, &what);
	char error[sizeof(what.text) + 40];

	if (!json_is_object(object)) {
		snprintf(error, sizeof(error), "no object of JSON: %s", object ? "another value" : what.text);
		write_error("", error, to);
		json_decref(object);
		return false;
	}
	char *label = label_new(json_object_get(object, "id"));
	const char *wrong = label ? flow_feed(explainer, object) : "no memory for the `id'";
	if (wrong) {
		write_error(label ? label : "", wrong, to);
	} else {
		explanation_write_json(explainer_end(explainer, EXPLAIN_OPEN), label, to);
		putc('\n', to);
	}
	free(label);
	json_decref(object);
	return !wrong;
}

/* ---- lines ---- */

struct batch {
	struct explainer *explainer;
	FILE *to;
	char *bytes;
	size_t len, room;
	bool skipping; /* the rest of a line that is too long */
	bool malformed;
};

static bool is_blank(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
			return false;
	return true;
}

static void line_take(struct batch *batch, const char *line, size_t len)
{
	if (!batch->skipping && !is_blank(line, len) && !explain_line(batch->explainer, line, len, batch->to))
		batch->malformed = true;
	batch->skipping = false;
}

/* Takes all whole lines and keeps what is behind them; `from` is where no end of a line was seen yet. */
static void lines_take(struct batch *batch, size_t from)
{
	size_t begin = 0;
	char *end;

	while ((end = memchr(batch->bytes + from, '\n', batch->len - from))) {
		line_take(batch, batch->bytes + begin, (size_t)(end - batch->bytes) - begin);
		begin = from = (size_t)(end - batch->bytes) + 1;
	}
	batch->len -= begin;
	memmove(batch->bytes, batch->bytes + begin, batch->len);
	if (batch->len <= BATCH_LINE_MAX)
		return;
	if (!batch->skipping)
		write_error("", "the line is longer than 16 MiB", batch->to);
	batch->malformed = batch->skipping = true;
	batch->len = 0;
}

/* Room for a read; what an input takes is bounded by the longest line. */
static int batch_reserve(struct batch *batch)
{
	if (batch->room - batch->len >= READ_SIZE)
		return 0;
	size_t room = 2 * batch->room + READ_SIZE;
	char *bytes = realloc(batch->bytes, room);
	if (!bytes)
		return -ENOMEM;
	batch->bytes = bytes;
	batch->room = room;
	return 0;
}

/* Whoever waits for an answer before asking on gets it: nothing is kept back when a read may wait. */
static int batch_run(struct batch *batch, int fd)
{
	for (;;) {
		int r = batch_reserve(batch);
		if (r < 0)
			return r;
		if (fflush(batch->to) != 0)
			return -errno;
		ssize_t n = read(fd, batch->bytes + batch->len, READ_SIZE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		size_t from = batch->len;
		batch->len += (size_t)n;
		lines_take(batch, from);
	}
	line_take(batch, batch->bytes, batch->len); /* a last one without an end */
	return fflush(batch->to) != 0 ? -errno : batch->malformed;
}

int explain_batch(struct explainer *explainer, int fd, FILE *to)
{
	struct batch batch = { .explainer = explainer, .to = to };
	int r = batch_run(&batch, fd);

	free(batch.bytes);
	return r;
}
