/* The delivery of a stream, alone: what each way asks for, and what it makes of the answers. All that it calls is the test's and writes down that
 * it was called; the clock is the test's too. */
#include "backends.h"
#include "banner_skip.h"
#include "delivery.h"
#include "message.h"
#include "proxied.h"
#include "receivers.h"
#include "self_connection.h"
#include "starter.h"
#include "starttls_answer.h"
#include "starttls_replay.h"
#include "stream_calls.h"
#include <signal.h>

#define CONNECT_US (4 * SECOND_US)
#define RETRY_US   50000

/* ---- what is around it --------------------------------------------------------------------------------------------------- */

static struct policy policy;
static struct service services[2];
static struct protocol protocols[2];
static struct backend backends[2];
static struct socket_pool *const sockets = (struct socket_pool *)&backends; /* any address */
static int theirs;                                                          /* the client's end */
static int answer[IPC_FDS_MAX];                                             /* descriptors that came with it */
static struct message asked;
static int asked_fd, refusal;
static bool is_watched, announces, is_unix, is_mine, has_chooser;
static int expiry;
static int starts;              /* what is said of the server */
static unsigned fails_to_watch; /* the nth */
static enum banner_skipped skipped;
static struct address local;
static int fds_before;

int starter_ask(struct context *which, uint32_t number)
{
	note("start ");
	return starts;
}

bool stream_watch(struct stream *which)
{
	note("watch ");
	if (!is_watched)
		which->session.phase = PHASE_ENDED;
	return is_watched;
}

void stream_delivered(struct stream *which, uint32_t server_events)
{
	note("delivered:%x ", server_events);
	which->session.phase = PHASE_RELAYING;
}

void stream_undelivered(struct stream *which, int error)
{
	note("undelivered:%s ", strerrorname_np(-error));
	which->session.phase = PHASE_ENDED;
}

void stream_refuse(struct stream *which, const char *rule)
{
	note("refuse:%s ", rule);
	which->session.refused = rule;
}

void stream_reply(struct stream *which, const char *why)
{
	note("reply:%s ", why ? why : "+");
}

enum banner_skipped banner_skip(int fd, enum server_banner kind)
{
	assert_int_equal(fd, stream.relay.server.in.fd);
	note("skip:%d ", kind);
	return skipped;
}

static struct starttls talk;
static enum starttls_step agrees; /* what comes of the conversation with the server */

enum starttls_step starttls_replay_begin(struct stream *which)
{
	note("ask-for-tls ");
	return agrees;
}

enum starttls_step starttls_replay(struct stream *which)
{
	note("hear ");
	return agrees;
}

void starttls_forget(struct stream *which)
{
	note("forget ");
	which->starttls = NULL;
}

bool proxied_announces(const struct stream *which, const struct target *target)
{
	assert_ptr_equal(target, &services[1].target);
	return announces;
}

void proxied_announce(struct stream *which, const struct target *target, int flags)
{
	assert_ptr_equal(target, &services[1].target);
	assert_int_equal(flags & ~MSG_MORE, 0);
	note(flags == MSG_MORE ? "announce-more " : "announce ");
}

struct address proxied_local(const struct stream *which)
{
	return local;
}

static void transport_local(const struct session *session, struct address *ret)
{
	*ret = local;
}

static const struct transport transport = { .local = transport_local };

void dial_start(struct dial *dial)
{
	note("dial ");
}

void dial_ready(struct dial *dial, uint32_t events)
{
	note("dial-ready:%x ", events);
}

void dial_cancel(struct dial *dial)
{
	assert_ptr_equal(dial, &stream.dial);
	note("dial-cancel ");
}

int dial_expire(struct dial *dial)
{
	note("dial-expire ");
	return expiry;
}

/* Of backends: whose there is one, and what the client is told by. */
struct chooser *__wrap_backends_chooser(struct context *of, uint32_t number, enum transport_kind kind);
struct chooser *__wrap_backends_chooser(struct context *of, uint32_t number, enum transport_kind kind)
{
	assert_ptr_equal(of, &context);
	assert_int_equal(number, 1);
	assert_int_equal(kind, TRANSPORT_STREAM);
	return has_chooser ? (struct chooser *)&context : NULL;
}

uint64_t __wrap_backends_hash(const struct session *session, const struct target *target);
uint64_t __wrap_backends_hash(const struct session *session, const struct target *target)
{
	assert_ptr_equal(target, &services[1].target);
	return 4711;
}

bool dial_is_unix(const struct dial *dial)
{
	return is_unix;
}

bool self_connection_reached(const struct dial *dial, int fd)
{
	return false;
}

struct handover *receivers_of(const struct receivers *receivers, uint32_t service)
{
	assert_int_equal(service, 1);
	return (struct handover *)&context;
}

void handover_send(struct handover *handover, struct handover_request *request)
{
	assert_ptr_equal(handover, &context);
	assert_ptr_equal(request, &stream.handing.request);
	note("send ");
	request->handover = handover;
}

bool handover_cancel(struct handover_request *request)
{
	note("take-back ");
	request->handover = NULL;
	return is_mine;
}

int requester_ask(struct requester *requester, struct request *request, struct message *message, int fd)
{
	assert_ptr_equal(request, &stream.spawning);
	note("spawn ");
	asked = *message;
	asked_fd = fd;
	return refusal;
}

int __real_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
	if (fails_to_watch && --fails_to_watch == 0) {
		errno = ENOSPC;
		return -1;
	}
	return __real_epoll_ctl(epoll, what, fd, event);
}

static struct service *const service = &services[1];

static int setup(void **state)
{
	int ends[2];

	signal(SIGPIPE, SIG_IGN);
	fds_before = fds_open();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	theirs = ends[0];
	for (size_t i = 0; i < IPC_FDS_MAX; i++)
		answer[i] = -1;
	refusal = 0;
	did[0] = '\0';
	is_watched = is_mine = has_chooser = true;
	expiry = -ETIMEDOUT;
	announces = is_unix = false;
	fails_to_watch = 0;
	skipped = BANNER_AWAITED;
	clock_us += 100 * SECOND_US;
	policy = (struct policy){ .services = services, .protocols = protocols, .connect_timeout_us = CONNECT_US };
	protocols[1] = (struct protocol){ .name = "tls" };
	memset(services, 0, sizeof(services));
	services[0].name = "other";
	service->name = "web";
	service->fallback = SERVICE_NONE;
	service->patience_ms = 1234;
	service->target.connect.backends = backends;
	service->target.connect.n_backends = 2;
	service->target.connect.keepalive_s = 77;
	assert_int_equal(address_parse(&local, "192.0.2.9:443"), 0);
	context = (struct context){ .policy = &policy, .sockets = sockets };
	assert_int_equal(loop_init(&context.loop), 0);
	context.lookup = (struct lookup *)&policy;
	context.loop.now_us = clock_us;
	memset(&stream, 0, sizeof(stream));
	stream.relay.client.in = (struct watch){ .fd = ends[1], .sole = true };
	stream.relay.server.in.fd = stream.relay.server.out.fd = -1;
	stream.session.context = &context;
	stream.session.transport = &transport;
	stream.session.service = 1;
	stream.session.protocol = 1;
	stream.session.id = 42;
	assert_int_equal(address_parse(&stream.session.client, "198.51.100.7:4000"), 0);
	return 0;
}

static void close_if(int fd)
{
	if (fd >= 0)
		close(fd);
}

static int teardown(void **state)
{
	loop_timer_stop(&context.loop, &stream.session.deadline);
	close_if(loop_unwatch(&context.loop, &stream.relay.server.in));
	close_if(loop_unwatch(&context.loop, &stream.relay.server.out));
	close_if(answer[0]);
	close_if(answer[1]);
	close(theirs);
	close(stream.relay.client.in.fd);
	loop_fini(&context.loop);
	assert_int_equal(fds_open(), fds_before);
	return 0;
}

/* ---- to a backend -------------------------------------------------------------------------------------------------------- */

static void a_backend_is_dialled_as_the_service_says(void **state)
{
	stream.dialled = true;
	stream.server_events = EPOLLIN;
	delivery_begin(&stream);
	assert_did("watch enter:connecting dial ");
	assert_ptr_equal(stream.dial.loop, &context.loop);
	assert_ptr_equal(stream.dial.lookup, context.lookup);
	assert_ptr_equal(stream.dial.target, &service->target);
	assert_ptr_equal(stream.dial.choice.chooser, &context);
	assert_int_equal(stream.dial.choice.hash, 4711);
	assert_false(stream.dial.fresh);
	assert_int_equal(stream.dial.keepalive_s, 77);
	assert_int_equal(stream.dial.patience_ms, 1234);
	assert_null(stream.dial.from);
	assert_ptr_equal(stream.dial.socket_pool, sockets);
	assert_int_equal(stream.dial.due_us, clock_us + CONNECT_US);
	assert_int_equal(delivery_due_us(&stream.session), clock_us + CONNECT_US);
	assert_ptr_equal(stream.dial.socket, &stream.relay.server.in);
	assert_ptr_equal(stream.dial.context, &stream);
	assert_ptr_equal(stream.dial.is_ours, self_connection_reached);
	assert_false(stream.dialled);
	assert_int_equal(stream.server_events, 0);
	assert_int_equal(stream.relay.server.kind, SIDE_SOCKET);
}

static void what_a_service_wants_of_its_connections_is_asked_for(void **state)
{
	service->target.connect.resolves = service->target.connect.transparent = true;
	delivery_begin(&stream);
	assert_true(stream.dial.fresh);
	assert_ptr_equal(stream.dial.from, &stream.session.client);
}

static void a_client_that_cannot_be_watched_is_not_delivered(void **state)
{
	is_watched = false;
	delivery_begin(&stream);
	assert_did("watch ");
}

static void bytes_follow_where_the_client_has_said_what_it_is(void **state)
{
	for (unsigned i = 0; i < 16; i++) {
		stream.session.protocol = i & 1 ? PROTOCOL_NONE : 1;
		stream.skips_banner = i & 2;
		stream.owes_reply = i & 4;
		announces = i & 8;
		skipped = BANNER_SKIPPED;
		delivery_begin(&stream);
		assert_did("watch enter:connecting dial ");
		assert_int_equal(stream.dial.talks, i == 0 || i >= 8);
		stream.dial.done(&stream.dial, 0, EPOLLOUT);
		if (i & 2)
			assert_did("announce skip:0 delivered:4 ");
		else
			assert_did(i & 7 ? "announce delivered:4 " : "announce-more delivered:4 ");
	}
}

static void a_backend_that_is_reached_is_delivered_to(void **state)
{
	is_unix = true;
	delivery_begin(&stream);
	stream.relay.server.in.ready(&stream.relay.server.in, EPOLLIN | EPOLLOUT);
	assert_did("watch enter:connecting dial dial-ready:5 ");
	stream.dial.done(&stream.dial, 0, EPOLLOUT | EPOLLIN);
	assert_did("announce-more delivered:5 ");
	assert_true(stream.relay.server.is_unix);
	assert_true(stream.dialled);
}

static void a_backend_that_is_not_reached_is_told(void **state)
{
	delivery_begin(&stream);
	stream.dial.done(&stream.dial, -ECONNREFUSED, 0);
	assert_did("watch enter:connecting dial undelivered:ECONNREFUSED ");
	assert_false(stream.dialled);
}

static void a_backend_has_its_time(void **state)
{
	delivery_begin(&stream);
	delivery_connect_out_of_time(&stream.session);
	assert_did("watch enter:connecting dial dial-expire undelivered:ETIMEDOUT ");
	expiry = -EBUSY; /* it was in a line all the time */
	delivery_begin(&stream);
	delivery_connect_out_of_time(&stream.session);
	assert_did("watch enter:connecting dial dial-expire undelivered:EBUSY ");
}

static void without_memory_for_its_choice_it_ends(void **state)
{
	has_chooser = false;
	delivery_begin(&stream);
	assert_did("watch enter:connecting end:no-memory ");
}

static void a_banner_that_the_client_has_seen_is_left_out(void **state)
{
	stream.skips_banner = true;
	stream.skipped = 1;
	delivery_begin(&stream);
	stream.dial.done(&stream.dial, 0, EPOLLOUT);
	assert_did("watch enter:connecting dial announce skip:1 ");
	stream.relay.server.in.ready(&stream.relay.server.in, EPOLLIN);
	assert_did("skip:1 ");
	skipped = BANNER_SKIPPED;
	stream.relay.server.in.ready(&stream.relay.server.in, EPOLLPRI);
	assert_did("skip:1 delivered:7 "); /* with all events that were seen */
}

static void a_banner_of_another_kind_is_an_error(void **state)
{
	stream.skips_banner = true;
	skipped = BANNER_UNLIKE;
	delivery_begin(&stream);
	stream.dial.done(&stream.dial, 0, EPOLLOUT);
	assert_did("watch enter:connecting dial announce skip:0 dial-cancel undelivered:EPROTO ");
}

static void a_server_is_asked_for_tls_where_its_client_has_asked(void **state)
{
	stream.starttls = &talk;
	agrees = STARTTLS_MORE;
	delivery_begin(&stream);
	stream.dial.done(&stream.dial, 0, EPOLLOUT);
	assert_did("watch enter:connecting dial announce-more ask-for-tls ");
	stream.relay.server.in.ready(&stream.relay.server.in, EPOLLIN);
	assert_did("hear ");
	agrees = STARTTLS_TLS;
	stream.relay.server.in.ready(&stream.relay.server.in, EPOLLPRI);
	assert_did("hear forget delivered:7 "); /* with all events that were seen */
}

static void a_server_that_speaks_first_gets_the_header_at_once(void **state)
{
	talk.kind = STARTTLS_SMTP;
	stream.starttls = &talk;
	agrees = STARTTLS_MORE;
	delivery_begin(&stream);
	stream.dial.done(&stream.dial, 0, EPOLLOUT);
	assert_did("watch enter:connecting dial announce ask-for-tls ");
	talk.kind = STARTTLS_POSTGRES;
}

static void a_server_that_refuses_tls_is_not_delivered_to(void **state)
{
	stream.starttls = &talk;
	agrees = STARTTLS_REFUSED;
	delivery_begin(&stream);
	stream.dial.done(&stream.dial, 0, EPOLLOUT);
	assert_did("watch enter:connecting dial announce-more ask-for-tls dial-cancel undelivered:EPROTONOSUPPORT ");
	assert_non_null(stream.starttls); /* the fallback's server is asked too */
}

/* ---- to a receiver ------------------------------------------------------------------------------------------------------- */

static void hand_over(void)
{
	service->target = (struct target){ .delivery = DELIVERY_HANDOVER };
	delivery_begin(&stream);
}

static void a_socket_is_handed_over_with_what_is_known(void **state)
{
	stream.session.sni = "sni.test";
	stream.session.alpn = "h2";
	stream.session.host = "host.test";
	hand_over();
	assert_did("enter:handing-over send ");
	assert_int_equal(stream.handing.request.fd, stream.relay.client.in.fd);
	assert_ptr_equal(stream.handing.request.facts, &stream.handing.facts);
	assert_int_equal(stream.handing.facts.id, 42);
	assert_ptr_equal(stream.handing.facts.client, &stream.session.client);
	assert_memory_equal(stream.handing.facts.local, &local, sizeof(local));
	assert_string_equal(stream.handing.facts.service, "web");
	assert_string_equal(stream.handing.facts.protocol, "tls");
	assert_string_equal(stream.handing.facts.sni, "sni.test");
	assert_string_equal(stream.handing.facts.alpn, "h2");
	assert_string_equal(stream.handing.facts.host, "host.test");
	assert_int_equal(
		fcntl(stream.relay.client.in.fd, F_GETFL) & O_NONBLOCK, 0); /* as accept() would have given it */
	assert_false(stream.relay.client.in.sole);
	assert_alarm(clock_us + CONNECT_US);
	stream.handing.request.going(&stream.handing.request);
	assert_did("reply:+ ");
	stream.handing.request.done(&stream.handing.request, 0);
	assert_did("end:handed-over ");
	assert_int_equal(stream.session.error, 0);
}

static void a_receiver_that_breaks_the_format_may_have_it(void **state)
{
	service->fallback = 0;
	hand_over();
	stream.handing.request.done(&stream.handing.request, -EPROTO);
	assert_did("enter:handing-over send end:delivery-failed ");
	assert_int_equal(stream.session.error, -EPROTO);
}

static void a_receiver_that_is_not_there_is_waited_for(void **state)
{
	static const int errors[] = { ECONNREFUSED, ENOENT, EACCES, EPIPE, ECONNRESET };
	uint64_t due_us = clock_us + CONNECT_US;

	hand_over();
	assert_did("enter:handing-over send ");
	for (size_t i = 0; i < 5; i++) {
		stream.handing.request.handover = NULL;
		stream.handing.request.done(&stream.handing.request, -errors[i]);
		assert_did("");
		assert_alarm(clock_us + RETRY_US);
		later(RETRY_US);
		delivery_hand_over_out_of_time(&stream.session);
		assert_did("send ");
		assert_alarm(due_us);
	}
	later(due_us - clock_us - RETRY_US);
	stream.handing.request.done(&stream.handing.request, -ENOENT);
	assert_did("undelivered:ENOENT ");
}

static void just_before_the_deadline_it_is_tried_again(void **state)
{
	hand_over();
	later(CONNECT_US - RETRY_US - 1);
	stream.handing.request.done(&stream.handing.request, -ENOENT);
	assert_did("enter:handing-over send ");
	assert_alarm(clock_us + RETRY_US);
}

static void other_errors_are_told_at_once(void **state)
{
	hand_over();
	stream.handing.request.done(&stream.handing.request, -ENOMEM);
	assert_did("enter:handing-over send undelivered:ENOMEM ");
	assert_int_equal(stream.session.error, 0); /* that is stream_way.c's, which may fall back */
}

static void who_has_somewhere_else_to_go_does_not_wait(void **state)
{
	service->fallback = 0;
	hand_over();
	stream.handing.request.done(&stream.handing.request, -ECONNREFUSED);
	assert_did("enter:handing-over send undelivered:ECONNREFUSED ");
}

static void a_receiver_has_its_time(void **state)
{
	hand_over();
	later(CONNECT_US);
	delivery_hand_over_out_of_time(&stream.session);
	assert_did("enter:handing-over send take-back undelivered:ETIMEDOUT ");
}

static void one_that_the_receiver_has_was_handed_over(void **state)
{
	is_mine = false;
	hand_over();
	later(CONNECT_US);
	delivery_hand_over_out_of_time(&stream.session);
	assert_did("enter:handing-over send take-back end:handed-over ");
}

static void one_that_waits_is_not_sent_behind_the_deadline(void **state)
{
	hand_over();
	stream.handing.request.handover = NULL;
	later(CONNECT_US);
	delivery_hand_over_out_of_time(&stream.session);
	assert_did("enter:handing-over send take-back undelivered:ETIMEDOUT ");
}

/* It may be taken back before its time, and is not sent twice. */
static void one_that_is_under_way_is_not_sent_again(void **state)
{
	hand_over();
	later(CONNECT_US - 1);
	delivery_hand_over_out_of_time(&stream.session);
	assert_did("enter:handing-over send take-back undelivered:ETIMEDOUT ");
}

/* ---- to a program -------------------------------------------------------------------------------------------------------- */

static void run(enum stdio stdio)
{
	service->target = (struct target){ .delivery = DELIVERY_EXEC, .exec.stdio = stdio };
	delivery_begin(&stream);
	assert_did("enter:spawning spawn ");
}

static void started(int error, const char *refused, bool greeted)
{
	struct message_answer message = { .error = error, .greeted = greeted };

	strcpy(message.refused, refused);
	stream.spawning.answered(&stream.spawning, &message, answer);
}

static void a_program_on_the_socket_gets_it(void **state)
{
	stream.session.sni = "sni.test";
	run(STDIO_SOCKET);
	assert_false(stream.relay.client.in.sole);
	assert_int_equal(asked_fd, stream.relay.client.in.fd);
	assert_int_equal(asked.kind, MESSAGE_SPAWN);
	assert_int_equal(asked.spawn.program, PROGRAM_SERVICE);
	assert_int_equal(asked.spawn.service, 1);
	assert_int_equal(asked.spawn.connection, 42);
	assert_memory_equal(&asked.spawn.client, &stream.session.client, sizeof(asked.spawn.client));
	assert_memory_equal(&asked.spawn.local, &local, sizeof(local));
	assert_string_equal(asked.spawn.protocol, "tls");
	assert_string_equal(asked.spawn.sni, "sni.test");
	assert_false(asked.spawn.greets);
	stream.owes_reply = true;
	run(STDIO_SOCKET);
	assert_true(asked.spawn.greets);
	started(0, "", true);
	assert_did("end:program-started ");
	assert_false(stream.owes_reply);
}

static void a_program_with_pipes_does_not_get_the_socket(void **state)
{
	stream.owes_reply = true;
	run(STDIO_PIPE);
	assert_int_equal(asked_fd, -1);
	assert_false(asked.spawn.greets);
}

static void a_program_that_cannot_be_asked_for_is_told(void **state)
{
	service->target = (struct target){ .delivery = DELIVERY_EXEC, .exec.stdio = STDIO_SOCKET };
	refusal = -ENOMEM;
	delivery_begin(&stream);
	assert_did("enter:spawning spawn undelivered:ENOMEM ");
}

/* Its program may run on the socket, whose end it is told of; one with pipes has nothing of the client. */
static void without_an_answer_nobody_else_serves_a_socket_that_a_program_may_have(void **state)
{
	char byte;

	run(STDIO_SOCKET);
	started(-ETIMEDOUT, "", false);
	assert_did("end:delivery-failed ");
	assert_int_equal(stream.session.error, -ETIMEDOUT);
	assert_int_equal(recv(theirs, &byte, 1, 0), 0);
	run(STDIO_PIPE);
	started(-ETIMEDOUT, "", false);
	assert_did("undelivered:ETIMEDOUT ");
}

static void pipes_come_with_the_answer(void)
{
	int one[2], two[2];

	assert_int_equal(pipe2(one, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(two, O_CLOEXEC | O_NONBLOCK), 0);
	answer[0] = one[0];
	answer[1] = two[1];
	close(one[1]);
	close(two[0]);
}

static void the_pipes_of_a_program_are_relayed(void **state)
{
	run(STDIO_PIPE);
	pipes_come_with_the_answer();
	int out = answer[0], in = answer[1];
	stream.owes_reply = true;
	started(0, "", false);
	assert_did("watch delivered:0 ");
	assert_true(stream.owes_reply);
	assert_int_equal(stream.relay.server.kind, SIDE_PIPES);
	assert_int_equal(stream.relay.server.in.fd, out);
	assert_int_equal(stream.relay.server.out.fd, in);
	assert_int_equal(answer[0], -1); /* taken over */
	assert_int_equal(answer[1], -1);
}

static void the_terminal_of_a_program_is_relayed(void **state)
{
	run(STDIO_PTY);
	pipes_come_with_the_answer();
	close(answer[1]);
	answer[1] = -1;
	started(0, "", false);
	assert_did("watch delivered:0 ");
	assert_int_equal(stream.relay.server.kind, SIDE_TERMINAL);
	assert_int_equal(answer[0], -1);
	assert_int_equal(stream.relay.server.out.fd, -1);
}

static void pipes_that_cannot_be_watched_end_it(void **state)
{
	for (unsigned i = 1; i <= 2; i++) {
		run(STDIO_PIPE);
		pipes_come_with_the_answer();
		fails_to_watch = i;
		started(0, "", false);
		assert_did("watch end:no-memory ");
		assert_int_equal(answer[0] >= 0, i == 1); /* what was not taken over stays the caller's */
		assert_true(answer[1] >= 0);
		close_if(loop_unwatch(&context.loop, &stream.relay.server.in));
		close_if(answer[0]);
		close_if(answer[1]);
		answer[0] = answer[1] = -1;
	}
}

static void a_client_that_cannot_be_watched_has_no_program(void **state)
{
	run(STDIO_PIPE);
	pipes_come_with_the_answer();
	is_watched = false;
	started(0, "", false);
	assert_did("watch ");
	assert_true(answer[0] >= 0 && answer[1] >= 0);
}

static void a_program_that_comes_too_late_is_not_needed(void **state)
{
	run(STDIO_PIPE);
	context.state = WORKER_STOPPING;
	started(0, "", false);
	assert_did("end:shutdown ");
	run(STDIO_SOCKET);
	started(0, "", false);
	assert_did("end:program-started ");
}

static void a_program_that_does_not_start_is_told(void **state)
{
	run(STDIO_SOCKET);
	started(-ENOENT, "", false);
	assert_did("undelivered:ENOENT ");
	run(STDIO_SOCKET);
	started(-EACCES, "", false);
	assert_did("undelivered:EACCES ");
	run(STDIO_SOCKET);
	started(-EAGAIN, "max_startups", false);
	assert_did("undelivered:EAGAIN ");
}

static void the_limits_of_programs_refuse_by_their_names(void **state)
{
	static const char *const names[] = { "max_connections", "per_source", "max_startups",
		"max_startups_per_source", "back-off" };
	char expected[64];

	for (size_t i = 0; i < 5; i++) {
		run(STDIO_SOCKET);
		started(-EACCES, names[i], false);
		snprintf(expected, sizeof(expected), "refuse:%s ", names[i]);
		assert_did(expected);
	}
	started(-EACCES, "of another version", false);
	assert_did("refuse:limit ");
}

/* ---- whichever ----------------------------------------------------------------------------------------------------------- */

static void one_that_is_turned_away_ends(void **state)
{
	service->target = (struct target){ .delivery = DELIVERY_REJECT };
	delivery_begin(&stream);
	assert_did("end:rejected ");
}

static void one_in_a_tarpit_ends_when_its_time_is_over(void **state)
{
	context.tarpit = undecided_registry_new();
	service->target = (struct target){ .delivery = DELIVERY_REJECT, .reject.tarpit_us = 5 * SECOND_US };
	delivery_begin(&stream);
	assert_did("enter:tarpit ");
	assert_true(stream.relay.client.in.listed);
	assert_ptr_equal(undecided_registry_victim(context.tarpit, NULL), &stream.session.place);
	assert_int_equal(delivery_tarpit_due_us(&stream.session), clock_us + 5 * SECOND_US);
	delivery_cancel(&stream);
	assert_null(undecided_registry_victim(context.tarpit, NULL));
	delivery_tarpit_over(&stream.session);
	assert_did("end:rejected ");
	undecided_registry_free(context.tarpit);
}

static void a_worker_that_ends_has_no_tarpit(void **state)
{
	context.state = WORKER_DRAINING;
	service->target = (struct target){ .delivery = DELIVERY_REJECT, .reject.tarpit_us = 5 * SECOND_US };
	delivery_begin(&stream);
	assert_did("end:rejected ");
}

static void what_is_under_way_is_cancelled(void **state)
{
	stream.session.phase = PHASE_CONNECTING;
	delivery_cancel(&stream);
	assert_did("dial-cancel ");
	stream.session.phase = PHASE_HANDING_OVER;
	delivery_cancel(&stream);
	assert_did("take-back ");
	stream.session.phase = PHASE_SPAWNING;
	delivery_cancel(&stream);
	assert_did("");
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(a_backend_is_dialled_as_the_service_says),
		UNIT(what_a_service_wants_of_its_connections_is_asked_for),
		UNIT(a_client_that_cannot_be_watched_is_not_delivered),
		UNIT(bytes_follow_where_the_client_has_said_what_it_is),
		UNIT(a_backend_that_is_reached_is_delivered_to),
		UNIT(a_backend_that_is_not_reached_is_told),
		UNIT(a_backend_has_its_time),
		UNIT(without_memory_for_its_choice_it_ends),
		UNIT(a_banner_that_the_client_has_seen_is_left_out),
		UNIT(a_banner_of_another_kind_is_an_error),
		UNIT(a_server_is_asked_for_tls_where_its_client_has_asked),
		UNIT(a_server_that_speaks_first_gets_the_header_at_once),
		UNIT(a_server_that_refuses_tls_is_not_delivered_to),
		UNIT(a_socket_is_handed_over_with_what_is_known),
		UNIT(a_receiver_that_breaks_the_format_may_have_it),
		UNIT(a_receiver_that_is_not_there_is_waited_for),
		UNIT(just_before_the_deadline_it_is_tried_again),
		UNIT(other_errors_are_told_at_once),
		UNIT(who_has_somewhere_else_to_go_does_not_wait),
		UNIT(a_receiver_has_its_time),
		UNIT(one_that_the_receiver_has_was_handed_over),
		UNIT(one_that_waits_is_not_sent_behind_the_deadline),
		UNIT(one_that_is_under_way_is_not_sent_again),
		UNIT(a_program_on_the_socket_gets_it),
		UNIT(a_program_with_pipes_does_not_get_the_socket),
		UNIT(a_program_that_cannot_be_asked_for_is_told),
		UNIT(without_an_answer_nobody_else_serves_a_socket_that_a_program_may_have),
		UNIT(the_pipes_of_a_program_are_relayed),
		UNIT(the_terminal_of_a_program_is_relayed),
		UNIT(pipes_that_cannot_be_watched_end_it),
		UNIT(a_client_that_cannot_be_watched_has_no_program),
		UNIT(a_program_that_comes_too_late_is_not_needed),
		UNIT(a_program_that_does_not_start_is_told),
		UNIT(the_limits_of_programs_refuse_by_their_names),
		UNIT(one_that_is_turned_away_ends),
		UNIT(one_in_a_tarpit_ends_when_its_time_is_over),
		UNIT(a_worker_that_ends_has_no_tarpit),
		UNIT(what_is_under_way_is_cancelled),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
