/* Room for connections, computed from limits on descriptors of any size: it never wraps around, never shrinks where the limit grows,
 * and is what it always was where limits are small. */
#include "capacity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/resource.h>
// after those above
#include <cmocka.h>

static struct policy policy_of(unsigned workers)
{
	return (struct policy){ .workers = workers, .max_undecided = 4096, .max_undecided_per_source = 512 };
}

static struct capacity room(const struct policy *policy, unsigned long descriptors)
{
	struct capacity capacity;

	capacity_from(policy, descriptors, &capacity);
	assert_int_equal(capacity.descriptors, descriptors);
	return capacity;
}

static void an_ordinary_limit_leaves_what_is_not_reserved(void **state)
{
	struct policy policy = policy_of(4);
	struct capacity capacity = room(&policy, 20000);

	assert_int_equal(capacity.connections, (20000 - capacity.reserved) / 2);
	assert_int_equal(capacity.in_all, 4 * capacity.connections);
	assert_int_equal(capacity.undecided, 4096);
	assert_int_equal(capacity.of_one_source, 512);
	policy.max_connections = 1000;
	assert_int_equal(room(&policy, 20000).in_all, 1000);
}

static void a_flow_has_one_descriptor_where_there_are_no_connections(void **state)
{
	struct listener_policy listeners[2] = { { .transport = TRANSPORT_DATAGRAM },
		{ .transport = TRANSPORT_STREAM } };
	struct policy policy = policy_of(1);

	policy.listeners = listeners;
	policy.n_listeners = 1;
	struct capacity flows = room(&policy, 20000);
	assert_int_equal(flows.connections, 20000 - flows.reserved);
	policy.n_listeners = 2;
	struct capacity both = room(&policy, 20000);
	assert_int_equal(both.connections, (20000 - both.reserved) / 2);
}

static void of_a_small_limit_half_is_for_connections(void **state)
{
	struct policy policy = policy_of(1);

	assert_int_equal(room(&policy, 64).connections, 16);
	assert_int_equal(room(&policy, 64).undecided, 8);
	assert_int_equal(room(&policy, 2).undecided, 1);
}

static void huge_limits_do_not_wrap_around(void **state)
{
	static const unsigned long limits[] = { 1UL << 30, (1UL << 31) - 1, 1UL << 31, (1UL << 32) - 1, 1UL << 32,
		(1UL << 33) + 2, (1UL << 34) + 4, 1UL << 62, RLIM_INFINITY };
	static const unsigned workers[] = { 1, 2, 3, 8, 256 };

	for (size_t w = 0; w < sizeof(workers) / sizeof(workers[0]); w++) {
		struct policy policy = policy_of(workers[w]);
		struct capacity before = room(&policy, 1UL << 20);
		for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
			struct capacity capacity = room(&policy, limits[i]);
			assert_true(capacity.connections >= before.connections);
			assert_true(capacity.in_all >= before.in_all && capacity.in_all >= capacity.connections);
			assert_true(capacity.in_all <= CAPACITY_MOST && capacity.connections <= CAPACITY_MOST);
			assert_int_equal(capacity.undecided, 4096);
			before = capacity;
		}
		assert_int_equal(before.in_all, CAPACITY_MOST);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ordinary_limit_leaves_what_is_not_reserved),
		cmocka_unit_test(a_flow_has_one_descriptor_where_there_are_no_connections),
		cmocka_unit_test(of_a_small_limit_half_is_for_connections),
		cmocka_unit_test(huge_limits_do_not_wrap_around),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
