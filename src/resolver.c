/* The resolver process: one c-ares channel, one loop over its sockets. It reads answers that strangers can
 * forge and is therefore as unprivileged as a worker; all that it can change is the table. It refuses to give
 * a bad answer the place of a good one. Its memory is one array, which lives as long as the process. */
#include "resolver.h"
#include "failure.h"
#include "fd.h"
#include "process.h"
#include "resolver_sockets.h"
#include "sandbox.h"
#include "shared.h"
#include "timer.h"
#include <ares.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND_US     1000000ull
#define REFRESH_MIN_S 5
#define REFRESH_MAX_S 300
#define NO_TTL_S      10
#define RETRY_MIN_S   1
#define RETRY_MAX_S   60
#define QUERY_MS      2000 /* until a name server is asked again; c-ares doubles it each time */
#define QUERY_TRIES   2
#define IN_FLIGHT_MAX 64 /* names asked for at a time: a name server need not suffer from a long list */
#define SERVERS_FILE  "/etc/resolv.conf"

struct name {
	struct resolver *resolver;
	const char *text;
	size_t number; /* in the table */
	bool asking;
	bool failing;
	unsigned retry_s; /* how long the next failure waits */
	uint64_t due_us;
	size_t n_addresses; /* of the last good answer; 0: there was none */
	struct address addresses[RESOLVED_ADDRESSES_MAX];
};

struct resolver {
	ares_channel channel;
	struct resolver_sockets sockets; /* the channel's */
	struct stat servers;             /* of the file that the channel was made from */
	struct resolved *table;
	size_t in_flight;
	size_t n_names;
	struct name names[];
};

struct answer {
	size_t n;
	unsigned ttl_s; /* 0: none */
	struct address addresses[RESOLVED_ADDRESSES_MAX];
};

static bool contains(const struct address *addresses, size_t n, const struct address *wanted)
{
	for (size_t i = 0; i < n; i++)
		if (address_equal(&addresses[i], wanted))
			return true;
	return false;
}

/* The same addresses in another order are no news: name servers rotate them. */
static bool is_news(const struct name *name, const struct answer *answer)
{
	if (name->failing || name->n_addresses != answer->n)
		return true;
	for (size_t i = 0; i < answer->n; i++)
		if (!contains(name->addresses, name->n_addresses, &answer->addresses[i]))
			return true;
	return false;
}

static void log_answer(const struct name *name)
{
	char list[RESOLVED_ADDRESSES_MAX * ADDRESS_TEXT_MAX], *end = list;
	struct record record;

	for (size_t i = 0; i < name->n_addresses; i++) {
		if (i > 0)
			*end++ = ',';
		address_format_host(&name->addresses[i], end);
		end += strlen(end);
	}
	record_begin(&record, LEVEL_NOTICE, "resolved");
	record_text(&record, "name", name->text);
	record_bytes(&record, "addresses", list, (size_t)(end - list));
	record_write(&record);
}

static void name_answered(struct name *name, const struct answer *answer)
{
	unsigned wait_s = answer->ttl_s;
	bool news = is_news(name, answer);

	if (wait_s == 0)
		wait_s = NO_TTL_S;
	else if (wait_s < REFRESH_MIN_S)
		wait_s = REFRESH_MIN_S;
	else if (wait_s > REFRESH_MAX_S)
		wait_s = REFRESH_MAX_S;
	name->due_us = clock_monotonic_us() + wait_s * SECOND_US;
	name->retry_s = RETRY_MIN_S;
	name->failing = false;
	name->n_addresses = answer->n;
	memcpy(name->addresses, answer->addresses, sizeof name->addresses);
	/* Also when nothing but the order changed: it is the order in which backends are tried. */
	resolved_write(name->resolver->table, name->number, answer->addresses, answer->n);
	if (news)
		log_answer(name);
}

static void name_failed(struct name *name, const char *why)
{
	name->due_us = clock_monotonic_us() + name->retry_s * SECOND_US;
	name->retry_s = name->retry_s * 2 < RETRY_MAX_S ? name->retry_s * 2 : RETRY_MAX_S;
	if (name->failing)
		return;
	name->failing = true;

	struct record record;
	record_begin(&record, LEVEL_WARNING, "resolve-failed");
	record_text(&record, "name", name->text);
	record_text(&record, "why", why);
	record_number(&record, "addresses_kept", name->n_addresses);
	record_write(&record);
}

/* Takes the first few addresses, each once, and the lowest TTL of all that led to them. */
static void read_answer(const struct ares_addrinfo *info, struct answer *ret)
{
	int lowest = -1;

	ret->n = 0;
	for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next) {
		struct address address = { .len = node->ai_addrlen };
		if (node->ai_addrlen > sizeof address.in6)
			continue;
		memcpy(&address.sa, node->ai_addr, node->ai_addrlen);
		address_set_port(&address, 0);
		if (!address_is_ip(&address))
			continue;
		if (lowest < 0 || node->ai_ttl < lowest)
			lowest = node->ai_ttl;
		if (ret->n < RESOLVED_ADDRESSES_MAX && !contains(ret->addresses, ret->n, &address))
			ret->addresses[ret->n++] = address;
	}
	for (const struct ares_addrinfo_cname *cname = info->cnames; cname; cname = cname->next)
		if (cname->ttl < lowest)
			lowest = cname->ttl;
	ret->ttl_s = lowest > 0 ? (unsigned)lowest : 0;
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct answer answer = { 0 };
	struct name *name = arg;

	name->asking = false;
	name->resolver->in_flight--;
	if (info)
		read_answer(info, &answer);
	if (status == ARES_EDESTRUCTION)
		name->due_us = 0; /* the name servers changed under it: ask the new ones */
	else if (status == ARES_SUCCESS && answer.n > 0)
		name_answered(name, &answer);
	else
		name_failed(name, ares_strerror(status == ARES_SUCCESS ? ARES_ENODATA : status));
	if (info)
		ares_freeaddrinfo(info);
}

/* Makes the channel, or makes it anew where the list of name servers has changed since: a machine that moves
 * to another network must not need a restart. 0 or an ARES_ error; the channel that was there then stays. */
static int resolver_open(struct resolver *resolver)
{
	struct ares_options options = { .timeout = QUERY_MS,
		.tries = QUERY_TRIES,
		.lookups = (char *)"fb",
		.sock_state_cb = resolver_sockets_change,
		.sock_state_cb_data = &resolver->sockets };
	struct stat now = { 0 };
	ares_channel fresh;

	if (stat(SERVERS_FILE, &now) < 0)
		now = (struct stat){ 0 };
	if (resolver->channel && now.st_ino == resolver->servers.st_ino && now.st_size == resolver->servers.st_size &&
		now.st_mtim.tv_sec == resolver->servers.st_mtim.tv_sec &&
		now.st_mtim.tv_nsec == resolver->servers.st_mtim.tv_nsec)
		return ARES_SUCCESS;
	/* "fb": the hosts file, then DNS, whatever nsswitch.conf adds to these. */
	int status = ares_init_options(
		&fresh, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
	if (status != ARES_SUCCESS)
		return status;
	ares_channel old = resolver->channel;
	resolver->channel = fresh;
	resolver->servers = now;
	if (old)
		ares_destroy(old); /* calls on_answer() for each name in flight */
	return ARES_SUCCESS;
}

/* Asks for what is due and returns when the next name will be. */
static uint64_t ask_due(struct resolver *resolver, uint64_t now_us)
{
	static const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	uint64_t next_us = UINT64_MAX;

	resolver_open(resolver); /* where it fails, the channel that there is goes on */
	for (size_t i = 0; i < resolver->n_names; i++) {
		struct name *name = &resolver->names[i];
		/* With as many in flight as there may be, the next answer is what to wait for. */
		if (name->asking || (name->due_us <= now_us && resolver->in_flight >= IN_FLIGHT_MAX))
			continue;
		if (name->due_us <= now_us) {
			name->asking = true;
			resolver->in_flight++;
			ares_getaddrinfo(resolver->channel, name->text, NULL, &hints, on_answer, name);
		}
		/* The hosts file has answered by now. */
		if (!name->asking && name->due_us < next_us)
			next_us = name->due_us;
	}
	return next_us;
}

static int wait_ms(const struct resolver *resolver, uint64_t next_us)
{
	uint64_t now_us = clock_monotonic_us();
	uint64_t wait_us = next_us > now_us ? next_us - now_us : 0;
	struct timeval by_name, by_query;

	if (wait_us > REFRESH_MAX_S * SECOND_US)
		wait_us = REFRESH_MAX_S * SECOND_US;
	by_name = (struct timeval){
		.tv_sec = (time_t)(wait_us / SECOND_US),
		.tv_usec = (suseconds_t)(wait_us % SECOND_US),
	};
	const struct timeval *wait = ares_timeout(resolver->channel, &by_name, &by_query);
	return (int)(wait->tv_sec * 1000 + wait->tv_usec / 1000 + 1); /* never a little too early, which would spin */
}

static void __attribute__((noreturn)) resolver_run(struct resolver *resolver)
{
	for (;;) {
		uint64_t next_us = ask_due(resolver, clock_monotonic_us());
		resolver_sockets_wait(&resolver->sockets, resolver->channel, -1, wait_ms(resolver, next_us));
	}
}

static void reset_signals(void)
{
	static const int ignored[] = { SIGINT, SIGHUP, SIGPIPE };
	sigset_t none;

	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* 0 or -errno. */
static int become_resolver(pid_t master, int log_fd, bool drop, uid_t uid, gid_t gid)
{
	process_rename("usher: resolver");
	reset_signals();
	int null = fd_open_null();
	if (null < 0)
		return null;
	for (int fd = 0; fd <= (log_fd == STDERR_FILENO ? 1 : 2); fd++)
		if (dup2(null, fd) < 0)
			return failure_set(-errno, "cannot let go of its terminal: dup2");
	process_keep_only(&log_fd, 1);
	int result = process_drop_privileges(drop, uid, gid);
	if (result < 0)
		return result;
	/* A change of identity would have cleared this; a master that died before it was set is seen by its
	 * absence. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return failure_set(-errno, "cannot end with the master: prctl(PR_SET_PDEATHSIG)");
	if (getppid() != master)
		_exit(0);
	return 0;
}

static struct resolver *resolver_new(const char *const *names, size_t n, struct resolved *table)
{
	struct resolver *resolver = calloc(1, sizeof *resolver + n * sizeof resolver->names[0]);

	if (!resolver)
		return NULL;
	resolver->table = table;
	resolver->n_names = n;
	for (size_t i = 0; i < n; i++)
		resolver->names[i] = (struct name){
			.resolver = resolver,
			.text = names[i],
			.number = i,
			.retry_s = RETRY_MIN_S,
		};
	return resolver;
}

int resolver_start(pid_t *ret_pid, const char *const *names, size_t n, struct resolved *table, int log_fd,
	const struct log_settings *log, bool drop, uid_t uid, gid_t gid, const struct shared *shared)
{
	pid_t master = getpid();
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid > 0) {
		*ret_pid = pid;
		return 0;
	}
	log_fd = log_own_fd(log_fd);
	log_setup(log_fd, log);
	struct shared own = NO_SHARED;
	int error = shared ? shared_view(shared, SHARED_RESOLVER, &own) : 0;
	if (error == 0)
		error = become_resolver(master, log_fd, drop, uid, gid);
	struct resolver *resolver = error < 0 ? NULL : resolver_new(names, n, table);
	if (!resolver) {
		log_error("the resolver cannot start: %s", failure_text(error < 0 ? error : -ENOMEM));
		_exit(1);
	}
	int status = ares_library_init(ARES_LIB_INIT_ALL);
	if (status == ARES_SUCCESS)
		status = resolver_open(resolver);
	if (status != ARES_SUCCESS) {
		log_error("the resolver cannot start: %s", ares_strerror(status));
		_exit(1);
	}
	error = sandbox_enter_resolver(own.page ? &own.page->slots[SHARED_RESOLVER].refused : NULL);
	if (error < 0) {
		log_error("the resolver cannot start: %s", failure_text(error));
		_exit(1);
	}
	resolver_run(resolver);
}
