/* What a flow is as it moves to another worker: what is written is read again, and what no flow can be is refused. */
#include "flow_state.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t bytes[sizeof(struct flow_state) + 32768];
static struct pool pool = KEPT_POOL;

static struct flow_kept kept_of(const char *const *texts, size_t n)
{
	struct flow_kept kept = { 0 };

	for (size_t i = 0; i < n; i++) {
		const struct datagram one = {
			.bytes = (const uint8_t *)texts[i], .len = (uint32_t)strlen(texts[i]), .tos = (uint8_t)i
		};
		assert_int_equal(flow_kept_add(&kept, &pool, &one, 0, one.len), 0);
	}
	return kept;
}

static struct flow_state some(void)
{
	return (struct flow_state){ .spoken_us = 5, .datagrams_up = 3, .error = -ECONNREFUSED, .is_unproven = 1 };
}

static void an_undecided_flow_is_read_as_it_was_written(void **state)
{
	static const char *const texts[] = { "one", "", "three" };
	struct flow_kept kept = kept_of(texts, 3), again = { 0 };
	struct flow_state head = some(), read;

	ssize_t len = flow_state_write(bytes, sizeof(bytes), &head, &kept, NULL);
	assert_true(len > 0);
	assert_int_equal(flow_state_read(&read, PHASE_DECIDING, bytes, (size_t)len, 0), 0);
	assert_int_equal(read.datagrams_up, 3);
	assert_int_equal(read.error, -ECONNREFUSED);
	assert_int_equal(read.n_kept, 3);
	assert_int_equal(flow_state_keep(&again, &pool, bytes, (size_t)len), 0);
	assert_int_equal(again.n, 3);
	const struct kept_datagram *one = again.first;
	for (size_t i = 0; i < 3; i++, one = one->next) {
		assert_int_equal(one->datagram.len, strlen(texts[i]));
		assert_memory_equal(one->datagram.bytes, texts[i], one->datagram.len);
		assert_int_equal(one->datagram.tos, i);
	}
	flow_kept_free(&kept, &pool);
	flow_kept_free(&again, &pool);
}

static void a_header_is_read_as_it_was_written(void **state)
{
	static const char text[] = "PROXY and so on";
	static const bool kinds[][2] = { { true, false }, { false, false }, { false, true } };
	const struct flow_kept none = { 0 };

	for (size_t i = 0; i < 3; i++) {
		struct flow_header *header = flow_header_new(kinds[i][0], (const uint8_t *)text, sizeof(text)),
				   *again;
		struct flow_state head = some(), read;
		header->is_sent = kinds[i][1];
		size_t len = (size_t)flow_state_write(bytes, sizeof(bytes), &head, &none, header);
		assert_int_equal(flow_state_read(&read, PHASE_RELAYING, bytes, len, 1), 0);
		assert_int_equal(flow_state_header(&again, bytes, len), 0);
		assert_int_equal(again->each, kinds[i][0]);
		assert_int_equal(again->is_sent, kinds[i][1]);
		assert_int_equal(again->len, sizeof(text));
		assert_memory_equal(again->bytes, text, sizeof(text));
		assert_int_equal(flow_state_read(&read, PHASE_RELAYING, bytes, len - 1, 1), -EBADMSG);
		assert_int_equal(flow_state_read(&read, PHASE_RELAYING, bytes, len + 1, 1), -EBADMSG);
		assert_int_equal(flow_state_read(&read, PHASE_DECIDING, bytes, len, 0), -EBADMSG);
		assert_int_equal(flow_state_write(bytes, len - 1, &head, &none, header), -EMSGSIZE);
		free(header);
		free(again);
	}
}

static void what_is_cut_longer_or_in_another_phase_is_refused(void **state)
{
	static const char *const texts[] = { "one", "two" };
	struct flow_kept kept = kept_of(texts, 2);
	struct flow_state head = some(), read;

	size_t len = (size_t)flow_state_write(bytes, sizeof(bytes), &head, &kept, NULL);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(flow_state_read(&read, PHASE_DECIDING, bytes, cut, 0), -EBADMSG);
	assert_int_equal(flow_state_read(&read, PHASE_DECIDING, bytes, len + 1, 0), -EBADMSG);
	assert_int_equal(flow_state_read(&read, PHASE_DECIDING, bytes, len, 1), -EBADMSG);
	assert_int_equal(flow_state_read(&read, PHASE_RELAYING, bytes, len, 0), -EBADMSG);
	assert_int_equal(flow_state_read(&read, PHASE_RELAYING, bytes, len, 1), 0);
	assert_int_equal(flow_state_read(&read, PHASE_PROXIED, bytes, len, 0), -EBADMSG);
	assert_int_equal(flow_state_write(bytes, len - 1, &head, &kept, NULL), -EMSGSIZE);
	flow_kept_free(&kept, &pool);
	pool_fini(&pool);
}

static void refused(void (*change)(struct flow_state *head))
{
	const struct flow_kept none = { 0 };
	struct flow_state head = some(), read;

	size_t len = (size_t)flow_state_write(bytes, sizeof(bytes), &head, &none, NULL);
	assert_int_equal(flow_state_read(&read, PHASE_RELAYING, bytes, len, 1), 0);
	change(&head);
	memcpy(bytes, &head, sizeof(head));
	assert_int_equal(flow_state_read(&read, PHASE_RELAYING, bytes, len, 1), -EBADMSG);
}

static void make_error_positive(struct flow_state *head)
{
	head->error = 1;
}

static void make_error_no_number(struct flow_state *head)
{
	head->error = -4096;
}

static void make_flag_two(struct flow_state *head)
{
	head->is_unproven = 2;
}

static void make_id_too_long(struct flow_state *head)
{
	head->id = (struct datagram_id){ .kind = AFFINITY_QUIC, .len = AFFINITY_ID_MAX + 1 };
}

static void make_id_of_another_protocol(struct flow_state *head)
{
	head->id = (struct datagram_id){ .kind = AFFINITY_WIREGUARD, .len = 4 };
	head->speaks = AFFINITY_QUIC;
}

static void make_protocol_an_address(struct flow_state *head)
{
	head->speaks = AFFINITY_ADDRESS;
}

static void make_known_by_nothing_that_is(struct flow_state *head)
{
	head->known_by = AFFINITY_KINDS;
}

static void make_one_more(struct flow_state *head)
{
	head->n_kept = 1;
}

static void make_very_many(struct flow_state *head)
{
	head->n_kept = UINT32_MAX;
}

static void make_header_longer(struct flow_state *head)
{
	head->header_len = 1;
}

static void make_header_very_long(struct flow_state *head)
{
	head->header_len = UINT32_MAX;
}

static void make_each_of_no_header(struct flow_state *head)
{
	head->header_each = 1;
}

static void make_no_header_sent(struct flow_state *head)
{
	head->header_is_sent = 1;
}

static void numbers_that_no_flow_has_are_refused(void **state)
{
	refused(make_error_positive);
	refused(make_error_no_number);
	refused(make_flag_two);
	refused(make_id_too_long);
	refused(make_id_of_another_protocol);
	refused(make_protocol_an_address);
	refused(make_known_by_nothing_that_is);
	refused(make_one_more);
	refused(make_very_many);
	refused(make_header_longer);
	refused(make_header_very_long);
	refused(make_each_of_no_header);
	refused(make_no_header_sent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_undecided_flow_is_read_as_it_was_written),
		cmocka_unit_test(a_header_is_read_as_it_was_written),
		cmocka_unit_test(what_is_cut_longer_or_in_another_phase_is_refused),
		cmocka_unit_test(numbers_that_no_flow_has_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
