/* A snapshot: what counters say of a policy, written as JSON, read again, and shown as tables. */
#include "counters.h"
#include "hash.h"
#include "policy.h"
#include "resolved.h"
#include "shared.h"
#include "shared_limits.h"
#include "snapshot.h"
#include "timer.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// after those above
#include <cmocka.h>
#include <jansson.h>

static struct listener_policy listeners[] = { { .text = "127.0.0.1:443" }, { .text = "unix:/run/\x1b\"x" } };
static const struct backend backends[] = {
	{ .text = "192.0.2.1:22",
		.address = { sizeof(struct sockaddr_in), { .in = { AF_INET, 0x1600, { 0x010200c0 }, { 0 } } } },
		.name = BACKEND_NO_NAME,
		.weight = 2 },
	{ .text = "ssh.example:22", .name = 0, .port = 22, .weight = 1, .backup = true, .max_connections = 5 },
};
static const char *names[] = { "ssh.example" };
static struct service services[] = {
	{ .name = "ssh",
		.transports = 1 << TRANSPORT_STREAM,
		.target = { .delivery = DELIVERY_CONNECT, .connect = { .backends = backends, .n_backends = 2 } } },
	{ .name = "web", .target.delivery = DELIVERY_REJECT },
};
static const struct policy policy = {
	.file = "/etc/usher/usher.conf",
	.listeners = listeners,
	.n_listeners = 2,
	.services = services,
	.n_services = 2,
	.names = names,
	.n_names = 1,
	.workers = 2,
	.max_connections = 100,
};

/* Counters of one worker: three clients of ssh, one of them open; one refused by a rule, two shed. */
static struct shared counted(void)
{
	struct shared shared = NO_SHARED;

	assert_int_equal(shared_open(&shared), 0);
	shared_begin(&shared, 0);
	struct counter *ssh = counter_get(shared.counters, 0, COUNTER_SERVICE, "ssh");
	for (int i = 0; i < 3; i++)
		counter_open(ssh);
	counter_close(ssh);
	counter_close(ssh);
	counter_add(&ssh->bytes_up, 5000);
	counter_open(counter_get(shared.counters, 0, COUNTER_LISTENER, "127.0.0.1:443"));
	counter_add(&counter_get(shared.counters, 0, COUNTER_END, "idle")->total, 2);
	counter_add(&counter_get(shared.counters, 0, COUNTER_RULE, "deny")->total, 1);
	counter_add(&counter_get(shared.counters, 0, COUNTER_LIMIT, "max_undecided")->total, 2);
	counter_add(&counter_get(shared.counters, 0, COUNTER_LIMIT, "log_queue")->total, 7);
	assert_null(limits_enter_all(shared.limits, 0, 0));
	return shared;
}

/* As the master makes it. */
static void gather(struct snapshot *ret, const struct shared *shared, const struct policy *of)
{
	*ret = (struct snapshot){ .version = "1.2",
		.pid = 77,
		.state = SNAPSHOT_RELOADING,
		.since = 1000,
		.reloading_since = 2000,
		.programs = 3,
		.descriptors = 1024,
		.generations = calloc(1, sizeof(struct snapshot_generation)),
		.n_generations = 1 };
	ret->generations[0] = (struct snapshot_generation){ "serving", "/etc/usher/usher.conf",
		calloc(2, sizeof(struct snapshot_worker)), 2 };
	ret->generations[0].workers[0] = (struct snapshot_worker){ 78, true };
	ret->generations[0].workers[1] = (struct snapshot_worker){ 79, false };
	assert_int_equal(snapshot_gather(ret, shared, of, NULL), 0);
}

static uint64_t total(const struct snapshot_totals *totals, const char *name)
{
	for (size_t i = 0; i < totals->n; i++)
		if (strcmp(totals->items[i].name, name) == 0)
			return totals->items[i].count;
	fail_msg("%s is not there", name);
	return 0;
}

static char *written(void (*write)(const struct snapshot *snapshot, FILE *to), const struct snapshot *snapshot)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	write(snapshot, to);
	fclose(to);
	return text;
}

static void each_counter_is_gathered_under_its_name(void **state)
{
	struct shared shared = counted();
	struct snapshot snapshot;

	gather(&snapshot, &shared, &policy);
	assert_int_equal(snapshot.connections, 1);
	assert_int_equal(snapshot.n_services, 2);
	assert_string_equal(snapshot.services[0].name, "ssh");
	assert_int_equal(snapshot.services[0].open, 1);
	assert_int_equal(snapshot.services[0].total, 3);
	assert_int_equal(snapshot.services[0].bytes_up, 5000);
	assert_int_equal(snapshot.services[1].total, 0);
	assert_int_equal(snapshot.n_listeners, 2);
	assert_int_equal(snapshot.listeners[0].accepted, 1);
	assert_int_equal(total(&snapshot.ended, "idle"), 2);
	assert_int_equal(total(&snapshot.refused, "deny"), 1);
	assert_int_equal(total(&snapshot.shed, "max_undecided"), 2);
	assert_int_equal(total(&snapshot.lost, "log_queue"), 7);
	assert_int_equal(snapshot.max_connections, 100);
	assert_int_equal(snapshot.room.in_all, 100);
	snapshot_fini(&snapshot);
	shared_close(&shared);
}

static void a_worker_with_a_view_of_the_memory_gathers_the_same(void **state)
{
	struct shared shared = counted(), view = NO_SHARED;
	struct snapshot own, other;

	assert_int_equal(shared_view(&shared, 1, &view), 0);
	gather(&own, &shared, &policy);
	gather(&other, &view, &policy);
	char *text = written(snapshot_json, &own), *again = written(snapshot_json, &other);
	assert_string_equal(text, again);
	free(text);
	free(again);
	snapshot_fini(&own);
	snapshot_fini(&other);
	shared_close(&view);
	shared_close(&shared);
}

/* With a policy and without. */
/* One that is not in the table, as any is before its first client; then what the table says; and a name that has an address. */
static void backends_are_gathered_by_address(void **state)
{
	struct shared shared = counted();
	struct resolved *resolved;
	struct resolved_address found[2] = { { .weight = 1 }, { .weight = 1 } };
	struct snapshot snapshot = { 0 };
	uint64_t service = hash_name("ssh"), key = backend_key(service, TRANSPORT_STREAM, &backends[0].address);

	assert_int_equal(snapshot_gather_backends(&snapshot, &shared, &policy, NULL), 0);
	assert_int_equal(snapshot.n_backends, 2);
	assert_string_equal(snapshot.backends[0].address, "192.0.2.1:22");
	assert_null(snapshot.backends[0].name);
	assert_int_equal(snapshot.backends[0].state, SNAPSHOT_BACKEND_UP);
	assert_int_equal(snapshot.backends[0].weight, 2);
	assert_string_equal(snapshot.backends[1].name, "ssh.example:22");
	assert_string_equal(snapshot.backends[1].address, "");
	assert_int_equal(snapshot.backends[1].state, SNAPSHOT_BACKEND_UNRESOLVED);
	snapshot_fini(&snapshot);

	uint32_t place = backend_table_place(shared.backends, BACKEND_MASTER, service, key);
	struct backend_record *record = backend_table_at(shared.backends, place);
	backend_health_failed(&record->health, 0, false, clock_monotonic_us());
	record->error = -ECONNREFUSED;
	record->since_s = 77;
	record->failed = 3;
	record->latency_us = 1500;
	backend_table_enter(shared.backends, shared.limits, 0, place, key, 0);
	backend_order_set_weight(shared.backends, place, 9, 1);
	assert_int_equal(address_parse(&found[0].address, "192.0.2.7:0"), 0);
	assert_int_equal(address_parse(&found[1].address, "[2001:db8::7]:0"), 0);
	assert_int_equal(resolved_new(&resolved, names, 1), 0);
	resolved_write(resolved, 0, found, 2);
	snapshot = (struct snapshot){ 0 };
	assert_int_equal(snapshot_gather_backends(&snapshot, &shared, &policy, resolved), 0);
	assert_int_equal(snapshot.n_backends, 3);
	const struct snapshot_backend *one = &snapshot.backends[0];
	assert_int_equal(one->state, SNAPSHOT_BACKEND_DOWN);
	assert_string_equal(one->why, "Connection refused");
	assert_int_equal(one->since, 77);
	assert_int_equal(one->open, 1);
	assert_int_equal(one->failed, 3);
	assert_int_equal(one->weight, 9);
	assert_int_equal(one->of_file, 2);
	assert_true(one->latency_s > 0.00149 && one->latency_s < 0.00151);
	assert_string_equal(snapshot.backends[1].address, "192.0.2.7:22");
	assert_string_equal(snapshot.backends[2].address, "[2001:db8::7]:22");
	assert_true(snapshot.backends[2].backup);
	snapshot_fini(&snapshot);

	backend_order_set(shared.backends, place, BACKEND_MODE_DRAIN, 1, 99);
	record->error = 123456; /* of a worker that was taken over */
	snapshot = (struct snapshot){ 0 };
	assert_int_equal(snapshot_gather_backends(&snapshot, &shared, &policy, resolved), 0);
	assert_int_equal(snapshot.backends[0].state, SNAPSHOT_BACKEND_DRAIN);
	assert_string_equal(snapshot.backends[0].why, "operator");
	assert_int_equal(snapshot.backends[0].since, 99);
	snapshot_fini(&snapshot);
	backend_order_drop(shared.backends, place);
	snapshot = (struct snapshot){ 0 };
	assert_int_equal(snapshot_gather_backends(&snapshot, &shared, &policy, resolved), 0);
	assert_string_equal(snapshot.backends[0].why, "unknown");
	snapshot_fini(&snapshot);
	resolved_free(resolved);
	shared_close(&shared);
}

/* A table of other names than the policy's, as workers of an image before this one may have. */
static void a_name_of_another_policy_has_no_address_here(void **state)
{
	static const char *const others[] = { "other.example" };
	struct shared shared = counted();
	struct resolved *resolved;
	struct resolved_address found = { .weight = 1 };
	struct snapshot snapshot = { 0 };

	assert_int_equal(address_parse(&found.address, "192.0.2.7:0"), 0);
	assert_int_equal(resolved_new(&resolved, others, 1), 0);
	resolved_write(resolved, 0, &found, 1);
	assert_int_equal(snapshot_gather_backends(&snapshot, &shared, &policy, resolved), 0);
	assert_int_equal(snapshot.backends[1].state, SNAPSHOT_BACKEND_UNRESOLVED);
	snapshot_fini(&snapshot);
	resolved_free(resolved);
	shared_close(&shared);
}

static void json_that_is_read_again_says_the_same(void **state)
{
	static const struct policy *const policies[] = { &policy, NULL };
	struct shared shared = counted();

	for (size_t i = 0; i < 2; i++) {
		struct snapshot snapshot, again;
		gather(&snapshot, &shared, policies[i]);
		char *text = written(snapshot_json, &snapshot);
		assert_int_equal(text[strlen(text) - 1], '\n');
		json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(json);
		assert_int_equal(snapshot_read(&again, json), 0);
		char *text_again = written(snapshot_json, &again);
		assert_string_equal(text, text_again);
		free(text);
		free(text_again);
		snapshot_fini(&snapshot);
		snapshot_fini(&again);
		json_decref(json);
	}
	shared_close(&shared);
}

static void a_key_of_another_type_or_none_at_all_is_nothing(void **state)
{
	static const char *const texts[] = {
		"{}", "[]", "7",
		"{\"version\": 1, \"pid\": \"x\", \"state\": \"asleep\", \"generations\": {}, \"listeners\": [1, "
		"null], "
		"\"services\": [[]], \"ended\": [], \"lost\": {\"a\": -1, \"b\": \"c\"}, \"room\": 3, \"since\": []}"
	};

	for (size_t i = 0; i < 4; i++) {
		struct snapshot snapshot;
		struct snapshot_session session;
		json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);
		assert_int_equal(snapshot_read(&snapshot, json), 0);
		assert_null(snapshot.version);
		assert_int_equal(snapshot.state, SNAPSHOT_UNKNOWN);
		assert_int_equal(snapshot.pid, 0);
		assert_int_equal(snapshot.n_generations, 0);
		char *text = written(snapshot_table, &snapshot);
		assert_ptr_equal(strstr(text, "usher -, process 0, -, up for "), text);
		free(text);
		snapshot_fini(&snapshot);
		snapshot_session_read(&session, json);
		assert_null(session.client);
		assert_true(session.idle_s < 0);
		json_decref(json);
	}
}

static void the_tables_have_a_row_for_each_and_only_what_was_counted(void **state)
{
	struct shared shared = counted();
	struct snapshot snapshot;

	gather(&snapshot, &shared, &policy);
	char *text = written(snapshot_table, &snapshot);
	assert_ptr_equal(strstr(text, "usher 1.2, process 77, reloading, up for "), text);
	assert_non_null(strstr(text, "\n  serving: 2 workers, /etc/usher/usher.conf\n"));
	assert_non_null(strstr(text, "\n  reloading: the configuration is being compiled, for "));
	assert_null(strstr(text, "\n  ending: "));
	assert_non_null(strstr(text,
		"\nlistener                             open   accepted     shed\n"
		"127.0.0.1:443                           1          1        0\n"
		"unix:/run/?\"x                           0          0        0\n"));
	assert_non_null(strstr(text,
		"\nservice                  open      total   failed           up         down\n"
		"ssh                         1          3        0      4.9 KiB          0 B\n"
		"web                         0          0        0          0 B          0 B\n"
		"\nended:   idle 2\nrefused: deny 1\nshed:    max_undecided 2\nlost:    log_queue 7\n"));
	free(text);
	snapshot_fini(&snapshot);
	shared_close(&shared);
}

static void a_session_is_read_as_it_was_written(void **state)
{
	const struct snapshot_session session = { .id = 9,
		.client = "[2001:db8::1]:5",
		.listener = "127.0.0.1:443",
		.phase = "deciding",
		.age_s = 90,
		.idle_s = -1,
		.bytes_up = 2048,
		.worker = 78 };
	char *text = NULL, *table = NULL;
	size_t len = 0, table_len = 0;
	FILE *to = open_memstream(&text, &len), *rows = open_memstream(&table, &table_len);
	struct snapshot_session again;

	snapshot_session_json(&session, to);
	fclose(to);
	assert_string_equal(text,
		"{\"id\": 9, \"client\": \"[2001:db8::1]:5\", \"listener\": \"127.0.0.1:443\", "
		"\"service\": null, \"protocol\": null, \"phase\": \"deciding\", \"age_s\": 90.000, "
		"\"bytes_up\": 2048, \"bytes_down\": 0, \"worker\": 78}\n");
	json_t *json = json_loads(text, 0, NULL);
	snapshot_session_read(&again, json);
	assert_string_equal(again.client, session.client);
	assert_null(again.via);
	assert_null(again.service);
	assert_int_equal(again.bytes_up, 2048);
	assert_int_equal(again.worker, 78);
	assert_true(again.idle_s < 0);
	snapshot_session_table(&again, rows);
	fclose(rows);
	assert_string_equal(table,
		"9        [2001:db8::1]:5          -              -          deciding        2 min    "
		"2.0 KiB        0 B\n");
	free(text);
	free(table);
	json_decref(json);
}

static void a_backend_is_read_as_it_was_written(void **state)
{
	const struct snapshot_backend backend = { .service = "web",
		.address = "udp:192.0.2.1:53",
		.name = "web.example:53",
		.state = SNAPSHOT_BACKEND_DRAIN,
		.why = "operator",
		.since = 99,
		.weight = 4,
		.of_file = 1,
		.most = 10,
		.backup = true,
		.open = 2,
		.total = 7,
		.failed = 1,
		.latency_s = 0.0015 };
	char *text = NULL, *table = NULL;
	size_t len = 0, table_len = 0;
	FILE *to = open_memstream(&text, &len), *rows = open_memstream(&table, &table_len);
	struct snapshot_backend again;

	snapshot_backend_json(&backend, to);
	fclose(to);
	assert_string_equal(text,
		"{\"service\": \"web\", \"address\": \"udp:192.0.2.1:53\", \"name\": \"web.example:53\", "
		"\"state\": \"drain\", \"why\": \"operator\", \"since\": 99, \"weight\": 4, \"weight_of_file\": 1, "
		"\"backup\": true, \"max_connections\": 10, \"open\": 2, \"total\": 7, \"failed\": 1, "
		"\"latency_s\": 0.001500}");
	json_t *json = json_loads(text, 0, NULL);
	snapshot_backend_read(&again, json);
	assert_string_equal(again.address, backend.address);
	assert_int_equal(again.state, SNAPSHOT_BACKEND_DRAIN);
	assert_int_equal(again.of_file, 1);
	again.since = 0;
	snapshot_backend_table(&again, rows);
	fclose(rows);
	assert_string_equal(table,
		"web              web.example:53 (udp:192.0.2.1:53)    drain             -      4      2          7  "
		"      1    "
		"1.5 ms  operator, weight 1 in the file, at most 10, backup\n");
	free(text);
	free(table);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_counter_is_gathered_under_its_name),
		cmocka_unit_test(a_worker_with_a_view_of_the_memory_gathers_the_same),
		cmocka_unit_test(backends_are_gathered_by_address),
		cmocka_unit_test(a_name_of_another_policy_has_no_address_here),
		cmocka_unit_test(json_that_is_read_again_says_the_same),
		cmocka_unit_test(a_key_of_another_type_or_none_at_all_is_nothing),
		cmocka_unit_test(the_tables_have_a_row_for_each_and_only_what_was_counted),
		cmocka_unit_test(a_session_is_read_as_it_was_written),
		cmocka_unit_test(a_backend_is_read_as_it_was_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
