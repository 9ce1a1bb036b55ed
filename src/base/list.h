/* A doubly linked list whose items are embedded in what they link. A zeroed list is empty; an item is in one list at most. */
#pragma once
#include <stddef.h>

struct list_item {
	struct list_item *previous, *next;
};

struct list {
	struct list_item *first, *last;
};

/* What embeds the item; NULL where there is no item. */
#define list_of(item, type, member) ((type *)list_holder((item), offsetof(type, member)))

static inline void *list_holder(struct list_item *item, size_t offset)
{
	return item ? (char *)item - offset : NULL;
}

static inline void list_append(struct list *list, struct list_item *item)
{
	*item = (struct list_item){ .previous = list->last };
	*(list->last ? &list->last->next : &list->first) = item;
	list->last = item;
}

static inline void list_prepend(struct list *list, struct list_item *item)
{
	*item = (struct list_item){ .next = list->first };
	*(list->first ? &list->first->previous : &list->last) = item;
	list->first = item;
}

/* One that is in this list. */
static inline void list_remove(struct list *list, struct list_item *item)
{
	*(item->previous ? &item->previous->next : &list->first) = item->next;
	*(item->next ? &item->next->previous : &list->last) = item->previous;
	*item = (struct list_item){ 0 };
}
