/* Two workers in one process, and flows that move from one to the other over a real channel: in the order in which answers came, and with no
 * time that the old worker makes up. */
#include "backends.h"
#include "datagrams.h"
#include "datagrams_parts.h"
#include "flow.h"
#include "former.h"
#include "ipc.h"
#include "limits_transit.h"
#include "two_workers.h"
#include "upstream.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_S 1000

static const struct transport *const transports[TRANSPORT_COUNT] = { [TRANSPORT_DATAGRAM] = &flow_transport };
static struct address here; /* of the listener */
static int backend, client;
static unsigned n_over; /* calls */

/* ---- two workers ------------------------------------------------------------------------------------------------------------ */

static void over(struct context *context)
{
	n_over++;
}

static int udp_bind(struct address *ret)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	address_parse(ret, "127.0.0.1:1");
	address_set_port(ret, 0);
	setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
	assert_int_equal(bind(fd, &ret->sa, ret->len), 0);
	assert_int_equal(getsockname(fd, &ret->sa, &ret->len), 0);
	return fd;
}

/* The socket has this place in the listener's group. */
static void worker_begin(struct context *context, unsigned slot, int fd, uint32_t place)
{
	worker_open(context, slot, transports);
	context->choosers = calloc(policy->n_services * TRANSPORT_COUNT + 1, sizeof(struct chooser *));
	context->scratch = decider_scratch_new();
	context->flows_over = over;
	assert_int_equal(decider_scratch_fit(context->scratch, policy->deciders[0]), 0);
	assert_int_equal(datagrams_new(context, &context->datagrams), 0);
	assert_int_equal(datagrams_listen(context->datagrams, fd, 0, place), 0);
}

static int setup(void **state)
{
	struct address to;
	char text[512], to_text[ADDRESS_TEXT_MAX], here_text[ADDRESS_TEXT_MAX];

	backend = udp_bind(&to);
	int fd = udp_bind(&here);
	snprintf(text, sizeof(text),
		"listen = \"udp:%s\"; idle_timeout = %d;\n"
		"services = ( { name = \"go\"; connect = \"%s\"; } ); on_unknown = \"go\";\n",
		address_format(&here, here_text), IDLE_S, address_format(&to, to_text));
	two_workers_policy(text);
	worker_begin(&workers[OLD], OLD, fd, 0);
	worker_begin(&workers[NEW], NEW, dup(fd), 0);
	datagrams_resume(workers[OLD].datagrams);
	client = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(client, &here.sa, here.len), 0);
	n_over = 0;
	return 0;
}

static void worker_end(struct context *context)
{
	worker_end_sessions(context);
	datagrams_free(context->datagrams);
	backends_free(context);
	decider_scratch_free(context->scratch);
	worker_close(context);
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < WORKERS; i++)
		worker_end(&workers[i]);
	two_workers_end();
	close(backend);
	close(client);
	return 0;
}

/* ---- a flow ----------------------------------------------------------------------------------------------------------------- */

static struct flow *flow_begin(void)
{
	struct address from = { .len = sizeof(from.un) };
	char byte;

	assert_int_equal(send(client, "x", 1, 0), 1);
	worker_turn(&workers[OLD]);
	assert_int_equal(workers[OLD].n_sessions, 1);
	assert_int_equal(recvfrom(backend, &byte, 1, 0, &from.sa, &from.len), 1);
	assert_int_equal(connect(backend, &from.sa, from.len), 0);
	return flow_of(session_first(&workers[OLD]));
}

static struct flow *move(void)
{
	int ends[2];

	assert_int_equal(ipc_pair(ends), 0);
	datagrams_hold(workers[OLD].datagrams);
	assert_int_equal(migration_send_to(&workers[OLD], ends[0], NEW), 0);
	migration_receive_begin(&workers[NEW], ends[1], OLD);
	worker_turn(&workers[OLD]); /* hears the hello, and sends */
	worker_turn(&workers[OLD]);
	assert_int_equal(workers[OLD].n_sessions, 0);
	worker_turn(&workers[NEW]);
	return session_first(&workers[NEW]) ? flow_of(session_first(&workers[NEW])) : NULL;
}

static void assert_heard(const char *text)
{
	char buffer[16] = "";

	assert_int_equal(recv(client, buffer, sizeof(buffer) - 1, 0), strlen(text));
	assert_string_equal(buffer, text);
}

/* ---- the tests -------------------------------------------------------------------------------------------------------------- */

static void one_that_is_relayed_goes_on_both_ways(void **state)
{
	char byte;

	flow_begin();
	assert_non_null(move());
	datagrams_resume(workers[NEW].datagrams);
	assert_int_equal(send(backend, "down", 4, 0), 4);
	worker_turn(&workers[NEW]);
	assert_heard("down");
	assert_int_equal(send(client, "u", 1, 0), 1);
	worker_turn(&workers[NEW]);
	assert_int_equal(recv(backend, &byte, 1, 0), 1);
	assert_int_equal(byte, 'u');
}

/* The new worker may send what follows at once. */
static void answers_that_were_read_go_out_before_their_flow_does(void **state)
{
	_Alignas(8) uint8_t bytes[4096];
	struct migration_state moving = { .bytes = bytes, .len = sizeof(bytes) };
	struct flow *flow = flow_begin();
	char byte;

	assert_int_equal(send(backend, "1", 1, 0), 1);
	flow_upstream_ready(flow);
	assert_int_equal(workers[OLD].datagrams->n_answers, 1);
	assert_int_equal(recv(client, &byte, 1, 0), -1); /* at the end of the turn */
	assert_int_equal(flow_transport.migration->pack(&flow->session, &moving), 0);
	assert_heard("1");
}

static void that_no_flow_is_left_is_not_said_while_some_may_yet_come(void **state)
{
	int before[2];

	assert_int_equal(ipc_pair(before), 0);
	migration_receive_begin(&workers[OLD], before[0], NEW); /* nothing has come from there yet */
	flow_begin();
	assert_non_null(move());
	assert_int_equal(n_over, 0);
	assert_true(migration_receive_awaits_flows(&workers[NEW]));
	close(before[1]);
	worker_turn(&workers[OLD]);
	migration_send_wake(workers[OLD].sender);
	worker_turn(&workers[OLD]);
	assert_int_equal(n_over, 1);
	worker_turn(&workers[NEW]);
	assert_false(migration_receive_awaits_flows(&workers[NEW]));
}

static void times_that_have_not_come_yet_are_not_believed(void **state)
{
	struct flow *flow = flow_begin();

	flow->session.accepted_us = flow->session.decided_us = flow->spoken_us = flow->answered_us = UINT64_MAX - 5;
	flow = move();
	assert_non_null(flow);
	uint64_t now_us = workers[NEW].loop.now_us;
	assert_true(flow->session.accepted_us <= now_us && flow->session.decided_us <= now_us);
	assert_true(flow->spoken_us <= now_us && flow->answered_us <= now_us);
	assert_true(flow_due_us(&flow->session) <= now_us + flow->flow_timeout_us);
}

/* Of a service that the new policy does not have. */
static void timeouts_are_no_longer_than_those_of_connections(void **state)
{
	static const char *const texts[SESSION_TEXTS] = { [TEXT_SERVICE] = "gone" };
	const char *with_listener[SESSION_TEXTS];
	struct flow *flow = flow_begin();

	memcpy(with_listener, texts, sizeof(texts));
	with_listener[TEXT_LISTENER] = policy->listeners[0].text;
	flow->session.former = former_new(with_listener, DELIVERY_CONNECT, LEVEL_DEBUG);
	flow->flow_timeout_us = UINT64_MAX / 2;
	flow->answer_timeout_us = 7000000;
	flow = move();
	assert_non_null(flow);
	assert_int_equal(flow->flow_timeout_us, IDLE_S * UINT64_C(1000000));
	assert_int_equal(flow->answer_timeout_us, 7000000);
}

/* The old worker may have it still, and read what is for the next flow. */
static void a_socket_to_a_backend_that_came_from_another_worker_is_not_used_again(void **state)
{
	struct datagrams *there = workers[NEW].datagrams;
	struct flow *flow = flow_begin();

	flow = move();
	assert_non_null(flow);
	flow_end(flow, END_CLOSED);
	worker_turn(&workers[NEW]);
	assert_int_equal(there->n_spare_upstreams[0], 0);
	assert_null(there->spare_upstreams[0]);
}

/* Of the events of one turn an earlier one may end a flow for which there is a later one. */
static void a_socket_to_a_backend_that_is_closed_outlives_the_turn(void **state)
{
	struct flow *flow = flow_begin();
	struct datagrams *datagrams = workers[OLD].datagrams;

	flow->upstream->watch.sole = false; /* as of one that came from another worker: it is not used again */
	flow_end(flow, END_CLOSED);
	assert_non_null(datagrams->closed_upstreams);
	assert_false(datagrams->closed_upstreams->watch.listed);
	worker_turn(&workers[OLD]);
	assert_null(datagrams->closed_upstreams);
}

/* ---- several new workers ---------------------------------------------------------------------------------------------------- */

#define THIRD 2 /* its slot */

static struct context third; /* it has the listener's socket of place 1 */
static int others_client;

/* Two flows of the old worker, by one socket each. */
static void two_flows_begin(struct flow *ret[2])
{
	struct datagrams *old = workers[OLD].datagrams;
	int fd = old->listeners->fd;
	char byte;

	assert_int_equal(datagrams_listen(old, dup(fd), 0, 1), 0);
	worker_begin(&third, THIRD, dup(fd), 1);
	others_client = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(others_client, &here.sa, here.len), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(send(i ? others_client : client, "x", 1, 0), 1);
		worker_turn(&workers[OLD]);
		assert_int_equal(recv(backend, &byte, 1, 0), 1);
		ret[i] = flow_of(session_first(&workers[OLD])); /* the newest */
		ret[i]->listener = old->listeners; /* the one that was added last is first, and of place 1 */
		if (i == 0)
			ret[i]->listener = old->listeners->next;
		assert_int_equal(ret[i]->listener->place, i);
	}
	assert_int_equal(workers[OLD].n_sessions, 2);
}

static void move_to_both(int ret_ends[2])
{
	int there[2], to_third[2];

	assert_int_equal(ipc_pair(there), 0);
	assert_int_equal(ipc_pair(to_third), 0);
	datagrams_hold(workers[OLD].datagrams);
	migration_send_add(&workers[OLD], there[0], NEW);
	migration_send_add(&workers[OLD], to_third[0], THIRD);
	assert_int_equal(migration_send_begin(&workers[OLD]), 0);
	ret_ends[0] = there[1];
	ret_ends[1] = to_third[1];
}

static void turns(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		worker_turn(&workers[OLD]);
		worker_turn(&workers[NEW]);
		worker_turn(&third);
	}
}

static void third_end(void)
{
	worker_end(&third);
	close(others_client);
}

static void each_flow_goes_to_the_worker_that_has_its_socket(void **state)
{
	struct flow *flows[2];
	int ends[2];

	two_flows_begin(flows);
	move_to_both(ends);
	migration_receive_begin(&third, ends[1], OLD);
	turns(3);
	assert_int_equal(workers[OLD].n_sessions, 2); /* it is not known yet who has which socket */
	migration_receive_begin(&workers[NEW], ends[0], OLD);
	turns(6);
	assert_int_equal(workers[OLD].n_sessions, 0);
	assert_int_equal(workers[NEW].n_sessions, 1);
	assert_int_equal(third.n_sessions, 1);
	assert_int_equal(flow_of(session_first(&workers[NEW]))->listener->place, 0);
	assert_int_equal(flow_of(session_first(&third))->listener->place, 1);
	assert_false(migration_receive_awaits_flows(&workers[NEW]));
	assert_false(migration_receive_awaits_flows(&third));
	assert_false(migration_send_is_under_way(workers[OLD].sender));
	assert_int_equal(n_over, 1);
	assert_int_equal(limits_live_all(shared.limits), 2);
	third_end();
}

static void a_worker_whose_flows_have_come_does_not_wait_for_those_of_another(void **state)
{
	struct flow *flows[2];
	int ends[2];

	two_flows_begin(flows);
	flows[1]->session.stays = true; /* for now */
	move_to_both(ends);
	migration_receive_begin(&workers[NEW], ends[0], OLD);
	migration_receive_begin(&third, ends[1], OLD);
	turns(6);
	assert_int_equal(workers[NEW].n_sessions, 1);
	assert_false(migration_receive_awaits_flows(&workers[NEW]));
	assert_true(migration_receive_awaits_flows(&third));
	assert_int_equal(n_over, 0);
	flows[1]->session.stays = false;
	movable(&workers[OLD]);
	turns(3);
	assert_int_equal(third.n_sessions, 1);
	assert_false(migration_receive_awaits_flows(&third));
	assert_int_equal(n_over, 1);
	third_end();
}

static void flows_of_a_worker_that_is_gone_end_and_the_others_move(void **state)
{
	struct flow *flows[2];
	int ends[2];

	two_flows_begin(flows);
	move_to_both(ends);
	close(ends[1]);
	migration_receive_begin(&workers[NEW], ends[0], OLD);
	turns(6);
	assert_int_equal(workers[OLD].n_sessions, 0);
	assert_int_equal(workers[NEW].n_sessions, 1);
	assert_int_equal(third.n_sessions, 0);
	assert_false(migration_receive_awaits_flows(&workers[NEW]));
	assert_int_equal(limits_live_all(shared.limits), 1);
	third_end();
}

/* They go one worker after the other, whichever comes first in the list, and more than are on their way at a time. */
static void many_flows_for_several_workers_all_arrive(void **state)
{
	struct flow *flows[2];
	struct datagrams *old = workers[OLD].datagrams;
	int ends[2], clients[3 * LIMITS_TRANSIT_MAX];
	unsigned n = sizeof(clients) / sizeof(clients[0]);

	two_flows_begin(flows);
	for (unsigned i = 0; i < n; i++) {
		clients[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(clients[i], &here.sa, here.len), 0);
		assert_int_equal(send(clients[i], "x", 1, 0), 1);
		worker_turn(&workers[OLD]);
		flow_of(session_first(&workers[OLD]))->listener = i % 3 ? old->listeners : old->listeners->next;
	}
	assert_int_equal(workers[OLD].n_sessions, n + 2);
	move_to_both(ends);
	migration_receive_begin(&workers[NEW], ends[0], OLD);
	migration_receive_begin(&third, ends[1], OLD);
	turns(40);
	assert_int_equal(workers[OLD].n_sessions, 0);
	assert_int_equal(workers[NEW].n_sessions, n / 3 + 1);
	assert_int_equal(third.n_sessions, n - n / 3 + 1);
	assert_int_equal(limits_live_all(shared.limits), n + 2);
	for (unsigned i = 0; i < n; i++)
		close(clients[i]);
	third_end();
}

/* Thousands of flows live that were answered long ago. */
static void what_only_an_opening_flow_needs_is_given_back_with_the_first_answer(void **state)
{
	struct datagrams *datagrams = workers[OLD].datagrams;
	struct flow *flow = flow_begin();

	assert_non_null(flow->opening);
	assert_int_equal(datagrams->opening_pool.n, 0);
	assert_int_equal(send(backend, "1", 1, 0), 1);
	worker_turn(&workers[OLD]);
	assert_heard("1");
	assert_null(flow->opening);
	assert_int_equal(datagrams->opening_pool.n, 1);
	flow = move();
	assert_non_null(flow);
	assert_null(flow->opening);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_that_is_relayed_goes_on_both_ways),
		TEST(answers_that_were_read_go_out_before_their_flow_does),
		TEST(that_no_flow_is_left_is_not_said_while_some_may_yet_come),
		TEST(times_that_have_not_come_yet_are_not_believed),
		TEST(timeouts_are_no_longer_than_those_of_connections),
		TEST(a_socket_to_a_backend_that_came_from_another_worker_is_not_used_again),
		TEST(a_socket_to_a_backend_that_is_closed_outlives_the_turn),
		TEST(each_flow_goes_to_the_worker_that_has_its_socket),
		TEST(a_worker_whose_flows_have_come_does_not_wait_for_those_of_another),
		TEST(flows_of_a_worker_that_is_gone_end_and_the_others_move),
		TEST(many_flows_for_several_workers_all_arrive),
		TEST(what_only_an_opening_flow_needs_is_given_back_with_the_first_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
