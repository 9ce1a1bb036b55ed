/* Plays somebody who has taken over a worker, sandbox and all: a client says "attack NAME [NUMBER]\n", and the worker does to the others
 * what it can with what it holds: the line to the master, the log's pipe, the listening sockets, shared memory, its standard
 * descriptors. It knows usher's code, as an intruder would. What comes of it is logged, where it comes back at all. */
#include "message.h"
#include "migrant.h"
#include "stream_state.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <usher/module.h>

#define FDS_MAX      1024
#define MAPPINGS_MAX 64

USHER_MODULE;

static struct usher_host *host;

static struct {
	char *start;
	size_t size;
	bool writable, names;
} mappings[MAPPINGS_MAX];
static size_t n_mappings;

/* ---- what it holds ------------------------------------------------------------------------------------------------------ */

static int socket_says(int fd, int option)
{
	int value;
	socklen_t len = sizeof(value);
	return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

static int find_channel(void)
{
	for (int fd = 0; fd < FDS_MAX; fd++)
		if (socket_says(fd, SO_DOMAIN) == AF_UNIX && socket_says(fd, SO_TYPE) == SOCK_SEQPACKET)
			return fd;
	return -1;
}

static int find_log(void)
{
	for (int fd = 3; fd < FDS_MAX; fd++)
		if (fcntl(fd, F_GETPIPE_SZ) > 0)
			return fd;
	return -1;
}

/* Only before the sandbox: afterwards no file can be opened. */
static void find_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], mode[8];
	void *start, *end;

	while (maps && fgets(line, sizeof(line), maps) && n_mappings < MAPPINGS_MAX)
		if (strstr(line, "memfd:usher") && sscanf(line, "%p-%p %7s", &start, &end, mode) == 3 &&
			mode[3] == 's') {
			mappings[n_mappings].start = start;
			mappings[n_mappings].size = (size_t)((char *)end - (char *)start);
			mappings[n_mappings].names = strstr(line, "resolved names");
			mappings[n_mappings++].writable = mode[1] == 'w';
		}
	if (maps)
		fclose(maps);
}

/* ---- messages ------------------------------------------------------------------------------------------------------------ */

static long say_on(int to, const void *bytes, size_t len, int fd, size_t n_fds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(253 * sizeof(int))];
	} control = { 0 };
	struct iovec part = { (void *)bytes, len };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };

	if (n_fds) {
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		for (size_t i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(rights) + i * sizeof(int), &fd, sizeof(fd));
	}
	return sendmsg(to, &header, MSG_NOSIGNAL);
}

static long say(const void *bytes, size_t len, int fd, size_t n_fds)
{
	return say_on(find_channel(), bytes, len, fd, n_fds);
}

/* As message.c has them. */
static size_t size_of(long kind)
{
	static const size_t payloads[MESSAGE_KINDS] = {
		[MESSAGE_REPORTED] = sizeof(struct message_reported),
		[MESSAGE_ASK_ANEW] = sizeof(struct message_ask_anew),
		[MESSAGE_SPAWN] = sizeof(struct message_spawn),
		[MESSAGE_IDENTIFY] = sizeof(struct message_identify),
		[MESSAGE_CONNECT] = sizeof(struct message_connect),
		[MESSAGE_WANT_SOCKETS] = sizeof(struct message_want_sockets),
		[MESSAGE_WANT_CLIENT] = sizeof(struct message_want_client),
		[MESSAGE_FORWARD] = sizeof(struct message_forward),
		[MESSAGE_ANSWER] = sizeof(struct message_answer),
		[MESSAGE_VERDICT] = sizeof(struct message_verdict),
		[MESSAGE_EXITED] = sizeof(struct message_exited),
		[MESSAGE_LOG] = sizeof(struct message_log),
		[MESSAGE_REPORT] = sizeof(struct message_report),
		[MESSAGE_HOLD] = sizeof(struct message_hold),
	};
	return offsetof(struct message, spawn) +
		(kind >= 0 && kind < MESSAGE_KINDS ? payloads[kind] : sizeof(struct message_spawn));
}

static uint64_t number_of(long kind)
{
	return kind != MESSAGE_READY && kind != MESSAGE_ASK_ANEW;
}

static long say_message(const struct message *message)
{
	return say(message, size_of(message->kind), -1, 0);
}

/* Of its kind's length, with nothing but ones in it. */
static long attack_say_kind(long kind)
{
	struct message message;

	memset(&message, 0xff, sizeof(message));
	message.kind = (enum message_kind)kind;
	message.number = number_of(kind);
	return say_message(&message);
}

/* Of another length than its kind's. */
static long attack_say_cut(long kind)
{
	const struct message message = { .kind = (enum message_kind)kind, .number = number_of(kind) };
	return say(&message, size_of(kind) - 1, -1, 0);
}

static long attack_say_stretched(long kind)
{
	const struct message message = { .kind = (enum message_kind)kind, .number = number_of(kind) };
	return say(&message, size_of(kind) + 1, -1, 0);
}

/* A request without a number, and what is none with one. */
static long attack_say_misnumbered(long kind)
{
	const struct message message = { .kind = (enum message_kind)kind, .number = !number_of(kind) };
	return say_message(&message);
}

static long attack_say_short(long len)
{
	const struct message message = { .number = 1, .kind = MESSAGE_SPAWN };
	return say(&message, (size_t)len, -1, 0);
}

static long attack_say_long(long len)
{
	static char bytes[100000];

	memset(bytes, 1, sizeof(bytes));
	return say(bytes, (size_t)len, -1, 0);
}

/* A request for a program of its policy, but for one thing. */
static long attack_spawn_wrong(long which)
{
	struct message message = { .number = 1, .kind = MESSAGE_SPAWN, .spawn = { .program = PROGRAM_SERVICE } };

	switch (which) {
	case 0: /* a client of no length that there is */
		message.spawn.client.len = sizeof(struct address) + 1;
		break;
	case 1:
		message.spawn.client.len = 1;
		break;
	case 2: /* of another length than its family's */
		message.spawn.client =
			(struct address){ .len = sizeof(struct sockaddr_in6), .sa.sa_family = AF_INET };
		break;
	case 3:
		message.spawn.local =
			(struct address){ .len = sizeof(struct sockaddr_in), .sa.sa_family = AF_NETLINK };
		break;
	case 4: /* names that do not end */
		memset(message.spawn.protocol, 'x', sizeof(message.spawn.protocol));
		break;
	case 5:
		memset(message.spawn.sni, 'x', sizeof(message.spawn.sni));
		break;
	case 6:
		message.spawn.greets = 2;
		break;
	case 7:
		message.spawn.program = (enum message_program)2;
		break;
	case 8:
		message.spawn.service = 1000;
		break;
	case 9: /* which has no access program */
		message.spawn.program = PROGRAM_ACCESS;
		break;
	}
	return say_message(&message);
}

/* A request to have a flow forwarded, but for one thing; 0: for nothing, and the master's answer. The low half is the listener's port. */
static long attack_forward(long number)
{
	struct message message = {
		.number = 1,
		.kind = MESSAGE_FORWARD,
		.forward = { .service = 2,
			.client = { .len = sizeof(struct sockaddr_in),
				.in = { AF_INET, htons(1000), { htonl(0xc6336407) } } },
			.local = { .len = sizeof(struct sockaddr_in),
				.in = { AF_INET, htons((uint16_t)number), { htonl(INADDR_LOOPBACK) } } } },
	};

	switch (number >> 16) {
	case 1: /* which does not go through the kernel */
		message.forward.service = 3;
		break;
	case 2:
		message.forward.service = 1000;
		break;
	case 3: /* of TCP */
		message.forward.listener = 1;
		break;
	case 4:
		message.forward.listener = 1000;
		break;
	case 5: /* of no listener */
		message.forward.local.in.sin_port ^= 1;
		break;
	case 6:
		message.forward.local.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
		break;
	case 7:
		message.forward.client.in.sin_port = 0;
		break;
	case 8: /* of another family */
		message.forward.client = (struct address){ .len = sizeof(struct sockaddr_in6),
			.in6 = { .sin6_family = AF_INET6, .sin6_port = 1 } };
		break;
	case 9:
		message.forward.client = (struct address){ 0 };
		break;
	case 10:
		message.forward.is_missing = 2;
		break;
	}
	long said = say_message(&message);
	while (said > 0 && recv(find_channel(), &message, sizeof(message), 0) < 0)
		poll(NULL, 0, 1);
	return message.answer.error;
}

/* Beside a message that has none, or more than any has. */
static long attack_say_with_fds(long n)
{
	const struct message message = { .number = 1, .kind = MESSAGE_HELD };
	return say(&message, size_of(MESSAGE_HELD), find_channel(), (size_t)n);
}

static long attack_spawn_with_fds(long n)
{
	const struct message message = {
		.number = 1, .kind = MESSAGE_SPAWN, .spawn = { .program = PROGRAM_SERVICE }
	};
	return say(&message, size_of(MESSAGE_SPAWN), find_channel(), (size_t)n);
}

static long attack_ask_with_fds(long n)
{
	const struct message message = { .number = 1, .kind = MESSAGE_SPAWN, .spawn = { .program = PROGRAM_ACCESS } };
	return say(&message, size_of(MESSAGE_SPAWN), find_channel(), (size_t)n);
}

/* For ever. */
static long attack_flood(long kind)
{
	const struct message message = { .kind = (enum message_kind)kind, .number = number_of(kind) };

	for (;;)
		say_message(&message);
	return 0;
}

/* Identifiers, one after the other, as many as the channel takes. */
static long attack_start_identifiers(long n)
{
	struct message message = { .kind = MESSAGE_IDENTIFY };
	char answer[2048];

	for (long i = 0; i < n; i++) {
		message.number = 1000 + (uint64_t)i;
		while (say_message(&message) < 0)
			poll(NULL, 0, 1);
		while (recv(find_channel(), answer, sizeof(answer), MSG_DONTWAIT) > 0)
			;
	}
	host->log(host, USHER_NOTICE, "start_identifiers asked for %ld", n);
	for (;;)
		poll(NULL, 0, -1);
	return n;
}

/* Of questions that others have not answered yet. */
static long attack_answer_for_others(long n)
{
	struct message message = { .kind = MESSAGE_REPORTED };

	for (long i = 0; i < n; i++) {
		message.number = (uint64_t)(i / 8 + 1);
		if (say_message(&message) < 0)
			poll(NULL, 0, 1);
	}
	return n;
}

/* Answers to holds that were not ordered yet. */
static long attack_hold_before(long n)
{
	struct message message = { .kind = MESSAGE_HELD };

	for (long i = 0; i < n; i++) {
		message.number = (uint64_t)i + 1;
		if (say_message(&message) < 0)
			poll(NULL, 0, 1);
	}
	return n;
}

/* Goes on without the master. */
static long attack_leave(long number)
{
	shutdown(find_channel(), SHUT_RDWR);
	for (;;)
		poll(NULL, 0, -1);
	return number;
}

static long attack_hang(long number)
{
	for (;;)
		poll(NULL, 0, -1);
	return number;
}

/* Writes into the file of the next question until it may not write any more. */
static long attack_fill_report(long number)
{
	static char much[1 << 20];
	struct message message;
	struct iovec part = { &message, sizeof(message) };
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(8 * sizeof(int))];
	} control;
	int fd = -1;

	memset(much, '{', sizeof(much));
	while (fd < 0) {
		struct msghdr header = {
			.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
		};
		if (recvmsg(find_channel(), &header, 0) < (ssize_t)offsetof(struct message, spawn)) {
			poll(NULL, 0, 1);
			continue;
		}
		struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
		if (message.kind == MESSAGE_REPORT && rights)
			memcpy(&fd, CMSG_DATA(rights), sizeof(fd));
	}
	while (write(fd, much, sizeof(much)) > 0)
		;
	message.kind = MESSAGE_REPORTED;
	message.reported.error = 0;
	say_message(&message);
	for (;;) { /* and keeps it */
		poll(NULL, 0, 100);
		host->log(host, USHER_NOTICE, "the report takes %ld bytes more",
			lseek(fd, 0, SEEK_SET) < 0 ? -2 : (long)write(fd, much, 1));
	}
	return number;
}

/* Says of a connection what it likes, to whoever asks for its first bytes: who that is may be root, at a terminal. */
static long attack_lie_of_evidence(long number)
{
	static const char lie[] =
		"{\"id\": 1, \"transport\": \"tcp\", \"file\": \"/etc/passwd\", \"listener\": \"\\u001b]0;l\", "
		"\"service\": \"\\u001b[31mred\", \"protocol\": \"\\u009b1m\", \"phase\": "
		"\"\\u001b[2J\\u0007\", \"bytes\": \"5353482d\"}\n";
	struct message message;
	struct iovec part = { &message, sizeof(message) };
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(8 * sizeof(int))];
	} control;

	for (;;) {
		int fd = -1;
		struct msghdr header = {
			.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
		};
		if (recvmsg(find_channel(), &header, 0) < (ssize_t)offsetof(struct message, spawn)) {
			poll(NULL, 0, 1);
			continue;
		}
		struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
		if (message.kind != MESSAGE_REPORT || !rights)
			continue;
		memcpy(&fd, CMSG_DATA(rights), sizeof(fd));
		(void)!write(fd, lie, sizeof(lie) - 1);
		message.kind = MESSAGE_REPORTED;
		message.reported.error = 0;
		say_message(&message);
		close(fd);
	}
	return number;
}

static int next_migration(void)
{
	struct message message;
	struct iovec part = { &message, sizeof(message) };
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(8 * sizeof(int))];
	} control;

	for (;;) {
		int fd;
		struct msghdr header = {
			.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
		};
		if (recvmsg(find_channel(), &header, 0) < (ssize_t)offsetof(struct message, spawn)) {
			poll(NULL, 0, 1);
			continue;
		}
		struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
		if (message.kind != MESSAGE_MIGRATE || !rights)
			continue;
		memcpy(&fd, CMSG_DATA(rights), sizeof(fd));
		return fd;
	}
}

/* Sends the next generation what are no connections: messages of all lengths, heads that are nearly right, descriptors of every kind. */
static long attack_migrate(long n)
{
	static union {
		struct {
			struct migrant head;
			struct stream_state state;
			char listener[2];
		};
		char bytes[MIGRANT_MAX + 4096];
	} message;
	static const size_t right = sizeof(message.head) + sizeof(message.state) + sizeof(message.listener);
	static const size_t lens[] = { 1, 8, 100, sizeof(struct migrant), right, MIGRANT_MAX, MIGRANT_MAX + 1 };
	const int beside[] = { find_channel(), find_log(), 0 };
	int fd = next_migration();

	for (long i = 0; i < n; i++) {
		size_t len = lens[i % 7], n_fds = (size_t)(i / 7 % 9);
		for (size_t k = 0; k < len; k++)
			message.bytes[k] = (char)random();
		message.head.format = MIGRANT_FORMAT;
		message.head.transport = (uint32_t)(i / 63 % (TRANSPORT_COUNT + 1));
		message.head.phase = (uint32_t)(i % 4);
		message.head.delivery = message.head.log_level = 0;
		message.head.state_len = sizeof(message.state);
		memset(message.head.text_len, 0, sizeof(message.head.text_len));
		message.head.text_len[TEXT_LISTENER] = 1;
		memcpy(message.listener, "x", sizeof(message.listener));
		memset(&message.state, 0, sizeof(message.state));
		message.state.server_kind = (uint32_t)(i % 3);
		for (size_t k = 0; k < STREAM_FDS; k++)
			message.state.has_fd[k] = k < n_fds;
		message.head.header_len = message.head.kept_len = 0;
		message.head.client.len = message.head.peer.len = message.head.destination.len = 0;
		if (say_on(fd, message.bytes, len, beside[i % 3], n_fds) < 0 && errno == EAGAIN)
			poll(NULL, 0, 1);
	}
	host->log(host, USHER_NOTICE, "migrate sent %ld", n);
	for (;;)
		poll(NULL, 0, -1);
	return n;
}

/* ---- descriptors --------------------------------------------------------------------------------------------------------- */

/* 0 to 2: as shutdown(2) numbers them. UDP sockets say that they are not connected, and are shut down all the same. */
static long attack_shut_datagrams(long how)
{
	long n = 0;

	for (int fd = 3; fd < FDS_MAX; fd++) {
		struct sockaddr_storage peer;
		socklen_t len = sizeof(peer);
		if (socket_says(fd, SO_TYPE) != SOCK_DGRAM || socket_says(fd, SO_DOMAIN) == AF_UNIX ||
			getpeername(fd, (struct sockaddr *)&peer, &len) == 0)
			continue;
		shutdown(fd, (int)how);
		n++;
	}
	return n;
}

static long attack_shut_listeners(long way)
{
	long n = 0;

	for (int fd = 3; fd < FDS_MAX; fd++) {
		if (socket_says(fd, SO_ACCEPTCONN) != 1)
			continue;
		if (way == 0)
			n += shutdown(fd, SHUT_RDWR) == 0;
		else
			n += connect(fd, &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr)) == 0;
	}
	return n;
}

static long attack_write_to(long fd)
{
	static const char words[] = "\033]0;intruder\007 was here\n";
	return write((int)fd, words, sizeof(words) - 1);
}

static long attack_flood_log(long n)
{
	static const char words[] = "<3>\033[31mdoes not happen\n";

	for (long i = 0; i < n; i++)
		if (write(find_log(), words, sizeof(words) - 1) < 0)
			poll(NULL, 0, 1);
	return n;
}

static long attack_wait_on_log(long way)
{
	if (way == 0)
		return ioctl(find_log(), FIONBIO, &(int){ 0 });
	return fcntl(find_log(), F_SETFL, O_WRONLY);
}

static long attack_shrink_log(long size)
{
	return fcntl(find_log(), F_SETPIPE_SZ, (int)size);
}

static long attack_linger(long seconds)
{
	const struct linger linger = { 1, (int)seconds };
	return setsockopt(socket(AF_INET, SOCK_STREAM, 0), SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static long attack_socketpair(long family)
{
	return socketpair((int)family, SOCK_STREAM, 0, (int[2]){ 0, 0 });
}

static long attack_notifications(long number)
{
	return pipe2((int[2]){ 0, 0 }, O_EXCL); /* O_NOTIFICATION_PIPE */
}

/* ---- shared memory --------------------------------------------------------------------------------------------------------- */

/* All that can be written, with one byte or with chance, and what can be made writable. Returns how many could be that were not. */
static long attack_overwrite(long byte)
{
	long opened = 0;

	for (size_t i = 0; i < n_mappings; i++) {
		bool writable = mappings[i].writable;
		if (!writable && mprotect(mappings[i].start, mappings[i].size, PROT_READ | PROT_WRITE) == 0)
			opened += writable = true;
		if (writable && byte < 256)
			memset(mappings[i].start, (int)byte, mappings[i].size);
		for (size_t k = 0; writable && byte >= 256 && k < mappings[i].size; k += sizeof(long))
			*(long *)(mappings[i].start + k) = random() ^ random() << 33;
	}
	return opened;
}

/* Of its own policy's names, and of those of policies before and after it: how many it has, or could write to (1). */
static long attack_names(long which)
{
	long n = 0;

	for (size_t i = 0; i < n_mappings; i++)
		n += mappings[i].names && (which == 0 || mappings[i].writable);
	return n;
}

/* Over what follows in the file: the slots of others. */
static long attack_grow(long number)
{
	long grown = 0;

	for (size_t i = 0; i < n_mappings; i++)
		grown += mremap(mappings[i].start, mappings[i].size, mappings[i].size * 2, MREMAP_MAYMOVE) !=
			MAP_FAILED;
	return grown;
}

/* Gone from under the others, who read there. */
static long attack_punch(long number)
{
	long punched = 0;

	for (size_t i = 0; i < n_mappings; i++)
		if (!mappings[i].writable)
			punched += madvise(mappings[i].start, mappings[i].size, MADV_REMOVE) == 0;
	return punched;
}

/* ---- what it is told to do --------------------------------------------------------------------------------------------------- */

#define ATTACK(name)                                                                                                 \
	{                                                                                                            \
#name, attack_##name                                                                                 \
	}

static const struct {
	const char *name;
	long (*run)(long number);
} attacks[] = { ATTACK(say_kind), ATTACK(say_cut), ATTACK(say_stretched), ATTACK(say_misnumbered), ATTACK(say_short),
	ATTACK(say_long), ATTACK(spawn_wrong), ATTACK(forward), ATTACK(say_with_fds), ATTACK(spawn_with_fds),
	ATTACK(ask_with_fds), ATTACK(hold_before), ATTACK(flood), ATTACK(answer_for_others), ATTACK(leave),
	ATTACK(hang), ATTACK(fill_report), ATTACK(lie_of_evidence), ATTACK(migrate), ATTACK(start_identifiers),
	ATTACK(shut_datagrams), ATTACK(shut_listeners), ATTACK(write_to), ATTACK(flood_log), ATTACK(wait_on_log),
	ATTACK(shrink_log), ATTACK(linger), ATTACK(socketpair), ATTACK(notifications), ATTACK(overwrite),
	ATTACK(grow), ATTACK(names), ATTACK(punch) };

static enum usher_verdict attack(
	void *context, const struct usher_evidence *evidence, struct usher_findings *findings)
{
	char name[32] = "", text[64] = "";
	long number = 0;

	if (evidence->len >= sizeof(text) || memcmp(evidence->bytes, "attack", evidence->len < 6 ? evidence->len : 6))
		return USHER_NO;
	memcpy(text, evidence->bytes, evidence->len);
	if (!strchr(text, '\n'))
		return USHER_MORE;
	if (sscanf(text, "attack %31s %ld", name, &number) < 1)
		return USHER_NO;
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		if (strcmp(attacks[i].name, name) != 0)
			continue;
		host->log(host, USHER_NOTICE, "%s begins", name);
		long result = attacks[i].run(number);
		host->log(host, USHER_NOTICE, "%s gives %ld %s", name, result,
			result < 0 ? strerrorname_np(errno) : "");
		return USHER_YES;
	}
	host->log(host, USHER_ERROR, "%s is not among the attacks", name);
	return USHER_YES;
}

int usher_module_init(struct usher_host *given)
{
	host = given;
	find_mappings();
	return host->probe_add(host, &(struct usher_probe){ .name = "attack", .run = attack });
}
