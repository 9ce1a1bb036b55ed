/* The resolver for real, asking a name server of our own in a network namespace of our own: answers, changes, failures,
 * silence, forged rubbish, another list of name servers. Where the machine gives no namespace, only what needs none. */
#include "log.h"
#include "resolver.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the name server does, set by the test while it runs. */
struct behaviour {
	_Atomic int octet;   /* changing.test is 192.0.2.octet */
	_Atomic bool found;  /* late.test exists */
	_Atomic bool silent; /* nothing is answered at all */
	_Atomic unsigned questions;
};

static struct behaviour *server;
static pid_t server_pid;
static bool isolated;
static char servers_file[] = "/tmp/usher-resolv-XXXXXX", hosts_file[] = "/tmp/usher-hosts-XXXXXX";

static void put_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
}

/* ---- the name server ------------------------------------------------------------------------------------------ */

static size_t put_answer(uint8_t *at, uint16_t type, uint32_t ttl, const void *data, uint16_t len)
{
	const uint8_t head[12] = { 0xc0, 12, (uint8_t)(type >> 8), (uint8_t)type, 0, 1, (uint8_t)(ttl >> 24),
		(uint8_t)(ttl >> 16), (uint8_t)(ttl >> 8), (uint8_t)ttl, (uint8_t)(len >> 8), (uint8_t)len };

	memcpy(at, head, sizeof(head));
	memcpy(at + sizeof(head), data, len);
	return sizeof(head) + len;
}

/* Turns the question in `packet` into its answer. 0: none. */
static size_t answer(uint8_t *packet, size_t len)
{
	size_t end = 12;
	char name[256] = "";

	while (end < len && packet[end]) {
		strncat(name, (char *)packet + end + 1, packet[end]);
		strcat(name, ".");
		end += packet[end] + 1u;
	}
	unsigned type = (unsigned)packet[end + 1] << 8 | packet[end + 2], count = 0;
	uint8_t v4[4] = { 192, 0, 2, 1 }, *at = packet + end + 5;
	bool missing = false;

	if (server->silent)
		return 0;
	if (strcmp(name, "rubbish.test.") == 0) {
		memset(packet + 2, 0xc0, 60);
		return 62;
	}
	if (strcmp(name, "changing.test.") == 0)
		v4[3] = (uint8_t)server->octet;
	else if (strcmp(name, "late.test.") == 0)
		missing = !server->found;
	else if (strncmp(name, "many", 4) == 0)
		memcpy(v4 + 2, (uint8_t[]){ 9, (uint8_t)atoi(name + 4) }, 2);
	else if (strcmp(name, "missing.test.") == 0)
		missing = true;
	if (type == 1 && !missing) {
		for (int more = strcmp(name, "twelve.test.") == 0 ? 12 : 1; more > 0; more--, count++) {
			at += put_answer(at, 1, 1, v4, 4);
			v4[3]++;
		}
	} else if (type == 28 && strcmp(name, "both.test.") == 0) {
		struct in6_addr v6;
		inet_pton(AF_INET6, "2001:db8::2", &v6);
		at += put_answer(at, 28, 600, &v6, 16);
		count = 1;
	}
	memcpy(packet + 2, (uint8_t[]){ 0x81, missing ? 0x83 : 0x80, 0, 1, 0, (uint8_t)count, 0, 0, 0, 0 }, 10);
	return (size_t)(at - packet);
}

static void __attribute__((noreturn)) serve_names(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(53) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	inet_pton(AF_INET, "127.0.0.53", &address.sin_addr);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		_exit(1);
	for (;;) {
		struct sockaddr_in peer;
		socklen_t size = sizeof(peer);
		uint8_t packet[1024];
		ssize_t len = recvfrom(fd, packet, 512, 0, (struct sockaddr *)&peer, &size);
		server->questions++;
		size_t n = len > 17 ? answer(packet, (size_t)len) : 0;
		if (n > 0)
			sendto(fd, packet, n, 0, (struct sockaddr *)&peer, size);
	}
}

/* ---- the stage ------------------------------------------------------------------------------------------------ */

/* Own network, own mounts over the files that c-ares reads. False where that is not allowed. */
static bool isolate(void)
{
	struct ifreq loopback = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	if (geteuid() != 0 || unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
		return false;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool up = ioctl(fd, SIOCSIFFLAGS, &loopback) == 0;
	close(fd);
	return up && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		mount(servers_file, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0 &&
		mount(hosts_file, "/etc/hosts", NULL, MS_BIND, NULL) == 0;
}

static int set_stage(void **state)
{
	const int files[] = { mkstemp(servers_file), mkstemp(hosts_file) };
	for (int i = 0; i < 2; i++) {
		fchmod(files[i], 0644); /* it is nobody who reads them */
		close(files[i]);
	}
	put_file(servers_file, "nameserver 127.0.0.53\n");
	put_file(hosts_file, "127.0.0.1 localhost\n::1 localhost\n192.0.2.77 from-hosts.test\n");
	server = mmap(NULL, sizeof(*server), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	isolated = isolate();
	if (!isolated) {
		print_message("no namespaces here: without a name server\n");
		return 0;
	}
	server_pid = fork();
	if (server_pid == 0)
		serve_names();
	return 0;
}

static int clear_stage(void **state)
{
	if (server_pid > 0) {
		kill(server_pid, SIGKILL);
		waitpid(server_pid, NULL, 0);
	}
	unlink(servers_file);
	unlink(hosts_file);
	return 0;
}

struct play {
	struct resolved *table;
	pid_t resolver;
	int channel;
	int log;
	char lines[65536];
};

static void play_start(struct play *play, const char *const *names, size_t n)
{
	const struct log_settings settings = { .level = LEVEL_NOTICE };
	int ends[2];

	server->octet = 1;
	server->found = server->silent = false;
	play->lines[0] = '\0';
	assert_int_equal(resolved_new(&play->table, names, n), 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	play->log = ends[0];
	const struct resolver_start start = {
		.table = play->table,
		.max_age_s = 300,
		.log_fd = ends[1],
		.log = &settings,
		.drop = geteuid() == 0,
		.uid = 65534,
		.gid = 65534,
	};
	assert_int_equal(resolver_start(&start, &play->resolver, &play->channel), 0);
	close(ends[1]);
}

static void play_end(struct play *play)
{
	int status;

	kill(play->resolver, SIGTERM);
	assert_int_equal(waitpid(play->resolver, &status, 0), play->resolver);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	resolved_free(play->table);
	close(play->channel);
	close(play->log);
}

/* All addresses of a name as one text. */
static const char *addresses_of(struct play *play, size_t name)
{
	static char text[RESOLVED_ADDRESSES_MAX * ADDRESS_TEXT_MAX];
	struct resolved_address addresses[RESOLVED_ADDRESSES_MAX];
	char *end = text;

	size_t n = resolved_read(play->table, name, 80, addresses);
	*end = '\0';
	for (size_t i = 0; i < n; i++) {
		address_format(&addresses[i].address, end);
		end = strchr(end, '\0');
		strcpy(end++, " ");
	}
	return text;
}

static void wait_for(struct play *play, size_t name, const char *expected)
{
	for (int i = 0; i < 6000; i++) {
		if (strcmp(addresses_of(play, name), expected) == 0)
			return;
		usleep(10000);
	}
	fail_msg("name %zu is %s, not %s", name, addresses_of(play, name), expected);
}

/* How often the log says this by now. */
static unsigned times_logged(struct play *play, const char *text)
{
	size_t len = strlen(play->lines);
	unsigned times = 0;

	ssize_t n = read(play->log, play->lines + len, sizeof(play->lines) - 1 - len);
	if (n > 0)
		play->lines[len + (size_t)n] = '\0';
	for (const char *at = play->lines; (at = strstr(at, text)); at++)
		times++;
	return times;
}

static void wait_until_logged(struct play *play, const char *text)
{
	for (int i = 0; i < 6000; i++) {
		if (times_logged(play, text) > 0)
			return;
		usleep(10000);
	}
	fail_msg("never logged: %s\n%s", text, play->lines);
}

/* However often a name was asked for, no line repeats the one before about it. (On a slow machine an answer may be late, which is a
 * change of state too.) */
static void changes_are_told_once(struct play *play, const char *name)
{
	char before[256] = "", now[256], key[64];

	times_logged(play, name);
	snprintf(key, sizeof(key), "name=%s ", name);
	for (const char *at = play->lines; (at = strstr(at, key)); at++) {
		size_t len = strcspn(at, "\n");
		assert_true(len < sizeof(now));
		memcpy(now, at, len);
		now[len] = '\0';
		if (strcmp(now, before) == 0)
			fail_msg("told twice: %s\n%s", now, play->lines);
		strcpy(before, now);
	}
	assert_true(before[0] != '\0');
}

/* ---- what happens --------------------------------------------------------------------------------------------- */

static void the_hosts_file_is_asked_first(void **state)
{
	static const char *const names[] = { "localhost", "from-hosts.test" };
	struct play play;

	if (!isolated) {
		play_start(&play, names, 1);
		wait_until_logged(&play, "<5>notice resolved name=localhost addresses=");
		assert_true(addresses_of(&play, 0)[0] != '\0');
		play_end(&play);
		return;
	}
	unsigned before = server->questions;
	play_start(&play, names, 2);
	wait_for(&play, 1, "192.0.2.77:80 ");
	wait_until_logged(&play, "<5>notice resolved name=from-hosts.test addresses=192.0.2.77\n");
	assert_non_null(strstr(addresses_of(&play, 0), "127.0.0.1:80 "));
	assert_non_null(strstr(addresses_of(&play, 0), "[::1]:80 "));
	assert_int_equal(server->questions, before);
	play_end(&play);
}

static void answers_change_and_failures_keep_the_last_good_one(void **state)
{
	static const char *const names[] = { "changing.test", "both.test", "late.test", "missing.test",
		"rubbish.test", "twelve.test" };
	struct play play;

	if (!isolated)
		return;
	play_start(&play, names, 6);
	wait_for(&play, 0, "192.0.2.1:80 ");
	wait_until_logged(&play, "<5>notice resolved name=changing.test addresses=192.0.2.1\n");
	wait_until_logged(&play, "<4>warning resolve-failed name=late.test");
	wait_until_logged(
		&play, "<4>warning resolve-failed name=missing.test why=\"Domain name not found\" addresses_kept=0");
	wait_until_logged(&play, "resolved name=both.test");
	assert_non_null(strstr(addresses_of(&play, 1), "192.0.2.1:80 "));
	assert_non_null(strstr(addresses_of(&play, 1), "[2001:db8::2]:80 "));
	wait_until_logged(&play, "resolved name=twelve.test");
	struct resolved_address addresses[RESOLVED_ADDRESSES_MAX];
	assert_int_equal(resolved_read(play.table, 5, 80, addresses), 12);

	server->octet = 200;
	server->found = true;
	wait_for(&play, 2, "192.0.2.1:80 ");   /* within a second or three: it is asked for again soon */
	wait_for(&play, 0, "192.0.2.200:80 "); /* a TTL of 1 s, but nobody is asked more often than every 5 s */
	wait_until_logged(&play, "<5>notice resolved name=changing.test addresses=192.0.2.200\n");
	wait_until_logged(&play, "<4>warning resolve-failed name=rubbish.test");

	server->silent = true;
	wait_until_logged(&play,
		"resolve-failed name=changing.test why=\"Timeout while contacting DNS servers\" addresses_kept=1");
	assert_string_equal(addresses_of(&play, 0), "192.0.2.200:80 ");
	server->silent = false;
	for (int i = 0; i < 6000 && times_logged(&play, "addresses=192.0.2.200\n") < 2; i++)
		usleep(10000);

	changes_are_told_once(&play, "changing.test");
	changes_are_told_once(&play, "late.test");
	assert_int_equal(times_logged(&play, "resolve-failed name=missing.test"), 1);
	assert_string_equal(addresses_of(&play, 3), "");
	assert_string_equal(addresses_of(&play, 4), "");
	play_end(&play);
}

static void a_long_list_is_resolved_whole(void **state)
{
	enum { MANY = 200 };
	static char texts[MANY][32];
	const char *names[MANY];
	struct play play;
	char expected[64];

	if (!isolated)
		return;
	for (int i = 0; i < MANY; i++) {
		snprintf(texts[i], sizeof(texts[i]), "many%d.test", i);
		names[i] = texts[i];
	}
	play_start(&play, names, MANY);
	for (size_t i = 0; i < MANY; i++) {
		snprintf(expected, sizeof(expected), "192.0.9.%zu:80 ", i);
		wait_for(&play, i, expected);
	}
	play_end(&play);
}

static void another_list_of_name_servers_is_noticed(void **state)
{
	static const char *const names[] = { "changing.test" };
	struct play play;

	if (!isolated)
		return;
	put_file(servers_file, "nameserver 127.0.0.99\n"); /* nobody */
	play_start(&play, names, 1);
	wait_until_logged(&play, "resolve-failed name=changing.test");
	put_file(servers_file, "nameserver 127.0.0.53\n");
	wait_for(&play, 0, "192.0.2.1:80 ");
	play_end(&play);
}

static unsigned long cpu_ticks(pid_t pid)
{
	unsigned long user = 0, kernel = 0;
	char name[64];

	snprintf(name, sizeof(name), "/proc/%ld/stat", (long)pid);
	FILE *file = fopen(name, "r");
	assert_non_null(file);
	assert_int_equal(
		fscanf(file, "%*d %*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel), 2);
	fclose(file);
	return user + kernel;
}

static void waiting_costs_nothing(void **state)
{
	static const char *const names[] = { "localhost", "changing.test", "missing.test" };
	struct play play;

	play_start(&play, names, isolated ? 3 : 1);
	wait_until_logged(&play, "resolved name=localhost");
	server->silent = true;
	unsigned long before = cpu_ticks(play.resolver);
	sleep(2);
	assert_true(cpu_ticks(play.resolver) - before <= (unsigned long)sysconf(_SC_CLK_TCK) / 10);
	play_end(&play);
}

static void it_ends_with_its_master(void **state)
{
	static const char *const names[] = { "localhost" };
	int ends[2], status, channel;
	pid_t resolver = 0;

	const struct log_settings settings = { .level = LEVEL_ERROR };
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t master = fork();
	if (master == 0) {
		struct resolved *table;
		struct resolved_address addresses[RESOLVED_ADDRESSES_MAX];
		if (resolved_new(&table, names, 1) < 0)
			_exit(1);
		const struct resolver_start start = {
			.table = table, .max_age_s = 300, .log_fd = STDERR_FILENO, .log = &settings
		};
		if (resolver_start(&start, &resolver, &channel) < 0)
			_exit(1);
		while (resolved_read(table, 0, 1, addresses) == 0)
			usleep(1000);
		_exit(write(ends[1], &resolver, sizeof(resolver)) != sizeof(resolver));
	}
	assert_int_equal(waitpid(master, &status, 0), master);
	assert_int_equal(status, 0);
	assert_int_equal(read(ends[0], &resolver, sizeof(resolver)), sizeof(resolver));
	assert_int_equal(waitpid(resolver, &status, 0), resolver);
	/* by the signal, or by its channel, whichever it sees first */
	assert_true((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) || status == 0);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hosts_file_is_asked_first),
		cmocka_unit_test(answers_change_and_failures_keep_the_last_good_one),
		cmocka_unit_test(a_long_list_is_resolved_whole),
		cmocka_unit_test(another_list_of_name_servers_is_noticed),
		cmocka_unit_test(waiting_costs_nothing),
		cmocka_unit_test(it_ends_with_its_master),
	};
	return cmocka_run_group_tests(tests, set_stage, clear_stage);
}
