/* The admission of a session, alone: what is asked in which order, and what comes of each answer. The rules, the limits, the master and the
 * transport are the test's. */
#include "admission.h"
#include "hash.h"
#include "turn.h"

static struct context context;
static struct policy policy;
static struct shared shared;
static struct service services[2];
static const struct program program;
static struct protocol protocols[2];
static struct session sessions[2];
static struct admission admissions[2];
static const char *forbids, *exceeds; /* rules */
static bool was_charged;
static uint32_t counted; /* a service */
static int refusal;
static unsigned n_asked;
static struct message asked;

static int n_admitted;
static const char *refused;
static bool has_ended, opens;

static void transport_admitted(struct session *session, const char *rule)
{
	n_admitted++;
	refused = rule;
}

static void transport_end(struct session *session, enum session_end end)
{
	assert_int_equal(end, END_SHUTDOWN);
	has_ended = true;
}

static void transport_local(const struct session *session, struct address *ret)
{
	assert_int_equal(address_parse(ret, "192.0.2.9:443"), 0);
}

static struct transport transport = {
	.admitted = transport_admitted, .end = transport_end, .local = transport_local
};

int __wrap_session_enter(struct session *session, enum session_phase phase);
int __wrap_session_enter(struct session *session, enum session_phase phase)
{
	session->phase = phase;
	return 0;
}

const char *__wrap_access_judge(const struct access *access, const struct address *client, bool is_open, time_t now);
const char *__wrap_access_judge(const struct access *access, const struct address *client, bool is_open, time_t now)
{
	assert_ptr_equal(access, services[0].access);
	assert_int_not_equal(client->len, 0);
	assert_int_equal(is_open, opens);
	return forbids;
}

bool __wrap_live_list_has(
	const struct live_list *list, uint64_t service, const struct address *address, uint64_t now_us);
bool __wrap_live_list_has(
	const struct live_list *list, uint64_t service, const struct address *address, uint64_t now_us)
{
	assert_true(service == hash_name("web"));
	assert_int_equal(now_us, context.loop.now_us);
	return opens;
}

const char *__wrap_limits_enter(struct limits *limits, unsigned slot, const struct access *access, uint64_t name,
	struct limits_source source, uint64_t now_us, struct limits_ticket *ret);
const char *__wrap_limits_enter(struct limits *limits, unsigned slot, const struct access *access, uint64_t name,
	struct limits_source source, uint64_t now_us, struct limits_ticket *ret)
{
	assert_ptr_equal(access, services[0].access);
	assert_int_equal(now_us, context.loop.now_us);
	was_charged = true;
	return exceeds;
}

void __wrap_limits_leave(struct limits *limits, unsigned slot, struct limits_ticket *ticket);
void __wrap_limits_leave(struct limits *limits, unsigned slot, struct limits_ticket *ticket)
{
	was_charged = false;
}

void __wrap_account_fallback(struct session *session, uint32_t service);
void __wrap_account_fallback(struct session *session, uint32_t number)
{
	counted = number;
}

int requester_ask(struct requester *requester, struct request *request, struct message *message, int fd)
{
	assert_int_equal(fd, -1);
	if (refusal < 0)
		return refusal;
	request->number = ++n_asked;
	asked = *message;
	return 0;
}

static int setup(void **state)
{
	policy = (struct policy){ .services = services, .protocols = protocols, .access_timeout_us = 7 * SECOND_US };
	protocols[1] = (struct protocol){ .name = "tls" };
	services[0] = services[1] =
		(struct service){ .name = "web", .access = (const struct access *)&policy }; /* any address */
	context = (struct context){ .policy = &policy, .shared = &shared };
	assert_int_equal(loop_init(&context.loop), 0);
	transport.kind = TRANSPORT_STREAM;
	forbids = exceeds = refused = NULL;
	was_charged = has_ended = opens = false;
	refusal = n_admitted = 0;
	n_asked = 0;
	for (size_t i = 0; i < 2; i++) {
		sessions[i] = (struct session){
			.transport = &transport, .context = &context, .id = 42 + i, .protocol = 1, .sni = "sni.test"
		};
		assert_int_equal(address_parse(&sessions[i].client, "198.51.100.7:4000"), 0);
	}
	return 0;
}

static int teardown(void **state)
{
	loop_fini(&context.loop);
	return 0;
}

static void begin(size_t i)
{
	admission_begin(&admissions[i], &sessions[i]);
}

/* The master says that the program runs, or why it does not. */
static void begun(size_t i, int error)
{
	const struct message_answer answer = { .error = error };
	int fds[IPC_FDS_MAX] = { -1, -1 };

	admissions[i].request.answered(&admissions[i].request, &answer, fds);
}

static void assert_outcome(const char *rule)
{
	assert_int_equal(n_admitted, 1);
	assert_ptr_equal(refused, rule);
	n_admitted = 0;
}

/* ---- the rules ----------------------------------------------------------------------------------------------------------- */

static void one_that_nothing_forbids_is_admitted_at_once(void **state)
{
	begin(0);
	assert_outcome(NULL);
	assert_true(was_charged);
	assert_int_equal(n_asked, 0);
}

static void one_that_is_forbidden_is_not_charged(void **state)
{
	services[0].asks = &program;
	forbids = "deny";
	begin(0);
	assert_outcome(forbids);
	assert_false(was_charged);
	assert_int_equal(n_asked, 0);
}

static void one_above_a_limit_is_refused_before_a_program_is_asked(void **state)
{
	services[0].asks = &program;
	exceeds = "max_connections";
	begin(0);
	assert_outcome(exceeds);
	assert_int_equal(n_asked, 0);
}

static void a_fallback_is_charged_in_place_of_the_service(void **state)
{
	begin(0);
	assert_outcome(NULL);
	assert_true(was_charged);
	forbids = "deny"; /* of the other one */
	admission_fall_back(&admissions[0], &sessions[0], 1, -ECONNREFUSED);
	assert_outcome(forbids);
	assert_false(was_charged);
	assert_int_equal(sessions[0].service, 1);
	assert_int_equal(counted, 1);
}

/* ---- the program --------------------------------------------------------------------------------------------------------- */

static void a_program_is_told_of_the_session(void **state)
{
	struct address local;

	services[0].asks = &program;
	begin(0);
	assert_int_equal(n_admitted, 0);
	assert_int_equal(sessions[0].phase, PHASE_ASKING);
	assert_int_equal(asked.kind, MESSAGE_SPAWN);
	assert_int_equal(asked.spawn.program, PROGRAM_ACCESS);
	assert_int_equal(asked.spawn.service, 0);
	assert_int_equal(asked.spawn.connection, 42);
	assert_memory_equal(&asked.spawn.client, &sessions[0].client, sizeof(asked.spawn.client));
	transport_local(NULL, &local);
	assert_memory_equal(&asked.spawn.local, &local, sizeof(local));
	assert_string_equal(asked.spawn.protocol, "tls");
	assert_string_equal(asked.spawn.sni, "sni.test");
	assert_false(asked.spawn.is_datagram);
	transport.kind = TRANSPORT_DATAGRAM;
	begin(1);
	assert_true(asked.spawn.is_datagram);
}

static void names_that_are_too_long_are_cut(void **state)
{
	static char name[300];

	services[0].asks = &program;
	memset(name, 'a', sizeof(name) - 1);
	protocols[1].name = name;
	sessions[0].sni = name;
	begin(0);
	assert_int_equal(strlen(asked.spawn.protocol), sizeof(asked.spawn.protocol) - 1);
	assert_int_equal(strlen(asked.spawn.sni), sizeof(asked.spawn.sni) - 1);
	sessions[1].protocol = PROTOCOL_NONE;
	sessions[1].sni = NULL;
	begin(1);
	assert_string_equal(asked.spawn.protocol, "");
	assert_string_equal(asked.spawn.sni, "");
}

static void each_verdict_finds_its_session(void **state)
{
	services[0].asks = &program;
	begin(0);
	begin(1);
	admission_answered(&context, 1, true); /* its program does not run yet */
	assert_int_equal(n_admitted, 0);
	begun(0, 0);
	begun(1, 0);
	admission_answered(&context, 7, false);
	assert_int_equal(n_admitted, 0);
	assert_int_equal(loop_timer(&context.loop, &sessions[0].deadline, clock_us + 1), 0);
	admission_answered(&context, 1, true);
	assert_outcome(NULL);
	assert_int_equal(sessions[0].deadline.place, 0);
	admission_answered(&context, 1, false); /* once */
	assert_int_equal(n_admitted, 0);
	admission_answered(&context, 2, false);
	assert_int_equal(n_admitted, 1);
	assert_string_equal(refused, "access");
	assert_null(context.asking);
}

static void a_program_that_cannot_be_asked_admits_nobody(void **state)
{
	services[0].asks = &program;
	refusal = -EPIPE;
	begin(0);
	assert_int_equal(n_admitted, 1);
	assert_string_equal(refused, "access");
	refusal = 0;
	begin(1);
	begun(1, -EAGAIN);
	assert_int_equal(n_admitted, 2);
	assert_string_equal(refused, "access");
	assert_null(context.asking);
}

static void one_that_waits_too_long_is_refused(void **state)
{
	services[0].asks = &program;
	assert_true(admission_due_us(&sessions[0]) > context.loop.now_us + policy.access_timeout_us);
	begin(0);
	sessions[0].phase = PHASE_DECIDING;
	admission_out_of_time(&sessions[0]); /* still in the line for its program: it waits on */
	assert_int_equal(n_admitted, 0);
	assert_int_equal(sessions[0].phase, PHASE_ASKING);
	begun(0, 0);
	begin(1);
	begun(1, 0);
	admission_out_of_time(&sessions[0]);
	assert_int_equal(n_admitted, 1);
	assert_string_equal(refused, "access");
	assert_ptr_equal(context.asking, &admissions[1]);
}

static void without_a_master_all_are_refused(void **state)
{
	services[0].asks = &program;
	for (size_t i = 0; i < 2; i++) {
		begin(i);
		begun(i, 0);
	}
	admission_orphaned(&context);
	assert_int_equal(n_admitted, 2);
	assert_string_equal(refused, "access");
	assert_null(context.asking);
}

static void a_worker_that_stops_delivers_nothing_more(void **state)
{
	services[0].asks = &program;
	begin(0);
	begun(0, 0);
	context.state = WORKER_STOPPING;
	admission_answered(&context, 1, true);
	assert_true(has_ended);
	assert_int_equal(n_admitted, 0);
}

static void a_service_that_is_open_for_its_client_is_judged_as_open(void **state)
{
	opens = true;
	admission_begin(&admissions[0], &sessions[0]);
	assert_int_equal(n_admitted, 1);
	assert_null(refused);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(one_that_nothing_forbids_is_admitted_at_once),
		TEST(one_that_is_forbidden_is_not_charged),
		TEST(a_service_that_is_open_for_its_client_is_judged_as_open),
		TEST(one_above_a_limit_is_refused_before_a_program_is_asked),
		TEST(a_fallback_is_charged_in_place_of_the_service),
		TEST(a_program_is_told_of_the_session),
		TEST(names_that_are_too_long_are_cut),
		TEST(each_verdict_finds_its_session),
		TEST(a_program_that_cannot_be_asked_admits_nobody),
		TEST(one_that_waits_too_long_is_refused),
		TEST(without_a_master_all_are_refused),
		TEST(a_worker_that_stops_delivers_nothing_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
