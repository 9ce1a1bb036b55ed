/* Bulk from the server through a contender, in bursts that the client asks for one by one on each flow. Every datagram's length, number
 * and place are checked, and one in 16 is compared whole.
 *
 *	flowbulk PORT MILLISECONDS FLOWS joined|singles joined|singles
 *
 * The first says how the server sends, the second how the client reads: joined by the kernel (UDP_GRO), or each by itself. Prints as
 * flowload does, and waits for a line likewise.
 *
 * A burst that stays incomplete for a second is lost, and another is asked for. Refuses to go on after a wrong datagram. */
#include "client.h"
#include "flows.h"
#include <err.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define FLOWS_MAX 1000
#define LOST_NS   1000000000
#define BATCH     16
#define JOINED    65536

struct flow {
	int fd;
	uint32_t number, index; /* of the burst, and of the datagram that comes next */
	uint64_t moved_ns;
};

struct bulk {
	struct flow *flows;
	size_t n_flows;
	enum burst_way way;
	bool joins, asks;
	uint8_t burst[BULK_BURST * BULK_SIZE];
	uint64_t bytes, datagrams, lost;
	struct errors errors;
};

static uint8_t buffers[BATCH][JOINED];

static void flow_ask(struct bulk *bulk, struct flow *flow)
{
	struct burst_request request = { .number = ++flow->number, .way = bulk->way };

	memcpy(request.mark, BULK_MARK, sizeof(request.mark));
	flow->index = 0;
	flow->moved_ns = clock_ns();
	if (send(flow->fd, &request, sizeof(request), 0) != (ssize_t)sizeof(request))
		errors_add(&bulk->errors, "asking for a burst", errno);
}

static void flow_take(struct bulk *bulk, struct flow *flow, const uint8_t *bytes, size_t len)
{
	struct burst_header header;

	if (len != BULK_SIZE)
		return errors_add(&bulk->errors, "a datagram of a wrong length", 0);
	memcpy(&header, bytes, sizeof(header));
	if (memcmp(header.mark, BULK_MARK, sizeof(header.mark)) != 0 || header.index >= BULK_BURST)
		return errors_add(&bulk->errors, "a wrong datagram", 0);
	if (header.number != flow->number)
		return; /* of a burst that was given up */
	if (header.index < flow->index)
		return errors_add(&bulk->errors, "a datagram out of order", 0);
	if (bulk->datagrams++ % 16 == 0 &&
		memcmp(bytes + sizeof(header), bulk->burst + header.index * BULK_SIZE + sizeof(header),
			BULK_SIZE - sizeof(header)) != 0)
		return errors_add(&bulk->errors, "wrong bytes", 0);
	bulk->lost += header.index - flow->index;
	bulk->bytes += len;
	flow->index = header.index + 1;
}

static size_t segment_of(struct msghdr *message, size_t len)
{
	for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control))
		if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO) {
			int size;
			memcpy(&size, CMSG_DATA(control), sizeof(size));
			return (size_t)size;
		}
	return len;
}

static void flow_ready(struct bulk *bulk, struct flow *flow)
{
	int n;

	do {
		struct mmsghdr messages[BATCH] = { 0 };
		struct iovec vectors[BATCH];
		_Alignas(struct cmsghdr) char control[BATCH][CMSG_SPACE(sizeof(int))];
		for (size_t i = 0; i < BATCH; i++) {
			vectors[i] = (struct iovec){ buffers[i], JOINED };
			messages[i].msg_hdr = (struct msghdr){ .msg_iov = &vectors[i],
				.msg_iovlen = 1,
				.msg_control = control[i],
				.msg_controllen = sizeof(control[i]) };
		}
		n = recvmmsg(flow->fd, messages, BATCH, MSG_DONTWAIT, NULL);
		if (n < 0 && errno != EAGAIN)
			errors_add(&bulk->errors, "receiving", errno);
		for (int i = 0; i < n; i++) {
			size_t len = messages[i].msg_len, segment = segment_of(&messages[i].msg_hdr, len);
			for (size_t at = 0; at < len && bulk->errors.count == 0; at += segment)
				flow_take(bulk, flow, buffers[i] + at, len - at < segment ? len - at : segment);
		}
		if (n > 0)
			flow->moved_ns = clock_ns();
		if (flow->index == BULK_BURST && bulk->asks)
			flow_ask(bulk, flow);
	} while (n == BATCH && bulk->errors.count == 0);
}

static void bulk_look_for_lost(struct bulk *bulk)
{
	for (size_t i = 0; i < bulk->n_flows; i++) {
		struct flow *flow = &bulk->flows[i];
		if (flow->index < BULK_BURST && clock_ns() - flow->moved_ns > LOST_NS) {
			bulk->lost += BULK_BURST - flow->index;
			flow->index = BULK_BURST;
			if (bulk->asks)
				flow_ask(bulk, flow);
		}
	}
}

static bool bulk_is_complete(const struct bulk *bulk)
{
	for (size_t i = 0; i < bulk->n_flows; i++)
		if (bulk->flows[i].index < BULK_BURST)
			return false;
	return true;
}

/* A burst on each flow, and others behind them until the time is up. Returns the seconds that it took. */
static double bulk_run(struct bulk *bulk, int epoll, uint64_t milliseconds)
{
	uint64_t begin_ns = clock_ns(), deadline_ns = begin_ns + milliseconds * 1000000;

	bulk->bytes = bulk->datagrams = bulk->lost = 0;
	bulk->asks = milliseconds > 0;
	for (size_t i = 0; i < bulk->n_flows; i++)
		flow_ask(bulk, &bulk->flows[i]);
	while (bulk->errors.count == 0 && (bulk->asks || !bulk_is_complete(bulk))) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll, events, 64, 50);
		for (int i = 0; i < n && bulk->errors.count == 0; i++)
			if (events[i].events & EPOLLIN)
				flow_ready(bulk, events[i].data.ptr);
		bulk_look_for_lost(bulk);
		bulk->asks = bulk->asks && clock_ns() < deadline_ns;
	}
	return (double)(clock_ns() - begin_ns) / 1e9;
}

static void bulk_print(const struct bulk *bulk, double seconds)
{
	printf("{\"open\": %zu, \"bytes\": %lu, \"datagrams\": %lu, \"lost\": %lu, \"seconds\": %.6f, ",
		bulk->n_flows, (unsigned long)bulk->bytes, (unsigned long)bulk->datagrams, (unsigned long)bulk->lost,
		seconds);
	errors_print(&bulk->errors);
	puts("}");
	fflush(stdout);
}

static bool joined_parse(const char *text)
{
	if (strcmp(text, "joined") != 0 && strcmp(text, "singles") != 0)
		errx(2, "expected joined or singles, not %s", text);
	return strcmp(text, "joined") == 0;
}

int main(int argc, char **argv)
{
	static struct bulk bulk;
	int epoll = poll_new();
	char line[16];

	if (argc != 6) {
		fputs("usage: flowbulk PORT MILLISECONDS FLOWS joined|singles joined|singles\n", stderr);
		return 2;
	}
	bulk.n_flows = number_parse(argv[3], "FLOWS", FLOWS_MAX);
	bulk.way = joined_parse(argv[4]) ? BURST_JOINED : BURST_SINGLES;
	bulk.joins = joined_parse(argv[5]);
	bulk.flows = calloc(bulk.n_flows, sizeof(*bulk.flows));
	if (bulk.flows == NULL)
		err(1, "calloc");
	bytes_fill(bulk.burst, sizeof(bulk.burst), 1);
	for (size_t i = 0; i < bulk.n_flows; i++) {
		struct flow *flow = &bulk.flows[i];
		flow->fd = client_datagrams((in_port_t)number_parse(argv[1], "PORT", 65535), i);
		if (flow->fd < 0 ||
			(bulk.joins && setsockopt(flow->fd, IPPROTO_UDP, UDP_GRO, &(int){ 1 }, sizeof(int)) < 0))
			err(1, "a client's socket");
		poll_add(epoll, flow->fd, flow);
	}
	bulk_run(&bulk, epoll, 0);
	bulk_print(&bulk, 0);
	if (fgets(line, sizeof(line), stdin) != NULL)
		bulk_print(&bulk, bulk_run(&bulk, epoll, number_parse(argv[2], "MILLISECONDS", 3600000)));
	free(bulk.flows);
	return 0;
}
