/* What the relays of one worker share: the buffer that everything is read into, spare buffers for what a receiver does
 * not take at once, and pipes to splice through. Bounded: past the bound a flow is copied. */
#pragma once
#include "pace.h"
#include "relay.h"

#define RELAY_PIPES_MAX 64
#define RELAY_PIPE_SIZE (1 << 20) /* where the kernel allows it (fs.pipe-max-size); what it gave is good enough */

struct relay_pipe {
	int in, out; /* read from `in`, written to `out`: named as the pipe's user sees them */
	struct relay_pipe *next;
	bool is_foreign; /* another process may have its ends as well: for this flow alone */
};

struct relay_buffer;

/* How fast the directions of a relay may go. */
struct relay_paces {
	struct pace up, down;
	struct relay_paces *next; /* among the spare ones */
};

struct relay_pool {
	uint8_t *shared; /* RELAY_BUFFER_SIZE; holds nothing between two calls */
	struct relay_buffer *spare_buffers;
	unsigned n_spare_buffers;
	struct relay_pipe *spare_pipes;
	unsigned n_pipes; /* spare and in use */
	struct relay_paces *spare_paces;
	unsigned n_spare_paces;
};

uint8_t *relay_pool_take_buffer(struct relay_pool *pool); /* RELAY_BUFFER_SIZE bytes, or NULL */
void relay_pool_give_buffer(struct relay_pool *pool, uint8_t *bytes);

struct relay_pipe *relay_pool_take_pipe(struct relay_pool *pool); /* NULL: the bound or the kernel's is reached */

/* One that was another process's, with what is in it; past the bound as well. NULL: no memory, and the ends are still the caller's. */
struct relay_pipe *relay_pool_adopt_pipe(struct relay_pool *pool, int in, int out);

struct relay_paces *relay_pool_take_paces(struct relay_pool *pool); /* all zero; NULL: no memory */
void relay_pool_give_paces(struct relay_pool *pool, struct relay_paces *paces);

/* An empty pipe is kept for the next flow; one that still holds bytes is closed. */
void relay_pool_give_pipe(struct relay_pool *pool, struct relay_pipe *pipe, bool empty);
