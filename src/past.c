/* What a connection was under another policy. One allocation, texts and all. */
#include "past.h"
#include <stdlib.h>
#include <string.h>

struct past *past_new(const struct migrant_parts *parts)
{
	size_t size = 0;

	for (size_t i = 0; i < MIGRANT_TEXTS; i++)
		size += parts->text[i] ? strlen(parts->text[i]) + 1 : 0;
	struct past *past = malloc(sizeof(*past) + size);
	if (!past)
		return NULL;
	past->delivery = parts->head->delivery;
	past->log_level = parts->head->log_level;
	char *to = past->texts;
	for (size_t i = 0; i < MIGRANT_TEXTS; i++) {
		past->text[i] = parts->text[i] ? to : NULL;
		if (parts->text[i])
			to = stpcpy(to, parts->text[i]) + 1;
	}
	return past;
}
