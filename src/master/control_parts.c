/* Reads out what workers report, for control.c. Believes nothing of it and looks at none of it. Owns the descriptors. */
#include "control_parts.h"
#include "fd.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE 65536

size_t control_parts_next(struct control_parts *parts, char **ret)
{
	char *piece = parts->next < parts->n ? malloc(PIECE) : NULL;

	for (; piece && parts->next < parts->n; parts->next++, parts->at = 0) {
		ssize_t n = parts->at < CONTROL_PART_MAX ? pread(parts->fd[parts->next], piece, PIECE, parts->at) : 0;
		if (n <= 0)
			continue;
		parts->at += n;
		*ret = piece;
		return (size_t)n;
	}
	free(piece);
	return 0;
}

void control_parts_close(struct control_parts *parts)
{
	for (unsigned i = 0; i < parts->n; i++) {
		/* In this order: between the two nothing can be put there again. */
		if (fcntl(parts->fd[i], F_ADD_SEALS, F_SEAL_GROW) == 0)
			(void)!ftruncate(parts->fd[i], 0);
		parts->fd[i] = fd_close(parts->fd[i]);
	}
	parts->n = parts->next = 0;
	parts->at = 0;
}
