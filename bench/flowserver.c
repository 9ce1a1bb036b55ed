/* The server behind all contenders for datagrams: sends each back as it came, or a burst where one is asked for (flows.h). One socket, one
 * thread, and batches, so that it costs as little as a server can. Refuses to listen anywhere but on 127.0.0.1; owns no memory but
 * static one. Ends by a signal. */
#include "client.h"
#include "flows.h"
#include <arpa/inet.h>
#include <err.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define BATCH 64
#define SIZE  2048

static struct mmsghdr batch[BATCH], answers[BATCH];
static struct iovec vectors[BATCH];
static struct sockaddr_in names[BATCH];
static uint8_t buffers[BATCH][SIZE], burst[BULK_BURST * BULK_SIZE];

static void burst_mark(uint32_t number)
{
	for (uint32_t i = 0; i < BULK_BURST; i++) {
		struct burst_header header = { .number = number, .index = i };
		memcpy(header.mark, BULK_MARK, sizeof(header.mark));
		memcpy(burst + i * BULK_SIZE, &header, sizeof(header));
	}
}

static void burst_send_joined(int fd, struct sockaddr_in *to)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = { 0 };
	struct iovec vector = { burst, sizeof(burst) };
	struct msghdr message = { .msg_name = to,
		.msg_namelen = sizeof(*to),
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	struct cmsghdr *segment = CMSG_FIRSTHDR(&message);

	*segment = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(uint16_t)), .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT
	};
	memcpy(CMSG_DATA(segment), &(uint16_t){ BULK_SIZE }, sizeof(uint16_t));
	if (sendmsg(fd, &message, 0) != (ssize_t)sizeof(burst))
		err(1, "sending a burst");
}

static void burst_send_singles(int fd, struct sockaddr_in *to)
{
	struct mmsghdr messages[BULK_BURST] = { 0 };
	struct iovec parts[BULK_BURST];

	for (size_t i = 0; i < BULK_BURST; i++) {
		parts[i] = (struct iovec){ burst + i * BULK_SIZE, BULK_SIZE };
		messages[i].msg_hdr = (struct msghdr){
			.msg_name = to, .msg_namelen = sizeof(*to), .msg_iov = &parts[i], .msg_iovlen = 1
		};
	}
	for (int done = 0; done < BULK_BURST;) {
		int n = sendmmsg(fd, messages + done, (unsigned)(BULK_BURST - done), 0);
		if (n < 0)
			err(1, "sending a burst");
		done += n;
	}
}

static bool is_request(size_t i, struct burst_request *ret)
{
	if (batch[i].msg_len != sizeof(*ret))
		return false;
	memcpy(ret, buffers[i], sizeof(*ret));
	return memcmp(ret->mark, BULK_MARK, sizeof(ret->mark)) == 0;
}

static void serve(int fd)
{
	int n = recvmmsg(fd, batch, BATCH, MSG_WAITFORONE, NULL), n_answers = 0;

	if (n < 0)
		err(1, "recvmmsg");
	for (int i = 0; i < n; i++) {
		struct burst_request request;
		if (is_request((size_t)i, &request)) {
			burst_mark(request.number);
			if (request.way == BURST_JOINED)
				burst_send_joined(fd, &names[i]);
			else
				burst_send_singles(fd, &names[i]);
		} else {
			vectors[i].iov_len = batch[i].msg_len;
			answers[n_answers++].msg_hdr = batch[i].msg_hdr;
		}
	}
	for (int done = 0; done < n_answers;) {
		int sent = sendmmsg(fd, answers + done, (unsigned)(n_answers - done), 0);
		done += sent > 0 ? sent : 1; /* a peer that is gone is reported once */
	}
	for (int i = 0; i < n; i++) {
		vectors[i].iov_len = SIZE;
		batch[i].msg_hdr.msg_namelen = sizeof(names[i]);
		batch[i].msg_hdr.msg_flags = 0;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (argc != 2) {
		fputs("usage: flowserver PORT\n", stderr);
		return 2;
	}
	here.sin_port = htons((in_port_t)number_parse(argv[1], "PORT", 65535));
	here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	socket_buffers_raise(fd);
	if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0)
		err(1, "127.0.0.1:%s", argv[1]);
	bytes_fill(burst, sizeof(burst), 1);
	for (size_t i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){ buffers[i], SIZE };
		batch[i].msg_hdr = (struct msghdr){ .msg_name = &names[i],
			.msg_namelen = sizeof(names[i]),
			.msg_iov = &vectors[i],
			.msg_iovlen = 1 };
	}
	for (;;)
		serve(fd);
}
