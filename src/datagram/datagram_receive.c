/* Reads datagrams in batches. Every buffer has 64 KiB, because the kernel joins what came in one run (UDP_GRO) and cuts off what does not
 * fit; memory that was never written costs nothing. Refuses to wait, and to give on what has no address or was cut. Owns the
 * buffers. */
#include "datagram.h"
#include "fd.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* Buffers that all begin at the same place of a page would all use the same lines of the processor's cache. */
#define STRIDE (DATAGRAM_MAX + 192)

#define CONTROL_MAX                                                                                                  \
	(CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(int)) +                \
		2 * CMSG_SPACE(sizeof(uint32_t)))

struct datagram_batch {
	struct mmsghdr messages[DATAGRAM_BATCH];
	struct iovec vectors[DATAGRAM_BATCH];
	struct sockaddr_in6 names[DATAGRAM_BATCH]; /* or sockaddr_in */
	_Alignas(struct cmsghdr) uint8_t control[DATAGRAM_BATCH][CONTROL_MAX];
	struct datagram datagrams[DATAGRAM_BATCH];
	uint8_t *memory;
};

/* As it must be before the kernel writes to it. */
static void batch_reset(struct datagram_batch *batch, size_t i)
{
	batch->messages[i].msg_hdr.msg_namelen = sizeof(batch->names[i]);
	batch->messages[i].msg_hdr.msg_controllen = CONTROL_MAX;
}

struct datagram_batch *datagram_batch_new(void)
{
	struct datagram_batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return NULL;
	batch->memory = mmap(NULL, DATAGRAM_BATCH * (size_t)STRIDE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (batch->memory == MAP_FAILED) {
		free(batch);
		return NULL;
	}
	for (size_t i = 0; i < DATAGRAM_BATCH; i++) {
		batch->vectors[i] = (struct iovec){ batch->memory + i * STRIDE, DATAGRAM_MAX };
		batch->messages[i].msg_hdr = (struct msghdr){
			.msg_name = &batch->names[i],
			.msg_iov = &batch->vectors[i],
			.msg_iovlen = 1,
			.msg_control = batch->control[i],
		};
		batch_reset(batch, i);
	}
	return batch;
}

void datagram_batch_free(struct datagram_batch *batch)
{
	if (!batch)
		return;
	munmap(batch->memory, DATAGRAM_BATCH * (size_t)STRIDE);
	free(batch);
}

/* Do not fragment, but heed what the network says of its paths: what is too big then is for datagram_send() to see. A kernel without
 * UDP_GRO gives one datagram at a time. */
int datagram_prepare(int fd, sa_family_t family, bool listens)
{
	bool four = family == AF_INET;
	int level = four ? IPPROTO_IP : IPPROTO_IPV6;
	int error = fd_set_option(fd, level, four ? IP_RECVTOS : IPV6_RECVTCLASS, 1);

	if (error == 0)
		error = fd_set_option(
			fd, level, four ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, IP_PMTUDISC_DO /* of both families */);
	if (error == 0 && listens)
		error = fd_set_option(fd, level, four ? IP_PKTINFO : IPV6_RECVPKTINFO, 1);
	if (error == 0 && listens)
		error = fd_set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
	if (error == 0)
		fd_set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
	return error;
}

static int control_int(const struct cmsghdr *control)
{
	int value = 0;
	size_t len = control->cmsg_len - CMSG_LEN(0);

	if (len == 1) /* IP_TOS is a byte */
		return *CMSG_DATA(control);
	memcpy(&value, CMSG_DATA(control), len < sizeof(value) ? len : sizeof(value));
	return value;
}

/* False: it has no address, or is cut. */
static bool batch_parse(struct datagram_batch *batch, size_t i, bool listens, struct datagram *to, uint32_t *drops)
{
	struct msghdr *message = &batch->messages[i].msg_hdr;
	bool has_local = !listens;

	*to = (struct datagram){ .bytes = batch->vectors[i].iov_base, .len = batch->messages[i].msg_len };
	for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
		if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO) {
			to->segment = (uint32_t)control_int(control);
		} else if ((control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TOS) ||
			(control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_TCLASS)) {
			to->tos = (uint8_t)control_int(control);
		} else if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;
			memcpy(&info, CMSG_DATA(control), sizeof(info));
			flow_key_set_local(&to->key, AF_INET, &info.ipi_spec_dst);
			has_local = true;
		} else if (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;
			memcpy(&info, CMSG_DATA(control), sizeof(info));
			flow_key_set_local(&to->key, AF_INET6, &info.ipi6_addr);
			has_local = true;
		} else if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == SO_RXQ_OVFL) {
			*drops = (uint32_t)control_int(control);
		} else if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == SO_MARK) {
			to->mark = (uint32_t)control_int(control);
		}
	}
	if (to->segment >= to->len)
		to->segment = 0;
	if (listens && message->msg_namelen > 0)
		flow_key_set_client(&to->key, message->msg_name);
	return has_local && (!listens || message->msg_namelen > 0) && !(message->msg_flags & MSG_TRUNC);
}

int datagram_receive(
	struct datagram_batch *batch, int fd, bool listens, size_t at, size_t most, struct datagram_read *ret)
{
	int n = recvmmsg(fd, batch->messages + at, (unsigned)most, MSG_DONTWAIT, NULL);
	size_t usable = at;

	if (n < 0)
		return -errno;
	for (size_t i = at; i < at + (size_t)n; i++) {
		struct datagram datagram;
		if (batch_parse(batch, i, listens, &datagram, &ret->drops)) {
			struct iovec vector = batch->vectors[usable];
			batch->vectors[usable] = batch->vectors[i]; /* the buffer stays with its datagram */
			batch->vectors[i] = vector;
			batch->datagrams[usable++] = datagram;
		}
		batch_reset(batch, i);
	}
	ret->n = (size_t)n;
	ret->unusable = (uint32_t)(at + (size_t)n - usable);
	return (int)(usable - at);
}

struct datagram *datagram_at(struct datagram_batch *batch, size_t at)
{
	return &batch->datagrams[at];
}
