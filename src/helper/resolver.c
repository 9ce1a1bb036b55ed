/* The resolver process: one c-ares channel, one loop over its sockets. It reads answers that strangers can
 * forge and is therefore as unprivileged as a worker; all that it can change is the table. It refuses to give
 * a bad answer the place of a good one. Its memory is one array, which lives as long as the process. */
#include "resolver.h"
#include "back_off.h"
#include "client_lookups.h"
#include "failure.h"
#include "fd.h"
#include "helper_process.h"
#include "ipc.h"
#include "name_helper.h"
#include "resolver_sockets.h"
#include "sandbox.h"
#include "shared.h"
#include "srv.h"
#include "timer.h"
#include <ares.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND_US      1000000ull
#define REFRESH_MIN_S  5
#define ASK_EACH_US    SECOND_US /* at most, where a worker wants the name anew */
#define SLEEP_MAX_US   (300 * SECOND_US)
#define WISHES_A_TURN  256
#define RETRY_FIRST_US SECOND_US
#define RETRY_MOST_US  (60 * SECOND_US)
#define QUERY_MS       2000 /* until a name server is asked again; c-ares doubles it each time */
#define QUERY_TRIES    2
#define NO_TTL_S       10 /* where the C library answers */
#define AGAIN_US       (30 * SECOND_US)
#define IN_FLIGHT_MAX  64 /* names asked for at a time: a name server need not suffer from a long list */
#define LISTED_MAX     16 /* addresses in a line of the log */
#define SERVERS_FILE   "/etc/resolv.conf"

/* Beside the number of a name of the policy's, what the master says. */
struct client_wish {
	uint64_t source;
	char name[256];
};

struct answer {
	size_t n;
	unsigned ttl_s; /* 0: none */
	bool withdrawn; /* there is no address, and that is the answer */
	struct resolved_address addresses[RESOLVED_ADDRESSES_MAX];
};

struct name {
	struct resolver *resolver;
	const char *text;
	struct srv *srv; /* NULL: it has addresses of its own */
	size_t refused;  /* SRV: records whose ports no service has, of the last answer */
	size_t number;   /* in the table */
	enum nsswitch_way way;
	bool unknown; /* to the hosts file and DNS: the C library is asked next */
	bool asking;
	unsigned failures; /* in a row: the back-off */
	uint64_t asked_us, due_us;
	sa_family_t checked; /* the family of the second question, where the first answer had none of it any more */
	struct answer fresh; /* the first answer meanwhile */
	bool is_withdrawn;   /* the last good answer was that there is no address */
	size_t n_addresses;  /* of the last good answer; 0: there was none */
	struct resolved_address addresses[RESOLVED_ADDRESSES_MAX];
};

struct resolver {
	ares_channel channel;
	struct resolver_sockets sockets; /* the channel's */
	struct stat servers;             /* of the file that the channel was made from */
	struct resolved *table;
	int master; /* the channel from it */
	int orders; /* an epoll set of it and the helpers */
	struct nsswitch nsswitch;
	struct stat nsswitch_file;
	struct name_helpers helpers;
	uint64_t again_us; /* when to end and be started with helpers anew; 0: not */
	unsigned max_age_s;
	struct client_lookups *client_lookups;
	bool (*takes)(const void *context, uint32_t name, uint16_t port);
	const void *context;
	size_t in_flight;
	size_t n_names;
	struct name names[];
};

static bool contains(const struct resolved_address *addresses, size_t n, const struct resolved_address *wanted)
{
	for (size_t i = 0; i < n; i++)
		if (address_equal(&addresses[i].address, &wanted->address))
			return addresses[i].weight == wanted->weight && addresses[i].rank == wanted->rank;
	return false;
}

/* The same addresses in another order are no news: name servers rotate them. */
static bool is_news(const struct name *name, const struct answer *answer)
{
	if (name->failures || name->n_addresses != answer->n || name->is_withdrawn != answer->withdrawn)
		return true;
	for (size_t i = 0; i < answer->n; i++)
		if (!contains(name->addresses, name->n_addresses, &answer->addresses[i]))
			return true;
	return false;
}

static void log_answer(const struct name *name)
{
	char list[LISTED_MAX * ADDRESS_TEXT_MAX], *end = list;
	size_t n = name->n_addresses < LISTED_MAX ? name->n_addresses : LISTED_MAX;
	struct record record;

	for (size_t i = 0; i < n; i++) {
		const struct address *address = &name->addresses[i].address;
		if (i > 0)
			*end++ = ',';
		name->srv ? address_format(address, end) : address_format_host(address, end);
		end += strlen(end);
	}
	record_begin(&record, LEVEL_NOTICE, "resolved");
	record_text(&record, "name", name->text);
	record_bytes(&record, "addresses", list, (size_t)(end - list));
	if (name->n_addresses > n)
		record_number(&record, "more", name->n_addresses - n);
	record_write(&record);
}

static void name_answered(struct name *name, const struct answer *answer)
{
	unsigned wait_s = answer->ttl_s;
	bool news = is_news(name, answer);

	if (wait_s < REFRESH_MIN_S)
		wait_s = REFRESH_MIN_S;
	if (wait_s > name->resolver->max_age_s)
		wait_s = name->resolver->max_age_s;
	name->due_us = clock_monotonic_us() + wait_s * SECOND_US;
	name->failures = 0;
	name->is_withdrawn = answer->withdrawn;
	name->n_addresses = answer->n;
	memcpy(name->addresses, answer->addresses, sizeof(name->addresses));
	/* Also when nothing but the order changed: it is the order in which backends are tried. */
	if (answer->withdrawn)
		resolved_withdraw(name->resolver->table, name->number);
	else
		resolved_write(name->resolver->table, name->number, answer->addresses, answer->n);
	resolved_end(name->resolver->table, name->number, false);
	if (news)
		log_answer(name);
}

static void name_failed(struct name *name, const char *why)
{
	name->due_us = clock_monotonic_us() + back_off_us(RETRY_FIRST_US, RETRY_MOST_US, name->failures++);
	resolved_end(name->resolver->table, name->number, true);
	if (name->failures > 1)
		return;

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
		struct resolved_address address = { .address.len = node->ai_addrlen, .weight = 1 };
		if (node->ai_addrlen > sizeof(address.address.in6))
			continue;
		memcpy(&address.address.sa, node->ai_addr, node->ai_addrlen);
		address_set_port(&address.address, 0);
		if (!address_is_ip(&address.address))
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

static bool has_family(const struct resolved_address *addresses, size_t n, sa_family_t family)
{
	for (size_t i = 0; i < n; i++)
		if (addresses[i].address.sa.sa_family == family)
			return true;
	return false;
}

/* A family of which there were addresses and now are none; AF_UNSPEC: there is none such. */
static sa_family_t lost_family(const struct name *name, const struct answer *answer)
{
	static const sa_family_t families[] = { AF_INET, AF_INET6 };

	for (size_t i = 0; i < 2; i++)
		if (has_family(name->addresses, name->n_addresses, families[i]) &&
			!has_family(answer->addresses, answer->n, families[i]))
			return families[i];
	return AF_UNSPEC;
}

/* The last good addresses of the family stay, behind the others. */
static void keep_family(const struct name *name, sa_family_t family, struct answer *answer)
{
	for (size_t i = 0; i < name->n_addresses && answer->n < RESOLVED_ADDRESSES_MAX; i++)
		if (name->addresses[i].address.sa.sa_family == family)
			answer->addresses[answer->n++] = name->addresses[i];
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info);

static void ask(struct name *name, int family)
{
	const struct ares_addrinfo_hints hints = { .ai_family = family, .ai_socktype = SOCK_STREAM };

	name->asking = true;
	name->resolver->in_flight++;
	if (name->srv)
		srv_ask(name->srv, name->resolver->channel);
	else
		ares_getaddrinfo(name->resolver->channel, name->text, NULL, &hints, on_answer, name);
}

/* c-ares asks for both families and takes the answer of one for the whole, also where the question for the other failed. A name
 * that had both does not lose one by that: it is asked for alone, and only an answer that there is none counts. */
static void on_checked(struct name *name, int status, const struct answer *answer)
{
	struct answer whole = name->fresh;
	sa_family_t family = name->checked;

	name->checked = AF_UNSPEC;
	for (size_t i = 0; i < answer->n && whole.n < RESOLVED_ADDRESSES_MAX; i++)
		whole.addresses[whole.n++] = answer->addresses[i];
	if (answer->n == 0 && status != ARES_ENODATA && status != ARES_ENOTFOUND)
		keep_family(name, family, &whole);
	name_answered(name, &whole);
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct answer answer = { 0 };
	struct name *name = arg;

	name->asking = false;
	name->resolver->in_flight--;
	if (info)
		read_answer(info, &answer);
	sa_family_t lost = answer.n > 0 ? lost_family(name, &answer) : AF_UNSPEC;
	if (status == ARES_EDESTRUCTION) {
		name->due_us = 0; /* the name servers changed under it: ask the new ones */
		name->checked = AF_UNSPEC;
	} else if (name->checked != AF_UNSPEC) {
		on_checked(name, status, &answer);
	} else if (status == ARES_SUCCESS && lost != AF_UNSPEC) {
		name->checked = lost;
		name->fresh = answer;
		ask(name, lost);
	} else if (status == ARES_SUCCESS && answer.n > 0) {
		name_answered(name, &answer);
	} else if (name->way == NSSWITCH_THEN && name->resolver->helpers.n > 0) {
		name->unknown = true;
	} else {
		name_failed(name, ares_strerror(status == ARES_SUCCESS ? ARES_ENODATA : status));
	}
	if (info)
		ares_freeaddrinfo(info);
}

/* ---- names with SRV records ---- */

static bool name_takes(const void *context, uint16_t port)
{
	const struct name *name = context;
	const struct resolver *resolver = name->resolver;

	return !resolver->takes || resolver->takes(resolver->context, (uint32_t)name->number, port);
}

static void log_left_out(const struct name *name, size_t refused, size_t left_out)
{
	if (refused)
		log_warning("%s: %zu of its records have a port that `ports' does not have: they get no clients",
			name->text, refused);
	if (left_out)
		log_warning("%s: %zu records are too many: they get no clients", name->text, left_out);
}

static void on_srv(void *context, int status, const struct srv_answer *from)
{
	struct answer answer = { 0 };
	struct name *name = context;
	size_t refused = 0;

	name->asking = false;
	name->resolver->in_flight--;
	if (status == ARES_SUCCESS) {
		answer.ttl_s = from->ttl_s;
		answer.withdrawn = from->withdrawn;
		answer.n = srv_answer_addresses(from, name_takes, name, answer.addresses, &refused);
		if (refused + from->left_out != name->refused)
			log_left_out(name, refused, from->left_out);
		name->refused = refused + from->left_out;
	}
	if (status == ARES_EDESTRUCTION)
		name->due_us = 0;
	else if (status == ARES_SUCCESS && (answer.n > 0 || answer.withdrawn))
		name_answered(name, &answer);
	else
		name_failed(name,
			refused ? "no record with a port that `ports' has"
				: ares_strerror(status == ARES_SUCCESS ? ARES_ENODATA : status));
}

/* ---- names that the C library is asked for ---- */

static bool asks_helper(const struct name *name)
{
	return name->resolver->helpers.n > 0 && (name->way == NSSWITCH_CALLED || name->unknown);
}

static bool ask_helper(struct name *name, uint64_t now_us)
{
	if (!name_helpers_ask(&name->resolver->helpers, (uint32_t)name->number))
		return false;
	name->asked_us = now_us;
	name->asking = true;
	name->resolver->in_flight++;
	return true;
}

static void hear_helpers(struct resolver *resolver)
{
	struct answer answer = { .ttl_s = NO_TTL_S };
	struct address addresses[RESOLVED_ADDRESSES_MAX];
	struct name_answer told;
	bool gone;

	while (name_helpers_hear(&resolver->helpers, &told, addresses, &answer.n, &gone)) {
		for (size_t i = 0; !gone && i < answer.n; i++)
			answer.addresses[i] = (struct resolved_address){ .address = addresses[i], .weight = 1 };
		if (gone && resolver->again_us == 0) {
			log_warning("a helper that asks the C library for names is gone");
			resolver->again_us = clock_monotonic_us() + AGAIN_US;
		}
		if (told.name >= resolver->n_names)
			continue;
		struct name *name = &resolver->names[told.name];
		name->asking = name->unknown = false;
		resolver->in_flight--;
		if (!gone && told.error == 0 && answer.n > 0)
			name_answered(name, &answer);
		else
			name_failed(name,
				gone ? "no answer in half a minute"
				     : gai_strerror(told.error ? told.error : EAI_NODATA));
	}
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
		a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void file_look(const char *path, struct stat *ret)
{
	if (stat(path, ret) < 0)
		*ret = (struct stat){ 0 };
}

/* Only a process that is not in its sandbox can fork helpers, and load modules: the next one. */
static void end_to_start_again(const struct resolver *resolver, uint64_t now_us)
{
	struct stat now;

	file_look(NSSWITCH_FILE, &now);
	if (!is_same_file(&now, &resolver->nsswitch_file) || (resolver->again_us && now_us >= resolver->again_us))
		_exit(RESOLVER_AGAIN);
}

static int orders_open(struct resolver *resolver)
{
	resolver->orders = epoll_create1(EPOLL_CLOEXEC);
	if (resolver->orders < 0)
		return -errno;
	for (size_t i = 0; i <= resolver->helpers.n; i++) {
		int fd = i < resolver->helpers.n ? resolver->helpers.helpers[i].channel : resolver->master;
		struct epoll_event event = { .events = EPOLLIN };
		if (epoll_ctl(resolver->orders, EPOLL_CTL_ADD, fd, &event) < 0)
			return -errno;
	}
	return 0;
}

/* As many as there are names for them, for one may keep its helper for long. */
static int helpers_start(struct resolver *resolver, int log_fd)
{
	size_t wanted = 0;

	file_look(NSSWITCH_FILE, &resolver->nsswitch_file);
	nsswitch_read(&resolver->nsswitch);
	for (size_t i = 0; i < resolver->n_names; i++) {
		struct name *name = &resolver->names[i];
		name->way = name->srv ? NSSWITCH_OWN : nsswitch_way(&resolver->nsswitch, name->text);
		wanted += name->way != NSSWITCH_OWN;
	}
	int error = name_helpers_start(&resolver->helpers, wanted, &resolver->nsswitch, resolver->table, log_fd);
	signal(SIGCHLD, SIG_IGN); /* nobody asks how they ended */
	return error < 0 ? error : orders_open(resolver);
}

/* Makes c-ares' channel, or makes it anew where the list of name servers has changed since: a machine that moves
 * to another network must not need a restart. 0 or an ARES_ error; the channel that was there then stays. */
static int resolver_open(struct resolver *resolver)
{
	char lookups[3];
	struct ares_options options = { .timeout = QUERY_MS,
		.tries = QUERY_TRIES,
		.lookups = lookups,
		.sock_state_cb = resolver_sockets_change,
		.sock_state_cb_data = &resolver->sockets };
	struct stat now;
	ares_channel fresh;

	file_look(SERVERS_FILE, &now);
	if (resolver->channel && is_same_file(&now, &resolver->servers))
		return ARES_SUCCESS;
	nsswitch_lookups(&resolver->nsswitch, lookups);
	int given = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB;
#ifdef ARES_OPT_UDP_MAX_QUERIES
	/* A socket a question: a rubbish answer ends all questions of its socket, and each has a port of its own to be guessed. */
	given |= ARES_OPT_UDP_MAX_QUERIES;
	options.udp_max_queries = 1;
#endif
#ifdef ARES_OPT_QUERY_CACHE
	given |= ARES_OPT_QUERY_CACHE; /* of no size: who asks anew wants no old answer */
#endif
	int status = ares_init_options(&fresh, &options, given);
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
	uint64_t next_us = UINT64_MAX;

	end_to_start_again(resolver, now_us);
	resolver_open(resolver); /* where it fails, the channel that there is goes on */
	for (size_t i = 0; i < resolver->n_names; i++) {
		struct name *name = &resolver->names[i];
		/* With as many in flight as there may be, the next answer is what to wait for. */
		if (name->asking || (name->due_us <= now_us && resolver->in_flight >= IN_FLIGHT_MAX))
			continue;
		if (name->due_us <= now_us && asks_helper(name)) {
			if (!ask_helper(name, now_us))
				continue; /* the next answer of a helper is what to wait for */
		} else if (name->due_us <= now_us) {
			name->asked_us = now_us;
			ask(name, AF_UNSPEC);
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

	if (wait_us > SLEEP_MAX_US)
		wait_us = SLEEP_MAX_US;
	by_name = (struct timeval){
		.tv_sec = (time_t)(wait_us / SECOND_US),
		.tv_usec = (suseconds_t)(wait_us % SECOND_US),
	};
	const struct timeval *wait = ares_timeout(resolver->channel, &by_name, &by_query);
	return (int)(wait->tv_sec * 1000 + wait->tv_usec / 1000 + 1); /* never a little too early, which would spin */
}

/* A worker wants it: at once, but not more often than once a second. */
static void wish(struct resolver *resolver, uint32_t number)
{
	if (number >= resolver->n_names || resolver->names[number].asking)
		return;
	struct name *name = &resolver->names[number];
	uint64_t due_us = name->asked_us + ASK_EACH_US;
	if (due_us < name->due_us)
		name->due_us = due_us;
}

static void hear_wishes(struct resolver *resolver)
{
	struct ipc_fds fds;
	union {
		uint32_t number;
		struct client_wish client;
	} wanted;

	for (int i = 0; i < WISHES_A_TURN; i++) {
		ssize_t n = ipc_receive(resolver->master, &wanted, sizeof(wanted), &fds);
		ipc_close_fds(&fds);
		if (n == 0)
			_exit(0);
		if (n == sizeof(wanted.number))
			wish(resolver, wanted.number);
		else if (n == sizeof(wanted.client) && memchr(wanted.client.name, '\0', sizeof(wanted.client.name)))
			client_lookups_ask(resolver->client_lookups, resolver->channel, wanted.client.name,
				wanted.client.source);
		else
			return;
	}
}

static void __attribute__((noreturn)) resolver_run(struct resolver *resolver)
{
	for (;;) {
		uint64_t next_us = ask_due(resolver, clock_monotonic_us());
		if (resolver_sockets_wait(
			    &resolver->sockets, resolver->channel, resolver->orders, wait_ms(resolver, next_us))) {
			hear_wishes(resolver);
			hear_helpers(resolver);
		}
	}
}

void resolver_ask_anew(int channel, uint32_t name)
{
	ipc_send(channel, &name, sizeof(name), NULL, 0); /* where it is lost, a worker asks again a second later */
}

void resolver_find(int channel, const char *name, uint64_t source)
{
	struct client_wish wish = { .source = source };

	snprintf(wish.name, sizeof(wish.name), "%s", name);
	ipc_send(channel, &wish, sizeof(wish), NULL, 0);
}

static int resolver_begin(const struct resolver_start *start, pid_t master, int channel)
{
	static const int ignored[] = { SIGINT, SIGHUP, SIGPIPE };

	return helper_process_begin(&(struct helper_process){
		.role = "resolver",
		.parent = master,
		.ignored = ignored,
		.n_ignored = sizeof(ignored) / sizeof(ignored[0]),
		.n_null = start->log_fd == STDERR_FILENO ? 2 : 3,
		.keep = (int[]){ start->log_fd, channel },
		.n_keep = 2,
		.drop_privileges = true,
		.drop_identity = start->drop,
		.uid = start->uid,
		.gid = start->gid,
	});
}

static struct resolver *resolver_new(const struct resolver_start *start, int channel)
{
	size_t n = resolved_count(start->table);
	struct resolver *resolver = calloc(1, sizeof(*resolver) + n * sizeof(resolver->names[0]));

	if (!resolver)
		return NULL;
	resolver->table = start->table;
	resolver->master = channel;
	resolver->max_age_s = start->max_age_s;
	resolver->takes = start->takes;
	resolver->context = start->context;
	resolver->n_names = n;
	resolver->client_lookups = client_lookups_new(&(struct client_lookups_of){
		.cache = resolved_cache_write(start->table),
		.allows = start->allows,
		.context = start->context,
		.max_age_s = start->max_age_s,
	});
	if (!resolver->client_lookups)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		struct name *name = &resolver->names[i];
		*name = (struct name){
			.resolver = resolver,
			.text = resolved_name(start->table, i),
			.number = i,
		};
		bool is_srv = strncmp(name->text, RESOLVED_SRV, strlen(RESOLVED_SRV)) == 0;
		if (is_srv && !(name->srv = srv_new(name->text + strlen(RESOLVED_SRV), on_srv, name)))
			return NULL;
		/* Of a resolver before this one. */
		name->n_addresses = resolved_read(start->table, i, 0, name->addresses);
	}
	return resolver;
}

static void __attribute__((noreturn)) resolver_main(struct resolver_start *start, pid_t master, int channel)
{
	struct shared own = NO_SHARED;

	start->log_fd = log_own_fd(start->log_fd);
	log_setup(start->log_fd, start->log);
	int error = start->shared ? shared_view(start->shared, SHARED_RESOLVER, &own) : 0;
	if (error == 0)
		error = resolver_begin(start, master, channel);
	struct resolver *resolver = error < 0 ? NULL : resolver_new(start, channel);
	if (!resolver) {
		log_error("the resolver cannot start: %s", failure_text(error < 0 ? error : -ENOMEM));
		_exit(1);
	}
	error = helpers_start(resolver, start->log_fd);
	if (error < 0) {
		log_error("the resolver cannot start: helpers for names: %s", strerrordesc_np(-error));
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

int resolver_start(const struct resolver_start *start, pid_t *ret_pid, int *ret_channel)
{
	pid_t master = getpid();
	struct resolver_start own = *start;
	int channel = -1;
	int error = resolved_keep(own.table, false);
	pid_t pid = error < 0 ? error : helper_process_fork(&channel);

	if (pid == 0)
		resolver_main(&own, master, channel);
	int kept = resolved_keep(own.table, true); /* from all others */
	if (error == 0 && kept < 0)
		log_warning("the table of names cannot be kept from workers of other policies: %s",
			strerrordesc_np(-kept));
	if (pid < 0)
		return pid;
	*ret_pid = pid;
	*ret_channel = channel;
	return 0;
}
