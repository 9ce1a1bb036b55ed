/* A log server, as the logger process for real writes to it: what is sent (RFC 5424, RFC 6587), and what becomes of lines while the server is not
 * there. */
#include "log_remote.h"
#include "logger.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

static struct logger logger;
static const struct log_settings settings = { .level = LEVEL_INFO, .facility = LOG_LOCAL3 };
static struct address address;
static char name[64];

static int server_open(int type)
{
	int on = 1, fd = socket(AF_INET, type, 0);

	assert_true(fd >= 0);
	if (address.len == 0)
		assert_int_equal(address_parse(&address, "127.0.0.1:0"), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, &address.sa, address.len), 0);
	assert_int_equal(getsockname(fd, &address.sa, &address.len), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 5), 0);
	snprintf(name, sizeof(name), "%s:127.0.0.1:%u", type == SOCK_STREAM ? "tcp" : "udp", address_port(&address));
	return fd;
}

static int setup(void **state)
{
	address.len = 0;
	log_setup(STDERR_FILENO, &settings);
	return 0;
}

static void begin(void)
{
	assert_int_equal(logger_start(&logger, SINK_SERVER, name, &settings, 65534, 65534, geteuid() == 0), 0);
	log_setup(logger.pipe_fd, &settings);
}

static void finish(void)
{
	int status;

	log_setup(STDERR_FILENO, &settings);
	logger_close(&logger);
	assert_int_equal(waitpid(logger.pid, &status, 0), logger.pid);
	assert_int_equal(status, 0);
}

static void await(int fd)
{
	assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 60000), 1);
}

/* "<PRI>1 TIME HOST usher PID - - TEXT" */
static void assert_message(const char *message, int priority, const char *text)
{
	char host[256] = "", own_host[256] = "", expected[32];
	int pid = 0, before = 0;

	assert_int_equal(gethostname(own_host, sizeof(own_host) - 1), 0);
	snprintf(expected, sizeof(expected), "<%d>1 2", priority);
	assert_memory_equal(message, expected, strlen(expected));
	assert_int_equal(sscanf(message, "<%*d>1 %*4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*6dZ %255s usher %d - - %n", host,
				 &pid, &before),
		2);
	assert_string_equal(host, own_host);
	assert_int_equal(pid, getpid());
	assert_string_equal(message + before, text);
}

static void receive_datagram(int fd, char ret[LOG_LINE_MAX])
{
	await(fd);
	ssize_t n = recv(fd, ret, LOG_LINE_MAX - 1, 0);
	assert_true(n > 0);
	ret[n] = '\0';
}

/* One message with its length in front. */
static void receive_framed(int fd, char ret[LOG_LINE_MAX])
{
	size_t want = 0, have = 0;
	char digit = 0;

	for (await(fd); recv(fd, &digit, 1, 0) == 1 && digit != ' '; await(fd))
		want = want * 10 + (size_t)(digit - '0');
	assert_int_equal(digit, ' ');
	assert_in_range(want, 1, LOG_LINE_MAX - 1);
	while (have < want) {
		await(fd);
		ssize_t n = recv(fd, ret + have, want - have, 0);
		assert_true(n > 0);
		have += (size_t)n;
	}
	ret[have] = '\0';
}

static int accept_one(int listener)
{
	await(listener);
	int fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	return fd;
}

static void each_line_is_a_datagram(void **state)
{
	char message[LOG_LINE_MAX];
	int server = server_open(SOCK_DGRAM);

	begin();
	log_warning("first");
	log_info("second");
	receive_datagram(server, message);
	assert_message(message, LOG_LOCAL3 | LOG_WARNING, "warning first");
	receive_datagram(server, message);
	assert_message(message, LOG_LOCAL3 | LOG_INFO, "info second");
	finish();
	close(server);
}

static void a_datagram_that_nobody_took_costs_no_other(void **state)
{
	char message[LOG_LINE_MAX];

	close(server_open(SOCK_DGRAM));
	begin();
	log_info("nobody");
	usleep(200000); /* for the report that nobody is there; it may come later, which costs nothing either */
	int server = server_open(SOCK_DGRAM);
	log_info("there");
	receive_datagram(server, message);
	assert_message(message, LOG_LOCAL3 | LOG_INFO, "info there");
	finish();
	close(server);
}

static void over_tcp_each_has_its_length(void **state)
{
	char message[LOG_LINE_MAX];
	int listener = server_open(SOCK_STREAM);

	begin();
	log_info("first");
	log_error("second one");
	int server = accept_one(listener);
	receive_framed(server, message);
	assert_message(message, LOG_LOCAL3 | LOG_INFO, "info first");
	receive_framed(server, message);
	assert_message(message, LOG_LOCAL3 | LOG_ERR, "error second one");
	finish();
	await(server);
	assert_int_equal(recv(server, message, sizeof(message), 0), 0);
	close(server);
	close(listener);
}

/* Lines until one gets through: before it comes the count of those that did not. */
static int lines_until_accepted(int listener)
{
	for (int i = 0; i < 600; i++) {
		log_info("again");
		if (poll(&(struct pollfd){ .fd = listener, .events = POLLIN }, 1, 100) == 1)
			break;
	}
	return accept_one(listener);
}

static void lines_are_counted_while_it_is_not_there(void **state)
{
	char message[LOG_LINE_MAX];

	close(server_open(SOCK_STREAM));
	begin();
	log_info("lost");
	usleep(100000);
	int listener = server_open(SOCK_STREAM);
	int server = lines_until_accepted(listener);
	receive_framed(server, message);
	assert_non_null(strstr(message, " - - warning log-lost lines="));
	assert_non_null(strstr(message, "why=\"Connection refused\""));
	receive_framed(server, message);
	assert_message(message, LOG_LOCAL3 | LOG_INFO, "info again");
	finish();
	close(server);
	close(listener);
}

static void one_that_closes_is_connected_to_again(void **state)
{
	char message[LOG_LINE_MAX];
	int listener = server_open(SOCK_STREAM);

	begin();
	log_info("first");
	int server = accept_one(listener);
	receive_framed(server, message);
	close(server);
	server = lines_until_accepted(listener);
	receive_framed(server, message);
	assert_message(message, LOG_LOCAL3 | LOG_INFO, "info again");
	finish();
	close(server);
	close(listener);
}

static void one_that_does_not_read_does_not_keep_the_logger(void **state)
{
	int listener = server_open(SOCK_STREAM);
	char line[1024];

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	begin();
	log_info("first");
	int server = accept_one(listener);
	for (int i = 0; i < 20000; i++)
		log_info("%s", line);
	finish();
	assert_true(log_dropped() > 0 || server >= 0);
	close(server);
	close(listener);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		TEST(each_line_is_a_datagram),
		TEST(a_datagram_that_nobody_took_costs_no_other),
		TEST(over_tcp_each_has_its_length),
		TEST(lines_are_counted_while_it_is_not_there),
		TEST(one_that_closes_is_connected_to_again),
		TEST(one_that_does_not_read_does_not_keep_the_logger),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
