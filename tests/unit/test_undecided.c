/* A stream until it is decided, alone: what it looks at, what it waits for, and what it makes of each answer. All that it calls is the test's
 * and writes down that it was called; the clock is the test's too. */
#include "banner.h"
#include "examine.h"
#include "identify.h"
#include "shed.h"
#include "starttls_answer.h"
#include "stream_calls.h"
#include "tcpmux_reply.h"
#include "undecided.h"

#define DECIDE_US (8 * SECOND_US)
#define BANNER_US (3 * SECOND_US)
#define HEADER_US (5 * SECOND_US)
#define PAUSED_US 20000
#define SERVICE   5
#define PROTOCOL  7

/* ---- what is around it --------------------------------------------------------------------------------------------------- */

static struct policy policy;
static struct listener_policy listeners[2];
static struct findings findings;
static struct banner banner;
static struct identification *const asked = (struct identification *)&banner; /* any address */
static int client;
static int line;
static bool is_shed, is_spoken, is_banned;
static identified_function *identified;         /* whom examine() was given */
static void (*bannered)(struct stream *stream); /* and banner_begin() */
static enum proxied_taken taken;
static enum examined looks;
static uint32_t found_service;
static struct protocol protocols[PROTOCOL + 2]; /* the last one asks for TLS */
static uint32_t found_protocol;
static struct starttls talk;
static uint8_t peeked[16];
static enum starttls_answered answered;
static int begins; /* what starttls_answer_begin() answers */

int starttls_answer_begin(struct stream *which, enum starttls_kind kind)
{
	note("meet:%s ", starttls_name(kind));
	if (begins == 0)
		which->starttls = &talk;
	return begins;
}

enum starttls_answered starttls_answer(struct stream *which)
{
	note("answer ");
	return answered;
}

void stream_decided(struct stream *which, uint32_t service, uint32_t protocol)
{
	note("decided:%d/%d ", (int)service, (int)protocol);
	which->session.phase = PHASE_CONNECTING;
}

void stream_stay(struct stream *which)
{
	note("stay ");
	which->session.phase = PHASE_RELAYING;
}

bool stream_watch(struct stream *which)
{
	note("watch ");
	return true;
}

void shed_enter(struct session *session)
{
	note("count ");
	if (is_shed)
		session->phase = PHASE_ENDED;
}

void shed_leave(struct session *session)
{
	note("uncount ");
}

bool __wrap_session_is_banned(const struct session *session);
bool __wrap_session_is_banned(const struct session *session)
{
	return is_banned;
}

void stream_refuse(struct stream *which, const char *rule)
{
	note("refuse:%s ", rule);
	which->session.phase = PHASE_ENDED;
}

void banner_begin(struct stream *which, void (*whole)(struct stream *stream))
{
	bannered = whole;
	note("banner ");
}

void banner_end(struct stream *which)
{
	note("banner-end ");
}

void identification_cancel(struct identification *identification)
{
	note("cancel:%d ", identification == asked);
}

enum proxied_taken proxied_take(struct stream *which)
{
	note("header ");
	return taken;
}

bool tcpmux_is_spoken(const struct policy *which)
{
	return is_spoken;
}

int tcpmux_take_line(int fd)
{
	note("line ");
	return line;
}

void tcpmux_help(int fd, const struct policy *which)
{
	note("help ");
}

void tcpmux_refuse(int fd, const char *why)
{
	note("refuse(%s) ", why);
}

enum examined examine(
	struct stream *which, bool last, identified_function *done, uint32_t *ret_service, uint32_t *ret_protocol)
{
	identified = done;
	note(last ? "last-look " : "look ");
	*ret_service = found_service;
	*ret_protocol = found_protocol;
	return looks;
}

static int setup(void **state)
{
	int ends[2];

	tcp_ends(ends);
	client = ends[0];
	did[0] = '\0';
	enters = line = 0;
	is_shed = is_spoken = is_banned = false;
	taken = PROXIED_WAIT;
	looks = EXAMINED_WAIT;
	found_service = SERVICE;
	found_protocol = PROTOCOL;
	protocols[PROTOCOL + 1].probe = starttls_probe(STARTTLS_POSTGRES);
	answered = ANSWERED_WAIT;
	begins = 0;
	clock_us += 100 * SECOND_US;
	context = (struct context){ .policy = &policy, .findings = &findings };
	context.peeked = peeked;
	policy = (struct policy){ .protocols = protocols,
		.listeners = listeners,
		.decide_timeout_us = DECIDE_US,
		.banner_timeout_us = BANNER_US };
	listeners[0] = listeners[1] = (struct listener_policy){
		.on_silence = 11, .on_unknown = 12, .banner_service = SERVICE_NONE, .greeting = STARTTLS_NONE
	};
	findings = (struct findings){ 0 };
	banner = (struct banner){ .service = SERVICE, .kind = SERVER_BANNER_KINDS - 1 };
	assert_int_equal(loop_init(&context.loop), 0);
	stream = (struct stream){ .relay.client.in.fd = ends[1] };
	stream.session.context = &context;
	stream.session.decider = 1; /* the second listener's */
	stream.session.phase = PHASE_DECIDING;
	stream.session.accepted_us = clock_us;
	return 0;
}

static int teardown(void **state)
{
	loop_timer_stop(&context.loop, &stream.session.deadline);
	loop_fini(&context.loop);
	close(client);
	close(stream.relay.client.in.fd);
	return 0;
}

static struct listener_policy *const listener = &listeners[1];

static void assert_no_alarm(void)
{
	assert_int_equal(stream.session.deadline.place, 0);
}

/* ---- begun --------------------------------------------------------------------------------------------------------------- */

static void it_is_counted_and_watched(void **state)
{
	undecided_begin(&stream, PROXIED_BY_NOBODY);
	assert_did("enter:deciding count watch ");
}

static void one_that_has_a_header_waits_for_it(void **state)
{
	undecided_begin(&stream, PROXIED_BY_TRUSTED);
	assert_did("enter:proxy-header count watch ");
}

static void a_stranger_is_not_served(void **state)
{
	undecided_begin(&stream, PROXIED_BY_STRANGER);
	assert_did("enter:deciding end:proxy-header ");
	assert_string_equal(stream.session.refused, "source");
}

static void without_memory_for_its_clock_it_ends(void **state)
{
	enters = -ENOMEM;
	undecided_begin(&stream, PROXIED_BY_NOBODY);
	assert_did("enter:deciding end:no-memory ");
}

static void bytes_that_the_kernel_waited_for_are_there(void **state)
{
	listener->awaits_bytes = true;
	looks = EXAMINED_SERVICE;
	undecided_begin(&stream, PROXIED_BY_NOBODY);
	assert_did("enter:deciding count look decided:5/7 ");
}

static void bytes_that_do_not_decide_are_waited_for(void **state)
{
	listener->awaits_bytes = true;
	undecided_begin(&stream, PROXIED_BY_NOBODY);
	assert_did("enter:deciding count look watch ");
}

static void one_that_was_shed_at_once_is_not_looked_at(void **state)
{
	listener->awaits_bytes = true;
	is_shed = true;
	undecided_begin(&stream, PROXIED_BY_NOBODY);
	assert_did("enter:deciding count ");
}

/* ---- announced ----------------------------------------------------------------------------------------------------------- */

static void a_header_may_be_followed_by_what_decides(void **state)
{
	static const enum proxied_taken ways[] = { PROXIED_TAKEN, PROXIED_ABSENT };

	for (int i = 0; i < 2; i++) {
		stream.session.phase = PHASE_PROXIED;
		taken = ways[i];
		undecided_ready(&stream, true);
		assert_did("header enter:deciding count look ");
	}
}

static void a_header_that_is_not_whole_is_waited_for(void **state)
{
	stream.session.phase = PHASE_PROXIED;
	undecided_ready(&stream, true);
	assert_did("header ");
}

static void what_goes_wrong_with_a_header_ends_it(void **state)
{
	static const struct {
		enum proxied_taken taken;
		const char *did;
	} cases[] = {
		{ PROXIED_BROKEN, "header end:proxy-header " },
		{ PROXIED_GONE, "header end:client-gone " },
		{ PROXIED_RESET, "header end:client-reset " },
		{ PROXIED_NO_MEMORY, "header end:no-memory " },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		stream.session.phase = PHASE_PROXIED;
		taken = cases[i].taken;
		undecided_ready(&stream, true);
		assert_did(cases[i].did);
	}
}

static void behind_a_header_it_may_be_shed(void **state)
{
	stream.session.phase = PHASE_PROXIED;
	taken = PROXIED_TAKEN;
	is_shed = true;
	undecided_ready(&stream, true);
	assert_did("header enter:deciding count ");
}

static void behind_a_header_it_may_have_no_clock(void **state)
{
	stream.session.phase = PHASE_PROXIED;
	taken = PROXIED_TAKEN;
	enters = -ENOMEM;
	undecided_ready(&stream, true);
	assert_did("header enter:deciding end:no-memory ");
}

static void a_header_has_its_own_time(void **state)
{
	assert_int_equal(undecided_header_due_us(&stream.session), clock_us + HEADER_US);
	policy.decide_timeout_us = SECOND_US; /* it must come, however long that takes */
	assert_int_equal(undecided_header_due_us(&stream.session), clock_us + HEADER_US);
	listener->plain_absent = true;
	assert_int_equal(undecided_header_due_us(&stream.session), clock_us + SECOND_US);
	policy.decide_timeout_us = 0;
	assert_int_equal(undecided_header_due_us(&stream.session), clock_us + HEADER_US);
}

static void a_header_that_is_late_ends_it(void **state)
{
	undecided_header_out_of_time(&stream.session);
	assert_did("end:proxy-header ");
	assert_string_equal(stream.session.refused, "late");
}

static void a_header_that_need_not_come_is_not_late(void **state)
{
	listener->plain_absent = true;
	undecided_header_out_of_time(&stream.session);
	assert_did("enter:deciding count look ");
}

/* ---- looked at ----------------------------------------------------------------------------------------------------------- */

static void each_look_may_decide(void **state)
{
	static const struct {
		enum examined looks;
		const char *did;
	} cases[] = {
		{ EXAMINED_WAIT, "look " },
		{ EXAMINED_SERVICE, "look decided:5/7 " },
		{ EXAMINED_UNKNOWN, "look decided:12/-1 " },
		{ EXAMINED_SILENT, "look decided:11/-1 " },
		{ EXAMINED_GONE, "look end:client-gone " },
		{ EXAMINED_RESET, "look end:client-reset " },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		stream.session.phase = PHASE_DECIDING;
		looks = cases[i].looks;
		undecided_ready(&stream, true);
		assert_did(cases[i].did);
	}
	undecided_ready(&stream, false);
	assert_did("");
}

static void nothing_is_decided_while_the_worker_is_paused(void **state)
{
	undecided_ready(&stream, true);
	assert_did("look ");
	context.is_paused = true;
	undecided_ready(&stream, true);
	assert_did("");
	later(SECOND_US);
	undecided_out_of_time(&stream.session);
	assert_did("");
	assert_alarm(clock_us + PAUSED_US);
	undecided_header_out_of_time(&stream.session);
	assert_did("");
	assert_alarm(clock_us + PAUSED_US);
	identified(&stream, 3, true);
	assert_did("");
	assert_int_equal(stream.named, 3); /* and looked at later */
	context.is_paused = false;
	undecided_out_of_time(&stream.session);
	assert_did("last-look ");
}

static void the_deadline_is_counted_from_accept(void **state)
{
	later(SECOND_US);
	assert_int_equal(undecided_due_us(&stream.session), clock_us - SECOND_US + DECIDE_US);
	policy.decide_timeout_us = 0;
	assert_int_equal(undecided_due_us(&stream.session), UINT64_MAX);
}

static void at_the_deadline_it_is_looked_at_for_the_last_time(void **state)
{
	looks = EXAMINED_SILENT;
	undecided_out_of_time(&stream.session);
	assert_did("last-look decided:11/-1 ");
}

static void an_identifiers_answer_is_looked_at(void **state)
{
	undecided_ready(&stream, true);
	assert_did("look ");
	stream.identification = asked;
	stream.asked = 40;
	identified(&stream, 3, true);
	assert_did("look ");
	assert_null(stream.identification);
	assert_int_equal(stream.named, 3);
	assert_int_equal(stream.asked, 40);
	identified(&stream, PROTOCOL_NONE, false);
	assert_did("look ");
	assert_int_equal(stream.asked, UINT32_MAX);
}

static void it_lets_go_of_all(void **state)
{
	stream.identification = asked;
	undecided_end(&stream);
	assert_did("uncount banner-end cancel:1 ");
	assert_null(stream.identification);
}

/* ---- a search ------------------------------------------------------------------------------------------------------------ */

static void a_search_has_its_own_time(void **state)
{
	policy.search_timeout_us = SECOND_US;
	stream.search = SEARCH_DUE;
	later(SECOND_US);
	undecided_ready(&stream, true);
	assert_did("look ");
	assert_int_equal(stream.search, SEARCH_ON);
	assert_alarm(clock_us + SECOND_US);
	later(SECOND_US / 2);
	undecided_ready(&stream, true);
	assert_did("look ");
	assert_alarm(clock_us + SECOND_US / 2); /* bytes do not renew it */
	later(SECOND_US / 2);
	undecided_out_of_time(&stream.session);
	assert_did("look "); /* not the last one: that is at the deadline */
	assert_int_equal(stream.search, SEARCH_OVER);
	assert_alarm(stream.session.accepted_us + DECIDE_US);
	undecided_out_of_time(&stream.session);
	assert_did("last-look ");
	assert_int_equal(stream.search, SEARCH_OVER);
}

static void a_search_without_a_deadline_behind_it_has_no_other_alarm(void **state)
{
	policy.search_timeout_us = SECOND_US;
	policy.decide_timeout_us = 0;
	stream.search = SEARCH_DUE;
	later(0);
	undecided_ready(&stream, true);
	assert_alarm(clock_us + SECOND_US);
	loop_timer_stop(&context.loop, &stream.session.deadline); /* as the loop does */
	undecided_out_of_time(&stream.session);
	assert_did("look look ");
	assert_no_alarm();
}

static void a_search_that_the_deadline_ends_has_no_alarm(void **state)
{
	stream.search = SEARCH_DUE;
	later(SECOND_US);
	policy.search_timeout_us = DECIDE_US - SECOND_US;
	undecided_ready(&stream, true);
	assert_int_equal(stream.search, SEARCH_NONE);
	assert_no_alarm();
	stream.search = SEARCH_DUE;
	policy.search_timeout_us--;
	undecided_ready(&stream, true);
	assert_int_equal(stream.search, SEARCH_ON);
	assert_alarm(stream.session.accepted_us + DECIDE_US - 1);
}

static void without_a_search_there_is_no_alarm(void **state)
{
	later(0);
	policy.search_timeout_us = SECOND_US;
	undecided_ready(&stream, true);
	assert_int_equal(stream.search, SEARCH_NONE);
	assert_no_alarm();
	policy.search_timeout_us = 0;
	stream.search = SEARCH_DUE;
	undecided_ready(&stream, true);
	assert_int_equal(stream.search, SEARCH_DUE);
	assert_no_alarm();
}

static void a_client_that_waits_for_the_server_is_not_waited_for(void **state)
{
	static const uint64_t searches_us[] = { 0, CLIENT_WAITS_US + 1, CLIENT_WAITS_US - 1 };

	for (int i = 0; i < 3; i++) {
		later(0);
		policy.search_timeout_us = searches_us[i];
		stream.client_waits = true;
		stream.search = SEARCH_DUE;
		undecided_ready(&stream, true);
		assert_int_equal(stream.search, SEARCH_ON);
		assert_alarm(clock_us + (i < 2 ? CLIENT_WAITS_US : CLIENT_WAITS_US - 1));
	}
}

/* ---- shown a banner ------------------------------------------------------------------------------------------------------ */

static void a_silent_client_is_shown_a_banner(void **state)
{
	listener->banner_service = SERVICE;
	assert_int_equal(undecided_due_us(&stream.session), clock_us + BANNER_US);
	undecided_out_of_time(&stream.session);
	assert_did("enter:deciding banner ");
	assert_true(stream.was_silent);
	assert_int_equal(undecided_due_us(&stream.session), clock_us + DECIDE_US);
	undecided_out_of_time(&stream.session);
	assert_did("last-look ");
}

static void await_bytes(void)
{
	struct pollfd p = { .fd = stream.relay.client.in.fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 60000), 1);
}

static void a_client_that_has_said_something_is_not(void **state)
{
	listener->banner_service = SERVICE;
	assert_int_equal(write(client, "x", 1), 1);
	await_bytes();
	undecided_out_of_time(&stream.session);
	assert_did("enter:deciding ");
	assert_true(stream.was_silent);
}

static void a_client_that_has_left_is_not_shown_any(void **state)
{
	listener->banner_service = SERVICE;
	shutdown(client, SHUT_WR);
	await_bytes();
	undecided_out_of_time(&stream.session);
	assert_did("enter:deciding ");
}

static void without_a_banner_to_show_the_deadline_is_the_last(void **state)
{
	assert_int_equal(undecided_due_us(&stream.session), clock_us + DECIDE_US);
	undecided_out_of_time(&stream.session);
	assert_did("last-look ");
	assert_false(stream.was_silent);
}

static void an_answer_to_a_banner_that_says_enough_decides(void **state)
{
	static const struct {
		enum examined looks;
		const char *did;
	} cases[] = {
		{ EXAMINED_WAIT, "look " },
		{ EXAMINED_SERVICE, "look stay " },
		{ EXAMINED_UNKNOWN, "look stay " },
		{ EXAMINED_SILENT, "look stay " },
		{ EXAMINED_GONE, "look stay " },
		{ EXAMINED_RESET, "look end:client-reset " },
	};

	listener->banner_service = SERVICE;
	undecided_out_of_time(&stream.session);
	assert_did("enter:deciding banner ");
	stream.banner = &banner;
	banner.shown = banner.known = true;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		stream.session.phase = PHASE_DECIDING;
		stream.session.protocol = 0;
		looks = cases[i].looks;
		undecided_ready(&stream, true);
		assert_did(cases[i].did);
		assert_int_equal(stream.session.protocol, looks == EXAMINED_SERVICE ? PROTOCOL : 0);
	}
	assert_false(stream.skips_banner);
	looks = EXAMINED_WAIT;
	bannered(&stream);
	assert_did("look ");
	undecided_out_of_time(&stream.session);
	assert_did("last-look ");
}

static void an_answer_that_another_service_wants_skips_its_banner(void **state)
{
	stream.banner = &banner;
	banner.shown = banner.known = true;
	looks = EXAMINED_SERVICE;
	found_service = SERVICE + 1;
	undecided_ready(&stream, true);
	assert_did("look decided:6/7 ");
	assert_true(stream.skips_banner);
	assert_int_equal(stream.skipped, SERVER_BANNER_KINDS - 1);
}

static void a_banner_that_is_not_whole_yet_is_waited_for(void **state)
{
	stream.banner = &banner;
	banner.shown = true;
	looks = EXAMINED_SERVICE;
	undecided_ready(&stream, true);
	assert_did("");
	undecided_out_of_time(&stream.session);
	assert_did("stay ");
}

static void a_banner_that_was_not_shown_yet_changes_nothing(void **state)
{
	stream.banner = &banner;
	looks = EXAMINED_SERVICE;
	undecided_ready(&stream, true);
	assert_did("look decided:5/7 ");
}

/* ---- asked for TLS within a protocol ------------------------------------------------------------------------------------- */

static void asks_for_tls(void)
{
	looks = EXAMINED_SERVICE;
	found_protocol = PROTOCOL + 1;
	undecided_ready(&stream, true);
	assert_did("look meet:postgres answer ");
}

static void a_request_for_tls_is_answered_and_decides_nothing(void **state)
{
	asks_for_tls();
	undecided_ready(&stream, true);
	assert_did("answer ");
	assert_int_equal(stream.session.phase, PHASE_DECIDING);
}

static void the_hello_behind_it_decides(void **state)
{
	asks_for_tls();
	answered = ANSWERED_AGREED;
	looks = EXAMINED_WAIT;
	undecided_ready(&stream, true);
	assert_did("answer look ");
	looks = EXAMINED_SERVICE;
	found_service = SERVICE + 1;
	found_protocol = 0; /* TLS */
	undecided_ready(&stream, true);
	char said[64];
	snprintf(said, sizeof(said), "answer look decided:6/%u ", starttls_protocol(STARTTLS_POSTGRES));
	assert_did(said);
	assert_non_null(stream.starttls); /* its server is to be asked */
}

static void what_follows_and_is_no_hello_of_anybodys_ends_it(void **state)
{
	static const struct {
		enum starttls_answered answered;
		enum examined looks;
		uint8_t first;
		const char *did, *rule;
	} cases[] = {
		{ ANSWERED_WRONG, EXAMINED_WAIT, 0, "answer end:starttls ", "request" },
		{ ANSWERED_GONE, EXAMINED_WAIT, 0, "answer end:client-gone ", NULL },
		{ ANSWERED_RESET, EXAMINED_WAIT, 0, "answer end:client-reset ", NULL },
		{ ANSWERED_AGREED, EXAMINED_UNKNOWN, 'E', "answer look end:starttls ", "plaintext" },
		{ ANSWERED_AGREED, EXAMINED_UNKNOWN, 22, "answer look end:no-service ", NULL },
		{ ANSWERED_AGREED, EXAMINED_SILENT, 22, "answer look end:starttls ", "late" },
		{ ANSWERED_AGREED, EXAMINED_GONE, 22, "answer look end:client-gone ", NULL },
		{ ANSWERED_AGREED, EXAMINED_RESET, 22, "answer look end:client-reset ", NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		stream.session.phase = PHASE_DECIDING;
		stream.session.refused = NULL;
		stream.starttls = &talk;
		answered = cases[i].answered;
		looks = cases[i].looks;
		peeked[0] = cases[i].first;
		undecided_ready(&stream, true);
		assert_did(cases[i].did);
		if (cases[i].rule)
			assert_string_equal(stream.session.refused, cases[i].rule);
		else
			assert_null(stream.session.refused);
	}
}

static void it_has_until_the_deadline_of_the_decision(void **state)
{
	asks_for_tls();
	undecided_out_of_time(&stream.session);
	assert_did("answer end:starttls ");
	assert_string_equal(stream.session.refused, "late");
}

static void it_is_shown_no_banner(void **state)
{
	listener->banner_service = SERVICE;
	asks_for_tls();
	undecided_out_of_time(&stream.session);
	assert_did("enter:deciding ");
}

static void a_silent_client_is_greeted_where_its_server_would_speak_first(void **state)
{
	listener->banner_service = SERVICE;
	listener->greeting = STARTTLS_SMTP;
	undecided_out_of_time(&stream.session);
	assert_did("enter:deciding meet:smtp answer ");
	undecided_out_of_time(&stream.session);
	assert_did("answer end:starttls ");
}

static void without_memory_for_the_conversation_it_ends(void **state)
{
	begins = -ENOMEM;
	looks = EXAMINED_SERVICE;
	found_protocol = PROTOCOL + 1;
	undecided_ready(&stream, true);
	assert_did("look meet:postgres end:no-memory ");
}

/* ---- TCPMUX -------------------------------------------------------------------------------------------------------------- */

static void asks_for(const char *name)
{
	findings.attribute[ATTRIBUTE_SERVICE].count = 1;
	findings.attribute[ATTRIBUTE_SERVICE].value[0].at = (const uint8_t *)name;
	findings.attribute[ATTRIBUTE_SERVICE].value[0].len = strlen(name);
	looks = EXAMINED_UNKNOWN;
	is_spoken = true;
	undecided_ready(&stream, true);
}

static void a_name_that_no_service_has_is_answered(void **state)
{
	listener->on_unknown = SERVICE_NONE;
	asks_for("gone");
	assert_did("look line refuse(no such service) end:no-service ");
}

static void help_is_answered_in_any_case(void **state)
{
	asks_for("help");
	assert_did("look line help end:no-service ");
}

static void a_longer_name_is_no_help(void **state)
{
	listener->on_unknown = SERVICE_NONE;
	asks_for("helper");
	assert_did("look line refuse(no such service) end:no-service ");
}

static void a_name_goes_to_who_gets_what_is_unknown(void **state)
{
	asks_for("gone");
	assert_did("look decided:12/-1 ");
}

static void a_line_that_cannot_be_taken_is_not_answered(void **state)
{
	line = -EAGAIN;
	asks_for("help");
	assert_did("look line decided:12/-1 ");
}

static void nothing_is_answered_where_nothing_asks(void **state)
{
	asks_for("help");
	assert_did("look line help end:no-service ");
	is_spoken = false;
	undecided_ready(&stream, true);
	assert_did("look decided:12/-1 ");
	is_spoken = true;
	findings.attribute[ATTRIBUTE_SERVICE].count = 0;
	undecided_ready(&stream, true);
	assert_did("look decided:12/-1 ");
}

#define UNIT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- banned -------------------------------------------------------------------------------------------------------------- */

static void one_that_is_banned_is_refused_at_once(void **state)
{
	is_banned = true;
	undecided_begin(&stream, PROXIED_BY_NOBODY);
	assert_did("enter:deciding refuse:ban ");
}

static void behind_a_proxy_its_client_is_who_may_be_banned(void **state)
{
	is_banned = true;
	undecided_begin(&stream, PROXIED_BY_TRUSTED);
	assert_did("enter:proxy-header count watch ");
	taken = PROXIED_TAKEN;
	undecided_ready(&stream, true);
	assert_did("header refuse:ban ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT(it_is_counted_and_watched),
		UNIT(one_that_has_a_header_waits_for_it),
		UNIT(a_stranger_is_not_served),
		UNIT(without_memory_for_its_clock_it_ends),
		UNIT(bytes_that_the_kernel_waited_for_are_there),
		UNIT(bytes_that_do_not_decide_are_waited_for),
		UNIT(one_that_was_shed_at_once_is_not_looked_at),
		UNIT(a_header_may_be_followed_by_what_decides),
		UNIT(a_header_that_is_not_whole_is_waited_for),
		UNIT(what_goes_wrong_with_a_header_ends_it),
		UNIT(behind_a_header_it_may_be_shed),
		UNIT(behind_a_header_it_may_have_no_clock),
		UNIT(a_header_has_its_own_time),
		UNIT(a_header_that_is_late_ends_it),
		UNIT(a_header_that_need_not_come_is_not_late),
		UNIT(each_look_may_decide),
		UNIT(nothing_is_decided_while_the_worker_is_paused),
		UNIT(the_deadline_is_counted_from_accept),
		UNIT(at_the_deadline_it_is_looked_at_for_the_last_time),
		UNIT(an_identifiers_answer_is_looked_at),
		UNIT(it_lets_go_of_all),
		UNIT(a_search_has_its_own_time),
		UNIT(a_search_without_a_deadline_behind_it_has_no_other_alarm),
		UNIT(a_search_that_the_deadline_ends_has_no_alarm),
		UNIT(without_a_search_there_is_no_alarm),
		UNIT(a_client_that_waits_for_the_server_is_not_waited_for),
		UNIT(a_silent_client_is_shown_a_banner),
		UNIT(a_client_that_has_said_something_is_not),
		UNIT(a_client_that_has_left_is_not_shown_any),
		UNIT(without_a_banner_to_show_the_deadline_is_the_last),
		UNIT(an_answer_to_a_banner_that_says_enough_decides),
		UNIT(an_answer_that_another_service_wants_skips_its_banner),
		UNIT(a_banner_that_is_not_whole_yet_is_waited_for),
		UNIT(a_banner_that_was_not_shown_yet_changes_nothing),
		UNIT(a_request_for_tls_is_answered_and_decides_nothing),
		UNIT(the_hello_behind_it_decides),
		UNIT(what_follows_and_is_no_hello_of_anybodys_ends_it),
		UNIT(it_has_until_the_deadline_of_the_decision),
		UNIT(it_is_shown_no_banner),
		UNIT(a_silent_client_is_greeted_where_its_server_would_speak_first),
		UNIT(without_memory_for_the_conversation_it_ends),
		UNIT(a_name_that_no_service_has_is_answered),
		UNIT(help_is_answered_in_any_case),
		UNIT(a_longer_name_is_no_help),
		UNIT(a_name_goes_to_who_gets_what_is_unknown),
		UNIT(a_line_that_cannot_be_taken_is_not_answered),
		UNIT(nothing_is_answered_where_nothing_asks),
		UNIT(one_that_is_banned_is_refused_at_once),
		UNIT(behind_a_proxy_its_client_is_who_may_be_banned),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
