/* A chain of blocks that are given out from the front and freed together. One arena belongs to one policy and
 * is used by one thread. It refuses to free a single piece, to grow one, and to fail: a machine that has no
 * memory for its configuration has none for connections either. */
#include "arena.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE (16 * 1024)
#define ALIGNMENT  _Alignof(max_align_t)

struct block {
	struct block *next;
	size_t used, size;
	_Alignas(max_align_t) unsigned char bytes[];
};

struct arena {
	struct block *blocks; /* the first one is being given out, the others are full */
};

static struct block *block_new(size_t size)
{
	if (size > SIZE_MAX - sizeof(struct block))
		abort();
	struct block *block = calloc(1, sizeof *block + size);
	if (!block)
		abort();
	block->size = size;
	return block;
}

struct arena *arena_new(void)
{
	struct arena *arena = calloc(1, sizeof *arena);
	if (!arena)
		abort();
	arena->blocks = block_new(BLOCK_SIZE);
	return arena;
}

void arena_free(struct arena *arena)
{
	if (!arena)
		return;
	for (struct block *block = arena->blocks, *next; block; block = next) {
		next = block->next;
		free(block);
	}
	free(arena);
}

void *arena_alloc(struct arena *arena, size_t size)
{
	if (size > SIZE_MAX - ALIGNMENT)
		abort();
	/* Never zero bytes: two pieces have two addresses. */
	size_t taken = ((size ? size : 1) + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
	struct block *first = arena->blocks;

	if (taken > BLOCK_SIZE / 4 && taken > first->size - first->used) {
		/* A big piece gets a block of its own behind the first, whose rest is still good for small
		 * ones. */
		struct block *own = block_new(taken);
		own->used = taken;
		own->next = first->next;
		first->next = own;
		return own->bytes;
	}
	if (taken > first->size - first->used) {
		struct block *fresh = block_new(BLOCK_SIZE);
		fresh->next = first;
		arena->blocks = first = fresh;
	}
	void *piece = first->bytes + first->used;
	first->used += taken;
	return piece;
}

void *arena_memdup(struct arena *arena, const void *bytes, size_t len)
{
	void *copy = arena_alloc(arena, len);
	if (len > 0)
		memcpy(copy, bytes, len);
	return copy;
}

char *arena_strndup(struct arena *arena, const char *text, size_t len)
{
	len = strnlen(text, len);
	char *copy = arena_alloc(arena, len + 1);
	memcpy(copy, text, len);
	return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	int len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0)
		abort();
	char *copy = arena_memdup(arena, text, (size_t)len + 1);
	free(text);
	return copy;
}
