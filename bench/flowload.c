/* Datagrams through a contender and back: how many a second, on so many flows. The server sends each back as it came, and each is compared.
 *
 *	flowload PORT MILLISECONDS FLOWS IN-FLIGHT each|turn ping|dns
 *
 * each: every flow has IN-FLIGHT datagrams on the way. turn: all flows together have, and each answer is followed by a datagram of the
 * flow whose turn it is, so that all are used as often. ping: 100 bytes. dns: a question of DNS. First each flow is used once; then a
 * line is printed, and it waits for one on its standard input: only what follows is measured. End of input ends it without.
 *
 * A flow keeps the order of its datagrams, so one that is missing is told by those behind it, or by a second of silence; another is sent
 * in its place. Refuses to go on after a wrong answer. Owns the array of flows. */
#include "client.h"
#include "flows.h"
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define FLOWS_MAX   20000
#define FLIGHT_MAX  64
#define SIZE_MAX_OF 128
#define PING_SIZE   100
#define LOST_NS     1000000000
#define LOOK_NS     100000000
#define WARM_FLIGHT 32

struct flow {
	int fd;
	uint32_t number;
	uint32_t sent, expected; /* sequence numbers */
	uint32_t given_up;       /* below this, answers may come late */
	uint64_t moved_ns;
};

struct load {
	struct flow *flows;
	size_t n_flows, in_flight, cursor;
	bool takes_turns, is_dns, goes_on;
	uint8_t pattern[SIZE_MAX_OF];
	uint64_t answers, lost, on_the_way;
	uint64_t look_ns; /* when lost ones are looked for */
	struct errors errors;
};

/* Writes a flow's datagram and returns its length. */
static size_t datagram_write(const struct load *load, const struct flow *flow, uint32_t sequence, uint8_t *to)
{
	static const uint8_t head[] = "\0\0\1\0\0\1\0\0\0\0\0\0\x11", tail[] = "\5bench\7example\0\0\1\0\1";

	if (!load->is_dns) {
		memcpy(to, load->pattern, PING_SIZE);
		memcpy(to, PING_MARK, 8);
		memcpy(to + 8, &flow->number, sizeof(flow->number));
		memcpy(to + 12, &sequence, sizeof(sequence));
		return PING_SIZE;
	}
	memcpy(to, head, sizeof(head) - 1);
	to[0] = (uint8_t)(sequence >> 8);
	to[1] = (uint8_t)sequence;
	snprintf((char *)to + sizeof(head) - 1, 18, "q%08x%08x", flow->number, sequence);
	memcpy(to + sizeof(head) - 1 + 17, tail, sizeof(tail) - 1);
	return sizeof(head) - 1 + 17 + sizeof(tail) - 1;
}

/* False: it is no datagram of this flow. */
static bool datagram_read(
	const struct load *load, const struct flow *flow, const uint8_t *bytes, size_t len, uint32_t *ret_sequence)
{
	uint8_t wanted[SIZE_MAX_OF];
	char hex[9] = { 0 };

	if (!load->is_dns && len == PING_SIZE)
		memcpy(ret_sequence, bytes + 12, sizeof(*ret_sequence));
	else if (load->is_dns && len > 30) {
		memcpy(hex, bytes + 22, 8);
		*ret_sequence = (uint32_t)strtoul(hex, NULL, 16);
	} else
		return false;
	return datagram_write(load, flow, *ret_sequence, wanted) == len && memcmp(wanted, bytes, len) == 0;
}

static void flow_send(struct load *load, struct flow *flow, size_t n, uint64_t now_ns)
{
	struct mmsghdr messages[FLIGHT_MAX] = { 0 };
	struct iovec vectors[FLIGHT_MAX];
	uint8_t bytes[FLIGHT_MAX][SIZE_MAX_OF];

	if (n > FLIGHT_MAX)
		n = FLIGHT_MAX;
	for (size_t i = 0; i < n; i++) {
		vectors[i] = (struct iovec){ bytes[i], datagram_write(load, flow, flow->sent++, bytes[i]) };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &vectors[i], .msg_iovlen = 1 };
	}
	flow->moved_ns = now_ns;
	load->on_the_way += n;
	if (n > 0 && sendmmsg(flow->fd, messages, (unsigned)n, 0) != (int)n)
		errors_add(&load->errors, "sending", errno);
}

/* A datagram of the flow whose turn it is; one that waits for an answer is passed over. */
static void load_send_in_turn(struct load *load, uint64_t now_ns)
{
	for (size_t i = 0; i < load->n_flows; i++) {
		struct flow *flow = &load->flows[load->cursor];
		load->cursor = (load->cursor + 1) % load->n_flows;
		if (flow->sent == flow->expected) {
			flow_send(load, flow, 1, now_ns);
			return;
		}
	}
}

static void load_replace(struct load *load, struct flow *flow, size_t n, uint64_t now_ns)
{
	if (!load->goes_on)
		return;
	if (!load->takes_turns)
		flow_send(load, flow, n, now_ns);
	else
		for (; n > 0; n--)
			load_send_in_turn(load, now_ns);
}

/* How many places in flight are free by this answer. */
static size_t flow_take(struct load *load, struct flow *flow, const uint8_t *bytes, size_t len)
{
	uint32_t sequence;

	if (!datagram_read(load, flow, bytes, len, &sequence)) {
		errors_add(&load->errors, "a wrong answer", 0);
		return 0;
	}
	if (sequence - flow->expected >= flow->sent - flow->expected) {
		if (sequence >= flow->given_up)
			errors_add(&load->errors, "an answer out of order, or doubled", 0);
		return 0;
	}
	uint32_t missing = sequence - flow->expected;
	flow->expected = sequence + 1;
	load->lost += missing;
	load->on_the_way -= 1 + missing;
	load->answers++;
	return 1 + missing;
}

static void flow_ready(struct load *load, struct flow *flow)
{
	static uint8_t bytes[16][SIZE_MAX_OF];
	int n;

	do {
		struct mmsghdr messages[16] = { 0 };
		struct iovec vectors[16];
		size_t free_places = 0;
		for (size_t i = 0; i < 16; i++) {
			vectors[i] = (struct iovec){ bytes[i], sizeof(bytes[i]) };
			messages[i].msg_hdr = (struct msghdr){ .msg_iov = &vectors[i], .msg_iovlen = 1 };
		}
		n = recvmmsg(flow->fd, messages, 16, MSG_DONTWAIT, NULL);
		if (n < 0 && errno != EAGAIN)
			errors_add(&load->errors, "receiving", errno);
		for (int i = 0; i < n; i++)
			free_places += flow_take(load, flow, bytes[i], messages[i].msg_len);
		if (free_places > 0)
			load_replace(load, flow, free_places, clock_ns());
	} while (n == 16 && load->errors.count == 0);
}

/* What nothing has come after for long is lost. */
static void load_look_for_lost(struct load *load, uint64_t now_ns)
{
	for (size_t i = 0; i < load->n_flows; i++) {
		struct flow *flow = &load->flows[i];
		size_t missing = flow->sent - flow->expected;
		if (missing == 0 || now_ns - flow->moved_ns < LOST_NS)
			continue;
		load->lost += missing;
		load->on_the_way -= missing;
		flow->expected = flow->given_up = flow->sent;
		load_replace(load, flow, missing, now_ns);
	}
}

/* Until the deadline, or until nothing is on the way. */
static void load_run(struct load *load, int epoll, uint64_t deadline_ns)
{
	while (load->errors.count == 0 && load->on_the_way > 0 && clock_ns() < deadline_ns) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll, events, 64, 50);
		for (int i = 0; i < n && load->errors.count == 0; i++)
			if (events[i].events & EPOLLIN)
				flow_ready(load, events[i].data.ptr);
		uint64_t now_ns = clock_ns();
		if (now_ns >= load->look_ns) {
			load_look_for_lost(load, now_ns);
			load->look_ns = now_ns + LOOK_NS;
		}
	}
}

/* Waits for all that is on the way. */
static void load_settle(struct load *load, int epoll)
{
	load->goes_on = false;
	load_run(load, epoll, UINT64_MAX);
}

static void load_open(struct load *load, in_port_t port, int epoll)
{
	for (uint32_t i = 0; i < load->n_flows; i++) {
		load->flows[i] = (struct flow){ .fd = client_datagrams(port, i), .number = i };
		if (load->flows[i].fd < 0)
			err(1, "a client's socket");
		poll_add(epoll, load->flows[i].fd, &load->flows[i]);
	}
	for (size_t i = 0; i < load->n_flows && load->errors.count == 0; i++) {
		flow_send(load, &load->flows[i], 1, clock_ns());
		if (i % WARM_FLIGHT == WARM_FLIGHT - 1 || i + 1 == load->n_flows)
			load_settle(load, epoll);
	}
}

static void load_print(const struct load *load, double seconds)
{
	printf("{\"open\": %zu, \"answers\": %lu, \"lost\": %lu, \"seconds\": %.6f, ", load->n_flows,
		(unsigned long)load->answers, (unsigned long)load->lost, seconds);
	errors_print(&load->errors);
	puts("}");
	fflush(stdout);
}

/* Returns the seconds that it took. */
static double load_measure(struct load *load, int epoll, uint64_t milliseconds)
{
	uint64_t begin_ns = clock_ns();

	load->answers = load->lost = 0;
	load->goes_on = true;
	if (load->takes_turns)
		for (size_t i = 0; i < load->in_flight; i++)
			load_send_in_turn(load, begin_ns);
	else
		for (size_t i = 0; i < load->n_flows; i++)
			flow_send(load, &load->flows[i], load->in_flight, begin_ns);
	load_run(load, epoll, begin_ns + milliseconds * 1000000);
	double seconds = (double)(clock_ns() - begin_ns) / 1e9;
	load_settle(load, epoll);
	return seconds;
}

int main(int argc, char **argv)
{
	struct load load = { 0 };
	int epoll = poll_new();
	char line[16];

	if (argc != 7) {
		fputs("usage: flowload PORT MILLISECONDS FLOWS IN-FLIGHT each|turn ping|dns\n", stderr);
		return 2;
	}
	files_raise_limit();
	load.n_flows = number_parse(argv[3], "FLOWS", FLOWS_MAX);
	load.in_flight = number_parse(argv[4], "IN-FLIGHT", FLIGHT_MAX);
	load.takes_turns = strcmp(argv[5], "turn") == 0;
	load.is_dns = strcmp(argv[6], "dns") == 0;
	load.flows = calloc(load.n_flows, sizeof(*load.flows));
	if (load.flows == NULL)
		err(1, "calloc");
	bytes_fill(load.pattern, sizeof(load.pattern), 2);
	load_open(&load, (in_port_t)number_parse(argv[1], "PORT", 65535), epoll);
	load_print(&load, 0);
	if (fgets(line, sizeof(line), stdin) != NULL)
		load_print(&load, load_measure(&load, epoll, number_parse(argv[2], "MILLISECONDS", 3600000)));
	free(load.flows);
	return 0;
}
