/* Sends datagrams in batches: runs of equal size as one message (UDP_SEGMENT), many messages in one call. Refuses to wait: what the kernel
 * does not take is dropped and counted. Owns the scratch that messages are put together in.
 *
 * Sockets do not fragment (datagram_prepare()). One that is too big for the way is sent once more by itself: with DF and past what the
 * network has said of the path, which anybody can forge, where the protocol looks for the size of the path itself; else in
 * fragments, as the client's own datagram would have come. */
#include "datagram.h"
#include "fd.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define CONTROL_MAX (CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint16_t)))

struct datagram_sender {
	struct mmsghdr messages[DATAGRAM_BATCH];
	struct iovec vectors[2 * DATAGRAM_BATCH];
	struct sockaddr_in6 names[DATAGRAM_BATCH]; /* or sockaddr_in */
	_Alignas(struct cmsghdr) uint8_t control[DATAGRAM_BATCH][CONTROL_MAX];
	size_t begins[DATAGRAM_BATCH + 1]; /* with which of the list each begins */
};

struct datagram_sender *datagram_sender_new(void)
{
	return calloc(1, sizeof(struct datagram_sender));
}

void datagram_sender_free(struct datagram_sender *sender)
{
	free(sender);
}

/* ---- joining ---------------------------------------------------------------------------------------------------------- */

static uint32_t out_len(const struct datagram_out *out)
{
	return out->header_len + out->datagram->len;
}

/* Of each datagram in it. */
static uint32_t out_size(const struct datagram_out *out)
{
	return out->datagram->segment ? out->datagram->segment : out_len(out);
}

size_t datagram_join(const struct datagram_out *list, size_t n, uint32_t *ret_segment)
{
	const struct datagram *first = list[0].datagram;
	uint32_t size = out_size(&list[0]), parts = datagram_count(first), len = out_len(&list[0]);
	size_t taken = 1;

	/* Only the last datagram of a send may be shorter, and none can be empty. */
	for (; taken < n && size && len % size == 0; taken++) {
		const struct datagram *next = list[taken].datagram;
		uint32_t next_len = out_len(&list[taken]);
		bool fits = out_size(&list[taken]) == size || (!next->segment && next_len && next_len < size);
		if (!fits || list[taken].to != list[0].to || next->tos != first->tos ||
			parts + datagram_count(next) > DATAGRAM_PARTS_MAX || len + next_len > DATAGRAM_SEND_MAX)
			break;
		parts += datagram_count(next);
		len += next_len;
	}
	*ret_segment = parts > 1 ? size : 0;
	return taken;
}

/* ---- one message ------------------------------------------------------------------------------------------------------- */

static void *control_add(struct msghdr *message, int level, int type, size_t size)
{
	struct cmsghdr *control = (struct cmsghdr *)((uint8_t *)message->msg_control + message->msg_controllen);

	*control = (struct cmsghdr){ .cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type };
	message->msg_controllen += CMSG_SPACE(size);
	return CMSG_DATA(control);
}

static void message_address(struct msghdr *message, struct sockaddr_in6 *name, const struct flow_key *to)
{
	struct address client;

	flow_key_client(to, &client);
	memcpy(name, &client.sa, client.len);
	message->msg_name = name;
	message->msg_namelen = client.len;
	if (client.sa.sa_family == AF_INET) {
		struct in_pktinfo info = { 0 };
		memcpy(&info.ipi_spec_dst, to->local + 12, sizeof(info.ipi_spec_dst));
		memcpy(control_add(message, IPPROTO_IP, IP_PKTINFO, sizeof(info)), &info, sizeof(info));
	} else {
		struct in6_pktinfo info = { .ipi6_ifindex = to->scope };
		memcpy(&info.ipi6_addr, to->local, sizeof(info.ipi6_addr));
		memcpy(control_add(message, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(info)), &info, sizeof(info));
	}
}

/* `len` bytes of it from `at` on, behind its header. How many vectors that is: at most 2. */
static size_t vectors_make(struct iovec *vectors, const struct datagram_out *out, uint32_t at, uint32_t len)
{
	size_t n = 0;

	if (out->header_len)
		vectors[n++] = (struct iovec){ (uint8_t *)out->header, out->header_len };
	vectors[n++] = (struct iovec){ (uint8_t *)out->datagram->bytes + at, len };
	return n;
}

/* Message `i`, of so many vectors, which are there. */
static void message_make(struct datagram_sender *sender, size_t i, sa_family_t family,
	const struct datagram_out *first, struct iovec *vectors, size_t n_vectors, uint32_t segment)
{
	struct msghdr *message = &sender->messages[i].msg_hdr;
	int tos = first->datagram->tos;

	*message = (struct msghdr){ .msg_iov = vectors, .msg_iovlen = n_vectors, .msg_control = sender->control[i] };
	if (first->to)
		message_address(message, &sender->names[i], first->to);
	if (tos && family == AF_INET)
		memcpy(control_add(message, IPPROTO_IP, IP_TOS, sizeof(tos)), &tos, sizeof(tos));
	else if (tos)
		memcpy(control_add(message, IPPROTO_IPV6, IPV6_TCLASS, sizeof(tos)), &tos, sizeof(tos));
	if (segment) {
		uint16_t size = (uint16_t)segment;
		memcpy(control_add(message, IPPROTO_UDP, UDP_SEGMENT, sizeof(size)), &size, sizeof(size));
	}
	if (message->msg_controllen == 0)
		message->msg_control = NULL;
}

/* ---- what the kernel does not take ----------------------------------------------------------------------------------- */

/* Of a connected socket, about a datagram before this one; the next call goes through. */
static bool is_reported(int error)
{
	return error == -ECONNREFUSED || error == -EHOSTUNREACH || error == -ENETUNREACH || error == -EHOSTDOWN ||
		error == -ENONET || error == -EPROTO || error == -ENOPROTOOPT;
}

static int send_one(int fd, const struct msghdr *message)
{
	return sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void set_discovery(int fd, sa_family_t family, int mode)
{
	if (family == AF_INET)
		fd_set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, mode);
	else
		fd_set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, mode);
}

/* The modes have the same numbers for both families. */
static int send_too_big(int fd, sa_family_t family, const struct msghdr *message, bool whole)
{
	set_discovery(fd, family, whole ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT);
	int error = send_one(fd, message);
	set_discovery(fd, family, IP_PMTUDISC_DO);
	return error;
}

static void send_single(
	int fd, sa_family_t family, const struct msghdr *message, bool whole, struct datagram_sent *sent)
{
	int error = send_one(fd, message);

	if (is_reported(error) && !message->msg_name) {
		sent->error = error;
		error = send_one(fd, message);
	}
	if (error == -EMSGSIZE) {
		error = send_too_big(fd, family, message, whole);
		sent->fragmented += error == 0 && !whole;
	}
	if (error == -EAGAIN || error == -ENOBUFS || error == -ENOMEM)
		sent->full++;
	else if (error == -EMSGSIZE)
		sent->too_big++;
	else if (error < 0)
		sent->lost++;
	sent->is_shut |= error == -EPIPE;
	if (error < 0 && is_reported(error))
		sent->error = error;
}

/* The kernel has refused a message: each of its datagrams by itself. */
static void send_apart(struct datagram_sender *sender, size_t i, int fd, sa_family_t family,
	const struct datagram_out *list, size_t n, struct datagram_sent *sent)
{
	for (size_t k = 0; k < n; k++) {
		const struct datagram *datagram = list[k].datagram;
		uint32_t size = datagram->segment ? datagram->segment : datagram->len, at = 0;
		do {
			uint32_t left = datagram->len - at;
			struct iovec vectors[2];
			size_t n_vectors = vectors_make(vectors, &list[k], at, left < size ? left : size);
			message_make(sender, i, family, &list[k], vectors, n_vectors, 0);
			send_single(fd, family, &sender->messages[i].msg_hdr, list[k].whole, sent);
			at += size;
		} while (at < datagram->len);
	}
}

/* ---- all of them ------------------------------------------------------------------------------------------------------- */

static size_t messages_make(
	struct datagram_sender *sender, sa_family_t family, const struct datagram_out *list, size_t n)
{
	size_t made = 0, n_vectors = 0;

	for (size_t at = 0, taken; at < n; at += taken) {
		uint32_t segment;
		size_t first = n_vectors;
		taken = datagram_join(list + at, n - at, &segment);
		for (size_t k = at; k < at + taken; k++)
			n_vectors += vectors_make(&sender->vectors[n_vectors], &list[k], 0, list[k].datagram->len);
		message_make(sender, made, family, &list[at], &sender->vectors[first], n_vectors - first, segment);
		sender->begins[made++] = at;
	}
	sender->begins[made] = n;
	return made;
}

void datagram_send(struct datagram_sender *sender, int fd, sa_family_t family, const struct datagram_out *list,
	size_t n, struct datagram_sent *sent)
{
	while (n > 0) {
		size_t part = n < DATAGRAM_BATCH ? n : DATAGRAM_BATCH;
		size_t made = messages_make(sender, family, list, part), done = 0;
		while (done < made) {
			int r = sendmmsg(
				fd, sender->messages + done, (unsigned)(made - done), MSG_DONTWAIT | MSG_NOSIGNAL);
			if (r > 0) {
				done += (size_t)r;
				continue;
			}
			size_t from = sender->begins[done], to = sender->begins[done + 1];
			if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
				for (size_t k = from; k < to; k++)
					sent->full += datagram_count(list[k].datagram);
			else {
				if (is_reported(-errno) && !list[from].to)
					sent->error = -errno;
				send_apart(sender, done, fd, family, list + from, to - from, sent);
			}
			done++;
		}
		list += part;
		n -= part;
	}
}
