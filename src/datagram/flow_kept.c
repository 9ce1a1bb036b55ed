/* Copies of datagrams. Refuses more than the bounds; most have the size of one spare piece of memory, so that a worker that is warm takes
 * none from the heap. Owns the copies. */
#include "flow_kept.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_pooled(uint32_t len)
{
	return sizeof(struct kept_datagram) + len <= KEPT_PIECE;
}

int flow_kept_add(struct flow_kept *kept, struct pool *pool, const struct datagram *of, uint32_t at, uint32_t len)
{
	struct kept_datagram *one;

	if (kept->n >= (kept->goes_over ? KEPT_OVER_MAX : EVIDENCE_DATAGRAMS_MAX) ||
		kept->bytes + len > (kept->goes_over ? KEPT_OVER_BYTES_MAX : KEPT_BYTES_MAX))
		return -ENOSPC;
	one = is_pooled(len) ? pool_take(pool) : malloc(sizeof(*one) + len);
	if (!one)
		return -ENOMEM;
	*one = (struct kept_datagram){ .datagram = *of };
	one->datagram.bytes = (uint8_t *)(one + 1);
	one->datagram.len = len;
	one->datagram.segment = 0;
	memcpy(one + 1, of->bytes + at, len);
	if (kept->last)
		kept->last->next = one;
	else
		kept->first = one;
	kept->last = one;
	kept->n++;
	kept->bytes += len;
	return 0;
}

void flow_kept_free(struct flow_kept *kept, struct pool *pool)
{
	for (struct kept_datagram *one = kept->first, *next; one; one = next) {
		next = one->next;
		if (is_pooled(one->datagram.len))
			pool_give(pool, one);
		else
			free(one);
	}
	*kept = (struct flow_kept){ 0 };
}

size_t flow_kept_gather(const struct flow_kept *kept, uint8_t *to, size_t size,
	uint32_t ret_ends[EVIDENCE_DATAGRAMS_MAX], size_t *ret_n)
{
	size_t len = 0, n = 0;

	for (const struct kept_datagram *one = kept->first; one && n < EVIDENCE_DATAGRAMS_MAX; one = one->next) {
		size_t more = one->datagram.len;
		if (more == 0)
			continue;
		if (len + more > size) {
			if (n > 0)
				break;
			more = size;
		}
		memcpy(to + len, one->datagram.bytes, more);
		len += more;
		ret_ends[n++] = (uint32_t)len;
	}
	*ret_n = n;
	return len;
}
