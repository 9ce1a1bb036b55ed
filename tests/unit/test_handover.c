/* The worker's side of a handover against the receiving library: order, waiting, reconnecting, cancelling,
 * failing. The test stands between handover.c and the kernel's sendmsg, to make happen what the kernel does
 * rarely. */
#include "handover_channel.h"
#include "handover_kept.h"
#include "handover_raw.h"
#include "sendmsg_script.h"

static int setup(void **state)
{
	set_script(0, 0, 0);
	take = 0;
	return world_setup(state);
}

static void assert_nothing_but(struct world *w, uint64_t refused)
{
	struct usher_connection c;

	assert_int_equal(usher_accept(w->receiver, &c), -EAGAIN);
	assert_true(usher_refused(w->receiver) == refused);
}

static void assert_nothing(struct world *w)
{
	assert_nothing_but(w, 0);
}

/* In order, behind those that came already. */
static void assert_all_come(struct world *w, const struct job *jobs, size_t n, uint64_t came)
{
	while (came < n)
		assert_accepts(w, ++came);
	job_await(w, &jobs[n - 1]);
	for (size_t i = 0; i < n; i++)
		assert_done(&jobs[i], 0);
	assert_nothing(w);
}

static void facts_arrive_in_usher_format(void **state)
{
	struct world *w = *state;
	struct address client, local;
	struct usher_connection c;
	struct job job;
	int ends[2];

	assert_int_equal(address_parse(&client, "192.0.2.7:50000"), 0);
	assert_int_equal(address_parse(&local, "[2001:db8::1]:443"), 0);
	client_open(ends, "GET /");
	job_init(w, &job, UINT64_MAX - 1);
	job.facts = (struct facts){ UINT64_MAX - 1, &client, &local, "web", "http", "s.example", "h2", "h.example" };
	job.request.fd = ends[1];
	handover_send(w->handover, &job.request);
	assert_int_equal(usher_accept(w->receiver, &c), 0);
	job_await(w, &job);
	assert_done(&job, 0);
	close(ends[1]);
	assert_true(c.id == UINT64_MAX - 1);
	assert_int_equal(c.flags, 0);
	assert_names(&c,
		(const char *const[]){
			"web", "http", "s.example", "h2", "h.example", "192.0.2.7:50000", "[2001:db8::1]:443" });
	assert_reads(c.fd, "GET /"); /* unread until now */
	assert_int_equal(write(c.fd, "hello", 5), 5);
	assert_reads(ends[0], "hello");
	close(c.fd);
	close(ends[0]);
}

static void what_is_too_long_is_left_out_and_flagged(void **state)
{
	struct world *w = *state;
	struct usher_connection c;
	char longest[256], longer[257];
	struct job job;

	memset(longest, 'a', sizeof(longest));
	memset(longer, 'b', sizeof(longer));
	longest[255] = longer[256] = '\0';
	job_init(w, &job, 1);
	job.facts.sni = longest;
	job.facts.alpn = longer;
	handover_send(w->handover, &job.request);
	assert_int_equal(usher_accept(w->receiver, &c), 0);
	close(c.fd);
	job_await(w, &job);
	assert_int_equal(c.flags, USHER_FLAG_INCOMPLETE);
	assert_string_equal(c.sni, longest);
	assert_string_equal(c.alpn, "");
	/* Each fits, all together do not. */
	job_init(w, &job, 2);
	job.facts.service = job.facts.protocol = job.facts.sni = job.facts.alpn = job.facts.host = longest;
	handover_send(w->handover, &job.request);
	assert_int_equal(usher_accept(w->receiver, &c), 0);
	close(c.fd);
	assert_int_equal(c.flags, USHER_FLAG_INCOMPLETE);
	assert_true(c.id == 2);
	assert_string_equal(c.service, longest);
	assert_string_equal(c.sni, longest);
	assert_string_equal(c.host, "");
	job_await(w, &job);
	assert_nothing(w);
}

static void a_thousand_connections_pass_in_either_format(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < 2000; i++) {
		struct usher_connection c;
		char text[16];
		struct job job;
		int ends[2];

		if (i == 1000)
			world_handover(w, HANDOVER_TCPMUX);
		snprintf(text, sizeof(text), "client %u", i);
		client_open(ends, text);
		job_init(w, &job, i + 1);
		job.request.fd = ends[1];
		handover_send(w->handover, &job.request);
		assert_int_equal(job.calls, i >= 1000);
		assert_int_equal(usher_accept(w->receiver, &c), 0);
		job_await(w, &job);
		assert_done(&job, 0);
		close(ends[1]);
		assert_true(c.id == (i < 1000 ? i + 1 : 0));
		assert_reads(c.fd, text);
		close(c.fd);
		assert_int_equal(read(ends[0], text, 1), 0);
		close(ends[0]);
	}
	assert_nothing(w);
}

static void a_slow_receiver_gets_all_in_order(void **state)
{
	struct world *w = *state;
	enum { N = 2000 };
	struct job *jobs = calloc(N, sizeof(*jobs));

	jobs_send(w, jobs, N, 1);
	run_ms(w, 20);
	for (size_t i = 0; i < N; i++) {
		assert_waits(&jobs[i]);
		assert_int_equal(jobs[i].request.n_sent, i < HANDOVER_KEPT_MAX);
	}
	assert_all_come(w, jobs, N, 0);
	free(jobs);
}

static void a_receiver_that_is_absent_fails_at_once(void **state)
{
	struct world *w = *state;
	struct sockaddr_un address = place_address(w->place.path);
	struct job job;
	int fd;

	usher_close(w->receiver);
	job_send(w, &job, 1);
	assert_done(&job, -ENOENT);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	job_send(w, &job, 2);
	assert_done(&job, -ECONNREFUSED);
	close(fd);
	assert_int_equal(usher_listen(w->place.path, 0600, &w->receiver), 0);
	job_send(w, &job, 3);
	assert_passes(w, &job);
}

static void a_receiver_that_restarts_is_found_again(void **state)
{
	struct world *w = *state;
	struct job job;
	int fds_before;

	for (uint64_t id = 1; id <= 6; id++) {
		job_send(w, &job, id);
		assert_passes(w, &job);
		fds_before = fds_open();
		usher_close(w->receiver);
		if (id % 2) { /* it is seen to go */
			run_ms(w, 5);
			assert_int_equal(fds_open(), fds_before - 5);
		}
		assert_int_equal(usher_listen(w->place.path, 0600, &w->receiver), 0);
	}
	assert_nothing(w);
}

static void what_waits_outlives_a_restart(void **state)
{
	struct world *w = *state;
	enum { N = 1000 };
	struct job *jobs = calloc(N, sizeof(*jobs));
	struct usher_receiver *old = w->receiver;
	struct usher_connection c;
	uint64_t id = 0;

	jobs_send(w, jobs, N, 1);
	run_ms(w, 5);
	assert_waits(&jobs[N - 1]);
	usher_stop(old);
	assert_int_equal(usher_listen(w->place.path, 0600, &w->receiver), 0);
	run_ms(w, 5); /* the channel is seen to take no more: what it was sent may still be acknowledged */
	while (usher_accept(old, &c) == 0) {
		assert_int_equal(c.id, ++id);
		close(c.fd);
	}
	assert_int_equal(usher_accept(old, &c), -ESHUTDOWN);
	usher_close(old);
	assert_int_equal(id, HANDOVER_KEPT_MAX);
	assert_all_come(w, jobs, N, id);
	free(jobs);
}

static void a_full_backlog_is_waited_for(void **state)
{
	struct world *w = *state;
	struct sockaddr_un address = place_address(w->place.path);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct job jobs[3];
	int filler, accepted;

	usher_close(w->receiver);
	w->receiver = NULL;
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 0), 0);
	filler = channel_to(w->place.path);
	jobs_send(w, jobs, 3, 1);
	run_ms(w, 25);
	for (size_t i = 0; i < 3; i++) {
		assert_waits(&jobs[i]);
		assert_int_equal(jobs[i].request.n_sent, 0);
	}
	assert_true(handover_cancel(&jobs[1].request));
	accepted = accept(listener, NULL, NULL);
	run_ms(w, 25);
	assert_int_equal(jobs[0].request.n_sent, 1);
	assert_int_equal(jobs[1].request.n_sent, 0);
	assert_int_equal(jobs[2].request.n_sent, 1);
	assert_int_equal(jobs[1].calls, 0);
	/* Nobody knows yet what they are: nobody reads them. */
	assert_false(handover_cancel(&jobs[0].request));
	assert_false(handover_cancel(&jobs[2].request));
	close(filler);
	close(accepted);
	close(listener);
}

static void what_is_cancelled_never_arrives(void **state)
{
	struct world *w = *state;
	struct job jobs[5];

	job_send(w, &jobs[0], 1);
	assert_passes(w, &jobs[0]);
	assert_true(handover_cancel(&jobs[0].request)); /* harmless */
	set_script(-ETOOMANYREFS, 0, 0);
	jobs_send(w, jobs, 5, 10);
	assert_true(handover_cancel(&jobs[0].request));
	assert_true(handover_cancel(&jobs[2].request));
	assert_true(handover_cancel(&jobs[4].request));
	assert_true(handover_cancel(&jobs[4].request));
	run_ms(w, 5);
	assert_passes(w, &jobs[1]);
	assert_passes(w, &jobs[3]);
	assert_nothing(w);
	assert_int_equal(jobs[0].calls + jobs[2].calls + jobs[4].calls, 0);
	/* All of them, while too much is under way: what comes next does not wait for them. */
	set_script(-ETOOMANYREFS, 0, 0);
	jobs_send(w, jobs, 3, 20);
	for (size_t i = 0; i < 3; i++)
		assert_true(handover_cancel(&jobs[i].request));
	job_send(w, &jobs[3], 30);
	assert_passes(w, &jobs[3]);
	assert_nothing(w);
}

static void a_message_taken_in_pieces_arrives_whole(void **state)
{
	struct world *w = *state;
	struct job jobs[3];

	for (take = 1; take < 20; take++) {
		jobs_send(w, jobs, 3, 1);
		for (uint64_t i = 0; i < 3; i++)
			assert_passes(w, &jobs[i]);
	}
	assert_nothing(w);
}

static void the_rest_of_a_message_goes_first(void **state)
{
	struct world *w = *state;
	struct job jobs[3];

	set_script(3, -EAGAIN, 0);
	jobs_send(w, jobs, 3, 1);
	assert_true(handover_cancel(&jobs[1].request));
	assert_waits(&jobs[0]);
	run_ms(w, 5);
	assert_passes(w, &jobs[0]);
	assert_passes(w, &jobs[2]);
	assert_nothing(w);
}

static void a_message_cancelled_halfway_never_arrives(void **state)
{
	struct world *w = *state;
	struct job jobs[3];

	job_send(w, &jobs[0], 1);
	assert_passes(w, &jobs[0]); /* the receiver is known now */
	job_send(w, &jobs[0], 2);
	set_script(3, -EAGAIN, 0);
	job_send(w, &jobs[1], 3);
	job_send(w, &jobs[2], 4);
	assert_true(handover_cancel(&jobs[1].request));
	run_ms(w, 5);
	/* What went before it on its channel is still acknowledged there. */
	assert_passes(w, &jobs[0]);
	assert_passes(w, &jobs[2]);
	assert_int_equal(jobs[1].calls, 0);
	assert_nothing_but(w, 1); /* the three bytes */
}

/* Open or not: those that are not buried yet. */
static size_t channels_count(const struct world *w)
{
	size_t n = 0;

	for (const struct handover_channel *channel = w->handover->channels; channel; channel = channel->next)
		n++;
	return n;
}

/* The receiver drops what was cut off, and can still acknowledge what it has. */
static void behind_a_message_cancelled_halfway_the_channel_ends(void **state)
{
	struct world *w = *state;
	struct job jobs[3];
	struct raw r, next;
	char bytes[8];

	raw_meet(w, &r, jobs, 1);
	raw_hello(&r);
	run_ms(w, 1);
	assert_comes(w, &r, 1);
	set_script(3, -EAGAIN, 0);
	job_send(w, &jobs[1], 2);
	assert_int_equal(recv(r.channel, bytes, sizeof(bytes), 0), 3);
	assert_true(handover_cancel(&jobs[1].request));
	assert_int_equal(recv(r.channel, bytes, sizeof(bytes), 0), 0);
	assert_int_equal(channels_count(w), 1);
	job_send(w, &jobs[2], 3);
	next.listener = r.listener;
	raw_accept(w, &next);
	raw_hello(&next);
	assert_comes(w, &next, 3);
	assert_int_equal(channels_count(w), 2);
	assert_waits(&jobs[0]);
	raw_acknowledge(&r, 1);
	run_ms(w, 1);
	assert_done(&jobs[0], 0);
	assert_int_equal(channels_count(w), 1); /* all is settled there: it is closed, and its memory is given back */
	raw_acknowledge(&next, 1);
	run_ms(w, 1);
	assert_done(&jobs[2], 0);
	assert_int_equal(jobs[1].calls, 0);
	raw_hang_up(&r);
	raw_close(&next);
}

static void a_channel_that_broke_is_buried(void **state)
{
	struct world *w = *state;
	struct job job;
	struct raw r;

	raw_meet(w, &r, &job, 1);
	raw_hello(&r);
	run_ms(w, 1);
	assert_comes(w, &r, 1);
	raw_acknowledge(&r, 1);
	run_ms(w, 1);
	assert_done(&job, 0);
	assert_int_equal(channels_count(w), 1);
	run_ms(w, 60);
	assert_int_equal(w->handover->look.place, 0); /* it is known: nothing has to be looked for */
	raw_close(&r);
	run_ms(w, 1);
	assert_int_equal(channels_count(w), 0);
}

static void a_channel_that_breaks_before_it_is_known_is_not_looked_at(void **state)
{
	struct world *w = *state;
	struct job job;
	struct raw r;

	raw_meet(w, &r, &job, 1);
	raw_close(&r);
	run_ms(w, 1);
	assert_int_equal(job.calls, 1);
	assert_null(w->handover->channel);
	run_ms(w, 60);
}

/* The kernel says once that its end was closed over something unread: here to who sends the next one. */
static void what_an_unknown_one_died_over_is_not_taken(void **state)
{
	struct world *w = *state;
	struct job jobs[2];
	struct raw r;
	int error;
	socklen_t len = sizeof(error);

	raw_meet(w, &r, jobs, 1);
	raw_hang_up(&r);
	assert_int_equal(getsockopt(w->handover->channel->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	assert_int_equal(error, ECONNRESET);
	set_script(-ECONNRESET, 0, 0);
	job_send(w, &jobs[1], 2);
	raw_accept(w, &r);
	raw_hello(&r);
	assert_comes(w, &r, 1);
	assert_comes(w, &r, 2);
	raw_acknowledge(&r, 2);
	await_all(w, jobs, 2, 0);
	raw_close(&r);
}

/* A task of its is still queued when the last request is gone. */
static void it_can_be_freed_at_once(void **state)
{
	enum { N = HANDOVER_KEPT_MAX + 1 };
	struct world *w = *state;
	struct job jobs[N];
	struct raw r;

	raw_meet(w, &r, jobs, N);
	raw_hello(&r);
	run_ms(w, 1);
	for (size_t i = 0; i < N; i++)
		assert_true(handover_cancel(&jobs[i].request));
	assert_true(w->handover->later.queued);
	world_handover(w, HANDOVER_USHER);
	run_ms(w, 1);
	raw_close(&r);
}

/* Nothing is left to be acknowledged on it. */
static void a_channel_that_is_given_up_is_closed(void **state)
{
	struct world *w = *state;
	struct job jobs[2];

	job_send(w, &jobs[0], 1);
	assert_passes(w, &jobs[0]);
	set_script(3, -EAGAIN, 0);
	job_send(w, &jobs[1], 2);
	assert_true(handover_cancel(&jobs[1].request));
	turn(&w->loop);
	assert_int_equal(channels_count(w), 0);
	assert_nothing_but(w, 1);
}

static void one_that_reads_no_more_can_acknowledge_what_it_has(void **state)
{
	struct world *w = *state;
	struct job jobs[2];
	struct raw r, next;

	raw_meet(w, &r, jobs, 1);
	raw_hello(&r);
	run_ms(w, 1);
	assert_comes(w, &r, 1);
	shutdown(r.channel, SHUT_RD);
	job_send(w, &jobs[1], 2);
	next.listener = r.listener;
	raw_accept(w, &next);
	raw_hello(&next);
	run_ms(w, 1);
	assert_comes(w, &next, 2);
	run_ms(w, 1);
	assert_int_equal(raw_read(&next), 0); /* the first one does not come again */
	assert_waits(&jobs[0]);
	raw_acknowledge(&r, 1);
	raw_acknowledge(&next, 1);
	run_ms(w, 1);
	assert_done(&jobs[0], 0);
	assert_done(&jobs[1], 0);
	raw_hang_up(&r);
	raw_close(&next);
}

static void where_nothing_waits_any_more_there_is_no_pause(void **state)
{
	struct world *w = *state;
	struct job jobs[2];

	set_script(-ETOOMANYREFS, 0, 0);
	jobs_send(w, jobs, 2, 1);
	assert_true(timer_is_running(&w->handover->retry));
	assert_true(handover_cancel(&jobs[0].request));
	assert_true(timer_is_running(&w->handover->retry));
	assert_int_not_equal(w->handover->retry.place, 0);
	assert_true(handover_cancel(&jobs[1].request));
	assert_false(timer_is_running(&w->handover->retry));
	assert_int_equal(w->handover->retry.place, 0);
	job_send(w, &jobs[0], 3);
	assert_int_equal(jobs[0].request.n_sent, 1); /* at once */
	assert_passes(w, &jobs[0]);
}

static void a_pause_takes_ten_milliseconds(void **state)
{
	struct world *w = *state;
	struct job job;

	set_script(-ETOOMANYREFS, -ETOOMANYREFS, 0);
	job_send(w, &job, 1);
	turn_after(&w->loop, 9999);
	assert_true(timer_is_running(&w->handover->retry));
	assert_null(w->loop.first_task);
	assert_int_equal(script_at, 1);
	turn_after(&w->loop, 1);
	assert_int_equal(script_at, 2);
	assert_true(timer_is_running(&w->handover->retry));
	turn_after(&w->loop, 9999);
	assert_int_equal(job.request.n_sent, 0);
	turn_after(&w->loop, 1);
	assert_int_equal(job.request.n_sent, 1);
	assert_passes(w, &job);
}

static void a_broken_channel_is_opened_again_once(void **state)
{
	static const int errors[] = { EPIPE, ECONNRESET };
	struct world *w = *state;
	struct job jobs[3];

	for (size_t e = 0; e < 2; e++) {
		set_script(-errors[e], 0, 0);
		job_send(w, &jobs[0], 1);
		assert_passes(w, &jobs[0]);
		set_script(-ETOOMANYREFS, 0, 0);
		jobs_send(w, jobs, 3, 1);
		set_script(-errors[e], -errors[e], 0);
		run_ms(w, 30);
		assert_nothing(w); /* the receiver announces itself on the second channel */
		run_ms(w, 5);
		for (size_t i = 0; i < 3; i++)
			assert_done(&jobs[i], -errors[e]);
		set_script(-errors[e], 0, 0); /* the next has its own second attempt */
		job_send(w, &jobs[0], 4);
		run_ms(w, 5);
		assert_passes(w, &jobs[0]);
	}
	/* Halfway: all of it once more. */
	set_script(3, -EPIPE, 0);
	job_send(w, &jobs[0], 5);
	run_ms(w, 5);
	assert_passes(w, &jobs[0]);
	assert_nothing_but(w, 1);
}

static void too_many_descriptors_under_way_is_waited_for(void **state)
{
	struct world *w = *state;
	struct job jobs[2];

	set_script(-ETOOMANYREFS, -ETOOMANYREFS, 0);
	job_send(w, &jobs[0], 1);
	job_send(w, &jobs[1], 2);
	run_ms(w, 5);
	assert_int_equal(jobs[0].request.n_sent, 0);
	run_ms(w, 100);
	assert_passes(w, &jobs[0]);
	assert_passes(w, &jobs[1]);
}

static void an_error_of_one_request_is_not_the_others(void **state)
{
	struct world *w = *state;
	struct job jobs[3];

	set_script(-EAGAIN, 0, 0);
	jobs_send(w, jobs, 3, 1);
	jobs[1].request.fd = -1;
	run_ms(w, 5);
	assert_done(&jobs[1], -EBADF);
	assert_passes(w, &jobs[0]);
	assert_passes(w, &jobs[2]);
	assert_nothing(w);
	set_script(-EINTR, -ENOBUFS, 0);
	job_send(w, &jobs[0], 4);
	assert_done(&jobs[0], -ENOBUFS);
	set_script(3, -ENOMEM, 0); /* the stream is out of step then */
	job_send(w, &jobs[0], 5);
	assert_done(&jobs[0], -ENOMEM);
	job_send(w, &jobs[0], 6);
	run_ms(w, 5);
	assert_passes(w, &jobs[0]);
	assert_nothing_but(w, 1);
}

static void done_may_send_and_cancel(void **state)
{
	struct world *w = *state;
	struct job jobs[3];

	set_script(-EAGAIN, -EPIPE, -EPIPE);
	jobs_send(w, jobs, 3, 1);
	jobs[0].then_cancel = &jobs[1];
	run_ms(w, 5);
	assert_done(&jobs[0], -EPIPE);
	assert_int_equal(jobs[1].calls, 0);
	assert_done(&jobs[2], -EPIPE);
	/* One that never gives up gets one attempt a turn and starves nobody. */
	usher_close(w->receiver);
	job_init(w, &jobs[0], 1);
	jobs[0].then_send = &jobs[0];
	handover_send(w->handover, &jobs[0].request);
	assert_int_equal(jobs[0].calls, 1);
	run_ms(w, 5);
	assert_true(jobs[0].calls > 1);
	assert_int_equal(usher_listen(w->place.path, 0600, &w->receiver), 0);
	jobs[0].then_send = NULL;
	jobs[0].calls = 0;
	run_ms(w, 1);
	assert_passes(w, &jobs[0]);
	/* And on success, in order. */
	job_init(w, &jobs[0], 7);
	job_init(w, &jobs[1], 8);
	jobs[0].then_send = &jobs[1];
	handover_send(w->handover, &jobs[0].request);
	assert_passes(w, &jobs[0]);
	assert_passes(w, &jobs[1]);
}

/* ---- where this process may not connect ---- */

struct opener {
	int asked, answer;
};

static int opener_open(void *context)
{
	struct opener *opener = context;

	opener->asked++;
	return opener->answer;
}

/* Root may connect to everything: as somebody else, then, for as long as that matters. */
static void socket_forbid(struct world *w, bool forbidden)
{
	if (!forbidden && getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(chmod(w->place.path, forbidden ? 0 : 0600), 0);
	assert_int_equal(chmod(w->place.directory, 0755), 0);
	if (forbidden && getuid() == 0)
		assert_int_equal(seteuid(65534), 0);
}

static void who_may_not_connect_asks_once_for_a_channel(void **state)
{
	struct world *w = *state;
	struct opener opener = { 0 };
	struct job jobs[4];

	handover_set_opener(w->handover, opener_open, &opener);
	socket_forbid(w, true);
	jobs_send(w, jobs, 3, 1);
	run_ms(w, 5);
	assert_int_equal(opener.asked, 1);
	for (size_t i = 0; i < 3; i++)
		assert_waits(&jobs[i]);
	assert_true(handover_cancel(&jobs[1].request));
	socket_forbid(w, false);
	handover_opened(w->handover, channel_to(w->place.path));
	assert_passes(w, &jobs[0]);
	assert_passes(w, &jobs[2]);
	assert_int_equal(opener.asked, 1);
	/* A channel that comes when nobody waits any more is kept for the next. */
	usher_close(w->receiver);
	run_ms(w, 5);
	assert_int_equal(usher_listen(w->place.path, 0600, &w->receiver), 0);
	socket_forbid(w, true);
	job_send(w, &jobs[0], 4);
	assert_int_equal(opener.asked, 2);
	assert_true(handover_cancel(&jobs[0].request));
	socket_forbid(w, false);
	handover_opened(w->handover, channel_to(w->place.path));
	job_send(w, &jobs[0], 5);
	assert_passes(w, &jobs[0]);
	assert_int_equal(opener.asked, 2);
}

/* What happens on an older channel meanwhile is no reason to ask again. */
static void who_has_asked_for_a_channel_waits_for_it(void **state)
{
	struct world *w = *state;
	struct opener opener = { 0 };
	struct job jobs[3];
	struct raw r, next;

	handover_set_opener(w->handover, opener_open, &opener);
	raw_meet(w, &r, jobs, 1);
	raw_hello(&r);
	run_ms(w, 1);
	assert_comes(w, &r, 1);
	set_script(3, -EAGAIN, 0);
	job_send(w, &jobs[1], 2);
	assert_true(handover_cancel(&jobs[1].request)); /* the channel is given up */
	socket_forbid(w, true);
	job_send(w, &jobs[2], 3);
	assert_int_equal(opener.asked, 1);
	raw_acknowledge(&r, 1);
	run_ms(w, 5);
	assert_done(&jobs[0], 0);
	assert_int_equal(opener.asked, 1);
	socket_forbid(w, false);
	handover_opened(w->handover, channel_to(w->place.path));
	next.listener = r.listener;
	raw_accept(w, &next);
	raw_hello(&next);
	assert_comes(w, &next, 3);
	raw_acknowledge(&next, 1);
	run_ms(w, 1);
	assert_done(&jobs[2], 0);
	raw_hang_up(&r);
	raw_close(&next);
}

static void what_the_opener_cannot_do_fails(void **state)
{
	struct world *w = *state;
	struct opener opener = { .answer = -EACCES };
	struct job jobs[2];

	socket_forbid(w, true);
	job_send(w, &jobs[0], 1); /* there is none */
	assert_done(&jobs[0], -EACCES);
	handover_set_opener(w->handover, opener_open, &opener);
	job_send(w, &jobs[0], 2);
	assert_done(&jobs[0], -EACCES);
	opener.answer = 0;
	jobs_send(w, jobs, 2, 3);
	handover_opened(w->handover, -ECONNREFUSED);
	assert_done(&jobs[0], -ECONNREFUSED);
	assert_done(&jobs[1], -ECONNREFUSED);
	job_send(w, &jobs[0], 5);
	handover_opened(w->handover, -EAGAIN); /* its queue is full: again, in a while */
	run_ms(w, 30);
	assert_waits(&jobs[0]);
	assert_int_equal(opener.asked, 4);
	socket_forbid(w, false);
	handover_opened(w->handover, channel_to(w->place.path));
	assert_passes(w, &jobs[0]);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, world_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(facts_arrive_in_usher_format),
		TEST(what_is_too_long_is_left_out_and_flagged),
		TEST(a_thousand_connections_pass_in_either_format),
		TEST(a_slow_receiver_gets_all_in_order),
		TEST(a_receiver_that_is_absent_fails_at_once),
		TEST(a_receiver_that_restarts_is_found_again),
		TEST(what_waits_outlives_a_restart),
		TEST(a_full_backlog_is_waited_for),
		TEST(what_is_cancelled_never_arrives),
		TEST(a_message_taken_in_pieces_arrives_whole),
		TEST(the_rest_of_a_message_goes_first),
		TEST(a_message_cancelled_halfway_never_arrives),
		TEST(behind_a_message_cancelled_halfway_the_channel_ends),
		TEST(a_channel_that_broke_is_buried),
		TEST(a_channel_that_breaks_before_it_is_known_is_not_looked_at),
		TEST(what_an_unknown_one_died_over_is_not_taken),
		TEST(it_can_be_freed_at_once),
		TEST(a_channel_that_is_given_up_is_closed),
		TEST(one_that_reads_no_more_can_acknowledge_what_it_has),
		TEST(where_nothing_waits_any_more_there_is_no_pause),
		TEST(a_pause_takes_ten_milliseconds),
		TEST(a_broken_channel_is_opened_again_once),
		TEST(too_many_descriptors_under_way_is_waited_for),
		TEST(an_error_of_one_request_is_not_the_others),
		TEST(done_may_send_and_cancel),
		TEST(who_may_not_connect_asks_once_for_a_channel),
		TEST(who_has_asked_for_a_channel_waits_for_it),
		TEST(what_the_opener_cannot_do_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
