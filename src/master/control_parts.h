/* What workers have written for one who asked, each into a file in memory of its own. It stays there until it is sent: the master holds a
 * piece at a time. */
#pragma once
#include "control.h"
#include <sys/types.h>

struct control_parts {
	int fd[CONTROL_PARTS_MAX];
	unsigned n;
	unsigned next; /* of which the next piece is */
	off_t at;      /* from here on */
};

/* Length of the next piece, *ret its bytes, the caller's to free; 0: that was all, or no memory. Of each part CONTROL_PART_MAX bytes at
 * most: the worker may still be writing, or was taken over and writes for ever. */
size_t control_parts_next(struct control_parts *parts, char **ret);

/* Gives up what is in them, whoever kept a descriptor. */
void control_parts_close(struct control_parts *parts);
