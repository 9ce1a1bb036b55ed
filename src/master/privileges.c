/* The master is root for a few things: each has its capability here, and its reason in the policy. What no policy can ask for
 * is given up when usher begins to serve; of the rest only what the policy in force asks for is effective, and a reload may make other
 * capabilities effective. That keeps the master from doing as root what nobody asked it to, by mistake or by a trick played with a
 * path; it is no wall around somebody who runs code in the master as root, who gets everything back by executing a program.
 * The bounding set stays for that very reason: sshd, run as root, needs nearly all of it, and the next policy may run one.
 * Refuses nothing and fails nothing: a capability that is missing shows where it is needed. Owns nothing. */
#include "privileges.h"
#include "file.h"
#include "log.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <unistd.h>

#define REASONS_MAX     12
#define REASON_MAX      160
#define BIT(capability) (UINT64_C(1) << (capability))

struct reason {
	uint64_t capabilities;
	char text[REASON_MAX];
};

struct reasons {
	size_t n;
	struct reason list[REASONS_MAX];
};

/* Either will do for transparent sockets. */
#define TRANSPARENT (BIT(CAP_NET_RAW) | BIT(CAP_NET_ADMIN))

static const uint64_t any_policy = BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_KILL) |
	BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) | TRANSPARENT;

/* ---- reasons ---- */

static void need(struct reasons *reasons, uint64_t capabilities, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void need(struct reasons *reasons, uint64_t capabilities, const char *format, ...)
{
	va_list arguments;

	if (reasons->n == REASONS_MAX)
		return;
	struct reason *reason = &reasons->list[reasons->n++];
	reason->capabilities = capabilities;
	va_start(arguments, format);
	vsnprintf(reason->text, sizeof(reason->text), format, arguments);
	va_end(arguments);
}

/* The kernel's, which an administrator may have lowered. */
static unsigned first_free_port(void)
{
	unsigned port = 1024;
	FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");

	if (file && fscanf(file, "%u", &port) != 1)
		port = 1024;
	if (file)
		fclose(file);
	return port;
}

static void need_for_ports(struct reasons *reasons, const struct policy *policy)
{
	const struct metrics_policy *metrics = &policy->metrics;
	unsigned first = first_free_port();

	if (metrics->text && address_is_ip(&metrics->address) && address_port(&metrics->address) < first)
		need(reasons, BIT(CAP_NET_BIND_SERVICE), "has metrics on %s", metrics->text);

	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct listener_policy *listener = &policy->listeners[i];
		if (!address_is_ip(&listener->address) || address_port(&listener->address) >= first)
			continue;
		need(reasons, BIT(CAP_NET_BIND_SERVICE), "listens on %s", listener->text);
		return;
	}
}

/* A path that somebody else's rights may stand in the way of; NULL: none. */
static const char *path_of_others(const struct policy *policy)
{
	if (policy->log_sink == SINK_FILE && file_descriptor(policy->log_file) < 0)
		return policy->log_file;
	if (policy->pid_file)
		return policy->pid_file;
	if (policy->control)
		return policy->control;
	if (policy->metrics.text && !address_is_ip(&policy->metrics.address))
		return policy->metrics.text;
	for (size_t i = 0; i < policy->n_listeners; i++)
		if (!address_is_ip(&policy->listeners[i].address))
			return policy->listeners[i].text;
	for (size_t i = 0; i < policy->n_services; i++)
		if (policy->services[i].target.delivery == DELIVERY_HANDOVER)
			return policy->services[i].target.handover.text;
	return NULL;
}

static void need_as_root(struct reasons *reasons, const struct policy *policy)
{
	const char *path = path_of_others(policy);

	need(reasons, BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_KILL), "workers run as %s", policy->user);
	need(reasons, BIT(CAP_DAC_READ_SEARCH), "a reload reads the configuration, whosever it is");
	if (path)
		need(reasons, BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER), "%s, in whosever folder it is", path);
	if (policy->control && policy->control_group)
		need(reasons, BIT(CAP_CHOWN), "%s is given to a group", policy->control);
	for (size_t i = 0; i < policy->n_services; i++) {
		const struct service *service = &policy->services[i];
		if (service->target.delivery != DELIVERY_EXEC || service->target.exec.stdio != STDIO_PTY ||
			!service->target.exec.own_identity)
			continue;
		need(reasons, BIT(CAP_CHOWN), "%s gives %s a terminal", service->name, service->target.exec.user);
		break;
	}
}

static uint64_t capabilities_had(cap_flag_t flag)
{
	uint64_t had = 0;
	cap_t now = cap_get_proc();

	for (cap_value_t value = 0; now && value <= CAP_LAST_CAP; value++) {
		cap_flag_value_t set = CAP_CLEAR;
		if (cap_get_flag(now, value, flag, &set) == 0 && set == CAP_SET)
			had |= BIT(value);
	}
	cap_free(now);
	return had;
}

/* The lesser of the two, where there is a choice. */
static uint64_t transparent_by(uint64_t had)
{
	return (had & TRANSPARENT) == BIT(CAP_NET_ADMIN) ? BIT(CAP_NET_ADMIN) : BIT(CAP_NET_RAW);
}

static void reasons_find(struct reasons *reasons, const struct policy *policy)
{
	reasons->n = 0;
	need_for_ports(reasons, policy);
	if (policy->drop_identity)
		need_as_root(reasons, policy);
	if (policy->transparent)
		need(reasons, transparent_by(capabilities_had(CAP_PERMITTED)), "services are transparent");
	if (policy->forwarding_table)
		need(reasons, BIT(CAP_NET_ADMIN) | BIT(CAP_NET_BIND_SERVICE), "the kernel forwards flows");
}

uint64_t privileges_needed(const struct policy *policy)
{
	struct reasons reasons;
	uint64_t needed = 0;

	reasons_find(&reasons, policy);
	for (size_t i = 0; i < reasons.n; i++)
		needed |= reasons.list[i].capabilities;
	return needed;
}

/* ---- what is in force ---- */

static int set_flags(cap_t to, cap_flag_t flag, uint64_t capabilities)
{
	if (cap_clear_flag(to, flag) < 0)
		return -errno;
	for (cap_value_t value = 0; value <= CAP_LAST_CAP; value++)
		if (capabilities & BIT(value) && cap_set_flag(to, flag, 1, &value, CAP_SET) < 0)
			return -errno;
	return 0;
}

int privileges_put_in_force(uint64_t needed)
{
	uint64_t keep = capabilities_had(CAP_PERMITTED) & any_policy;
	cap_t to = cap_get_proc();

	if (!to)
		return -errno;
	int error = set_flags(to, CAP_PERMITTED, keep);
	if (error == 0)
		error = set_flags(to, CAP_EFFECTIVE, keep & needed);
	if (error == 0 && cap_set_proc(to) < 0)
		error = -errno;
	cap_free(to);
	return error;
}

/* ---- for people ---- */

/* "cap_setuid, cap_setgid" */
static void name_capabilities(uint64_t capabilities, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (cap_value_t value = 0; value <= CAP_LAST_CAP; value++) {
		char *name = capabilities & BIT(value) ? cap_to_name(value) : NULL;
		if (name && len < size)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? ", " : "", name);
		cap_free(name);
	}
}

/* Those of the reasons that are, or are not, in `had`; "" for none. */
static void name_reasons(const struct reasons *reasons, uint64_t had, char *line, size_t size)
{
	char names[128];
	size_t len = 0;

	line[0] = '\0';
	for (size_t i = 0; i < reasons->n && len < size; i++) {
		uint64_t here = reasons->list[i].capabilities & had;
		if (!here)
			continue;
		name_capabilities(here, names, sizeof(names));
		len += (size_t)snprintf(
			line + len, size - len, "%s%s (%s)", len ? "; " : "", names, reasons->list[i].text);
	}
}

void privileges_log(const struct policy *policy)
{
	uint64_t had = capabilities_had(CAP_EFFECTIVE);
	struct reasons reasons;
	char line[1024];

	reasons_find(&reasons, policy);
	name_reasons(&reasons, had, line, sizeof(line));
	log_info("privileges of the master: %s", *line ? line : "none");
	name_reasons(&reasons, ~had, line, sizeof(line));
	if (*line)
		log_notice("privileges that the master lacks, for what it may have to do: %s", line);
}

void privileges_print(const struct policy *policy, FILE *to)
{
	uint64_t had = capabilities_had(CAP_PERMITTED);
	struct reasons reasons;
	char names[128];

	reasons_find(&reasons, policy);
	fputs("\nPrivileges\n", to);
	for (size_t i = 0; i < reasons.n; i++) {
		uint64_t missing = reasons.list[i].capabilities & ~had;
		name_capabilities(reasons.list[i].capabilities, names, sizeof(names));
		fprintf(to, "  %s: %s%s\n", names, reasons.list[i].text,
			missing ? "; missing here, root has it" : "");
	}
	if (!policy->drop_identity)
		fputs("  not started by root: workers and programs are the user that starts usher, and have what is "
		      "its\n",
			to);
}
