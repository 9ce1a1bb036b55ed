/* A flow's first datagrams: kept in order, within bounds, and put together as evidence. */
#include "flow_kept.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct pool pool = KEPT_POOL;

static int add(struct flow_kept *kept, const char *bytes, uint32_t len)
{
	const struct datagram datagram = { .bytes = (const uint8_t *)bytes, .len = len, .tos = 2 };

	return flow_kept_add(kept, &pool, &datagram, 0, len);
}

static void they_are_kept_in_order_with_their_marks(void **state)
{
	struct flow_kept kept = { 0 };
	uint32_t ends[EVIDENCE_DATAGRAMS_MAX];
	uint8_t bytes[64];
	size_t n;

	assert_int_equal(add(&kept, "one", 3), 0);
	assert_int_equal(add(&kept, "", 0), 0);
	assert_int_equal(add(&kept, "three", 5), 0);
	assert_int_equal(kept.n, 3);
	assert_int_equal(kept.bytes, 8);
	assert_int_equal(kept.first->datagram.tos, 2);
	assert_int_equal(kept.first->next->datagram.len, 0);
	assert_int_equal(flow_kept_gather(&kept, bytes, sizeof(bytes), ends, &n), 8);
	assert_int_equal(n, 2); /* one without bytes is no evidence */
	assert_memory_equal(bytes, "onethree", 8);
	assert_int_equal(ends[0], 3);
	assert_int_equal(ends[1], 8);
	flow_kept_free(&kept, &pool);
	assert_int_equal(kept.n, 0);
	pool_fini(&pool);
}

static void what_does_not_fit_is_left_out_with_all_that_follow(void **state)
{
	struct flow_kept kept = { 0 };
	uint32_t ends[EVIDENCE_DATAGRAMS_MAX];
	uint8_t bytes[6];
	size_t n;

	assert_int_equal(add(&kept, "1234", 4), 0);
	assert_int_equal(add(&kept, "567", 3), 0);
	assert_int_equal(add(&kept, "8", 1), 0);
	assert_int_equal(flow_kept_gather(&kept, bytes, sizeof(bytes), ends, &n), 4);
	assert_int_equal(n, 1);
	flow_kept_free(&kept, &pool);
	assert_int_equal(add(&kept, "12345678", 8), 0);
	assert_int_equal(flow_kept_gather(&kept, bytes, sizeof(bytes), ends, &n), 6);
	assert_int_equal(ends[0], 6);
	flow_kept_free(&kept, &pool);
	pool_fini(&pool);
}

static void they_are_bounded_in_number_and_in_bytes(void **state)
{
	static char large[KEPT_BYTES_MAX];
	struct flow_kept kept = { 0 };

	for (unsigned i = 0; i < EVIDENCE_DATAGRAMS_MAX; i++)
		assert_int_equal(add(&kept, "x", 1), 0);
	assert_int_equal(add(&kept, "x", 1), -ENOSPC);
	flow_kept_free(&kept, &pool);
	assert_int_equal(add(&kept, large, sizeof(large)), 0);
	assert_int_equal(add(&kept, "", 0), 0);
	assert_int_equal(add(&kept, "x", 1), -ENOSPC);
	flow_kept_free(&kept, &pool);
	pool_fini(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_are_kept_in_order_with_their_marks),
		cmocka_unit_test(what_does_not_fit_is_left_out_with_all_that_follow),
		cmocka_unit_test(they_are_bounded_in_number_and_in_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
