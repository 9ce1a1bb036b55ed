/* A chain of blocks that are given out from the front and freed together. One arena belongs to one policy and
 * is used by one thread. It refuses to free a single piece, to grow one, and to fail: a machine that has no
 * memory for its configuration has none for connections either. */
#include "arena.h"
#include "region.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE        (16 * 1024)
#define REGION_BLOCK_SIZE (1024 * 1024) /* page by page is slow, and what is not used costs nothing */
#define ALIGNMENT         _Alignof(max_align_t)

struct block {
	struct block *next;
	size_t used, size;
	_Alignas(max_align_t) unsigned char bytes[];
};

struct arena {
	struct block *blocks; /* the first one is being given out, the others are full */
	size_t block_size;
	struct region *region; /* where the blocks are; NULL: on the heap */
};

static struct block *block_new(struct region *region, size_t size)
{
	if (size > SIZE_MAX - sizeof(struct block))
		abort();
	size += sizeof(struct block);
	struct block *block = region ? region_grow(region, size) : calloc(1, size);
	if (!block)
		abort();
	block->size = size - sizeof(struct block);
	return block;
}

static struct arena *arena_begin(struct region *region, size_t block_size)
{
	struct arena *arena = calloc(1, sizeof(*arena));
	if (!arena)
		abort();
	*arena = (struct arena){ block_new(region, block_size), block_size, region };
	return arena;
}

struct arena *arena_new(void)
{
	return arena_begin(NULL, BLOCK_SIZE);
}

struct arena *arena_in(struct region *region)
{
	return arena_begin(region, REGION_BLOCK_SIZE - sizeof(struct block));
}

int arena_part(struct arena *arena)
{
	return arena->region ? region_part(arena->region) : 0;
}

void arena_free(struct arena *arena)
{
	if (!arena)
		return;
	for (struct block *block = arena->region ? NULL : arena->blocks, *next; block; block = next) {
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

	if (taken > arena->block_size / 4 && taken > first->size - first->used) {
		/* A big piece gets a block of its own behind the first, whose rest is still good for small
		 * ones. */
		struct block *own = block_new(arena->region, taken);
		own->used = taken;
		own->next = first->next;
		first->next = own;
		return own->bytes;
	}
	if (taken > first->size - first->used) {
		struct block *fresh = block_new(arena->region, arena->block_size);
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

void *arena_take(struct arena *arena, size_t size)
{
	return arena ? arena_alloc(arena, size) : malloc(size);
}

void arena_drop(const struct arena *arena, void *piece)
{
	if (!arena)
		free(piece);
}
