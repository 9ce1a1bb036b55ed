/* Explanations as JSON. All that strangers sent goes through escape_json(), so that a line is one line of printable ASCII. Owns no
 * memory. */
#include "escape.h"
#include "explainer.h"
#include <string.h>

/* Attributes of which a client may name several: lists, also where there is one. All others are strings. */
#define PLURAL (1U << ATTRIBUTE_ALPN)

static void write_values(const struct finding *finding, bool is_list, FILE *to)
{
	if (is_list)
		putc('[', to);
	for (size_t i = 0; i < finding->count && (is_list || i == 0); i++) {
		if (i > 0)
			fputs(", ", to);
		escape_json_write(to, finding->value[i].at, finding->value[i].len);
	}
	if (is_list)
		putc(']', to);
}

static void write_attributes(const struct findings *findings, FILE *to)
{
	const char *between = "";

	fputs(", \"attributes\": {", to);
	for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
		if (findings->attribute[i].count == 0)
			continue;
		fprintf(to, "%s\"%s\": ", between, attribute_names[i]);
		write_values(&findings->attribute[i], PLURAL >> i & 1, to);
		between = ", ";
	}
	putc('}', to);
}

void explanation_write_json(const struct explanation *explanation, const char *label, FILE *to)
{
	static const char *const verdicts[] = { [VERDICT_NO] = "no", [VERDICT_MORE] = "more", [VERDICT_YES] = "yes" };

	fprintf(to, "{%s\"transport\": \"%s\"", label, explanation->is_datagram ? "udp" : "tcp");
	escape_json_member(to, "service", explanation->service);
	escape_json_member(to, "protocol", explanation->protocol);
	write_attributes(explanation->findings, to);
	if (explanation->decided_at == EXPLAIN_NEVER)
		fputs(", \"decided_at\": null", to);
	else
		fprintf(to, ", \"decided_at\": %zu", explanation->decided_at);
	fprintf(to, ", \"bytes\": %zu", explanation->len);
	escape_json_member(to, "verdict", verdicts[explanation->verdict]);
	escape_json_member(to, "why", explanation->why);
	putc('}', to);
}
