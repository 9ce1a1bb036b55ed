/* One check of one backend: it connects, sends, and holds the answer against what is expected.
 *
 *	connecting -> handshake -> sending -> answer -> over
 *
 * Each step is left out where the check has none of it. Nothing waits: the loop says when it goes on. */
#pragma once
#include "address.h"
#include "check_answer.h"
#include "check_tls.h"
#include "loop.h"

#define CHECK_HEADER_MAX 32
#define CHECK_HOST_MAX   320

struct check_run {
	struct loop *loop;
	const struct check *check;
	struct check_tls_context *tls_context;
	struct findings *findings; /* shared by all */
	struct address address;
	bool is_datagram;
	unsigned
		send_proxy; /* the version of the PROXY header without a client's address that comes first; 0: none */
	char host[CHECK_HOST_MAX]; /* of an HTTP request */
	void *context;             /* the caller's */
	/* Once; the memory may be freed in it. `word` of check_result.h. */
	void (*over)(struct check_run *run, uint32_t word, uint64_t took_us);

	/* The rest is its own. */
	struct watch watch;
	struct timer timer;
	struct task ending;
	struct check_tls *tls;
	enum { RUN_CONNECTING, RUN_SHAKING, RUN_SENDING, RUN_READING } step;
	uint64_t started_us;
	uint32_t word; /* of the end */
	uint8_t *out;  /* what is sent, on the heap: with `before` bytes that come before the handshake */
	size_t out_len, out_before, out_at;
	uint8_t in[CHECK_ANSWER_MAX];
	size_t in_len;
};

/* The members above are set, the rest is zero. `over` comes later. 0 or -ENOMEM: it does not. */
int check_run_begin(struct check_run *run);
void check_run_cancel(
	struct check_run *run); /* `over` is not called any more; the memory must outlive the loop's turn */
