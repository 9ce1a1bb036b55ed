/* Bans and openings as JSON. Refuses to know where they are kept. Owns nothing. */
#include "snapshot_live.h"
#include "escape.h"
#include <inttypes.h>
#include <jansson.h>

void snapshot_live_json(const struct snapshot_live *live, FILE *to)
{
	fprintf(to, "{\"what\": \"%s\", \"address\": \"%s\"", live->service ? "open" : "ban", live->address);
	if (live->service)
		escape_json_member(to, "service", live->service);
	if (live->ends)
		fprintf(to, ", \"left_s\": %" PRIu64, live->left_s);
	fputs("}", to);
}

static const char *text_of(const json_t *from, const char *key)
{
	return json_string_value(json_object_get(from, key));
}

void snapshot_live_read(struct snapshot_live *ret, const json_t *from)
{
	const json_t *left = json_object_get(from, "left_s");

	*ret = (struct snapshot_live){
		.address = text_of(from, "address"),
		.service = text_of(from, "service"),
		.ends = left != NULL,
		.left_s = (uint64_t)json_integer_value(left),
	};
}
