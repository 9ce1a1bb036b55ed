/* sniproxy's configuration file, as native text. See usher-sniproxy(8) for what is accepted. */
#pragma once
#include "native.h"

/* 0, or -EINVAL with at least one error among the complaints; warnings may come with either. */
int sniproxy_translate(struct native *ret, const char *file, struct complaints *complaints);
int sniproxy_translate_text(
	struct native *ret, const char *file, const char *text, size_t len, struct complaints *complaints);
