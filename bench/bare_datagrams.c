/* The least that a relay of datagrams can do: one socket for clients, a table, a connected socket to the server for each flow, batches, what
 * the kernel joins (UDP_GRO, UDP_SEGMENT), datagrams of equal size in one send. No decision, no limits, no time-outs, no sandbox, no marks,
 * and answers come from whatever address the kernel takes. What usher costs more, is the price of these.
 *
 *	bare_datagrams PORT SERVER-PORT [ENDS]
 *
 * With ENDS, that is not empty, a flow ends with its first answer, and its socket is used again. Ends by a signal. */
#include "client.h"
#include <arpa/inet.h>
#include <err.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO     104
#endif

#define BATCH         64
#define AT_ONCE       16 /* messages of one flow that are read in one call */
#define SIZE          65536
#define STRIDE        (SIZE + 192) /* not all at the same place of a page */
#define SEND_MAX      65507
#define SEGMENTS_MAX  64
#define BUCKETS       16384
#define LISTEN_BUFFER 212992 /* as the others have it */

struct flow {
	struct flow *next; /* of its bucket, or spare */
	struct flow *next_touched;
	struct sockaddr_in client;
	int fd;
	int first, last; /* of its messages in the batch */
	bool touched;
};

struct batch {
	struct mmsghdr messages[BATCH];
	struct iovec vectors[BATCH];
	struct sockaddr_in names[BATCH];
	_Alignas(struct cmsghdr) char control[BATCH][CMSG_SPACE(sizeof(int))];
	uint32_t segments[BATCH]; /* 0: one datagram */
	struct flow *flows[BATCH];
	int next[BATCH]; /* of the same flow; -1: none */
};

static struct flow *buckets[BUCKETS], *spare;
static struct batch incoming, answers;
static int n_answers, listening, epoll;
static struct sockaddr_in server;
static bool ends;

static void batch_init(struct batch *batch)
{
	char *memory = mmap(NULL, (size_t)BATCH * STRIDE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		err(1, "mmap");
	for (size_t i = 0; i < BATCH; i++)
		batch->vectors[i] = (struct iovec){ memory + i * STRIDE, SIZE };
}

/* How many came, from `at` on. */
static int batch_read(struct batch *batch, int fd, int at, int most)
{
	for (int i = at; i < at + most; i++)
		batch->messages[i].msg_hdr = (struct msghdr){ .msg_name = fd == listening ? &batch->names[i] : NULL,
			.msg_namelen = fd == listening ? sizeof(batch->names[i]) : 0,
			.msg_iov = &batch->vectors[i],
			.msg_iovlen = 1,
			.msg_control = batch->control[i],
			.msg_controllen = sizeof(batch->control[i]) };
	int n = recvmmsg(fd, batch->messages + at, (unsigned)most, MSG_DONTWAIT, NULL);
	for (int i = at; i < at + n; i++) {
		struct msghdr *message = &batch->messages[i].msg_hdr;
		struct cmsghdr *joined = CMSG_FIRSTHDR(message);
		batch->segments[i] = 0;
		if (joined)
			memcpy(&batch->segments[i], CMSG_DATA(joined), sizeof(batch->segments[i]));
		if (batch->segments[i] >= batch->messages[i].msg_len)
			batch->segments[i] = 0;
	}
	return n > 0 ? n : 0;
}

static uint32_t size_of(const struct batch *batch, int i)
{
	return batch->segments[i] ? batch->segments[i] : batch->messages[i].msg_len;
}

static void segment_set(struct msghdr *message, void *control, uint32_t size)
{
	struct cmsghdr *segment = control;

	*segment = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(uint16_t)), .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT
	};
	memcpy(CMSG_DATA(segment), &(uint16_t){ (uint16_t)size }, sizeof(uint16_t));
	message->msg_control = control;
	message->msg_controllen = CMSG_SPACE(sizeof(uint16_t));
}

/* These messages of a batch, in their order; to their clients, or to the server. */
static void batch_send(const struct batch *batch, int fd, const int *list, int n, bool to_clients)
{
	static struct mmsghdr out[BATCH];
	static struct iovec vectors[BATCH];
	static _Alignas(struct cmsghdr) char control[BATCH][CMSG_SPACE(sizeof(uint16_t))];
	unsigned made = 0;

	for (int at = 0, end; at < n; at = end) {
		uint32_t size = size_of(batch, list[at]), len = 0, count = 0;
		for (end = at; end < n; end++) {
			uint32_t more = batch->messages[list[end]].msg_len, its = size_of(batch, list[end]);
			uint32_t parts = size ? (more + size - 1) / size : 1;
			bool fits = its == size || (its < size && its == more);
			if (end > at &&
				(!size || !more || len % size || !fits || len + more > SEND_MAX ||
					count + parts > SEGMENTS_MAX ||
					(to_clients && batch->flows[list[end]] != batch->flows[list[at]])))
				break;
			vectors[end] = (struct iovec){ batch->vectors[list[end]].iov_base, more };
			len += more;
			count += parts;
		}
		struct msghdr *message = &out[made].msg_hdr;
		*message = (struct msghdr){ .msg_iov = &vectors[at], .msg_iovlen = (size_t)(end - at) };
		if (to_clients) {
			message->msg_name = &batch->flows[list[at]]->client;
			message->msg_namelen = sizeof(struct sockaddr_in);
		}
		if (count > 1)
			segment_set(message, control[made], size);
		made++;
	}
	for (unsigned done = 0; done < made;) {
		int sent = sendmmsg(fd, out + done, made - done, MSG_DONTWAIT);
		done += sent > 0 ? (unsigned)sent : 1;
	}
}

static struct flow **bucket_of(const struct sockaddr_in *client)
{
	uint32_t hash = client->sin_addr.s_addr * 2654435761U ^ client->sin_port * 2246822519U;

	return &buckets[(hash ^ hash >> 15) % BUCKETS];
}

static struct flow *flow_new(void)
{
	struct flow *flow = calloc(1, sizeof(*flow));

	if (!flow || (flow->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) < 0)
		err(1, "a flow");
	setsockopt(flow->fd, IPPROTO_UDP, UDP_GRO, &(int){ 1 }, sizeof(int));
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = flow };
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, flow->fd, &event) < 0)
		err(1, "epoll_ctl");
	return flow;
}

static struct flow *flow_of(const struct sockaddr_in *client)
{
	struct flow **bucket = bucket_of(client), *flow = *bucket;

	while (flow &&
		(flow->client.sin_port != client->sin_port ||
			flow->client.sin_addr.s_addr != client->sin_addr.s_addr))
		flow = flow->next;
	if (flow)
		return flow;
	flow = spare ? spare : flow_new();
	if (spare)
		spare = spare->next;
	flow->client = *client;
	if (connect(flow->fd, (struct sockaddr *)&server, sizeof(server)) < 0)
		err(1, "connect");
	flow->next = *bucket;
	return *bucket = flow;
}

static void flow_end(struct flow *flow)
{
	struct flow **link = bucket_of(&flow->client);

	while (*link && *link != flow)
		link = &(*link)->next;
	if (!*link)
		return;
	*link = flow->next;
	flow->next = spare;
	spare = flow;
}

static void flush(void)
{
	int list[BATCH];

	for (int i = 0; i < n_answers; i++)
		list[i] = i;
	batch_send(&answers, listening, list, n_answers, true);
	for (int i = 0; ends && i < n_answers; i++)
		flow_end(answers.flows[i]);
	n_answers = 0;
}

static void clients_ready(void)
{
	struct flow *touched = NULL, **last = &touched;
	int n = batch_read(&incoming, listening, 0, BATCH);

	for (int i = 0; i < n; i++) {
		struct flow *flow = flow_of(&incoming.names[i]);
		incoming.next[i] = -1;
		if (flow->touched) {
			incoming.next[flow->last] = i;
		} else {
			flow->touched = true;
			flow->first = i;
			flow->next_touched = NULL;
			*last = flow;
			last = &flow->next_touched;
		}
		flow->last = i;
	}
	for (struct flow *flow = touched; flow; flow = flow->next_touched) {
		int list[BATCH], length = 0;
		for (int i = flow->first; i >= 0; i = incoming.next[i])
			list[length++] = i;
		flow->touched = false;
		batch_send(&incoming, flow->fd, list, length, false);
	}
}

static void server_ready(struct flow *flow)
{
	int n, most;

	do {
		if (n_answers == BATCH)
			flush();
		most = BATCH - n_answers < AT_ONCE ? BATCH - n_answers : AT_ONCE;
		n = batch_read(&answers, flow->fd, n_answers, most);
		for (int i = 0; i < n; i++)
			answers.flows[n_answers++] = flow;
	} while (n == most);
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = { .sin_family = AF_INET };

	if (argc < 3 || argc > 4) {
		fputs("usage: bare_datagrams PORT SERVER-PORT [ENDS]\n", stderr);
		return 2;
	}
	files_raise_limit();
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server = here;
	here.sin_port = htons((in_port_t)number_parse(argv[1], "PORT", 65535));
	server.sin_port = htons((in_port_t)number_parse(argv[2], "SERVER-PORT", 65535));
	ends = argc == 4 && argv[3][0] != '\0';
	listening = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listening, SOL_SOCKET, SO_RCVBUF, &(int){ LISTEN_BUFFER }, sizeof(int));
	setsockopt(listening, IPPROTO_UDP, UDP_GRO, &(int){ 1 }, sizeof(int));
	if (listening < 0 || bind(listening, (struct sockaddr *)&here, sizeof(here)) < 0)
		err(1, "127.0.0.1:%s", argv[1]);
	epoll = poll_new();
	struct epoll_event event = { .events = EPOLLIN };
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event) < 0)
		err(1, "epoll_ctl");
	batch_init(&incoming);
	batch_init(&answers);
	for (;;) {
		struct epoll_event events[256];
		int n = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < n; i++)
			if (events[i].data.ptr)
				server_ready(events[i].data.ptr);
			else
				clients_ready();
		flush();
	}
}
