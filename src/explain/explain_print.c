/* Writes explanations to be read in a terminal.
 *
 * Refuses to pass on a byte that a terminal could obey: what strangers sent is escaped, or stands as hex digits. Owns no memory. */
#include "explain_print.h"

#include "escape.h"
#include "explain_match.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ROW         16 /* bytes of a line of the dump */
#define ROWS_FIRST  8  /* lines of a long one that are shown, at its beginning and at its end */
#define ROWS_LAST   4
#define LINES_MAX   24 /* services that are listed one a line */
#define LIST_COLUMN 17 /* where the names of a list begin */

enum style { STYLE_PLAIN, STYLE_STRONG, STYLE_GOOD, STYLE_OPEN, STYLE_FAINT, STYLE_MARK };

static void style_set(const struct page *page, enum style style)
{
	static const char *const codes[] = { "0", "1", "1;32", "33", "2", "7" };

	if (page->has_color)
		fprintf(page->to, "\033[%sm", codes[style]);
}

static void __attribute__((format(printf, 3, 4)))
styled(const struct page *page, enum style style, const char *format, ...)
{
	va_list arguments;

	style_set(page, style);
	va_start(arguments, format);
	vfprintf(page->to, format, arguments);
	va_end(arguments);
	style_set(page, STYLE_PLAIN);
}

void page_init(struct page *ret, FILE *to)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
	bool is_terminal = isatty(fileno(to));
	struct winsize size;

	*ret = (struct page){ .to = to, .width = 100 };
	ret->has_color = is_terminal && term && strcmp(term, "dumb") != 0 && !(no_color && *no_color);
	if (is_terminal && ioctl(fileno(to), TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
		ret->width = size.ws_col;
}

/* ---- the outcome ---- */

static void label_print(const struct page *page, const char *label)
{
	styled(page, STYLE_FAINT, "  %-10s ", label);
}

static void value_print(const uint8_t *value, size_t len, const struct page *page)
{
	char text[4 * 256 + 1];

	for (size_t done = 0; done < len; done += 256) {
		escape_text(text, sizeof(text), value + done, len - done < 256 ? len - done : 256);
		fputs(text, page->to);
	}
}

static void values_print(const struct finding *finding, const char *between, const struct page *page)
{
	for (size_t i = 0; i < finding->count; i++) {
		if (i > 0)
			fputs(between, page->to);
		value_print(finding->value[i].at, finding->value[i].len, page);
	}
}

void page_field(const struct page *page, const char *label, const char *value)
{
	label_print(page, label);
	fprintf(page->to, "%s\n", value);
}

void attributes_print(const struct findings *findings, const char *between, const struct page *page)
{
	for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
		if (findings->attribute[i].count == 0)
			continue;
		fprintf(page->to, "%s%s=", between, attribute_names[i]);
		values_print(&findings->attribute[i], ",", page);
	}
}

static void service_print(const struct explanation *explanation, const struct page *page)
{
	const char *way = explanation->verdict == VERDICT_NO ||
			(explanation->verdict == VERDICT_MORE && explanation->is_datagram)
		? ", by `on_unknown'"
		: explanation->verdict == VERDICT_YES ? ""
		: explanation->len > 0                ? ", by `on_silence'"
						      : ", as for all clients that send nothing";

	label_print(page, "service");
	styled(page, explanation->service ? STYLE_GOOD : STYLE_STRONG, "%s",
		explanation->service ? explanation->service : "none");
	fprintf(page->to, "%s\n", explanation->service ? way : "");
}

static void settled_print(const struct explanation *explanation, const struct page *page)
{
	label_print(page, "settled");
	if (explanation->decided_at == EXPLAIN_NEVER)
		fprintf(page->to, "not by %zu byte%s\n", explanation->len, explanation->len == 1 ? "" : "s");
	else if (explanation->is_datagram && explanation->n_datagrams == 1)
		fprintf(page->to, "with the datagram of %zu bytes\n", explanation->len);
	else if (explanation->is_datagram)
		fprintf(page->to, "with datagram %zu of %zu\n",
			explanation_datagrams(explanation, explanation->decided_at), explanation->n_datagrams);
	else
		fprintf(page->to, "with byte %zu of %zu\n", explanation->decided_at, explanation->len);
}

static void outcome_print(
	const struct explainer *explainer, const struct explanation *explanation, const struct page *page)
{
	if (explainer_policy(explainer))
		service_print(explanation, page);
	label_print(page, "protocol");
	styled(page, explanation->protocol ? STYLE_GOOD : STYLE_STRONG, "%s\n",
		explanation->protocol ? explanation->protocol : "none");
	settled_print(explanation, page);
	for (int i = 0; i < ATTRIBUTE_COUNT; i++) {
		if (explanation->findings->attribute[i].count == 0)
			continue;
		label_print(page, attribute_names[i]);
		values_print(&explanation->findings->attribute[i], ", ", page);
		putc('\n', page->to);
	}
	page_field(page, "why", explanation->why);
}

/* ---- the bytes ---- */

/* One line; `mark` is the byte that settled it, counted from 0. */
static void row_print(const struct explanation *explanation, size_t at, size_t mark, const struct page *page)
{
	styled(page, STYLE_FAINT, "  %04zx ", at);
	for (size_t i = at; i < at + ROW; i++) {
		if (i == at + ROW / 2)
			putc(i == mark + 1 ? ']' : ' ', page->to);
		putc(i == mark ? '[' : i == mark + 1 && i != at && i != at + ROW / 2 ? ']' : ' ', page->to);
		if (i >= explanation->len)
			fputs("  ", page->to);
		else
			styled(page, i == mark ? STYLE_MARK : STYLE_PLAIN, "%02x", explanation->bytes[i]);
	}
	fputs(mark + 1 == at + ROW ? "] " : "  ", page->to);
	for (size_t i = at; i < at + ROW && i < explanation->len; i++) {
		uint8_t c = explanation->bytes[i];
		bool is_plain = c >= ' ' && c <= '~';
		styled(page, i == mark ? STYLE_MARK : is_plain ? STYLE_PLAIN : STYLE_FAINT, "%c", is_plain ? c : '.');
	}
	putc('\n', page->to);
}

/* Up to where it was settled, and in the middle only as much as a person looks at. */
static void bytes_print(const struct explanation *explanation, const struct page *page)
{
	bool is_settled = explanation->decided_at != EXPLAIN_NEVER;
	size_t shown = is_settled ? explanation->decided_at : explanation->len;
	size_t mark = is_settled && !explanation->is_datagram ? explanation->decided_at - 1 : SIZE_MAX - 1;
	size_t rows = (shown + ROW - 1) / ROW;

	for (size_t row = 0; row < rows; row++) {
		if (rows > ROWS_FIRST + ROWS_LAST + 1 && row == ROWS_FIRST) {
			size_t skipped = rows - ROWS_FIRST - ROWS_LAST;
			styled(page, STYLE_FAINT, "        %zu bytes are not shown\n", skipped * ROW);
			row += skipped;
		}
		row_print(explanation, row * ROW, mark, page);
	}
	if (rows * ROW < explanation->len)
		styled(page, STYLE_FAINT, "        %zu more bytes\n", explanation->len - rows * ROW);
}

/* ---- every matcher ---- */

/* What a matcher says, as words of a fixed width. */
static void matched_print(
	const struct matched *matched, const struct explanation *explanation, const struct page *page)
{
	static const enum style styles[] = {
		[VERDICT_NO] = STYLE_PLAIN, [VERDICT_MORE] = STYLE_OPEN, [VERDICT_YES] = STYLE_GOOD
	};
	static const char *const words[] = { [VERDICT_NO] = "NO", [VERDICT_MORE] = "MORE", [VERDICT_YES] = "YES" };
	char byte[24] = "";

	if (matched->verdict != VERDICT_MORE && !explanation->is_datagram)
		snprintf(byte, sizeof(byte), "byte %zu", matched->at);
	else if (matched->verdict != VERDICT_MORE && explanation->n_datagrams > 1)
		snprintf(byte, sizeof(byte), "datagram %zu", explanation_datagrams(explanation, matched->at));
	styled(page, styles[matched->verdict], "%-4s", words[matched->verdict]);
	fprintf(page->to, " %-10s", byte);
}

/* A list of names behind a beginning of LIST_COLUMN characters, broken into lines. */
struct list {
	const struct page *page;
	size_t column;
};

static void list_add(struct list *list, const char *name)
{
	size_t len = strlen(name);
	bool is_first = list->column == LIST_COLUMN;

	if (!is_first)
		putc(',', list->page->to);
	if (!is_first && list->column + len + 3 > list->page->width) {
		fprintf(list->page->to, "\n%*s", LIST_COLUMN, "");
		list->column = LIST_COLUMN;
	}
	fprintf(list->page->to, " %s", name);
	list->column += len + 2;
}

/* The protocols that were asked, with their answers. */
struct answers {
	const struct protocol *protocols;
	size_t n;
	bool *asked;
	struct matched *matched;
};

static void answers_fini(struct answers *answers)
{
	free(answers->asked);
	free(answers->matched);
}

static bool answers_init(
	struct answers *ret, const struct explainer *explainer, const struct explanation *explanation)
{
	ret->protocols = explainer_protocols(explainer, &ret->n);
	ret->asked = calloc(ret->n, sizeof(*ret->asked));
	ret->matched = calloc(ret->n, sizeof(*ret->matched));
	if (!ret->asked || !ret->matched) {
		answers_fini(ret);
		return false;
	}
	explain_protocols_asked(explainer, explanation->is_datagram, ret->asked);
	for (size_t i = 0; i < ret->n; i++)
		if (ret->asked[i] && !ret->protocols[i].is_external)
			explain_match_protocol(explanation, &ret->protocols[i], &ret->matched[i]);
	return true;
}

/* Those that say the same with the same byte, in one list. */
static void group_print(const struct answers *answers, const struct matched *same,
	const struct explanation *explanation, const struct page *page)
{
	struct list list = { page, LIST_COLUMN };
	bool is_first = true;

	for (size_t i = 0; i < answers->n; i++) {
		if (!answers->asked[i] || answers->protocols[i].is_external ||
			answers->matched[i].verdict != same->verdict || answers->matched[i].at != same->at)
			continue;
		if (is_first) {
			fputs("  ", page->to);
			matched_print(same, explanation, page);
		}
		is_first = false;
		list_add(&list, answers->protocols[i].name);
	}
	if (!is_first)
		putc('\n', page->to);
}

static void external_print(const struct answers *answers, const struct page *page)
{
	struct list list = { page, LIST_COLUMN };
	bool is_first = true;

	for (size_t i = 0; i < answers->n; i++) {
		if (!answers->asked[i] || !answers->protocols[i].is_external)
			continue;
		if (is_first)
			styled(page, STYLE_FAINT, "  %-*s", LIST_COLUMN - 2, "not asked");
		is_first = false;
		list_add(&list, answers->protocols[i].name);
	}
	if (!is_first)
		putc('\n', page->to);
}

/* YES, then MORE, then NO, of these who came farthest first. */
static void protocols_print(
	const struct explainer *explainer, const struct explanation *explanation, const struct page *page)
{
	struct answers answers;

	if (!answers_init(&answers, explainer, explanation))
		return;
	styled(page, STYLE_STRONG, "\nProtocols\n");
	for (int verdict = VERDICT_YES; verdict >= VERDICT_NO; verdict--) {
		if (verdict == VERDICT_MORE) {
			group_print(&answers, &(struct matched){ VERDICT_MORE, 0 }, explanation, page);
			continue;
		}
		for (size_t at = explanation->len; at > 0; at--)
			group_print(&answers, &(struct matched){ (enum verdict)verdict, at }, explanation, page);
	}
	external_print(&answers, page);
	answers_fini(&answers);
}

static int name_width(const struct policy *policy)
{
	int width = 7;

	for (size_t i = 0; i < policy->n_services; i++) {
		int len = (int)strlen(policy->services[i].name);
		if (len > width)
			width = len < 24 ? len : 24;
	}
	return width;
}

/* In the order in which they are tried. Of many, only those that do not say NO, for the others are many. */
static void services_print(
	const struct explainer *explainer, const struct explanation *explanation, const struct page *page)
{
	const struct policy *policy = explainer_policy(explainer);
	int width = name_width(policy);
	size_t n_left_out = 0;

	styled(page, STYLE_STRONG, "\nServices on %s, as they are tried\n",
		policy->listeners[explainer_listener(explainer)].text);
	for (uint32_t i = 0; i < policy->n_services; i++) {
		struct matched matched;
		if (explain_match_service(explainer, explanation, i, &matched) < 0)
			continue;
		if (policy->n_services > LINES_MAX && matched.verdict == VERDICT_NO) {
			n_left_out++;
			continue;
		}
		fputs("  ", page->to);
		matched_print(&matched, explanation, page);
		fprintf(page->to, " %-*s  %s\n", width, policy->services[i].name, policy->services[i].match);
	}
	if (n_left_out > 0)
		styled(page, STYLE_FAINT, "  NO              %zu others\n", n_left_out);
}

void explanation_print(
	const struct explainer *explainer, const struct explanation *explanation, const struct page *page)
{
	outcome_print(explainer, explanation, page);
	if (explanation->len == 0)
		return;
	putc('\n', page->to);
	bytes_print(explanation, page);
	if (explainer_policy(explainer))
		services_print(explainer, explanation, page);
	protocols_print(explainer, explanation, page);
}
