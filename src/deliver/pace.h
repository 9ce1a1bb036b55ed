/* How fast a direction of a relay may go: a bucket of its own, and one that it shares with all connections of its service, in all workers.
 *
 * Who finds too little in its own bucket waits for a timer. Who finds too little in the shared one stands in a line of its worker's, which has
 * one timer, and gets a slice of the bytes when its turn comes: a thousand that wait cost no more than one. */
#pragma once
#include "list.h"
#include "loop.h"
#include "pace_table.h"
#include <stdbool.h>

/* Those of a worker that wait for one shared bucket. */
struct pace_line {
	struct loop *loop;
	struct pace_table *table;
	uint64_t key;
	struct byte_rate rate;
	struct list waiting; /* struct pace; who has waited longest is first */
	struct timer timer;  /* runs while somebody waits */
};

void pace_line_init(
	struct pace_line *line, struct loop *loop, struct pace_table *table, uint64_t key, struct byte_rate rate);

/* Of one direction. All zero: there is no limit. */
struct pace {
	struct loop *loop;
	struct task *wake;      /* is run when it may go on */
	struct byte_rate own;   /* each_s 0: none */
	uint64_t full_ns;       /* of its own bucket; moves along with the connection */
	struct pace_line *line; /* NULL: it shares none */
	struct list_item in_line;
	bool waits;        /* in the line */
	uint64_t granted;  /* bytes of the shared bucket that it may use now */
	struct timer rest; /* until there is enough in its own */
};

void pace_init(struct pace *pace, struct loop *loop, struct task *wake, struct byte_rate own, struct pace_line *line);

/* How much may be read now, at most `most`. 0: nothing; `wake` is run when that changes. What is read is told by pace_moved(), in the same turn;
 * pace_rest() says that no more will be. */
size_t pace_room(struct pace *pace, size_t most);
void pace_moved(struct pace *pace, size_t bytes);
void pace_rest(struct pace *pace);

/* It waits for nothing but its turn. */
bool pace_is_waiting(const struct pace *pace);

/* It goes no further. */
void pace_leave(struct pace *pace);
