/* Datagrams are joined only where the kernel cuts them again as they were; what is sent over a socket is what arrives, by content,
 * boundaries and order. */
#include "datagram.h"
#include "fd.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define LIST_MAX 200

static struct datagram datagrams[LIST_MAX];
static struct datagram_out list[LIST_MAX];
static uint8_t bytes[1 << 20];

/* Of these sizes, from the one buffer. */
static size_t make(const uint32_t *sizes, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		datagrams[i] = (struct datagram){ .bytes = bytes + at, .len = sizes[i] };
		list[i] = (struct datagram_out){ .datagram = &datagrams[i] };
		at += sizes[i];
	}
	return n;
}

static void joined(size_t n, size_t taken, uint32_t segment)
{
	uint32_t found;

	assert_int_equal(datagram_join(list, n, &found), taken);
	assert_int_equal(found, segment);
}

static void equal_sizes_are_joined_and_a_shorter_one_ends_them(void **state)
{
	joined(make((uint32_t[]){ 100 }, 1), 1, 0);
	joined(make((uint32_t[]){ 100, 100, 100 }, 3), 3, 100);
	joined(make((uint32_t[]){ 100, 100, 7, 100 }, 4), 3, 100);
	joined(make((uint32_t[]){ 100, 7, 7 }, 3), 2, 100);
	joined(make((uint32_t[]){ 7, 100 }, 2), 1, 0);
	joined(make((uint32_t[]){ 100, 101 }, 2), 1, 0);
}

static void one_without_bytes_is_alone(void **state)
{
	joined(make((uint32_t[]){ 0, 0, 0 }, 3), 1, 0);
	joined(make((uint32_t[]){ 0, 5 }, 2), 1, 0);
	joined(make((uint32_t[]){ 5, 0, 5 }, 3), 1, 0);
}

static void there_are_bounds_in_number_and_in_bytes(void **state)
{
	uint32_t sizes[LIST_MAX];

	for (size_t i = 0; i < LIST_MAX; i++)
		sizes[i] = 10;
	joined(make(sizes, LIST_MAX), DATAGRAM_PARTS_MAX, 10);
	for (size_t i = 0; i < LIST_MAX; i++)
		sizes[i] = 1500;
	joined(make(sizes, LIST_MAX), DATAGRAM_SEND_MAX / 1500, 1500);
}

static void marks_and_peers_keep_them_apart(void **state)
{
	struct flow_key one = { 0 }, other = { 0 };

	make((uint32_t[]){ 100, 100, 100, 100 }, 4);
	datagrams[2].tos = 3;
	joined(4, 2, 100);
	datagrams[2].tos = 0;
	list[0].to = &one;
	list[1].to = &one;
	list[2].to = &other;
	list[3].to = &other;
	joined(4, 2, 100);
}

static void what_came_joined_is_joined_further(void **state)
{
	make((uint32_t[]){ 300, 100, 250, 100 }, 4);
	datagrams[0].segment = datagrams[2].segment = 100;
	joined(4, 3, 100); /* 3 + 1 + 2 and a half: that ends it */
	datagrams[0].len = 290;
	joined(4, 1, 100);
	make((uint32_t[]){ 300, 100 }, 2);
	datagrams[0].segment = 150;
	joined(2, 2, 150);
	datagrams[0].segment = 60;
	joined(2, 1, 60);
}

static void headers_count_among_the_bytes(void **state)
{
	static const uint8_t header[20];

	make((uint32_t[]){ 100, 100, 100 }, 3);
	for (size_t i = 0; i < 3; i++) {
		list[i].header = header;
		list[i].header_len = sizeof(header);
	}
	joined(3, 3, 120);
	list[0].header_len = 0;
	joined(3, 1, 0);
	list[1].header_len = list[2].header_len = 0;
	list[0].header_len = sizeof(header);
	joined(3, 2, 120);
	make((uint32_t[]){ 0, 0 }, 2);
	list[0].header_len = list[1].header_len = sizeof(header);
	joined(2, 2, 20);
	make((uint32_t[]){ DATAGRAM_SEND_MAX / 2 - 19, DATAGRAM_SEND_MAX / 2 - 19 }, 2);
	list[0].header_len = list[1].header_len = sizeof(header);
	joined(2, 1, 0);
}

/* ---- over a socket */

static void socket_pair(sa_family_t family, int ret[2], struct flow_key *ret_key)
{
	struct address address[2];

	for (int i = 0; i < 2; i++) {
		ret[i] = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_true(ret[i] >= 0);
		assert_int_equal(datagram_prepare(ret[i], family, true), 0);
		fd_set_option(ret[i], SOL_SOCKET, SO_RCVBUF, 4 << 20);
		assert_int_equal(address_parse(&address[i], family == AF_INET ? "127.0.0.1:0" : "[::1]:0"), 0);
		assert_int_equal(bind(ret[i], &address[i].sa, address[i].len), 0);
		address[i].len = sizeof(address[i].un);
		assert_int_equal(getsockname(ret[i], &address[i].sa, &address[i].len), 0);
	}
	*ret_key = (struct flow_key){ .local_port = htons(address_port(&address[0])) };
	flow_key_set_client(ret_key, &address[1].sa);
	flow_key_set_local(ret_key, family,
		family == AF_INET ? (void *)&address[0].in.sin_addr : (void *)&address[0].in6.sin6_addr);
}

/* What was received, as single datagrams, equals what `n` of the list are. */
static void assert_arrived(int fd, size_t n, const struct flow_key *from)
{
	struct datagram_batch *batch = datagram_batch_new();
	size_t at = 0, in = 0;

	assert_non_null(batch);
	for (;;) {
		struct datagram_read read = { 0 };
		int got = datagram_receive(batch, fd, true, 0, DATAGRAM_BATCH, &read);
		if (got < 0)
			break;
		assert_int_equal(read.unusable, 0);
		for (int i = 0; i < got; i++) {
			const struct datagram *one = datagram_at(batch, (size_t)i);
			uint32_t size = one->segment ? one->segment : one->len, done = 0;
			assert_memory_equal(one->key.client, from->local, 16);
			assert_memory_equal(one->key.local, from->client, 16);
			assert_int_equal(one->key.client_port, from->local_port);
			do {
				uint32_t len = one->len - done < size ? one->len - done : size;
				const struct datagram *sent = list[at].datagram;
				uint32_t want = sent->segment ? sent->segment : sent->len;
				want = sent->len - in < want ? (uint32_t)(sent->len - in) : want;
				assert_true(at < n);
				assert_int_equal(len, want);
				assert_memory_equal(one->bytes + done, sent->bytes + in, len);
				assert_int_equal(one->tos, sent->tos);
				done += len;
				in += want;
				if (in == sent->len) {
					in = 0;
					at++;
				}
			} while (done < one->len);
		}
	}
	assert_int_equal(at, n);
	datagram_batch_free(batch);
}

static void what_is_sent_arrives(void **state)
{
	struct datagram_sender *sender = datagram_sender_new();

	srand(7);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)rand();
	assert_non_null(sender);
	for (int round = 0; round < 200; round++) {
		sa_family_t family = round % 2 ? AF_INET6 : AF_INET;
		uint32_t sizes[LIST_MAX];
		struct flow_key key;
		struct datagram_sent sent = { 0 };
		size_t n = 1 + (size_t)rand() % 150;
		int fds[2];

		for (size_t i = 0; i < n; i++)
			sizes[i] = i && rand() % 4 ? sizes[i - 1] : (uint32_t)rand() % 1400;
		make(sizes, n);
		for (size_t i = 0; i < n; i++) {
			list[i].to = &key;
			datagrams[i].tos = rand() % 8 ? 0 : 2;
			if (rand() % 4 == 0 && datagrams[i].len > 10)
				datagrams[i].segment = 10 + (uint32_t)rand() % 300;
			if (datagrams[i].segment >= datagrams[i].len)
				datagrams[i].segment = 0;
		}
		socket_pair(family, fds, &key);
		datagram_send(sender, fds[0], family, list, n, &sent);
		assert_int_equal(sent.full + sent.lost + sent.too_big + sent.fragmented, 0);
		assert_arrived(fds[1], n, &key);
		close(fds[0]);
		close(fds[1]);
	}
	datagram_sender_free(sender);
}

/* A header in front of each, joined or not: boundaries and contents are those of header and datagram together. */
static void headers_are_sent_in_front(void **state)
{
	static const uint8_t header[] = "PROXY";
	struct datagram_sender *sender = datagram_sender_new();
	const uint32_t sizes[] = { 100, 100, 100, 7, 0, 1300, 1300, 1300, 1 };
	size_t n = make(sizes, sizeof(sizes) / sizeof(sizes[0]));
	struct datagram_sent sent = { 0 };
	struct flow_key key;
	uint8_t got[2048];
	int fds[2];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	socket_pair(AF_INET, fds, &key);
	fd_set_option(fds[1], IPPROTO_UDP, 104 /* UDP_GRO */, 0);
	for (size_t i = 0; i < n; i++) {
		list[i].to = &key;
		list[i].header = header;
		list[i].header_len = sizeof(header);
	}
	datagram_send(sender, fds[0], AF_INET, list, n, &sent);
	assert_int_equal(sent.full + sent.lost + sent.too_big + sent.fragmented, 0);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(recv(fds[1], got, sizeof(got), 0), sizeof(header) + sizes[i]);
		assert_memory_equal(got, header, sizeof(header));
		assert_memory_equal(got + sizeof(header), datagrams[i].bytes, sizes[i]);
	}
	assert_int_equal(recv(fds[1], got, sizeof(got), 0), -1);
	make((uint32_t[]){ DATAGRAM_SEND_MAX, DATAGRAM_SEND_MAX - sizeof(header) }, 2);
	for (size_t i = 0; i < 2; i++) {
		list[i].to = &key;
		list[i].header = header;
		list[i].header_len = sizeof(header);
	}
	datagram_send(sender, fds[0], AF_INET, list, 2, &sent);
	assert_int_equal(sent.too_big, 1);
	assert_int_equal(recv(fds[1], got, sizeof(got), MSG_TRUNC), DATAGRAM_SEND_MAX);
	close(fds[0]);
	close(fds[1]);
	datagram_sender_free(sender);
}

static void one_that_the_kernel_refuses_is_counted_and_the_others_go(void **state)
{
	struct datagram_sender *sender = datagram_sender_new();
	struct datagram_sent sent = { 0 };
	struct flow_key key, nowhere;
	int fds[2];

	make((uint32_t[]){ 100, 200, 200, 100 }, 4);
	socket_pair(AF_INET, fds, &key);
	nowhere = key;
	nowhere.client_port = 0;
	list[0].to = list[3].to = &key;
	list[1].to = list[2].to = &nowhere;
	datagram_send(sender, fds[0], AF_INET, list, 4, &sent);
	assert_int_equal(sent.lost, 2);
	list[1] = list[3];
	assert_arrived(fds[1], 2, &key);
	close(fds[0]);
	close(fds[1]);
	datagram_sender_free(sender);
}

static void a_peers_refusal_is_reported_and_loses_none_but_its_own(void **state)
{
	struct datagram_sender *sender = datagram_sender_new();
	struct datagram_sent sent = { 0 };
	struct address nobody = { .len = sizeof(nobody.in) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(address_parse(&nobody, "127.0.0.1:0"), 0);
	assert_int_equal(bind(other, &nobody.sa, nobody.len), 0);
	assert_int_equal(getsockname(other, &nobody.sa, &nobody.len), 0);
	close(other);
	assert_int_equal(connect(fd, &nobody.sa, nobody.len), 0);
	make((uint32_t[]){ 100 }, 1);
	datagram_send(sender, fd, AF_INET, list, 1, &sent);
	datagram_send(sender, fd, AF_INET, list, 1, &sent);
	assert_int_equal(sent.error, -ECONNREFUSED);
	assert_int_equal(sent.lost, 0);
	close(fd);
	datagram_sender_free(sender);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_sizes_are_joined_and_a_shorter_one_ends_them),
		cmocka_unit_test(one_without_bytes_is_alone),
		cmocka_unit_test(there_are_bounds_in_number_and_in_bytes),
		cmocka_unit_test(marks_and_peers_keep_them_apart),
		cmocka_unit_test(what_came_joined_is_joined_further),
		cmocka_unit_test(what_is_sent_arrives),
		cmocka_unit_test(headers_count_among_the_bytes),
		cmocka_unit_test(headers_are_sent_in_front),
		cmocka_unit_test(one_that_the_kernel_refuses_is_counted_and_the_others_go),
		cmocka_unit_test(a_peers_refusal_is_reported_and_loses_none_but_its_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
