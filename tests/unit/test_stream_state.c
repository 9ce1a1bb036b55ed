/* What a stream is as it moves to another worker: what is written is read again, and what no stream can be is refused, whichever byte
 * is wrong. */
#include "stream_state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIZE (sizeof(struct stream_state) + 2 * RELAY_BUFFER_SIZE + 8)

static const uint8_t up[] = "on its way up", down[] = "down";

static struct stream_state undecided(void)
{
	return (struct stream_state){ .was_silent = 1, .has_fd = { [STREAM_FD_CLIENT] = 1 } };
}

static struct stream_state relayed(void)
{
	return (struct stream_state){
		.moved_us = 3,
		.server_kind = SIDE_SOCKET,
		.lingering = 1,
		.has_fd = { [STREAM_FD_CLIENT] = 1, [STREAM_FD_SERVER] = 1 },
		.up = { .bytes = 100, .uncounted = 5, .pending_len = sizeof(up) },
		.down = { .bytes = 200, .pending_len = sizeof(down), .ended = 1, .copy_only = 1 },
	};
}

static size_t count_fds(const struct stream_state *head)
{
	size_t n = 0;

	for (size_t i = 0; i < STREAM_FDS; i++)
		n += head->has_fd[i];
	return n;
}

static size_t write_one(uint8_t *to, const struct stream_state *head)
{
	static const uint8_t zeros[RELAY_BUFFER_SIZE + 1];
	const struct stream_state_parts parts = {
		.head = head,
		.up = head->up.pending_len == sizeof(up) ? up : zeros,
		.down = head->down.pending_len == sizeof(down) ? down : zeros,
	};
	ssize_t len = stream_state_write(to, SIZE, &parts);

	assert_true(len > 0);
	return (size_t)len;
}

static void what_is_written_is_read(void **state)
{
	uint8_t *bytes = malloc(SIZE);
	struct stream_state_parts read;

	struct stream_state head = relayed();
	size_t len = write_one(bytes, &head);
	assert_int_equal(stream_state_read(&read, PHASE_RELAYING, bytes, len, 2), 0);
	assert_memory_equal(read.head, &head, sizeof(head));
	assert_memory_equal(read.up, up, sizeof(up));
	assert_memory_equal(read.down, down, sizeof(down));
	head = undecided();
	len = write_one(bytes, &head);
	assert_int_equal(stream_state_read(&read, PHASE_DECIDING, bytes, len, 1), 0);
	assert_int_equal(stream_state_read(&read, PHASE_PROXIED, bytes, len, 1), 0);
	assert_int_equal(read.head->was_silent, 1);
	free(bytes);
}

static void one_cut_or_lengthened_is_refused(void **state)
{
	uint8_t *bytes = malloc(SIZE);
	const struct stream_state head = relayed();
	size_t len = write_one(bytes, &head);
	struct stream_state_parts read;

	for (size_t n = 0; n < len; n++) {
		uint8_t *cut = malloc(n ? n : 1);
		memcpy(cut, bytes, n);
		assert_int_equal(stream_state_read(&read, PHASE_RELAYING, cut, n, 2), -EBADMSG);
		free(cut);
	}
	assert_int_equal(stream_state_read(&read, PHASE_RELAYING, bytes, len + 1, 2), -EBADMSG);
	free(bytes);
}

/* Refused, or its parts lie in it. */
static void whichever_byte_is_wrong_nothing_outside_is_read(void **state)
{
	uint8_t *bytes = malloc(SIZE);
	const struct stream_state head = relayed();
	size_t len = write_one(bytes, &head);
	struct stream_state_parts read;
	unsigned sum = 0;

	for (size_t at = 0; at < len; at++) {
		for (int value = 0; value < 256; value++) {
			uint8_t *exact = malloc(len);
			memcpy(exact, bytes, len);
			exact[at] = (uint8_t)value;
			if (stream_state_read(&read, PHASE_RELAYING, exact, len, 2) == 0) {
				sum += read.head->up.pending_len ? read.up[read.head->up.pending_len - 1] : 0;
				sum += read.head->down.pending_len ? read.down[read.head->down.pending_len - 1] : 0;
			}
			free(exact);
		}
	}
	assert_true(sum > 0);
	free(bytes);
}

static int judge(const struct stream_state *head, enum session_phase phase)
{
	uint8_t *bytes = malloc(SIZE);
	struct stream_state_parts read;
	int error = stream_state_read(&read, phase, bytes, write_one(bytes, head), count_fds(head));

	free(bytes);
	return error;
}

static int judge_relayed(const struct stream_state *head)
{
	return judge(head, PHASE_RELAYING);
}

/* Whoever is undecided has its own socket, and who is relayed another side: in every combination. */
static void descriptors_are_those_of_the_phase(void **state)
{
	for (unsigned mask = 0; mask < 1u << STREAM_FDS; mask++) {
		struct stream_state head = { .server_kind = SIDE_PIPES };
		for (unsigned i = 0; i < STREAM_FDS; i++)
			head.has_fd[i] = mask >> i & 1;
		const uint8_t *has = head.has_fd;
		bool relays = has[STREAM_FD_CLIENT] && has[STREAM_FD_SERVER] &&
			has[STREAM_FD_UP_OUT] == has[STREAM_FD_UP_IN] &&
			has[STREAM_FD_DOWN_OUT] == has[STREAM_FD_DOWN_IN];
		bool waits = mask == 1u << STREAM_FD_CLIENT;
		assert_int_equal(judge_relayed(&head), relays ? 0 : -EBADMSG);
		assert_int_equal(judge(&head, PHASE_DECIDING), waits ? 0 : -EBADMSG);
		assert_int_equal(judge(&head, PHASE_PROXIED), waits ? 0 : -EBADMSG);
		head.server_kind = SIDE_SOCKET; /* has no second descriptor */
		assert_int_equal(judge_relayed(&head), relays && !has[STREAM_FD_INPUT] ? 0 : -EBADMSG);
	}
}

static void descriptors_are_as_many_as_came(void **state)
{
	uint8_t *bytes = malloc(SIZE);
	const struct stream_state head = relayed();
	size_t len = write_one(bytes, &head);
	struct stream_state_parts read;

	for (size_t n = 0; n <= MIGRATION_FDS_MAX; n++)
		assert_int_equal(stream_state_read(&read, PHASE_RELAYING, bytes, len, n), n == 2 ? 0 : -EBADMSG);
	free(bytes);
}

static void flags_are_flags(void **state)
{
	struct stream_state head = relayed();
	uint8_t *const flags[] = { &head.lingering, &head.was_silent, &head.has_fd[STREAM_FD_SERVER], &head.up.ended,
		&head.up.told, &head.up.discard, &head.up.copy_only, &head.down.ended, &head.down.told,
		&head.down.discard, &head.down.copy_only };

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		uint8_t right = *flags[i];
		*flags[i] = 2;
		assert_int_equal(judge_relayed(&head), -EBADMSG);
		*flags[i] = right;
		assert_int_equal(judge_relayed(&head), 0);
	}
	head.server_kind = SIDE_TERMINAL;
	assert_int_equal(judge_relayed(&head), 0);
	head.server_kind = SIDE_TERMINAL + 1;
	assert_int_equal(judge_relayed(&head), -EBADMSG);
}

static void judge_flow(struct stream_state *head, struct stream_state_flow *flow, uint8_t *pipe)
{
	const struct stream_state_flow before = *flow;

	flow->pending_len = RELAY_BUFFER_SIZE;
	assert_int_equal(judge_relayed(head), 0);
	flow->pending_len = RELAY_BUFFER_SIZE + 1;
	assert_int_equal(judge_relayed(head), -EBADMSG); /* more than a buffer holds */
	*flow = before;
	flow->uncounted = RELAY_BUFFER_SIZE + 1;
	assert_int_equal(judge_relayed(head), -EBADMSG);
	*flow = before;
	flow->told = 1;
	assert_int_equal(judge_relayed(head), -EBADMSG); /* the end before the last bytes */
	flow->pending_len = 0;
	assert_int_equal(judge_relayed(head), 0);
	flow->told = 0;
	flow->discard = 1;
	assert_int_equal(judge_relayed(head), 0);
	flow->in_pipe = 1;
	assert_int_equal(judge_relayed(head), -EBADMSG); /* in no pipe */
	pipe[0] = pipe[1] = 1;
	assert_int_equal(judge_relayed(head), -EBADMSG); /* of a sink that takes no more */
	flow->discard = 0;
	assert_int_equal(judge_relayed(head), 0);
	flow->pending_len = 1;
	assert_int_equal(judge_relayed(head), -EBADMSG); /* copies and splices */
	pipe[0] = pipe[1] = 0;
	*flow = before;
}

static void a_direction_is_one_that_a_relay_can_be_in(void **state)
{
	struct stream_state head = relayed();

	judge_flow(&head, &head.up, &head.has_fd[STREAM_FD_UP_OUT]);
	judge_flow(&head, &head.down, &head.has_fd[STREAM_FD_DOWN_OUT]);
}

static void what_does_not_fit_is_not_written(void **state)
{
	const struct stream_state head = relayed();
	const struct stream_state_parts parts = { .head = &head, .up = up, .down = down };
	size_t len = sizeof(head) + sizeof(up) + sizeof(down);
	uint8_t *bytes = malloc(len);

	assert_int_equal(stream_state_write(bytes, len - 1, &parts), -EMSGSIZE);
	assert_int_equal(stream_state_write(bytes, len, &parts), len);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(one_cut_or_lengthened_is_refused),
		cmocka_unit_test(whichever_byte_is_wrong_nothing_outside_is_read),
		cmocka_unit_test(descriptors_are_those_of_the_phase),
		cmocka_unit_test(descriptors_are_as_many_as_came),
		cmocka_unit_test(flags_are_flags),
		cmocka_unit_test(a_direction_is_one_that_a_relay_can_be_in),
		cmocka_unit_test(what_does_not_fit_is_not_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
