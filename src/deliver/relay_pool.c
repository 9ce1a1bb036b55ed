/* Buffers and pipes for relays. Owns all of them; what was taken must be given back before the pool is freed. */
#include "relay_pool.h"
#include "fd.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPARE_BUFFERS_MAX 16
#define SPARE_PACES_MAX   4096

struct relay_buffer {
	struct relay_buffer *next;
};

struct relay_pool *relay_pool_new(void)
{
	struct relay_pool *pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	pool->shared = malloc(RELAY_BUFFER_SIZE);
	if (!pool->shared) {
		free(pool);
		return NULL;
	}
	return pool;
}

static void pipe_free(struct relay_pool *pool, struct relay_pipe *pipe)
{
	fd_close(pipe->in);
	fd_close(pipe->out);
	free(pipe);
	pool->n_pipes--;
}

void relay_pool_free(struct relay_pool *pool)
{
	if (!pool)
		return;
	for (struct relay_buffer *next; pool->spare_buffers; pool->spare_buffers = next) {
		next = pool->spare_buffers->next;
		free(pool->spare_buffers);
	}
	for (struct relay_pipe *next; pool->spare_pipes; pool->spare_pipes = next) {
		next = pool->spare_pipes->next;
		pipe_free(pool, pool->spare_pipes);
	}
	for (struct relay_paces *next; pool->spare_paces; pool->spare_paces = next) {
		next = pool->spare_paces->next;
		free(pool->spare_paces);
	}
	free(pool->shared);
	free(pool);
}

uint8_t *relay_pool_take_buffer(struct relay_pool *pool)
{
	struct relay_buffer *buffer = pool->spare_buffers;
	if (!buffer)
		return malloc(RELAY_BUFFER_SIZE);
	pool->spare_buffers = buffer->next;
	pool->n_spare_buffers--;
	return (uint8_t *)buffer;
}

void relay_pool_give_buffer(struct relay_pool *pool, uint8_t *bytes)
{
	if (!bytes)
		return;
	if (pool->n_spare_buffers >= SPARE_BUFFERS_MAX) {
		free(bytes);
		return;
	}
	struct relay_buffer *buffer = (struct relay_buffer *)bytes;
	buffer->next = pool->spare_buffers;
	pool->spare_buffers = buffer;
	pool->n_spare_buffers++;
}

struct relay_pipe *relay_pool_take_pipe(struct relay_pool *pool)
{
	struct relay_pipe *spare = pool->spare_pipes;
	if (spare) {
		pool->spare_pipes = spare->next;
		return spare;
	}
	if (pool->n_pipes >= RELAY_PIPES_MAX)
		return NULL;
	int ends[2];
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return NULL;
	fcntl(ends[1], F_SETPIPE_SZ, RELAY_PIPE_SIZE);
	struct relay_pipe *made = relay_pool_adopt_pipe(pool, ends[0], ends[1]);
	if (!made) {
		fd_close(ends[0]);
		fd_close(ends[1]);
		return NULL;
	}
	made->is_foreign = false;
	return made;
}

struct relay_pipe *relay_pool_adopt_pipe(struct relay_pool *pool, int in, int out)
{
	struct relay_pipe *adopted = malloc(sizeof(*adopted));

	if (!adopted)
		return NULL;
	*adopted = (struct relay_pipe){ .in = in, .out = out, .is_foreign = true };
	pool->n_pipes++;
	return adopted;
}

void relay_pool_give_pipe(struct relay_pool *pool, struct relay_pipe *pipe, bool empty)
{
	if (!pipe)
		return;
	if (!empty || pipe->is_foreign) {
		pipe_free(pool, pipe);
		return;
	}
	pipe->next = pool->spare_pipes;
	pool->spare_pipes = pipe;
}

struct relay_paces *relay_pool_take_paces(struct relay_pool *pool)
{
	struct relay_paces *paces = pool->spare_paces;

	if (!paces)
		return calloc(1, sizeof(*paces));
	pool->spare_paces = paces->next;
	pool->n_spare_paces--;
	memset(paces, 0, sizeof(*paces));
	return paces;
}

void relay_pool_give_paces(struct relay_pool *pool, struct relay_paces *paces)
{
	if (pool->n_spare_paces >= SPARE_PACES_MAX) {
		free(paces);
		return;
	}
	paces->next = pool->spare_paces;
	pool->spare_paces = paces;
	pool->n_spare_paces++;
}
