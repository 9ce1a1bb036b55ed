/* What a session was under another policy. One allocation, texts and all. */
#include "former.h"
#include <stdlib.h>
#include <string.h>

struct former *former_new(const char *const text[SESSION_TEXTS], enum delivery delivery, enum log_level log_level)
{
	size_t size = 0;

	for (size_t i = 0; i < SESSION_TEXTS; i++)
		size += text[i] ? strlen(text[i]) + 1 : 0;
	struct former *former = malloc(sizeof(*former) + size);
	if (!former)
		return NULL;
	former->delivery = delivery;
	former->log_level = log_level;
	char *to = former->texts;
	for (size_t i = 0; i < SESSION_TEXTS; i++) {
		former->text[i] = text[i] ? to : NULL;
		if (text[i])
			to = stpcpy(to, text[i]) + 1;
	}
	return former;
}
