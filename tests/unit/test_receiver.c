/* libusher-handover against senders of every kind: right, malformed, cut in pieces, many, gone. After each
 * test the process has as many descriptors as before. */
#include "handover_help.h"
#include <poll.h>

struct world {
	struct place place;
	struct usher_receiver *receiver;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	place_init(&w->place);
	assert_int_equal(usher_listen(w->place.path, 0600, &w->receiver), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	usher_close(w->receiver);
	place_fini(&w->place);
	free(w);
	return 0;
}

#define ATTRIBUTE(type, text) type, sizeof(text) - 1, text

/* Builds a message: pairs of type, length, value, ended by type 0. Returns its length. */
static size_t build(uint8_t *m, ...)
{
	size_t len = 8;
	va_list list;
	int type;

	memcpy(m, "USHR\1\0", 6);
	va_start(list, m);
	while ((type = va_arg(list, int))) {
		size_t n = (size_t)va_arg(list, int);

		m[len] = (uint8_t)(type >> 8);
		m[len + 1] = (uint8_t)type;
		m[len + 2] = (uint8_t)(n >> 8);
		m[len + 3] = (uint8_t)n;
		memcpy(m + len + 4, va_arg(list, const char *), n);
		len += 4 + n;
	}
	va_end(list);
	m[6] = (uint8_t)(len >> 8);
	m[7] = (uint8_t)len;
	return len;
}

static size_t build_named(uint8_t *m, const char *service)
{
	return build(m, USHER_ATTRIBUTE_SERVICE, (int)strlen(service), service, 0);
}

static void assert_accepts(struct usher_receiver *receiver, const char *service)
{
	struct usher_connection c;

	assert_int_equal(usher_accept(receiver, &c), 0);
	assert_string_equal(c.service, service);
	close(c.fd);
}

static void assert_nothing(struct usher_receiver *receiver)
{
	struct usher_connection c;

	assert_int_equal(usher_accept(receiver, &c), -EAGAIN);
	assert_int_equal(usher_wait(receiver, 0), -ETIMEDOUT);
}

/* The sender sees its channel closed. */
static void assert_closed(int channel)
{
	char hello[64];
	ssize_t n = recv(channel, hello, sizeof(hello), MSG_DONTWAIT);

	if (n == 8)
		n = recv(channel, hello, sizeof(hello), MSG_DONTWAIT);
	assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
	close(channel);
}

static void every_attribute_arrives(void **state)
{
	struct world *w = *state;
	int channel = channel_to(w->place.path);
	struct usher_connection c;
	uint8_t m[1024];
	size_t len = build(m, ATTRIBUTE(USHER_ATTRIBUTE_HOST, "h.example"), USHER_ATTRIBUTE_ID, 8,
		"\1\2\3\4\5\6\7\10", ATTRIBUTE(USHER_ATTRIBUTE_SERVICE, "shop"),
		ATTRIBUTE(USHER_ATTRIBUTE_PROTOCOL, "tls"), ATTRIBUTE(USHER_ATTRIBUTE_SNI, "s.example"),
		ATTRIBUTE(USHER_ATTRIBUTE_ALPN, "h2"), ATTRIBUTE(USHER_ATTRIBUTE_CLIENT, "192.0.2.1:5"),
		ATTRIBUTE(USHER_ATTRIBUTE_LOCAL, "[::1]:443"), 0);
	int ends[2];

	client_open(ends, "hello");
	m[5] = USHER_FLAG_INCOMPLETE;
	assert_int_equal(raw_send(channel, m, len, &ends[1], 1), len);
	close(ends[1]);
	assert_int_equal(usher_wait(w->receiver, 1000), 0);
	assert_int_equal(usher_accept(w->receiver, &c), 0);
	assert_true(c.id == 0x0102030405060708);
	assert_int_equal(c.flags, USHER_FLAG_INCOMPLETE);
	assert_names(&c,
		(const char *const[]){ "shop", "tls", "s.example", "h2", "h.example", "192.0.2.1:5", "[::1]:443" });
	assert_reads(c.fd, "hello");
	assert_true(fcntl(c.fd, F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(c.fd, F_GETFL) & O_NONBLOCK);
	close(c.fd);
	close(ends[0]);
	assert_nothing(w->receiver);
	close(channel);
}

static void both_formats_may_share_a_channel(void **state)
{
	const uint32_t magic = USHER_TCPMUX_MAGIC;
	struct world *w = *state;
	int channel = channel_to(w->place.path);
	struct usher_connection c;
	uint8_t m[1024];
	size_t len = build_named(m, "a");
	int zero = 0;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(raw_send(channel, m, len, &channel, 1), len);
		assert_int_equal(raw_send(channel, &magic, 4, &zero, 1), 4);
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(usher_accept4(w->receiver, &c, SOCK_NONBLOCK), 0);
		assert_string_equal(c.service, "a");
		assert_true(fcntl(c.fd, F_GETFL) & O_NONBLOCK);
		close(c.fd);
		assert_accepts(w->receiver, "");
	}
	assert_nothing(w->receiver);
	assert_int_equal(usher_accept4(w->receiver, &c, SOCK_STREAM), -EINVAL);
	close(channel);
}

static void what_is_unknown_is_skipped(void **state)
{
	struct world *w = *state;
	int channel = channel_to(w->place.path);
	uint8_t m[1024];
	char value[1012] = "";
	size_t len = build(m, 9, 3, "abc", 0xffff, 900, value, ATTRIBUTE(USHER_ATTRIBUTE_SERVICE, "x"), 9, 0, "", 0);

	m[5] = 0xff & ~USHER_FLAG_DATAGRAMS;
	assert_int_equal(raw_send(channel, m, len, &channel, 1), len);
	assert_accepts(w->receiver, "x");
	len = build(m, 0); /* nothing but a header */
	assert_int_equal(raw_send(channel, m, len, &channel, 1), len);
	assert_accepts(w->receiver, "");
	len = build(m, 77, 1012, value, 0); /* as long as can be */
	assert_int_equal(len, 1024);
	assert_int_equal(raw_send(channel, m, len, &channel, 1), len);
	assert_accepts(w->receiver, "");
	close(channel);
}

static void a_flow_comes_with_what_came_before(void **state)
{
	struct world *w = *state;
	int channel = channel_to(w->place.path), ends[2];
	struct usher_connection c;
	uint8_t m[1024], tos = 1;
	char bytes[8];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	assert_int_equal(send(ends[0], "\x2e\0\0\0first", 9, 0), 9);
	assert_int_equal(send(ends[0], "\0\0\0\0", 4, 0), 4);
	assert_int_equal(send(ends[0], "\0\0\0\0is too long", 15, 0), 15);
	close(ends[0]);
	size_t len = build_named(m, "x");
	m[5] = USHER_FLAG_DATAGRAMS;
	assert_int_equal(raw_send(channel, m, len, (const int[]){ channel, ends[1] }, 2), len);
	close(ends[1]);
	assert_int_equal(usher_accept(w->receiver, &c), 0);
	assert_int_equal(c.flags, USHER_FLAG_DATAGRAMS);
	assert_int_equal(usher_early(&c, bytes, sizeof(bytes), &tos), 5);
	assert_memory_equal(bytes, "first", 5);
	assert_int_equal(tos, 0x2e);
	assert_int_equal(usher_early(&c, bytes, sizeof(bytes), NULL), 0);
	assert_int_equal(usher_early(&c, bytes, sizeof(bytes), NULL), 11);
	assert_memory_equal(bytes, "is too l", 8);
	assert_int_equal(usher_early(&c, bytes, sizeof(bytes), NULL), -ENODATA);
	assert_int_equal(c.early, -1);
	assert_int_equal(usher_early(&c, bytes, sizeof(bytes), NULL), -ENODATA);
	close(c.fd);
	close(channel);
}

/* The flag and the second descriptor go together. */
static void a_flow_without_what_came_before_is_refused(void **state)
{
	struct world *w = *state;
	struct usher_connection c;
	uint8_t m[1024];

	for (size_t n_fds = 1; n_fds <= 3; n_fds++) {
		int channel = channel_to(w->place.path);
		size_t len = build_named(m, "x");
		m[5] = n_fds == 2 ? 0 : USHER_FLAG_DATAGRAMS;
		assert_int_equal(raw_send(channel, m, len, (const int[]){ channel, channel, channel }, n_fds), len);
		assert_int_equal(usher_accept(w->receiver, &c), -EAGAIN);
		assert_int_equal(usher_refused(w->receiver), n_fds);
		close(channel);
	}
}

static void malformed_messages_cost_only_their_channel(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *bytes;
		size_t len, n_fds;
	} cases[] = {
#define CASE(bytes, n_fds) { bytes, sizeof(bytes) - 1, n_fds }
		CASE("GET / HTTP/1.0\r\n\r\n", 1),
		CASE("GET / HTTP/1.0\r\n\r\n", 0),
		CASE("USHX\1\0\0\10", 1),
		CASE("USHR\2\0\0\10", 1), /* a version to come */
		CASE("USHR\0\0\0\10", 1),
		CASE("USHR\1\0\0\7", 1), /* shorter than its header */
		CASE("USHR\1\0\0\0", 1),
		CASE("USHR\1\0\4\1", 1), /* 1025 */
		CASE("USHR\1\0\xff\xff", 1),
		CASE("USHR\1\0\0\11\0", 1),
		CASE("USHR\1\0\0\13\0\2\0", 1),
		CASE("USHR\1\0\0\14\0\2\0\1", 1),           /* an attribute over the end */
		CASE("USHR\1\0\0\15\0\11\377\377x", 1),     /* unknown, but over the end */
		CASE("USHR\1\0\0\16\0\2\0\2a\0", 1),        /* NUL in a name */
		CASE("USHR\1\0\0\22\0\2\0\1a\0\2\0\1b", 1), /* twice */
		CASE("USHR\1\0\0\17\0\1\0\3abc", 1),        /* an id of three bytes */
		CASE("USHR\1\0\0\10", 0),                   /* whole, but nothing with it */
		CASE("USHR\1\0\0\10", 2),
		CASE("USHR\1\0\0\10", 64), /* too much with it */
		CASE("USHR\1\0\0\10USHR\1\0\0\10", 1),
		CASE("USHR\1\0\0\10x", 1),
		CASE("\xaf\xbe\xad\xde\xaf", 1),
#undef CASE
	};
	int other = channel_to(w->place.path);
	uint8_t m[1024];
	size_t len = build_named(m, "good");
	int fds[64];

	for (size_t i = 0; i < 64; i++)
		fds[i] = 0;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int channel = channel_to(w->place.path);
		struct usher_connection c;
		int fds_before;

		assert_nothing(w->receiver);
		fds_before = fds_open();
		assert_int_equal(raw_send(channel, cases[i].bytes, cases[i].len, fds, cases[i].n_fds), cases[i].len);
		assert_int_equal(usher_accept(w->receiver, &c), -EAGAIN);
		assert_int_equal(usher_refused(w->receiver), i + 1);
		assert_int_equal(fds_open(), fds_before - 1);
		assert_closed(channel);
		assert_int_equal(raw_send(other, m, len, &other, 1), len);
		assert_accepts(w->receiver, "good");
	}
	close(other);
}

static void a_name_too_long_is_refused(void **state)
{
	struct world *w = *state;
	char name[257];
	uint8_t m[1024];

	memset(name, 'a', sizeof(name));
	for (int n = 255; n <= 256; n++) {
		int channel = channel_to(w->place.path);
		size_t len = build(m, USHER_ATTRIBUTE_SNI, n, name, 0);
		struct usher_connection c;

		assert_int_equal(raw_send(channel, m, len, &channel, 1), len);
		assert_int_equal(usher_accept(w->receiver, &c), n == 255 ? 0 : -EAGAIN);
		if (n == 255) {
			assert_int_equal(strlen(c.sni), 255);
			close(c.fd);
		}
		close(channel);
	}
	assert_int_equal(usher_refused(w->receiver), 1);
}

static void a_message_cut_anywhere_arrives(void **state)
{
	struct world *w = *state;
	int channel = channel_to(w->place.path);
	struct usher_connection c;
	uint8_t m[1024], next[1024];
	size_t len =
		build(m, ATTRIBUTE(USHER_ATTRIBUTE_SERVICE, "cut"), ATTRIBUTE(USHER_ATTRIBUTE_SNI, "s.example"), 0);
	size_t next_len = build_named(next, "next");

	for (size_t cut = 1; cut < len; cut++) {
		assert_int_equal(raw_send(channel, m, cut, &channel, 1), cut);
		if (cut % 2)
			assert_int_equal(usher_accept(w->receiver, &c), -EAGAIN);
		/* The rest and the next message are there at once: the next one's descriptor must stay its
		 * own. */
		assert_int_equal(raw_send(channel, m + cut, len - cut, NULL, 0), len - cut);
		assert_int_equal(raw_send(channel, next, next_len, &channel, 1), next_len);
		assert_accepts(w->receiver, "cut");
		assert_accepts(w->receiver, "next");
	}
	assert_int_equal(raw_send(channel, m, 1, &channel, 1), 1);
	for (size_t at = 1; at < len; at++) {
		assert_int_equal(usher_accept(w->receiver, &c), -EAGAIN);
		assert_int_equal(raw_send(channel, m + at, 1, NULL, 0), 1);
	}
	assert_accepts(w->receiver, "cut");
	assert_nothing(w->receiver);
	assert_int_equal(usher_refused(w->receiver), 0);
	close(channel);
}

static void a_message_that_ends_early_leaks_nothing(void **state)
{
	struct world *w = *state;
	struct usher_connection c;
	uint8_t m[1024];
	size_t len = build_named(m, "cut");
	int fds_before = fds_open();

	for (size_t cut = 1; cut < len; cut++) {
		int channel = channel_to(w->place.path);
		int zero = 0;

		assert_int_equal(raw_send(channel, m, cut, &zero, 1), cut);
		if (cut % 2)
			assert_int_equal(usher_accept(w->receiver, &c), -EAGAIN);
		close(channel);
		assert_int_equal(usher_accept(w->receiver, &c), -EAGAIN);
		assert_int_equal(usher_refused(w->receiver), cut);
		assert_int_equal(fds_open(), fds_before);
	}
	assert_nothing(w->receiver);
}

static void channels_take_turns(void **state)
{
	struct world *w = *state;
	int busy = channel_to(w->place.path);
	int quiet = channel_to(w->place.path);
	struct usher_connection c;
	uint8_t m[1024];
	size_t len = build_named(m, "busy");
	int i;

	for (i = 0; i < 100; i++)
		assert_int_equal(raw_send(busy, m, len, &busy, 1), len);
	for (i = 0; i < 10; i++)
		assert_accepts(w->receiver, "busy");
	len = build_named(m, "quiet");
	assert_int_equal(raw_send(quiet, m, len, &quiet, 1), len);
	for (i = 0; i < 4; i++) {
		assert_int_equal(usher_accept(w->receiver, &c), 0);
		close(c.fd);
		if (strcmp(c.service, "quiet") == 0)
			break;
	}
	assert_true(i < 3);
	close(busy);
	close(quiet);
}

static void many_channels_and_one_too_many(void **state)
{
	struct world *w = *state;
	struct usher_connection c;
	uint8_t m[1024];
	size_t len = build_named(m, "x");
	static int channels[USHER_CHANNELS_MAX + 1];
	size_t n = sizeof(channels) / sizeof(channels[0]);
	struct rlimit limit, high;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	high = (struct rlimit){ .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &high), 0);
	if (high.rlim_cur < 3 * n)
		skip();
	for (size_t i = 0; i < n; i++) {
		channels[i] = channel_to(w->place.path);
		assert_int_equal(usher_accept(w->receiver, &c), -EAGAIN);
	}
	assert_int_equal(usher_refused(w->receiver), 1);
	assert_closed(channels[n - 1]);
	for (size_t i = 0; i < n - 1; i++)
		assert_int_equal(raw_send(channels[i], m, len, channels, 1), len);
	for (size_t i = 0; i < n - 1; i++)
		assert_accepts(w->receiver, "x");
	for (size_t i = 0; i < n - 1; i++)
		close(channels[i]);
	assert_nothing(w->receiver);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void a_full_descriptor_table_loses_nothing(void **state)
{
	struct world *w = *state;
	int channel = channel_to(w->place.path);
	struct usher_connection c;
	uint8_t m[1024];
	size_t len = build_named(m, "kept");
	struct rlimit limit, low;
	int highest;

	assert_nothing(w->receiver);
	assert_int_equal(raw_send(channel, m, len, &channel, 1), len);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	highest = dup(0);
	close(highest);
	low = (struct rlimit){ .rlim_cur = (rlim_t)highest, .rlim_max = limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(usher_accept(w->receiver, &c), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_accepts(w->receiver, "kept");
	assert_int_equal(usher_refused(w->receiver), 0);
	close(channel);
}

static void stop_delivers_what_was_sent_and_refuses_the_rest(void **state)
{
	struct world *w = *state;
	int channel = channel_to(w->place.path);
	struct usher_receiver *successor;
	struct usher_connection c;
	uint8_t m[1024];
	size_t len = build_named(m, "x");
	int zero = 0;
	int late;

	assert_nothing(w->receiver);
	late = channel_to(w->place.path); /* connected, not accepted yet */
	for (int i = 0; i < 5; i++) {
		assert_int_equal(raw_send(channel, m, len, &zero, 1), len);
		assert_int_equal(raw_send(late, m, len, &zero, 1), len);
	}
	usher_stop(w->receiver);
	assert_int_equal(usher_listen(w->place.path, 0600, &successor), 0);
	for (int i = 0; i < 10; i++)
		assert_accepts(w->receiver, "x");
	assert_int_equal(raw_send(late, m, len, &zero, 1), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(usher_accept(w->receiver, &c), -ESHUTDOWN);
	assert_int_equal(usher_wait(w->receiver, -1), 0);
	usher_close(w->receiver);
	w->receiver = successor;
	close(late);
	close(channel);
	late = channel_to(w->place.path); /* the first did not remove the second's socket */
	assert_int_equal(raw_send(late, m, len, &zero, 1), len);
	assert_accepts(successor, "x");
	close(late);
}

static void a_path_is_taken_only_from_the_dead(void **state)
{
	struct world *w = *state;
	struct usher_receiver *other = NULL;
	struct sockaddr_un address = place_address(w->place.path);
	char link_path[80], long_path[120];
	struct stat st;
	int fd;

	assert_int_equal(usher_listen(w->place.path, 0600, &other), -EADDRINUSE);
	assert_int_equal(stat(w->place.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	usher_close(w->receiver);
	assert_int_equal(stat(w->place.path, &st), -1);
	/* A dead one's, with another mode than the umask would give. */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	(void)umask(077);
	assert_int_equal(usher_listen(w->place.path, 0666, &w->receiver), 0);
	(void)umask(022);
	assert_int_equal(stat(w->place.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0666);
	/* Neither a file nor what a link leads to is ever removed. */
	snprintf(link_path, sizeof(link_path), "%s/link", w->place.directory);
	assert_int_equal(symlink("s", link_path), 0);
	assert_int_equal(usher_listen(link_path, 0600, &other), -ENOTSOCK);
	assert_int_equal(unlink(link_path), 0);
	assert_true((fd = open(link_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) >= 0);
	close(fd);
	assert_int_equal(usher_listen(link_path, 0600, &other), -ENOTSOCK);
	assert_int_equal(unlink(link_path), 0);
	/* A datagram socket is not ours either, while it lives. */
	address = place_address(link_path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(usher_listen(link_path, 0600, &other), -EADDRINUSE);
	close(fd);
	assert_int_equal(unlink(link_path), 0);
	memset(long_path, 'a', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(usher_listen(long_path, 0600, &other), -ENAMETOOLONG);
	assert_int_equal(usher_listen("", 0600, &other), -EINVAL);
	assert_int_equal(usher_listen("/tmp/", 0600, &other), -EINVAL);
	assert_int_equal(usher_listen("/no/such/directory/s", 0600, &other), -ENOENT);
	assert_null(other);
	usher_close(NULL);
}

static void wait_ends_when_something_comes(void **state)
{
	struct world *w = *state;
	struct pollfd p = { .fd = usher_receiver_fd(w->receiver), .events = POLLIN };
	uint8_t m[1024];
	size_t len = build_named(m, "x");
	int channel;

	assert_int_equal(usher_wait(w->receiver, 10), -ETIMEDOUT);
	assert_int_equal(poll(&p, 1, 0), 0);
	channel = channel_to(w->place.path);
	assert_int_equal(raw_send(channel, m, len, &channel, 1), len);
	assert_int_equal(usher_wait(w->receiver, -1), 0);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_accepts(w->receiver, "x");
	assert_nothing(w->receiver);
	assert_int_equal(poll(&p, 1, 0), 0);
	close(channel);
}

/* A message whose sender reads acknowledgements. */
static void asking_send(int channel, const char *service, int fd)
{
	uint8_t m[1024];
	size_t len = build_named(m, service);

	m[5] = USHER_FLAG_ACKNOWLEDGE;
	assert_int_equal(raw_send(channel, m, len, &fd, 1), len);
}

static void what_is_accepted_was_acknowledged_before(void **state)
{
	struct world *w = *state;
	int channel = channel_to(w->place.path);
	struct usher_connection c;
	const uint32_t magic = USHER_TCPMUX_MAGIC;
	uint8_t m[1024];
	size_t len = build_named(m, "silent");

	asking_send(channel, "a", 0); /* before it can have announced anything */
	asking_send(channel, "b", 0);
	assert_int_equal(usher_accept(w->receiver, &c), 0);
	assert_int_equal(c.flags, 0);
	close(c.fd);
	assert_hello(channel);
	assert_acknowledges(channel, 1);
	assert_accepts(w->receiver, "b");
	assert_acknowledges(channel, 2);
	/* Only those with the flag are counted. */
	assert_int_equal(raw_send(channel, m, len, &channel, 1), len);
	assert_int_equal(raw_send(channel, &magic, 4, &channel, 1), 4);
	asking_send(channel, "c", 0);
	assert_accepts(w->receiver, "silent");
	assert_accepts(w->receiver, "");
	assert_int_equal(recv(channel, m, 1, MSG_DONTWAIT), -1);
	assert_accepts(w->receiver, "c");
	assert_acknowledges(channel, 3);
	close(channel);
}

static void what_cannot_be_acknowledged_is_not_accepted(void **state)
{
	struct world *w = *state;
	int other = channel_to(w->place.path);
	struct usher_connection c;
	int fds_before;

	for (int how = 0; how < 2; how++) {
		int channel = channel_to(w->place.path);

		assert_nothing(w->receiver);
		fds_before = fds_open();
		asking_send(channel, "taken back", 0);
		asking_send(channel, "as well", 0);
		asking_send(other, "kept", 0);
		if (how == 0)
			assert_int_equal(shutdown(channel, SHUT_RDWR), 0);
		else
			close(channel);
		assert_accepts(w->receiver, "kept");
		assert_int_equal(usher_accept(w->receiver, &c), -EAGAIN);
		assert_int_equal(fds_open(), fds_before - 1 - how); /* the other end too */
		if (how == 0)
			close(channel);
	}
	assert_int_equal(usher_refused(w->receiver), 0);
	close(other);
}

/* It gave up before it could learn that there are acknowledgements: nobody else has these. */
static void what_was_left_before_the_hello_is_accepted(void **state)
{
	struct world *w = *state;
	int channel = channel_to(w->place.path);

	asking_send(channel, "a", 0);
	asking_send(channel, "b", 0);
	close(channel);
	assert_accepts(w->receiver, "a");
	assert_accepts(w->receiver, "b");
	assert_nothing(w->receiver);
}

static void a_sender_that_asks_and_does_not_read_costs_its_channel(void **state)
{
	struct world *w = *state;
	int channel = channel_to(w->place.path);
	struct usher_connection c;
	int n = 0;

	assert_nothing(w->receiver);
	for (;;) {
		asking_send(channel, "x", 0);
		if (usher_accept(w->receiver, &c) < 0)
			break;
		close(c.fd);
		n++;
	}
	assert_in_range(n, 128, 100000); /* what usher leaves unread at most, and what the kernel holds */
	assert_int_equal(usher_refused(w->receiver), 1);
	close(channel);
	assert_nothing(w->receiver);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_attribute_arrives),
		TEST(both_formats_may_share_a_channel),
		TEST(what_is_unknown_is_skipped),
		TEST(a_flow_comes_with_what_came_before),
		TEST(a_flow_without_what_came_before_is_refused),
		TEST(malformed_messages_cost_only_their_channel),
		TEST(a_name_too_long_is_refused),
		TEST(a_message_cut_anywhere_arrives),
		TEST(a_message_that_ends_early_leaks_nothing),
		TEST(channels_take_turns),
		TEST(many_channels_and_one_too_many),
		TEST(a_full_descriptor_table_loses_nothing),
		TEST(stop_delivers_what_was_sent_and_refuses_the_rest),
		TEST(a_path_is_taken_only_from_the_dead),
		TEST(wait_ends_when_something_comes),
		TEST(what_is_accepted_was_acknowledged_before),
		TEST(what_cannot_be_acknowledged_is_not_accepted),
		TEST(what_was_left_before_the_hello_is_accepted),
		TEST(a_sender_that_asks_and_does_not_read_costs_its_channel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
