/* A configuration that is right: what becomes of it. (What is wrong with one is in test_policy_files.c.) */
#include "../decide.h"
#include "backend_walk.h"
#include "checks.h"
#include "keys.h"
#include "policy.h"
#include <errno.h>
#include <pwd.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
// after the four above
#include <cmocka.h>

#define LISTEN   "listen = \"127.0.0.1:4443\";"
#define SERVICES "services = ( { name = \"all\"; match = \"ssh\"; connect = \"192.0.2.1:22\"; } );"

static struct policy *load_with(const char *text, const struct policy_options *options)
{
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;
	int error = policy_load_text(&policy, "test.conf", text, options, &complaints);

	complaints_print(&complaints, stderr);
	assert_int_equal(error, 0);
	assert_int_equal(complaints.count, 0);
	assert_non_null(policy);
	complaints_fini(&complaints);
	return policy;
}

static struct policy *load(const char *text)
{
	return load_with(text, NULL);
}

/* The first complaint about a text that is refused; the caller frees it. */
static char *refusal(const char *text, const struct policy_options *options)
{
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;

	assert_int_equal(policy_load_text(&policy, "test.conf", text, options, &complaints), -EINVAL);
	assert_null(policy);
	assert_true(complaints.errors >= 1);
	char *first = strdup(complaints.list[0].text);
	complaints_fini(&complaints);
	return first;
}

static uint32_t decide_on(const struct policy *policy, size_t listener, const void *bytes, size_t len)
{
	static struct findings findings;
	struct evidence evidence = { bytes, len };
	struct outcome outcome;

	decider_ask(policy->deciders[listener], &evidence, &findings, &outcome);
	assert_int_equal(outcome.more, SERVICE_NONE);
	return outcome.yes;
}

static uint32_t decide(const struct policy *policy, const char *text)
{
	return decide_on(policy, 0, text, strlen(text));
}

static void what_is_absent_has_its_default(void **state)
{
	struct policy *policy = load(LISTEN SERVICES);
	cpu_set_t cores;

	assert_string_equal(policy->file, "test.conf");
	assert_int_equal(policy->decide_timeout_us, 3000000);
	assert_int_equal(policy->connect_timeout_us, 5000000);
	assert_int_equal(policy->idle_timeout_us, 3600000000);
	assert_int_equal(policy->drain_timeout_us, 30000000);
	assert_int_equal(policy->max_connections, 0);
	assert_int_equal(policy->max_undecided, 4096);
	assert_int_equal(policy->max_undecided_per_source, 512);
	assert_int_equal(sched_getaffinity(0, sizeof(cores), &cores), 0);
	assert_int_equal(policy->workers, CPU_COUNT(&cores));
	assert_null(policy->pid_file);
	assert_int_equal(policy->on_silence, SERVICE_NONE);
	assert_int_equal(policy->on_unknown, SERVICE_NONE);
	assert_int_equal(policy->log_sink, SINK_STDERR);
	assert_int_equal(policy->log.level, LEVEL_INFO);
	assert_int_equal(policy->log.format, LOG_TEXT);
	assert_int_equal(policy->n_protocols, n_probes);
	for (size_t i = 0; i < n_probes; i++)
		assert_ptr_equal(policy->protocols[i].probe, &probes[i]);
	assert_int_equal(policy->services[0].fallback, SERVICE_NONE);
	policy_free(policy);
	policy_free(NULL);
}

static void what_is_given_is_taken(void **state)
{
	struct policy *policy = load(
		LISTEN SERVICES "decide_timeout = 2; connect_timeout = 0.25; idle_timeout = 1e3; drain_timeout = 0;"
				"workers = 3; max_connections = 5000; max_undecided = 7; max_undecided_per_source = "
				"0; pid_file = \"/run/x.pid\";"
				"log = { level = \"debug\"; to = \"/var/log/x\"; format = \"json\"; };"
				"on_silence = \"all\"; on_unknown = \"all\";");

	assert_int_equal(policy->decide_timeout_us, 2000000);
	assert_int_equal(policy->connect_timeout_us, 250000);
	assert_int_equal(policy->idle_timeout_us, 1000000000);
	assert_int_equal(policy->drain_timeout_us, 0);
	assert_int_equal(policy->workers, 3);
	assert_int_equal(policy->max_connections, 5000);
	assert_int_equal(policy->max_undecided, 7);
	assert_int_equal(policy->max_undecided_per_source, 0);
	assert_string_equal(policy->pid_file, "/run/x.pid");
	assert_int_equal(policy->log.level, LEVEL_DEBUG);
	assert_int_equal(policy->log.format, LOG_JSON);
	assert_int_equal(policy->log_sink, SINK_FILE);
	assert_string_equal(policy->log_file, "/var/log/x");
	assert_int_equal(policy->on_silence, 0);
	assert_int_equal(policy->on_unknown, 0);
	policy_free(policy);
}

static void the_log_goes_to_others(void **state)
{
	struct policy *policy = load(LISTEN SERVICES "log = { to = \"journal\"; };");
	assert_int_equal(policy->log_sink, SINK_JOURNAL);
	policy_free(policy);

	policy = load(LISTEN SERVICES "log = { to = \"syslog\"; };");
	assert_int_equal(policy->log_sink, SINK_SYSLOG);
	policy_free(policy);
}

static void listeners_come_in_every_form(void **state)
{
	static const char *const forms[] = {
		"listen = ( \"127.0.0.1:1\", \"[::1]:2\", \"unix:/run/x\" );",
		"listen = [ \"127.0.0.1:1\", \"[::1]:2\", \"unix:/run/x\" ];",
		"listen = ({ address = \"127.0.0.1:1\" }, \"[::1]:2\", { address = \"unix:/run/x\"; mode = 0660 });",
		"listen = ( \"127.0.0.1:1\", \"[::1]:2\", { address = \"unix:/run/x\"; mode = \"0660\"; } );",
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		char *text = NULL;
		assert_true(asprintf(&text, "%s\n%s", forms[i], SERVICES) > 0);
		struct policy *policy = load(text);
		assert_int_equal(policy->n_listeners, 3);
		assert_string_equal(policy->listeners[0].text, "127.0.0.1:1");
		assert_int_equal(address_port(&policy->listeners[1].address), 2);
		assert_string_equal(policy->listeners[2].text, "unix:/run/x");
		assert_int_equal(policy->listeners[2].mode, 0660);
		assert_int_equal(policy->listeners[2].line, 1);
		assert_ptr_equal(policy->deciders[0], policy->deciders[2]);
		assert_ptr_equal(policy->deciders[0], policy->deciders[1]);
		policy_free(policy);
		free(text);
	}
	struct policy *policy = load("listen = { address = \"unix:/run/x\"; mode = 7; };" SERVICES);
	assert_int_equal(policy->listeners[0].mode, 07);
	policy_free(policy);
}

static void the_port_of_the_command_line_takes_the_place_of_all(void **state)
{
	struct policy_options options = { .port = 7777 };
	struct policy *policy =
		load_with("listen = [ \"127.0.0.1:0\", \"[::1]:2\", \"unix:/run/x\" ];"
			  "services = ( { name = \"a\"; match = { protocol = \"ssh\"; listener = \"[::1]:2\"; };"
			  " connect = \"127.0.0.1:1\"; } );",
			&options);

	assert_string_equal(policy->listeners[0].text, "127.0.0.1:7777");
	assert_string_equal(policy->listeners[1].text, "[::1]:7777");
	assert_string_equal(policy->listeners[2].text, "unix:/run/x");
	assert_int_equal(address_port(&policy->listeners[1].address), 7777);
	assert_string_equal(policy->services[0].match, "ssh listener=[::1]:7777");
	policy_free(policy);

	char *why = refusal("listen = [ \"127.0.0.1:1\", \"127.0.0.1:2\" ];" SERVICES, &options);
	assert_string_equal(why,
		"listeners `127.0.0.1:2' and `127.0.0.1:1' (line 1) are the same with port "
		"7777 of the command line");
	free(why);
	why = refusal(
		LISTEN "services = ( { name = \"a\"; match = \"ssh\"; connect = \"127.0.0.1:7777\"; } );", &options);
	assert_non_null(strstr(why, "is usher's own listener `127.0.0.1:7777'"));
	free(why);
}

static void own_protocols_match_as_written(void **state)
{
	struct policy *policy = load(
		LISTEN "protocols = ("
		       " { name = \"chat\"; string = [ \"NICK \", \"USER \" ]; },"
		       " { name = \"vpn\"; bytes = ( \"00 0e 38\", \"00FF\" ); },"
		       " { name = \"mail\"; string = \"EHLO \"; regex = \"^.{5}[a-z]+\\r\\n\"; within = 64; },"
		       " { name = \"esc\"; string = \"\\x01\\\"\\\\\"; },"
		       " { name = \"digits\"; regex = [ \"^D\\d+;\", \"^E\\d+;\" ]; } );"
		       "services = ( { name = \"s0\"; match = [ \"chat\", \"vpn\" ]; connect = \"192.0.2.1:1\"; },"
		       " { name = \"s1\"; match = \"mail\"; connect = \"192.0.2.1:1\"; },"
		       " { name = \"s2\"; match = ( \"esc\", \"digits\" ); connect = \"192.0.2.1:1\"; } );");

	assert_int_equal(policy->n_protocols, n_probes + 5);
	assert_int_equal(policy->protocols[n_probes + 1].n_literals, 2);
	assert_int_equal(policy->protocols[n_probes + 4].n_patterns, 2);
	assert_int_equal(decide(policy, "NICK me"), 0);
	assert_int_equal(decide(policy, "USER me"), 0);
	assert_int_equal(decide_on(policy, 0, "\x00\x0e\x38z", 4), 0);
	assert_int_equal(decide_on(policy, 0, "\x00\xffz", 3), 0);
	assert_int_equal(decide(policy, "EHLO me\r\n"), 1);
	assert_int_equal(decide(policy, "EHLO 12\r\n"), SERVICE_NONE);
	assert_int_equal(decide(policy, "\x01\"\\"), 2);
	assert_int_equal(decide(policy, "E123;"), 2);
	assert_string_equal(policy->services[0].match, "chat | vpn");
	policy_free(policy);
}

static void an_own_protocol_stands_for_the_built_in_one_of_its_name(void **state)
{
	struct complaints complaints = { 0 };
	struct policy *policy = NULL;

	assert_int_equal(
		policy_load_text(&policy, "test.conf",
			LISTEN "protocols = ( { name = \"ssh\"; string = \"mine\"; } );" SERVICES, NULL, &complaints),
		0);
	assert_int_equal(complaints.count, 1);
	assert_int_equal(complaints.list[0].kind, COMPLAINT_WARNING);
	assert_int_equal(decide(policy, "mine"), 0);
	assert_int_equal(decide(policy, "SSH-2.0-x\r\n"), SERVICE_NONE);
	complaints_fini(&complaints);
	policy_free(policy);
}

static void a_listener_says_who_gets_what_nothing_matches(void **state)
{
	struct policy *policy = load("listen = ( \"127.0.0.1:1\", { address = \"127.0.0.1:2\"; on_silence = \"b\"; },"
				     " { address = \"127.0.0.1:3\"; on_unknown = \"b\"; } ); on_silence = \"a\";"
				     "services = ( { name = \"a\"; connect = \"192.0.2.1:1\"; },"
				     " { name = \"b\"; reject = \"close\"; } );");

	assert_int_equal(policy->listeners[0].on_silence, 0);
	assert_int_equal(policy->listeners[0].on_unknown, SERVICE_NONE);
	assert_int_equal(policy->listeners[1].on_silence, 1);
	assert_int_equal(policy->listeners[1].on_unknown, SERVICE_NONE);
	assert_int_equal(policy->listeners[2].on_silence, 0);
	assert_int_equal(policy->listeners[2].on_unknown, 1);
	policy_free(policy);

	char *why = refusal("listen = { address = \"127.0.0.1:2\"; on_silence = \"x\"; };" SERVICES, NULL);
	assert_string_equal(why, "unknown service `x' in `on_silence'");
	free(why);
}

static void matches_are_any_of_lists_and_all_of_groups(void **state)
{
	struct policy *policy = load(
		LISTEN "services = ( { name = \"s0\"; match = { protocol = \"http\"; host = [ \"A.example\", "
		       "\"*.b.example\" ]; };"
		       "  connect = \"192.0.2.1:1\"; },"
		       " { name = \"s1\"; match = { host = \"[2001:db8::1]\"; }; connect = \"192.0.2.1:1\"; },"
		       " { name = \"s2\"; match = ( \"ssh\", { protocol = [ \"http\" ]; host = \"c.example\"; }, "
		       "\"tls\" );"
		       "  connect = \"192.0.2.1:1\"; } );");

	assert_int_equal(decide(policy, "GET / HTTP/1.1\r\nHost: a.Example\r\n\r\n"), 0);
	assert_int_equal(decide(policy, "GET / HTTP/1.1\r\nHost: x.y.b.example:80\r\n\r\n"), 0);
	assert_int_equal(decide(policy, "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n"), 1);
	assert_int_equal(decide(policy, "GET / HTTP/1.1\r\nHost: c.example\r\n\r\n"), 2);
	assert_int_equal(decide(policy, "SSH-2.0-x\r\n"), 2);
	assert_int_equal(decide(policy, "GET / HTTP/1.1\r\nHost: d.example\r\n\r\n"), SERVICE_NONE);
	assert_string_equal(policy->services[0].match, "http host=A.example,*.b.example");
	assert_string_equal(policy->services[2].match, "ssh | tls | http host=c.example");
	policy_free(policy);
}

static void a_rule_with_a_listener_holds_there_only(void **state)
{
	struct policy *policy = load("listen = [ \"127.0.0.1:1\", \"127.0.0.1:2\", \"127.0.0.1:3\" ];"
				     "services = ( { name = \"s0\"; match = { protocol = \"ssh\"; listener = "
				     "[ \"127.0.0.1:2\", \"127.0.0.1:3\" ]; };"
				     "  connect = \"192.0.2.1:1\"; },"
				     " { name = \"s1\"; match = \"ssh\"; connect = \"192.0.2.1:1\"; } );");

	assert_ptr_not_equal(policy->deciders[0], policy->deciders[1]);
	assert_int_equal(decide_on(policy, 0, "SSH-2.0-x\r\n", 11), 1);
	assert_int_equal(decide_on(policy, 1, "SSH-2.0-x\r\n", 11), 0);
	assert_int_equal(decide_on(policy, 2, "SSH-2.0-x\r\n", 11), 0);
	policy_free(policy);
}

static void backends_are_addresses_and_names_listed_once(void **state)
{
	struct policy *policy = load(
		LISTEN "services = ( { name = \"a\"; match = \"ssh\"; connect = [ \"192.0.2.1:22\", "
		       "\"[2001:db8::1]:22\","
		       "  \"unix:/run/x\", \"One.example:22\", \"localhost:22\" ]; },"
		       " { name = \"b\"; match = \"tls\"; connect = ( \"two.example:1\", \"one.EXAMPLE:2\" ); } );");
	const struct backend *a = policy->services[0].target.connect.backends,
			     *b = policy->services[1].target.connect.backends;

	assert_int_equal(policy->services[0].target.delivery, DELIVERY_CONNECT);
	assert_int_equal(policy->services[0].target.connect.n_backends, 5);
	assert_int_equal(address_port(&a[0].address), 22);
	assert_int_equal(a[0].name, BACKEND_NO_NAME);
	assert_int_equal(a[1].address.sa.sa_family, AF_INET6);
	assert_int_equal(a[2].address.sa.sa_family, AF_UNIX);
	assert_string_equal(a[3].text, "One.example:22");
	assert_int_equal(a[3].address.len, 0);
	assert_int_equal(a[3].port, 22);
	assert_int_equal(policy->n_names, 3);
	assert_string_equal(policy->names[a[3].name], "one.example");
	assert_string_equal(policy->names[a[4].name], "localhost");
	assert_string_equal(policy->names[b[0].name], "two.example");
	assert_int_equal(b[1].name, a[3].name);
	assert_int_equal(b[1].port, 2);
	policy_free(policy);
}

static void srv_names_have_no_port_and_the_service_has_ranges(void **state)
{
	struct policy *policy = load(LISTEN "services = ( { name = \"a\"; match = \"ssh\"; connect = [ "
					    "\"srv:_Ssh._tcp.example.net\", \"_ssh._tcp.example.net:22\" ];"
					    "  ports = [ \"22\", \"8000-8999\" ]; } );");
	const struct target *target = &policy->services[0].target;
	const struct backend *backend = target->connect.backends;
	struct address address;

	assert_string_equal(policy->names[backend->name], "srv:_ssh._tcp.example.net");
	assert_int_equal(backend->port, 0);
	assert_int_equal(policy->n_names, 2);
	assert_int_equal(target->connect.n_ports, 2);
	for (unsigned port = 1; port < 10000; port++) {
		address_parse(&address, "192.0.2.1:1");
		address_set_port(&address, (uint16_t)port);
		bool is_in = port == 22 || (port >= 8000 && port <= 8999);
		assert_int_equal(target_takes(target, backend, &address), is_in);
		assert_int_equal(backend_walk_takes(policy, backend->name, (uint16_t)port), is_in);
		assert_true(target_takes(target, backend + 1, &address));
	}
	policy_free(policy);
}

static void deliveries_besides_connect(void **state)
{
	struct policy *policy = load(
		LISTEN "services = ( { name = \"a\"; match = \"ssh\"; handover = \"/run/a.sock\"; fallback = \"d\"; "
		       "},"
		       " { name = \"b\"; match = \"tls\"; handover = \"unix:/run/b.sock\"; format = \"tcpmux\"; },"
		       " { name = \"c\"; match = \"http\"; reject = \"close\"; },"
		       " { name = \"d\"; reject = \"reset\"; } );");
	const struct target *a = &policy->services[0].target, *b = &policy->services[1].target;

	assert_int_equal(a->delivery, DELIVERY_HANDOVER);
	assert_string_equal(a->handover.text, "/run/a.sock");
	assert_string_equal(a->handover.address.un.sun_path, "/run/a.sock");
	assert_int_equal(a->handover.format, HANDOVER_USHER);
	assert_int_equal(policy->services[0].fallback, 3);
	assert_string_equal(b->handover.address.un.sun_path, "/run/b.sock");
	assert_int_equal(b->handover.format, HANDOVER_TCPMUX);
	assert_int_equal(policy->services[2].target.delivery, DELIVERY_REJECT);
	assert_false(policy->services[2].target.reject.reset);
	assert_true(policy->services[3].target.reject.reset);
	assert_string_equal(policy->services[3].match, "");
	policy_free(policy);
}

static void a_tarpit_has_a_time_and_a_limit(void **state)
{
	struct policy *policy = load("listen = \"127.0.0.1:1\"; services = ("
				     " { name = \"a\"; match = \"ssh\"; reject = \"tarpit\"; },"
				     " { name = \"b\"; match = \"tls\"; reject = \"tarpit\"; tarpit_timeout = 1.5; "
				     "max_connections = 7; } );");
	const struct service *a = &policy->services[0], *b = &policy->services[1];

	assert_false(a->target.reject.reset);
	assert_int_equal(a->target.reject.tarpit_us, 600000000);
	assert_int_equal(a->access->max_connections, 1024);
	assert_int_equal(b->target.reject.tarpit_us, 1500000);
	assert_int_equal(b->access->max_connections, 7);
	policy_free(policy);
}

static void bandwidths_are_read_in_their_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t each_s;
	} rates[] = { { "1000 B/s", 1000 }, { "64 kB/s", 64000 }, { "10 MB/s", 10000000 },
		{ "100GB/s", BYTE_RATE_MOST }, { "1 KiB/s", 1024 }, { "2 MiB/s", 2097152 }, { "1 GiB/s", 1073741824 },
		{ "8 kbit/s", 1000 }, { "100 Mbit/s", 12500000 }, { "1 Gbit/s", 125000000 } };
	char text[400];

	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		snprintf(text, sizeof(text),
			"listen = \"127.0.0.1:1\"; services = ( { name = \"a\"; match = \"ssh\"; connect = "
			"\"127.0.0.1:22\"; "
			"bandwidth = \"%s\"; total_bandwidth = { down = \"%s\"; }; } );",
			rates[i].text, rates[i].text);
		struct policy *policy = load(text);
		const struct service *service = &policy->services[0];
		assert_int_equal(service->bandwidth.up.each_s, rates[i].each_s);
		assert_int_equal(service->bandwidth.down.each_s, rates[i].each_s);
		assert_int_equal(service->bandwidth.up.burst, rates[i].each_s < 40960 ? 4096 : rates[i].each_s / 10);
		assert_int_equal(service->total_bandwidth.up.each_s, 0);
		assert_int_equal(service->total_bandwidth.down.each_s, rates[i].each_s);
		policy_free(policy);
	}
}

static void programs_are_found_and_made_absolute(void **state)
{
	char folder[] = "/tmp/usher-policy-XXXXXX", here[4096], wanted[4200];

	assert_non_null(mkdtemp(folder));
	assert_non_null(getcwd(here, sizeof(here)));
	assert_int_equal(chdir(folder), 0);
	assert_int_equal(mkdir("bin", 0755), 0);
	assert_int_equal(symlink("/bin/cat", "bin/mine"), 0);
	assert_int_equal(setenv("PATH", "relative::/nonexistent:/bin", 1), 0);
	struct policy *policy =
		load(LISTEN "services = ( { name = \"a\"; match = \"ssh\"; exec = [ \"/bin/cat\", \"\", "
			    "\"-A\" ]; stdio = \"pty\"; },"
			    " { name = \"b\"; match = \"tls\"; exec = \"bin/mine\"; stdio = \"pipe\"; },"
			    " { name = \"c\"; match = \"http\"; exec = ( \"cat\" ); } );");

	const struct program *a = &policy->services[0].target.exec;
	assert_int_equal(policy->services[0].target.delivery, DELIVERY_EXEC);
	assert_string_equal(a->argv[0], "/bin/cat");
	assert_string_equal(a->argv[1], "");
	assert_string_equal(a->argv[2], "-A");
	assert_null(a->argv[3]);
	assert_int_equal(a->stdio, STDIO_PTY);
	assert_false(a->own_identity);
	assert_null(a->user);
	snprintf(wanted, sizeof(wanted), "%s/bin/mine", folder);
	assert_string_equal(policy->services[1].target.exec.argv[0], wanted);
	assert_int_equal(policy->services[1].target.exec.stdio, STDIO_PIPE);
	assert_string_equal(policy->services[2].target.exec.argv[0], "/bin/cat");
	assert_int_equal(policy->services[2].target.exec.stdio, STDIO_SOCKET);
	policy_free(policy);

	assert_int_equal(unlink("bin/mine"), 0);
	assert_int_equal(rmdir("bin"), 0);
	assert_int_equal(chdir(here), 0);
	assert_int_equal(rmdir(folder), 0);
}

#define AS_NOBODY                                                                                                    \
	LISTEN "user = \"nobody\"; services = ( { name = \"a\"; match = \"ssh\"; exec = \"/bin/cat\"; user "         \
	       "= \"nobody\"; } );"

static void root_becomes_whom_it_is_told(void **state)
{
	if (geteuid() != 0)
		skip();
	const struct passwd *nobody = getpwnam("nobody");
	uid_t uid = nobody->pw_uid;
	gid_t gid = nobody->pw_gid;
	struct policy *policy = load(AS_NOBODY);

	assert_true(policy->drop_identity);
	assert_string_equal(policy->user, "nobody");
	assert_int_equal(policy->uid, uid);
	assert_int_equal(policy->gid, gid);
	const struct program *program = &policy->services[0].target.exec;
	assert_true(program->own_identity);
	assert_int_equal(program->uid, uid);
	assert_int_equal(program->gid, gid);
	assert_true(program->n_groups >= 1);
	assert_string_equal(program->user, "nobody");
	assert_non_null(program->home);
	assert_non_null(program->shell);
	policy_free(policy);

	policy = load(LISTEN SERVICES "user = \"65534\"; group = \"0\";");
	assert_int_equal(policy->uid, 65534);
	assert_int_equal(policy->gid, 0);
	policy_free(policy);
	policy = load(LISTEN SERVICES);
	assert_true(policy->drop_identity);
	assert_int_not_equal(policy->uid, 0);
	policy_free(policy);
}

/* In a process of its own: a cmocka failure must not go on in two of them. 0: as it should be. */
static int refused_without_root(const char *text, const char *wanted)
{
	pid_t pid = fork();
	if (pid == 0) {
		struct complaints complaints = { 0 };
		struct policy *policy = NULL;
		if (geteuid() == 0 && (setegid(65533) < 0 || seteuid(65533) < 0))
			_exit(3);
		int error = policy_load_text(&policy, "x", text, NULL, &complaints);
		if (!wanted)
			_exit(error || policy->drop_identity || policy->uid != geteuid());
		_exit(!(error && strstr(complaints.list[0].text, wanted)));
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void who_is_not_root_stays_who_he_is(void **state)
{
	assert_int_equal(refused_without_root(LISTEN SERVICES, NULL), 0);
	assert_int_equal(refused_without_root(
				 LISTEN SERVICES "user = \"root\";", "user `root' is not the one that starts usher"),
		0);
	assert_int_equal(refused_without_root(LISTEN SERVICES "group = \"daemon\";", "needs root"), 0);
}

#define PORT_OF_BOTH "listen = [ \"127.0.0.1:4443\", \"udp:127.0.0.1:4443\", \"udp:[::1]:4443\" ];"

/* A handshake initiation: noise, and zeros where a cookie may be. */
static const uint8_t wireguard[148] = { 1, [4 ... 131] = 0xa5 };

static uint32_t decide_datagram(const struct policy *policy, size_t listener, const void *bytes, size_t len)
{
	static struct findings findings;
	uint32_t end = (uint32_t)len;
	struct evidence evidence = { .bytes = bytes, .len = len, .ends = &end, .n_datagrams = 1 };
	struct outcome outcome;

	decider_ask(policy->deciders[listener], &evidence, &findings, &outcome);
	assert_int_equal(outcome.more, SERVICE_NONE);
	return outcome.yes;
}

static void the_listener_says_what_is_looked_for(void **state)
{
	enum { SSH, WIREGUARD, PROGRAM, OWN, SOME };
	static const unsigned streams = 1U << TRANSPORT_STREAM, datagrams = 1U << TRANSPORT_DATAGRAM;
	struct policy *policy = load(PORT_OF_BOTH
		"protocols = ( { name = \"own\"; string = \"own\"; } );"
		"services = ( { name = \"ssh\"; match = \"ssh\"; connect = \"192.0.2.1:22\"; },"
		" { name = \"wireguard\"; match = \"wireguard\"; connect = \"192.0.2.1:51820\"; },"
		" { name = \"program\"; match = { protocol = \"own\"; }; exec = \"/bin/cat\"; },"
		" { name = \"own\"; match = ( { protocol = \"own\"; listener = \"udp:[::1]:4443\"; } );"
		"   connect = \"192.0.2.1:7\"; fallback = \"some\"; },"
		" { name = \"some\"; connect = [ \"unix:/run/x\", \"192.0.2.1:1\" ]; } ); on_unknown = \"ssh\";");

	assert_int_equal(policy->listeners[0].transport, TRANSPORT_STREAM);
	assert_int_equal(policy->listeners[1].transport, TRANSPORT_DATAGRAM);
	assert_string_equal(policy->listeners[1].text, "udp:127.0.0.1:4443");
	assert_int_equal(address_port(&policy->listeners[2].address), 4443);
	assert_int_equal(policy->services[SSH].transports, streams);
	assert_int_equal(policy->services[WIREGUARD].transports, datagrams);
	assert_int_equal(policy->services[PROGRAM].transports, streams);
	assert_int_equal(policy->services[OWN].transports, datagrams);
	assert_int_equal(policy->services[SOME].transports, streams | datagrams);

	assert_int_equal(decide(policy, "own"), PROGRAM);
	assert_int_equal(decide_datagram(policy, 1, "own", 3), SERVICE_NONE);
	assert_int_equal(decide_datagram(policy, 2, "own", 3), OWN);
	assert_int_equal(decide_datagram(policy, 1, wireguard, sizeof(wireguard)), WIREGUARD);
	assert_int_equal(policy->listeners[0].on_unknown, SSH);
	assert_int_equal(policy->listeners[1].on_unknown, SERVICE_NONE);
	assert_null(policy->listeners[0].reaches);
	assert_int_equal(policy->listeners[1].reaches[0], 1 << WIREGUARD);
	assert_int_equal(policy->listeners[2].reaches[0], 1 << WIREGUARD | 1 << OWN | 1 << SOME);
	policy_free(policy);
}

static void one_service_serves_both_transports(void **state)
{
	struct policy *policy = load(PORT_OF_BOTH
		"services = ( { name = \"web\"; match = [ \"tls\", \"wireguard\" ]; connect = \"192.0.2.1:443\"; },"
		" { name = \"rest\"; match = \"any\"; connect = \"192.0.2.1:1\"; } ); on_unknown = \"web\";");

	assert_int_equal(decide(policy, "x"), 1);
	assert_int_equal(decide_datagram(policy, 1, wireguard, sizeof(wireguard)), 0);
	assert_int_equal(decide_datagram(policy, 1, "x", 1), 1);
	assert_int_equal(policy->listeners[1].on_unknown, 0);
	assert_ptr_equal(policy->deciders[1], policy->deciders[2]);
	assert_ptr_not_equal(policy->deciders[0], policy->deciders[1]);
	assert_true(policy->ports[TRANSPORT_DATAGRAM][4443 / 8] >> 4443 % 8 & 1);
	policy_free(policy);
}

static void flows_have_times_of_their_own(void **state)
{
	struct policy *policy =
		load("listen = ( { address = \"udp:127.0.0.1:4443\"; receive_buffer = 65536;"
		     " max_connections = 7; freebind = true; } ); idle_timeout = 5;"
		     "services = ( { name = \"a\"; match = \"dns\"; connect = \"192.0.2.1:53\"; answers = 1;"
		     " answer_timeout = 0.5; idle_timeout = 2; },"
		     " { name = \"b\"; match = \"wireguard\"; connect = \"192.0.2.1:1\"; } );");

	assert_int_equal(policy->listeners[0].receive_buffer, 65536);
	assert_int_equal(policy->listeners[0].max_connections, 7);
	assert_true(policy->listeners[0].freebind);
	assert_int_equal(policy->services[0].answers, 1);
	assert_int_equal(policy->services[0].answer_timeout_us, 500000);
	assert_int_equal(policy->services[0].flow_timeout_us, 2000000);
	assert_int_equal(policy->services[1].answers, ANSWERS_ANY);
	assert_int_equal(policy->services[1].answer_timeout_us, 30000000);
	assert_int_equal(policy->services[1].flow_timeout_us, 120000000);
	policy_free(policy);
}

static char *printed(const struct policy *policy)
{
	static char *text; /* not automatic: gcc 12 believes that the stream keeps a pointer to it */
	static size_t size;
	FILE *to = open_memstream(&text, &size);

	assert_non_null(to);
	policy_print(policy, to);
	fclose(to);
	return text;
}

static void the_table_is_aligned_and_complete(void **state)
{
	struct policy *policy =
		load("listen = ( \"127.0.0.1:4443\", { address = \"unix:/run/x\"; mode = 0600; } );"
		     "workers = 2; decide_timeout = 1.5; on_silence = \"a\";"
		     "services = ( { name = \"a\"; match = \"ssh\"; connect = [ \"192.0.2.1:22\", "
		     "\"b.example:22\" ]; fallback = \"program\"; },"
		     " { name = \"program\"; match = [ \"tls\", \"http\" ]; exec = [ \"/bin/cat\", \"a b\" "
		     "]; stdio = \"pipe\"; } );");
	char *text = printed(policy);

	assert_memory_equal(text,
		"Listeners\n"
		"  127.0.0.1:4443\n"
		"  unix:/run/x  mode 0600\n"
		"\n"
		"Services, in the order in which they are tried\n",
		90);
	const char *title = strstr(text, "  #  service  matches     goes to");
	const char *first = strstr(text, "  1  a        ssh         connect 192.0.2.1:22, b.example:22");
	const char *second = strstr(text, "  2  program  tls | http  exec /bin/cat 'a b' (pipe)");
	assert_non_null(title);
	assert_non_null(first);
	assert_non_null(second);
	assert_int_equal(strcspn(title, "\n"), strstr(title, "fallback") + 8 - title);
	assert_int_equal(strstr(title, "fallback") - title, strstr(first, "program\n") - first);
	assert_non_null(strstr(text, "\n  silent for 1.5 s       a\n"));
	assert_non_null(strstr(text, "\n  matches nothing        closed\n"));
	assert_non_null(strstr(text, "connect 5 s, idle 1 h, drain 30 s\n"));
	assert_null(strstr(text, " \n"));
	free(text);
	policy_free(policy);
}

#define MANY 10000

static void ten_thousand_services_are_compiled_in_no_time(void **state)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	struct timespec before, after;

	fputs("listen = \"127.0.0.1:4443\";\nprotocols = (\n", to);
	for (int i = 0; i < MANY; i++)
		fprintf(to, "%s{ name = \"p%d\"; string = \"P%d \"; }\n", i ? "," : "", i, i);
	fputs(");\nservices = (\n", to);
	for (int i = 0; i < MANY; i++)
		fprintf(to,
			"%s{ name = \"s%d\"; match = ( \"p%d\", { sni = [ \"h%d.example\", \"*.h%d.example\" "
			"]; } );\n"
			" connect = \"h%d.internal:1\"; fallback = \"%s%d\"; }\n",
			i ? "," : "", i, i, i, i, i % 100, i < MANY - 1 ? "s" : "p", i + 1);
	fputs(", { name = \"p10000\"; reject = \"close\"; } );\n", to);
	fclose(to);

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	struct policy *policy = load(text);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	/* Some 0.3 s, 1.5 s with sanitizers; what is quadratic takes a minute. */
	assert_true(after.tv_sec - before.tv_sec < 10);
	assert_int_equal(policy->n_services, MANY + 1);
	assert_int_equal(policy->n_names, 100);
	assert_int_equal(policy->services[MANY - 1].line, 3 + MANY + 2 + 2 * (MANY - 1));
	assert_int_equal(decide(policy, "P9999 x"), 9999);
	policy_free(policy);
	free(text);
}

static const struct check *check_in(const struct policy *policy, size_t service)
{
	return policy->services[service].target.connect.check;
}

static void checks_have_defaults_and_say_what_datagrams_get(void **state)
{
	struct policy *policy =
		load("listen = [ \"0.0.0.0:443\", \"udp:0.0.0.0:443\" ];\n"
		     "services = ( { name = \"a\"; match = \"ssh\"; connect = \"10.0.0.1:22\"; check = { }; },\n"
		     "{ name = \"b\"; match = \"smb\"; connect = \"10.0.0.1:445\"; check = { every = 0.5; }; "
		     "slow_start = 2; "
		     "on_down = \"close\"; },\n"
		     "{ name = \"c\"; match = \"dns\"; connect = \"10.0.0.1:53\"; check = { every = 3; }; },\n"
		     "{ name = \"d\"; match = \"ntp\"; connect = \"10.0.0.1:123\"; check = { send = \"x\"; expect = "
		     "{ string = \"x\"; }; "
		     "}; },\n"
		     "{ name = \"e\"; match = \"snmp\"; connect = \"10.0.0.1:161\"; check = { port = 80; http = "
		     "\"/\"; }; },\n"
		     "{ name = \"f\"; match = \"git\"; connect = \"10.0.0.1:9418\"; } );\n");
	const struct check *check = check_in(policy, 0);

	assert_true(policy->checks);
	assert_int_equal(check->every_us, 5000000);
	assert_int_equal(check->timeout_us, 2000000);
	assert_int_equal(check->rise, 2);
	assert_int_equal(check->fall, 3);
	assert_int_equal(check->expect, EXPECT_CONNECTION);
	assert_int_equal(check_in(policy, 1)->timeout_us, 500000); /* no longer than `every' */
	assert_int_equal(policy->services[1].target.connect.slow_start_us, 2000000);
	assert_true(policy->services[1].target.connect.closes_on_down);
	assert_false(policy->services[0].target.connect.closes_on_down);
	assert_int_equal(check_in(policy, 2)->datagrams, CHECK_DATAGRAMS_NOT);
	assert_int_equal(check_in(policy, 3)->datagrams, CHECK_DATAGRAMS);
	assert_int_equal(check_in(policy, 4)->datagrams, CHECK_DATAGRAMS_BY_STREAM);
	assert_true(check_has_status(check_in(policy, 4), 302));
	assert_false(check_has_status(check_in(policy, 4), 404));
	assert_null(check_in(policy, 5));
	policy_free(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_absent_has_its_default),
		cmocka_unit_test(what_is_given_is_taken),
		cmocka_unit_test(the_log_goes_to_others),
		cmocka_unit_test(listeners_come_in_every_form),
		cmocka_unit_test(the_port_of_the_command_line_takes_the_place_of_all),
		cmocka_unit_test(own_protocols_match_as_written),
		cmocka_unit_test(an_own_protocol_stands_for_the_built_in_one_of_its_name),
		cmocka_unit_test(a_listener_says_who_gets_what_nothing_matches),
		cmocka_unit_test(matches_are_any_of_lists_and_all_of_groups),
		cmocka_unit_test(a_rule_with_a_listener_holds_there_only),
		cmocka_unit_test(backends_are_addresses_and_names_listed_once),
		cmocka_unit_test(srv_names_have_no_port_and_the_service_has_ranges),
		cmocka_unit_test(deliveries_besides_connect),
		cmocka_unit_test(a_tarpit_has_a_time_and_a_limit),
		cmocka_unit_test(bandwidths_are_read_in_their_units),
		cmocka_unit_test(programs_are_found_and_made_absolute),
		cmocka_unit_test(root_becomes_whom_it_is_told),
		cmocka_unit_test(who_is_not_root_stays_who_he_is),
		cmocka_unit_test(the_listener_says_what_is_looked_for),
		cmocka_unit_test(one_service_serves_both_transports),
		cmocka_unit_test(flows_have_times_of_their_own),
		cmocka_unit_test(checks_have_defaults_and_say_what_datagrams_get),
		cmocka_unit_test(the_table_is_aligned_and_complete),
		cmocka_unit_test(ten_thousand_services_are_compiled_in_no_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
