/* What Prometheus reads: names, labels and values of a snapshot, in both formats. promtool reads the whole in tests/system. */
#include "counters.h"
#include "snapshot.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
// after those above
#include <cmocka.h>

static char *metrics_of(const struct snapshot *snapshot, bool is_open)
{
	static char *text;
	static size_t len;
	FILE *to = open_memstream(&text, &len);

	snapshot_metrics(snapshot, is_open, to);
	fclose(to);
	return text;
}

/* How often the text has the line. */
static unsigned lines_of(const char *text, const char *line)
{
	unsigned n = 0;
	size_t len = strlen(line);

	for (const char *at = text; (at = strstr(at, line)); at += len)
		n += (at == text || at[-1] == '\n') && (at[len] == '\n' || at[len] == '\0');
	return n;
}

static struct snapshot_listener listeners[] = { { "unix:/run/\x1b\"x\\", 1, 2, 3 } };
static struct measured measured[HISTOGRAMS] = {
	[HISTOGRAM_ANSWER] = { .sum = 2500001, .buckets = { 1, 2 } },
	[HISTOGRAM_BYTES] = { .sum = 77, .buckets = { [HISTOGRAM_BOUNDS] = 4 } },
};
static struct snapshot_service services[] = { { "ssh", 1, 2, 3, 40, 50, measured }, { "web", 0, 0, 0, 0, 0, NULL } };
static struct snapshot_backend backends[] = {
	{ .service = "ssh",
		.address = "192.0.2.1:22",
		.weight = 3,
		.open = 1,
		.total = 9,
		.failed = 2,
		.latency_s = 0.0125 },
	{ .service = "ssh", .name = "b.example:22", .address = "192.0.2.1:22", .weight = 3 },
	{ .service = "ssh", .name = "c.example:22", .state = SNAPSHOT_BACKEND_UNRESOLVED },
	{ .service = "web", .address = "192.0.2.1:22", .state = SNAPSHOT_BACKEND_DRAIN },
};
static struct snapshot_total ended[] = { { "idle", 7 } };
static const struct snapshot snapshot = {
	.version = "1.2",
	.state = SNAPSHOT_RELOADING,
	.since = 1700000000,
	.connections = UINT64_MAX,
	.ended = { ended, 1 },
	.listeners = listeners,
	.n_listeners = 1,
	.services = services,
	.n_services = 2,
	.backends = backends,
	.n_backends = 4,
};

static void test_values_and_labels_are_those_of_the_snapshot(void **state)
{
	static const char *const lines[] = {
		"usher_build_info{version=\"1.2\"} 1",
		"usher_start_time_seconds 1700000000",
		"usher_state{state=\"reloading\"} 1",
		"usher_state{state=\"serving\"} 0",
		"usher_open_connections 18446744073709551615",
		"usher_listener_shed_total{listener=\"unix:/run/?\\\"x\\\\\"} 3",
		"usher_service_bytes_total{service=\"ssh\",direction=\"down\"} 50",
		"usher_service_connections_total{service=\"web\"} 0",
		"usher_ended_total{end=\"idle\"} 7",
		"usher_answer_seconds_sum{service=\"ssh\"} 2.500001",
		"usher_answer_seconds_bucket{service=\"ssh\",le=\"+Inf\"} 3",
		"usher_answer_seconds_count{service=\"ssh\"} 3",
		"usher_session_bytes_sum{service=\"ssh\"} 77",
		"usher_session_bytes_bucket{service=\"ssh\",le=\"+Inf\"} 4",
	};
	char *text = metrics_of(&snapshot, false);

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (lines_of(text, lines[i]) != 1)
			fail_msg("%u times: %s", lines_of(text, lines[i]), lines[i]);
	assert_null(strstr(text, "usher_answer_seconds_count{service=\"web\""));
	free(text);
}

static void test_a_backend_is_there_once_for_each_service(void **state)
{
	char *text = metrics_of(&snapshot, false);

	assert_int_equal(lines_of(text, "usher_backend_up{service=\"ssh\",backend=\"192.0.2.1:22\"} 1"), 1);
	assert_int_equal(lines_of(text, "usher_backend_up{service=\"ssh\",backend=\"c.example:22\"} 0"), 1);
	assert_int_equal(lines_of(text, "usher_backend_up{service=\"web\",backend=\"192.0.2.1:22\"} 0"), 1);
	assert_int_equal(lines_of(text, "usher_backend_weight{service=\"ssh\",backend=\"192.0.2.1:22\"} 3"), 1);
	assert_non_null(
		strstr(text, "usher_backend_latency_seconds{service=\"ssh\",backend=\"192.0.2.1:22\"} 0.012500\n"));
	assert_null(strstr(text, "usher_backend_latency_seconds{service=\"web\""));
	free(text);
}

static void test_openmetrics_names_families_without_total_and_ends(void **state)
{
	char *text = metrics_of(&snapshot, true), *plain = metrics_of(&snapshot, false);

	assert_int_equal(lines_of(text, "# TYPE usher_backend_failed counter"), 1);
	assert_int_equal(lines_of(text, "# UNIT usher_answer_seconds seconds"), 1);
	assert_int_equal(lines_of(plain, "# TYPE usher_backend_failed_total counter"), 1);
	assert_null(strstr(plain, "# UNIT"));
	assert_null(strstr(plain, "# EOF"));
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
	free(text);
	free(plain);
}

static void test_a_text_that_is_longer_than_the_buffer_is_whole(void **state)
{
	static char name[100000];
	struct snapshot_listener one = { name, 1, 1, 1 };
	const struct snapshot large = { .version = "1", .listeners = &one, .n_listeners = 1 };

	memset(name, 'x', sizeof(name) - 1);
	char *text = metrics_of(&large, false);
	const char *at = strstr(text, "usher_listener_open_connections{listener=\"");
	assert_int_equal(strspn(strchr(at, '"') + 1, "x"), sizeof(name) - 1);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_and_labels_are_those_of_the_snapshot),
		cmocka_unit_test(test_a_backend_is_there_once_for_each_service),
		cmocka_unit_test(test_openmetrics_names_families_without_total_and_ends),
		cmocka_unit_test(test_a_text_that_is_longer_than_the_buffer_is_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
