/* Binds the exporter's socket, forks it, and forks it again when it dies or another policy comes into force. Refuses to let usher fail for
 * any of it: what cannot be had is said once and tried again. Owns the socket, the memory and its own share of the policy. */
#include "exporting.h"
#include "back_off.h"
#include "failure.h"
#include "fd.h"
#include "kill_as.h"
#include "log.h"
#include "port_owner.h"
#include "sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LISTEN_AGAIN_US 1000000
#define START_AGAIN_US  1000000
#define START_MOST_US   60000000 /* also: one that ran for so long did not die at once */
#define TELL_EACH_US    1000000
#define QUEUE           64

/* ---- the socket ---- */

static bool has_file(const struct socket_held *held)
{
	return held->fd >= 0 && !address_is_ip(&held->address);
}

static void socket_close(struct exporting *exporting)
{
	if (has_file(&exporting->held))
		socket_file_remove(exporting->held.address.un.sun_path, &exporting->held.file);
	exporting->held.fd = fd_close(exporting->held.fd);
}

static int socket_open(const struct metrics_policy *metrics, struct socket_held *ret)
{
	const struct address *address = &metrics->address;
	sa_family_t family = address->sa.sa_family;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error = 0;

	if (fd < 0)
		return -errno;
	*ret = (struct socket_held){ .address = *address, .fd = fd };
	if (family != AF_UNIX)
		error = fd_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (error == 0 && family == AF_INET6)
		error = fd_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (error == 0 && family == AF_UNIX)
		error = socket_file_bind(fd, address->un.sun_path, metrics->mode, NULL, &ret->file);
	else if (error == 0 && bind(fd, &address->sa, address->len) < 0)
		error = -errno;
	if (error == 0 && listen(fd, QUEUE) < 0)
		error = -errno;
	if (error < 0) {
		if (ret->file.inode)
			socket_file_remove(address->un.sun_path, &ret->file);
		ret->fd = fd_close(fd);
	}
	return error;
}

/* Is it the one that this policy wants? */
static bool socket_stays(const struct socket_held *held, const struct metrics_policy *metrics)
{
	if (held->fd < 0 || !address_equal(&held->address, &metrics->address) || !socket_listens(held))
		return false;
	return !has_file(held) || socket_file_admit(held->address.un.sun_path, &held->file, metrics->mode, NULL) == 0;
}

static void tell_missing(const struct policy *policy, int error)
{
	const struct metrics_policy *metrics = &policy->metrics;
	char holder[128] = "";
	bool is_held = error == -EADDRINUSE && address_is_ip(&metrics->address) &&
		port_owner(&metrics->address, TRANSPORT_STREAM, holder, sizeof(holder));

	log_error("%s:%u: no metrics, cannot listen on %s: %s%s%s; tried again every second", policy->file,
		metrics->line, metrics->text, strerrordesc_np(-error), is_held ? ", held by " : "", holder);
}

/* False: not yet. */
static bool exporting_listen(struct exporting *exporting)
{
	const struct metrics_policy *metrics = &exporting->policy->metrics;
	struct socket_held fresh;

	if (socket_stays(&exporting->held, metrics))
		return true;
	if (has_file(&exporting->held) && address_equal(&exporting->held.address, &metrics->address))
		socket_close(exporting);
	int error = socket_open(metrics, &fresh);
	if (error == 0) {
		socket_close(exporting);
		exporting->held = fresh;
	}
	if (error < 0 && !exporting->missing)
		tell_missing(exporting->policy, error);
	if (error == 0 && exporting->missing)
		log_notice("metrics on %s: served now", metrics->text);
	exporting->missing = error < 0;
	return error == 0;
}

/* ---- the process ---- */

static void exporting_end(struct exporting *exporting)
{
	exporting->channel = fd_close(exporting->channel);
	loop_timer_stop(exporting->loop, &exporting->telling);
	if (exporting->pid > 0)
		kill_as(exporting->pid, exporting->policy->drop_identity ? exporting->policy->uid : geteuid(),
			SIGKILL);
	exporting->pid = 0; /* whoever reaps it finds nobody's */
}

static int exporting_start(struct exporting *exporting)
{
	int channel;
	pid_t pid;

	exporting_tell(exporting);
	int error = exporter_start(
		&(struct exporter_start){
			.socket = exporting->held.fd,
			.memory = exporting->memory_fd,
			.shared = exporting->shared,
			.policy = exporting->policy,
			.names = exporting->names_fd,
			.log_fd = exporting->log_fd,
			.log = &exporting->log,
		},
		&pid, &channel);
	if (error < 0)
		return error;
	exporting->pid = pid;
	exporting->channel = channel;
	exporting->started_us = exporting->loop->now_us;
	loop_timer(exporting->loop, &exporting->telling, exporting->loop->now_us + TELL_EACH_US);
	return 0;
}

/* As far as it comes; the rest later. */
static void exporting_try(struct exporting *exporting)
{
	uint64_t later_us = 0;

	if (!exporting_listen(exporting)) {
		later_us = LISTEN_AGAIN_US;
	} else if (!exporting->pid) {
		int error = exporting_start(exporting);
		if (error < 0)
			log_error("the exporter cannot be started: %s", failure_text(error));
		if (error < 0)
			later_us = START_AGAIN_US;
	}
	if (later_us)
		loop_timer(exporting->loop, &exporting->again, exporting->loop->now_us + later_us);
}

static void exporting_again(struct timer *timer)
{
	exporting_try(container_of(timer, struct exporting, again));
}

static void exporting_telling(struct timer *timer)
{
	struct exporting *exporting = container_of(timer, struct exporting, telling);

	exporting_tell(exporting);
	loop_timer(exporting->loop, timer, exporting->loop->now_us + TELL_EACH_US);
}

/* ---- from outside ---- */

void exporting_init(struct exporting *exporting, struct loop *loop, const struct shared *shared,
	void (*publish)(void *context, struct master_facts *facts), void *context)
{
	*exporting = (struct exporting){
		.loop = loop,
		.shared = shared,
		.publish = publish,
		.context = context,
		.held.fd = -1,
		.names_fd = -1,
		.memory_fd = -1,
		.channel = -1,
		.again = { .fired = exporting_again },
		.telling = { .fired = exporting_telling },
	};
}

void exporting_fini(struct exporting *exporting)
{
	if (!exporting->loop)
		return;
	loop_timer_stop(exporting->loop, &exporting->again);
	exporting_end(exporting);
	socket_close(exporting);
	policy_free(exporting->policy);
	fd_close(exporting->names_fd);
	if (exporting->memory)
		munmap(exporting->memory, sizeof(*exporting->memory));
	fd_close(exporting->memory_fd);
}

/* Kept over policies, for the history in it. */
static int memory_make(struct exporting *exporting)
{
	void *memory;

	if (exporting->memory)
		return 0;
	int error = shared_memory_map(&exporting->memory_fd, sizeof(*exporting->memory), &memory);
	if (error < 0)
		return error;
	exporting->memory = memory;
	return madvise(memory, sizeof(*exporting->memory), MADV_DONTFORK) < 0 ? -errno : 0;
}

void exporting_follow(struct exporting *exporting, const struct generation *serving)
{
	bool wanted = serving->policy->metrics.text;
	struct policy *policy = wanted ? policy_share(serving->policy) : NULL;
	int error = wanted && !policy ? -ENOMEM : wanted ? memory_make(exporting) : 0;

	loop_timer_stop(exporting->loop, &exporting->again);
	exporting_end(exporting);
	policy_free(exporting->policy);
	fd_close(exporting->names_fd);
	exporting->policy = policy;
	exporting->names_fd = error == 0 && wanted && serving->resolved
		? fcntl(resolved_fd(serving->resolved), F_DUPFD_CLOEXEC, 0)
		: -1;
	exporting->log_fd = serving->log_fd;
	exporting->log = serving->log;
	exporting->deaths = 0;
	exporting->missing = false; /* to be told of this policy's */
	if (error < 0)
		log_error("the exporter cannot be started: %s", strerrordesc_np(-error));
	else if (wanted)
		exporting_try(exporting);
	if (!wanted || error < 0)
		socket_close(exporting);
}

void exporting_tell(struct exporting *exporting)
{
	if (exporting->memory)
		exporting->publish(exporting->context, &exporting->memory->facts);
}

bool exporting_reap(struct exporting *exporting, pid_t pid, int status)
{
	char how[128];

	if (!exporting->pid || pid != exporting->pid)
		return false;
	uint64_t now_us = exporting->loop->now_us;
	exporting->pid = 0;
	exporting_end(exporting);
	if (now_us - exporting->started_us >= START_MOST_US)
		exporting->deaths = 0;
	uint64_t later_us = back_off_us(START_AGAIN_US, START_MOST_US, exporting->deaths++);
	sandbox_describe_end(how, sizeof(how), status, &exporting->shared->page->slots[SHARED_EXPORTER].refused);
	log_error("the exporter died and is started again in %lu s: it %s", (unsigned long)(later_us / 1000000), how);
	loop_timer(exporting->loop, &exporting->again, now_us + later_us);
	return true;
}

void exporting_take(struct exporting *exporting, const struct socket_held *held, pid_t pid)
{
	exporting->held = *held;
	if (pid > 0)
		kill_as(pid, geteuid(), SIGKILL);
}
