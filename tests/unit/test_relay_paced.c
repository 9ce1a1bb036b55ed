/* A relay whose directions have a pace: what moves, what waits, and that nothing else does. */
#include "relay_world.h"

#define RATE  100000 /* bytes a second */
#define BURST 10000

static uint8_t bytes[65536];

static void start_paced(struct byte_rate up, struct byte_rate down)
{
	relay.paces = relay_pool_take_paces(pool);
	assert_non_null(relay.paces);
	pace_init(&relay.paces->up, &loop, &relay.turn, up, NULL);
	pace_init(&relay.paces->down, &loop, &relay.turn, down, NULL);
	start_sockets();
}

static size_t came(int fd)
{
	ssize_t n = __real_recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	return n > 0 ? (size_t)n : 0;
}

static void a_direction_waits_when_its_burst_is_used_up(void **state)
{
	start_paced((struct byte_rate){ 0 }, (struct byte_rate){ RATE, BURST });
	assert_int_equal(__real_send(server, bytes, 30000, 0), 30000);
	turn(&loop);
	assert_int_equal(came(client), BURST);
	turn_after(&loop, 24999);
	assert_int_equal(came(client), 0);
	turn_after(&loop, 2);
	assert_in_range(came(client), BURST / 4, BURST / 4 + 2);
	turn_after(&loop, SECOND_US);
	assert_int_equal(came(client), BURST);
	assert_int_equal(loop.timers.count, 2);
}

static void the_other_direction_goes_on(void **state)
{
	start_paced((struct byte_rate){ 0 }, (struct byte_rate){ RATE, BURST });
	assert_int_equal(__real_send(server, bytes, 30000, 0), 30000);
	turn(&loop);
	assert_int_equal(__real_send(client, bytes, 40000, 0), 40000);
	turn(&loop);
	assert_int_equal(came(server), 40000);
}

static void the_end_comes_behind_the_bytes(void **state)
{
	start_paced((struct byte_rate){ RATE, BURST }, (struct byte_rate){ 0 });
	assert_int_equal(__real_send(client, bytes, BURST + 100, 0), BURST + 100);
	assert_int_equal(__real_shutdown(client, SHUT_WR), 0);
	turn(&loop);
	assert_int_equal(came(server), BURST);
	assert_int_equal(__real_recv(server, bytes, 1, MSG_DONTWAIT), -1);
	turn_after(&loop, SECOND_US);
	turn(&loop);
	assert_int_equal(came(server), 100);
	assert_int_equal(__real_recv(server, bytes, 1, MSG_DONTWAIT), 0);
	assert_true(relay_is_running(&relay));
}

/* A bucket that takes longer to fill than a relay may be idle. */
static void who_is_held_back_is_not_idle(void **state)
{
	start_paced((struct byte_rate){ 0 }, (struct byte_rate){ 10, 4096 });
	assert_int_equal(__real_send(server, bytes, 5120, 0), 5120);
	turn(&loop);
	assert_int_equal(came(client), 4096);
	for (unsigned i = 0; i < 102; i++)
		turn_after(&loop, SECOND_US);
	assert_true(relay_is_running(&relay));
	turn_after(&loop, SECOND_US);
	assert_int_equal(came(client), 1024);
	turn_after(&loop, IDLE_US);
	turn(&loop);
	assert_int_equal(told, RELAY_IDLE);
}

static void a_relay_that_is_closed_waits_for_nothing(void **state)
{
	start_paced((struct byte_rate){ RATE, BURST }, (struct byte_rate){ RATE, BURST });
	assert_int_equal(__real_send(server, bytes, 30000, 0), 30000);
	assert_int_equal(__real_send(client, bytes, 30000, 0), 30000);
	turn(&loop);
	world_end(RELAY_FINISHED);
	assert_null(relay.paces);
	assert_int_equal(pool->n_spare_paces, 1);
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(a_direction_waits_when_its_burst_is_used_up),
		UNIT(the_other_direction_goes_on),
		UNIT(the_end_comes_behind_the_bytes),
		UNIT(who_is_held_back_is_not_idle),
		UNIT(a_relay_that_is_closed_waits_for_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
