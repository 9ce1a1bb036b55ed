/* The nDPI module through the host: what its answers rest on, and what it does to the process. */
#include "module.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
// after the four above
#include <cmocka.h>

#define MODULE BUILD_ROOT "/modules/ndpi.so"

static struct arena *arena;
static struct module_use use = { .path = MODULE };
static struct findings findings;
static uint64_t randomness = 88172645463325252ULL;

static uint64_t next_random(void)
{
	randomness ^= randomness << 13;
	randomness ^= randomness >> 7;
	return randomness ^= randomness << 17;
}

static int settings_are_checked_first(void);

static int setup(void **state)
{
	char error[MODULE_ERROR_MAX] = "";

	if (settings_are_checked_first() < 0)
		return -1;
	arena = arena_new();
	if (module_inspect(&use, &(struct module_inspection){ 0 }, arena, error, sizeof(error)) == 0 &&
		module_bind(&use, 1, error, sizeof(error)) == 0)
		return 0;
	print_error("%s\n", error);
	return -1;
}

static int teardown(void **state)
{
	arena_free(arena);
	return 0;
}

/* Every probe's verdict; which one says YES, if only one does. */
static const char *decide(const void *bytes, size_t len, enum verdict *verdicts)
{
	struct evidence evidence = { .bytes = bytes, .len = len };
	const char *name = NULL;

	findings_reset(&findings);
	for (size_t i = 0; i < use.n_probes; i++) {
		verdicts[i] = module_probe_run(&use.probes[i], &evidence, &findings);
		if (verdicts[i] == VERDICT_YES) {
			assert_null(name);
			name = use.probes[i].name;
		}
	}
	return name;
}

#define TEXT(text) text, sizeof(text) - 1

static const struct {
	const char *name; /* NULL: none */
	const char *bytes;
	size_t len;
} hellos[] = {
	{ "bittorrent",
		TEXT("\x13"
		     "BitTorrent protocol\0\0\0\0\0\x10\0\x05"
		     "01234567890123456789-TR2940-123456789012") },
	{ "mqtt", TEXT("\x10\x10\0\4MQTT\4\2\0\x3c\0\4test") },
	{ "rdp", TEXT("\3\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x08\0\x0b\0\0\0") },
	{ "ldap", TEXT("\x30\x0c\2\1\1\x60\7\2\1\3\4\0\x80\0") },
	{ "sip", TEXT("OPTIONS sip:a@b.example SIP/2.0\r\nVia: SIP/2.0/TCP c.example\r\n\r\n") },
	{ "rtsp", TEXT("OPTIONS rtsp://server/video RTSP/1.0\r\nCSeq: 1\r\n\r\n") },
	{ "irc", TEXT("NICK joe\r\nUSER joe 0 * :Joe\r\n") },
	{ "nats", TEXT("CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"go\"}\r\nPING\r\n") },
	{ "mongodb",
		TEXT("\x34\0\0\0\1\0\0\0\0\0\0\0\xdd\7\0\0\0\0\0\0\0\x1f\0\0\0\x10hello\0\1\0\0\0\2$"
		     "db\0\6\0\0\0admin\0\0") },
	/* A length that MQTT could have, RDP's beginning that Cassandra could have, Redis's PING that NATS
	 * has too. */
	{ NULL, TEXT("0031git-upload-pack /projects.git\0host=a.example\0") },
	{ NULL, TEXT("PING\r\n") },
	{ NULL, TEXT("EHLO a.example\r\n") },
	{ NULL, TEXT("SSH-2.0-OpenSSH_9.2p1\r\n") },
	{ NULL, TEXT("GET /announce?info_hash=1&peer_id=2 HTTP/1.1\r\nHost: tracker.example\r\n\r\n") },
};
#define N_HELLOS (sizeof(hellos) / sizeof(hellos[0]))

static void first_messages_are_named(void **state)
{
	enum verdict verdicts[USHER_PROBES_MAX];

	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < N_HELLOS; i++) {
			const char *name = decide(hellos[i].bytes, hellos[i].len, verdicts);
			if (hellos[i].name) {
				assert_non_null(name);
				assert_string_equal(name, hellos[i].name);
			} else {
				assert_null(name);
			}
		}
}

static void what_usher_knows_is_no_at_once(void **state)
{
	static const char *const known[] = { "SSH-", "GET /", "POST http", "OPTIONS /", "\x16\x03",
		"PRI * HTTP/2.0\r\n" };
	enum verdict verdicts[USHER_PROBES_MAX];

	for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
		decide(known[k], strlen(known[k]), verdicts);
		for (size_t i = 0; i < use.n_probes; i++)
			assert_int_equal(verdicts[i], VERDICT_NO);
	}
	for (size_t i = 0; i < use.n_probes; i++) {
		assert_string_not_equal(use.probes[i].name, "ssh");
		assert_string_not_equal(use.probes[i].name, "http");
		assert_string_not_equal(use.probes[i].name, "tls");
	}
}

/* At once, in random pieces, and with others in between: the same, and never taken back. */
static void assert_same_in_pieces(const uint8_t *bytes, size_t len)
{
	static enum verdict whole[USHER_PROBES_MAX], cut[USHER_PROBES_MAX], before[USHER_PROBES_MAX];

	decide(bytes, len, whole);
	for (size_t i = 0; i < use.n_probes; i++)
		before[i] = VERDICT_MORE;
	for (size_t at = 0; at < len;) {
		at += 1 + next_random() % (len - at > 9 ? 9 : len - at);
		decide(bytes, at, cut);
		for (size_t i = 0; i < use.n_probes; i++) {
			if (before[i] != VERDICT_MORE)
				assert_int_equal(cut[i], before[i]);
			before[i] = cut[i];
		}
		if (next_random() % 4 == 0)
			decide(hellos[next_random() % N_HELLOS].bytes, 6, cut); /* none is shorter */
	}
	for (size_t i = 0; i < use.n_probes; i++)
		assert_int_equal(before[i], whole[i]);
}

static void pieces_change_nothing(void **state)
{
	uint8_t bytes[700];

	for (int round = 0; round < 300; round++) {
		size_t i = next_random() % N_HELLOS, len = hellos[i].len;
		memcpy(bytes, hellos[i].bytes, len);
		/* Some with something behind, some damaged, some of nothing but noise. */
		size_t more = round % 3 ? next_random() % 100 : 0;
		for (size_t k = 0; k < more; k++)
			bytes[len++] = (uint8_t)next_random();
		if (round % 5 == 0)
			bytes[next_random() % len] = (uint8_t)next_random();
		if (round % 7 == 0)
			for (len = 0; len < 600; len++)
				bytes[len] = round % 2 ? (uint8_t)next_random() : "GO \r\n"[next_random() % 5];
		assert_same_in_pieces(bytes, len);
	}
}

static void no_more_than_so_many_bytes_are_waited_for(void **state)
{
	enum verdict verdicts[USHER_PROBES_MAX];
	uint8_t bytes[512];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)next_random() | 0x80;
	assert_null(decide(bytes, 511, verdicts));
	assert_int_equal(verdicts[0], VERDICT_MORE);
	assert_null(decide(bytes, 512, verdicts));
	assert_int_equal(verdicts[0], VERDICT_NO);

	memset(bytes, '\n', sizeof(bytes)); /* each would be a beginning to show */
	assert_null(decide(bytes, 40, verdicts));
	assert_int_equal(verdicts[0], VERDICT_NO);
}

static long resident_kib(void)
{
	long pages, resident = 0;
	FILE *from = fopen("/proc/self/statm", "re");

	assert_non_null(from);
	assert_int_equal(fscanf(from, "%ld %ld", &pages, &resident), 2);
	fclose(from);
	return resident * 4;
}

static void memory_does_not_grow(void **state)
{
	enum verdict verdicts[USHER_PROBES_MAX];
	uint8_t bytes[96];
	long before = 0;

	for (int i = 0; i < 4000; i++) {
		if (i == 1000)
			before = resident_kib();
		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = i % 2 ? (uint8_t)next_random() : (uint8_t)(' ' + next_random() % 95);
		decide(bytes, sizeof(bytes), verdicts);
		decide(hellos[(size_t)i % N_HELLOS].bytes, hellos[(size_t)i % N_HELLOS].len, verdicts);
	}
#ifndef __SANITIZE_ADDRESS__ /* which keeps what is freed */
	assert_in_range(resident_kib() - before + 1024, 0, 2048);
#else
	assert_true(before > 0);
#endif
}

/* In the sandbox: a file, a socket or a process is the end. */
static void it_opens_nothing_after_init(void **state)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };
	enum verdict verdicts[USHER_PROBES_MAX];
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
			prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
			_exit(77);
		for (size_t i = 0; i < N_HELLOS; i++)
			for (size_t len = 1; len <= hellos[i].len; len++)
				decide(hellos[i].bytes, len, verdicts);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* In a process that has not loaded it yet, as when a configuration is compiled. */
static int inspect_afresh(struct module_setting *settings, size_t n, const char *expected)
{
	char error[MODULE_ERROR_MAX] = "";
	struct module_use other = { .path = MODULE, .settings = settings, .n_settings = n };
	struct arena *own = arena_new();
	int r = module_inspect(&other, &(struct module_inspection){ 0 }, own, error, sizeof(error));

	if (expected && !strstr(error, expected))
		print_error("%s\n", error);
	bool as_expected = expected ? r < 0 && strstr(error, expected) : r == 0;
	for (size_t i = 0; r == 0 && i < other.n_probes; i++)
		as_expected = as_expected && strncmp(other.probes[i].name, "n-", 2) == 0 &&
			strcmp(other.probes[i].name, "n-mqtt") != 0;
	arena_free(own);
	return as_expected ? 0 : -1;
}

static int settings_are_checked_first(void)
{
	static struct module_value small = { MODULE_WHOLE, .whole = 4 }, slip = { MODULE_STRING, .text = "mqqt" },
				   mqtt = { MODULE_STRING, .text = "n-mqtt" },
				   prefix = { MODULE_STRING, .text = "n-" };
	struct module_setting wrong[] = { { "bytes", &small, 1, false }, { "without", &slip, 1, false } },
			      right[] = { { "without", &mqtt, 1, false }, { "prefix", &prefix, 1, false } };

	if (inspect_afresh(&wrong[0], 1, "`bytes' is 4, expected a whole number from 16 to 2048") < 0 ||
		inspect_afresh(&wrong[1], 1, "`without' has \"mqqt\", which is no name of its") < 0)
		return -1;
	return inspect_afresh(right, 2, NULL);
}

static void a_second_entry_of_it_is_refused(void **state)
{
	struct module_setting none[1];

	assert_int_equal(inspect_afresh(none, 0, "it is there twice, expected one entry"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_messages_are_named),
		cmocka_unit_test(what_usher_knows_is_no_at_once),
		cmocka_unit_test(pieces_change_nothing),
		cmocka_unit_test(no_more_than_so_many_bytes_are_waited_for),
		cmocka_unit_test(memory_does_not_grow),
		cmocka_unit_test(it_opens_nothing_after_init),
		cmocka_unit_test(a_second_entry_of_it_is_refused),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
