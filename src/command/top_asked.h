/* A question to a running usher that is not waited for. */
#pragma once
#include <stddef.h>

struct top_asked {
	int fd; /* -1: nothing is asked */
	char *text;
	size_t len, size;
};

/* 0 or -errno. */
int top_asked_begin(struct top_asked *asked, const char *path, const char *request);
/* Takes what has come. 1: that was all, `text` ends with a NUL; 0: there is more to come; -errno. */
int top_asked_read(struct top_asked *asked);
void top_asked_end(struct top_asked *asked);
