/* Memory that lives and dies together: a policy is built in one arena and freed with it. Not for the data path. */
#pragma once
#include <stddef.h>

struct arena;
struct region;

struct arena *arena_new(void);
struct arena *arena_in(struct region *region); /* all of it is there, and nothing is freed but with the region */
int arena_part(struct arena *arena);           /* region_part(), where it is in one */
void arena_free(struct arena *arena);          /* accepts NULL */

/* Zeroed, aligned for any type. Never NULL: out of memory while a configuration is read ends the process (abort). */
void *arena_alloc(struct arena *arena, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t len);
void *arena_memdup(struct arena *arena, const void *bytes, size_t len);
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Not zeroed; without an arena from the heap, and NULL where that has none left. arena_drop() gives a piece of the heap back; a
 * piece of an arena stays. */
void *arena_take(struct arena *arena, size_t size);
void arena_drop(const struct arena *arena, void *piece);
