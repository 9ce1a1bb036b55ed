/* What the kernel is to tell of, so that no change of some files is missed: directories and symbolic links on the way to them count. */
#pragma once
#include "sources.h"
#include <stdbool.h>

struct watch_list;

struct watch_list *watch_list_new(const struct sources *sources); /* NULL: no memory, or no inotify */
void watch_list_free(struct watch_list *list);                    /* accepts NULL */
int watch_list_fd(const struct watch_list *list);                 /* readable where something has happened */
bool watch_list_is_whole(const struct watch_list *list);          /* false: the kernel refused to tell of something */

/* Reads what has happened. True: something may be different with these files. */
bool watch_list_read(struct watch_list *list);
