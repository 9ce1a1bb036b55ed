/* Explanations for people: the outcome, the bytes up to where it was settled, and what every matcher says. */
#pragma once
#include "explainer.h"

struct page {
	FILE *to;
	bool has_color;
	unsigned width; /* of lists that are broken */
};

/* As the descriptor behind it is a terminal or not; NO_COLOR in the environment is minded. */
void page_init(struct page *ret, FILE *to);

/* All about one. */
void explanation_print(
	const struct explainer *explainer, const struct explanation *explanation, const struct page *page);

/* One line more about it, to stand before the others: "  flow       7". */
void page_field(const struct page *page, const char *label, const char *value);

/* What was learned, `between` before each: "sni=shop.example", "alpn=h2,http/1.1". */
void attributes_print(const struct findings *findings, const char *between, const struct page *page);
