/* Messages between the master and a worker: each kind has its own length, and what is no message is refused. */
#include "fd.h"
#include "message.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct ipc_fds none = { .n = 0 };

static uint64_t number_of(enum message_kind kind)
{
	switch (kind) {
	case MESSAGE_READY:
	case MESSAGE_ASK_ANEW:
	case MESSAGE_FIND_NAME:
	case MESSAGE_LOG:
	case MESSAGE_RESUME:
	case MESSAGE_RECEIVE:
	case MESSAGE_ADOPT:
	case MESSAGE_MIGRATE:
	case MESSAGE_DRAIN:
	case MESSAGE_STOP:
		return 0;
	default:
		return 7;
	}
}

/* One that is sound. */
static struct message message_of(enum message_kind kind)
{
	struct message message = { .number = number_of(kind), .kind = kind };

	if (kind == MESSAGE_FIND_NAME)
		strcpy(message.find_name.name, "www.example.net");
	if (kind == MESSAGE_WANT_SOCKETS)
		message.want_sockets = (struct message_want_sockets){ .family = AF_INET6, .type = SOCK_DGRAM };
	if (kind == MESSAGE_WANT_CLIENT) {
		address_parse(&message.want_client.client, "192.0.2.7:50000");
		address_parse(&message.want_client.local, "192.0.2.1:443");
	}
	return message;
}

static bool is_sound(const struct message *message)
{
	return message_is_sound(message, message_size(message->kind), &none);
}

static void each_kind_has_one_length(void **state)
{
	for (enum message_kind kind = 0; kind < MESSAGE_KINDS; kind++) {
		const struct message message = message_of(kind);
		for (size_t len = 0; len <= sizeof(message) + 1; len++)
			assert_int_equal(message_is_sound(&message, len, &none), len == message_size(kind));
	}
	assert_true(message_size(MESSAGE_READY) < message_size(MESSAGE_REPORTED));
	assert_true(message_size(MESSAGE_SPAWN) <= sizeof(struct message));
}

static void a_kind_that_there_is_not_is_none(void **state)
{
	struct message message = message_of(MESSAGE_READY);
	const size_t len = message_size(MESSAGE_READY);

	for (size_t kind = MESSAGE_KINDS; kind < MESSAGE_KINDS + 300; kind++) {
		message.kind = (enum message_kind)kind;
		assert_false(message_is_sound(&message, len, &none));
	}
	memset(&message.kind, 0xff, sizeof(message.kind));
	assert_false(message_is_sound(&message, len, &none));
}

static void requests_and_answers_have_a_number_and_others_none(void **state)
{
	for (enum message_kind kind = 0; kind < MESSAGE_KINDS; kind++) {
		struct message message = message_of(kind);
		assert_true(is_sound(&message));
		message.number = !message.number;
		assert_false(is_sound(&message));
	}
}

static void descriptors_come_where_a_kind_may_have_them(void **state)
{
	static const size_t most[MESSAGE_KINDS] = { [MESSAGE_SPAWN] = 1,
		[MESSAGE_ANSWER] = IPC_FDS_MAX,
		[MESSAGE_REPORT] = 1,
		[MESSAGE_ADOPT] = 1,
		[MESSAGE_MIGRATE] = 1 };

	for (enum message_kind kind = 0; kind < MESSAGE_KINDS; kind++) {
		const struct message message = message_of(kind);
		const struct ipc_fds lost = { .lost = true };
		for (size_t n = 0; n <= IPC_FDS_MAX; n++)
			assert_int_equal(message_is_sound(&message, message_size(kind), &(struct ipc_fds){ .n = n }),
				n <= most[kind]);
		assert_int_equal(message_is_sound(&message, message_size(kind), &lost), most[kind] > 0);
	}
	struct message message = message_of(MESSAGE_SPAWN);
	message.spawn.program = PROGRAM_ACCESS;
	assert_true(is_sound(&message));
	assert_false(message_is_sound(&message, message_size(MESSAGE_SPAWN), &(struct ipc_fds){ .n = 1 }));
	assert_false(message_is_sound(&message, message_size(MESSAGE_SPAWN), &(struct ipc_fds){ .lost = true }));
	message = message_of(MESSAGE_ANSWER);
	message.answer.error = -EAGAIN;
	assert_false(message_is_sound(&message, message_size(MESSAGE_ANSWER), &(struct ipc_fds){ .n = 1 }));
}

/* Sets a field to a value, looks, and puts it back. */
#define assert_unsound(message, field, value)                                                                        \
	do {                                                                                                         \
		struct message wrong = (message);                                                                    \
		wrong.field = (value);                                                                               \
		assert_true(is_sound(&(message)));                                                                   \
		assert_false(is_sound(&wrong));                                                                      \
	} while (0)

static void values_are_in_their_ranges(void **state)
{
	struct message message = message_of(MESSAGE_SPAWN);
	assert_unsound(message, spawn.program, (enum message_program)2);
	assert_unsound(message, spawn.greets, 2);
	assert_unsound(message, spawn.is_datagram, 2);
	message = message_of(MESSAGE_FIND_NAME);
	assert_unsound(message, find_name.name[0], 'W');
	assert_unsound(message, find_name.name[0], ' ');
	assert_unsound(message, find_name.name[0], '\0');
	assert_unsound(message, find_name.name[15], '.');
	message = message_of(MESSAGE_WANT_SOCKETS);
	assert_unsound(message, want_sockets.family, AF_UNIX);
	assert_unsound(message, want_sockets.family, 0x10000 + AF_INET);
	assert_unsound(message, want_sockets.type, 0);
	assert_unsound(message, want_sockets.type, SOCK_RAW);
	assert_unsound(message, want_sockets.type, SOCK_STREAM | SOCK_NONBLOCK);
	message = message_of(MESSAGE_WANT_CLIENT);
	assert_unsound(message, want_client.client.len, 0);
	assert_unsound(message, want_client.local.sa.sa_family, AF_INET6);
	assert_unsound(message, want_client.client.in.sin_port, 0);
	message = message_of(MESSAGE_FORWARD);
	assert_unsound(message, forward.is_missing, 2);
	assert_unsound(message, forward.client.len, 1);
	assert_unsound(message, forward.local.len, sizeof(struct address) + 1);
	message = message_of(MESSAGE_ANSWER);
	assert_unsound(message, answer.error, 1);
	assert_unsound(message, answer.error, -4096);
	assert_unsound(message, answer.greeted, 2);
	message = message_of(MESSAGE_REPORTED);
	assert_unsound(message, reported.error, 1);
	assert_unsound(message, reported.error, INT32_MIN);
	message = message_of(MESSAGE_VERDICT);
	assert_unsound(message, verdict.admits, 2);
	message = message_of(MESSAGE_LOG);
	assert_unsound(message, log.level, 5);
	message = message_of(MESSAGE_REPORT);
	assert_unsound(message, report.about, REPORTS);
}

static void texts_end(void **state)
{
	struct message message = message_of(MESSAGE_SPAWN);

	memset(message.spawn.protocol, 'x', sizeof(message.spawn.protocol) - 1);
	memset(message.spawn.sni, 'x', sizeof(message.spawn.sni) - 1);
	assert_unsound(message, spawn.protocol[sizeof(message.spawn.protocol) - 1], 'x');
	assert_unsound(message, spawn.sni[sizeof(message.spawn.sni) - 1], 'x');
	message = message_of(MESSAGE_ANSWER);
	memset(message.answer.refused, 'x', sizeof(message.answer.refused) - 1);
	assert_unsound(message, answer.refused[sizeof(message.answer.refused) - 1], 'x');
}

static void addresses_have_their_lengths(void **state)
{
	struct message message = message_of(MESSAGE_SPAWN);
	static const socklen_t lens[] = { 1, sizeof(struct sockaddr_in) - 1, sizeof(struct sockaddr_in6),
		sizeof(struct sockaddr_un), sizeof(struct sockaddr_un) + 1, UINT32_MAX };

	address_parse(&message.spawn.client, "192.0.2.1:443");
	address_parse(&message.spawn.local, "192.0.2.1:443");
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		assert_unsound(message, spawn.client.len, lens[i]);
		assert_unsound(message, spawn.local.len, lens[i]);
	}
	assert_unsound(message, spawn.client.sa.sa_family, AF_NETLINK);
	address_parse(&message.spawn.client, "[2001:db8::1]:443");
	assert_unsound(message, spawn.client.len, sizeof(struct sockaddr_in));
	address_parse(&message.spawn.client, "unix:/path");
	assert_true(is_sound(&message));
	message.spawn.client.len = sizeof(sa_family_t); /* of a client that has no name */
	assert_true(is_sound(&message));
}

static void a_message_goes_one_way(void **state)
{
	for (enum message_kind kind = 0; kind < MESSAGE_KINDS; kind++) {
		const struct message message = message_of(kind);
		struct message came;
		struct ipc_fds fds;
		int ends[2], sound = 0;

		assert_int_equal(ipc_pair(ends), 0);
		for (int from_worker = 0; from_worker < 2; from_worker++) {
			assert_int_equal(message_send(ends[0], &message, NULL, 0), 0);
			int n = message_receive(ends[1], from_worker, &came, &fds);
			assert_true(n == 1 || n == -EBADMSG);
			sound += n == 1;
			if (n == 1) {
				assert_int_equal(came.kind, kind);
				assert_int_equal(from_worker, kind < MESSAGE_ANSWER);
			}
		}
		assert_int_equal(sound, 1);
		assert_int_equal(message_receive(ends[1], true, &came, &fds), -EAGAIN);
		fd_close(ends[0]);
		assert_int_equal(message_receive(ends[1], true, &came, &fds), 0);
		fd_close(ends[1]);
	}
}

static void descriptors_beside_what_is_no_message_are_closed(void **state)
{
	struct message message = message_of(MESSAGE_ANSWER), came;
	struct ipc_fds fds;
	int ends[2], first = dup(0);

	close(first);
	assert_int_equal(ipc_pair(ends), 0);
	int before = dup(0);
	close(before);
	message.answer.error = -EPERM;
	assert_int_equal(message_send(ends[0], &message, (int[]){ 0, 1 }, 2), 0);
	assert_int_equal(message_receive(ends[1], false, &came, &fds), -EBADMSG);
	assert_int_equal(fds.fd[0], -1);
	int after = dup(0);
	assert_int_equal(after, before);
	close(after);
	fd_close(ends[0]);
	fd_close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_has_one_length),
		cmocka_unit_test(a_kind_that_there_is_not_is_none),
		cmocka_unit_test(requests_and_answers_have_a_number_and_others_none),
		cmocka_unit_test(descriptors_come_where_a_kind_may_have_them),
		cmocka_unit_test(values_are_in_their_ranges),
		cmocka_unit_test(texts_end),
		cmocka_unit_test(addresses_have_their_lengths),
		cmocka_unit_test(a_message_goes_one_way),
		cmocka_unit_test(descriptors_beside_what_is_no_message_are_closed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
