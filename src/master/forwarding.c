/* Puts the kernel's table in and takes it away, in a child that ends with it: a transaction of nftables waits for others'. libnftables is
 * loaded there alone, so that usher does without it where nothing is forwarded.
 *
 * Refuses to touch another table. Owns the child and the texts. */
#include "forwarding.h"
#include "failure.h"
#include "fd.h"
#include "forwarding_rules.h"
#include "helper_process.h"
#include "ipc.h"
#include "log.h"
#include "privileges.h"
#include <dlfcn.h>
#include <errno.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIBRARY "libnftables.so.1"

#define RENEW_US 1000000

#define STAYS 2 /* the child's status: the table has flows in it */

/* ---- libnftables ------------------------------------------------------------------------------------------------------- */

struct library {
	typeof(nft_ctx_new) *ctx_new;
	typeof(nft_ctx_output_set_flags) *output_set_flags;
	typeof(nft_ctx_buffer_output) *buffer_output;
	typeof(nft_ctx_get_output_buffer) *output;
	typeof(nft_ctx_buffer_error) *buffer_error;
	typeof(nft_ctx_get_error_buffer) *error;
	typeof(nft_run_cmd_from_buffer) *run;
	struct nft_ctx *ctx;
};

/* 0 or -errno, with a text for failure_text(). */
static int library_open(struct library *ret)
{
	void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	struct {
		const char *name;
		void *to;
	} const functions[] = {
		{ "nft_ctx_new", &ret->ctx_new },
		{ "nft_ctx_output_set_flags", &ret->output_set_flags },
		{ "nft_ctx_buffer_output", &ret->buffer_output },
		{ "nft_ctx_get_output_buffer", &ret->output },
		{ "nft_ctx_buffer_error", &ret->buffer_error },
		{ "nft_ctx_get_error_buffer", &ret->error },
		{ "nft_run_cmd_from_buffer", &ret->run },
	};

	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *found = handle ? dlsym(handle, functions[i].name) : NULL;
		if (!found)
			return failure_set(-ELIBACC, "%s cannot be loaded (is libnftables1 installed?)", LIBRARY);
		memcpy(functions[i].to, &found, sizeof(found));
	}
	ret->ctx = ret->ctx_new(NFT_CTX_DEFAULT);
	if (!ret->ctx || ret->buffer_output(ret->ctx) || ret->buffer_error(ret->ctx))
		return failure_set(-ENOMEM, "libnftables");
	return 0;
}

/* The first two lines that it says: what is wrong, and with which rule. */
static int library_run(const struct library *nft, const char *text)
{
	if (nft->run(nft->ctx, text) == 0)
		return 0;
	const char *first = nft->error(nft->ctx), *second = strchrnul(first, '\n');
	int len = (int)(second - first);

	second += strspn(second, " \t\n");
	return failure_set(
		-EREMOTEIO, "%.*s%s%.*s", len, first, *second ? ": " : "", (int)strcspn(second, "\n"), second);
}

/* What the table has; "" where there is none. */
static const char *library_list(const struct library *nft, const char *table, bool with_flows)
{
	char command[64];

	nft->output_set_flags(nft->ctx, with_flows ? 0 : NFT_CTX_OUTPUT_TERSE);
	snprintf(command, sizeof(command), "list table inet %s", table);
	return nft->run(nft->ctx, command) == 0 ? nft->output(nft->ctx) : "";
}

/* ---- in the child ------------------------------------------------------------------------------------------------------ */

/* Of a table that was put in before, whatever the new one has not: each declaration is a line with one tabulator before it. */
static void delete_others(const char *listing, const char *table, const char *rules, FILE *to)
{
	static const char *const kinds[] = { "chain", "set", "ct timeout" };

	for (const char *line = listing; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		size_t len = strcspn(line, "{\n");
		for (size_t i = 0; line[len] == '{' && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
			size_t kind = strlen(kinds[i]);
			if (line[0] != '\t' || strncmp(line + 1, kinds[i], kind) != 0 || line[1 + kind] != ' ')
				continue;
			char *declared = strndup(line, len + 1);
			if (declared && !strstr(rules, declared))
				fprintf(to, "delete %s inet %s %.*s\n", kinds[i], table, (int)(len - kind - 2),
					line + kind + 2);
			free(declared);
		}
	}
}

/* All of it is one transaction. */
static int child_install(const struct library *nft, const char *table, const char *rules)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return failure_set(-ENOMEM, "the rules");
	fprintf(to, "add table inet %s\nflush table inet %s\n", table, table);
	delete_others(library_list(nft, table, false), table, rules, to);
	fputs(rules, to);
	if (fclose(to) != 0)
		return failure_set(-ENOMEM, "the rules");
	int error = library_run(nft, text);
	free(text);
	return error;
}

static int child_remove(const struct library *nft, const char *table)
{
	char text[128];

	snprintf(text, sizeof(text), "add table inet %s\ndelete table inet %s\n", table, table);
	return library_run(nft, text);
}

static bool is_allowed(void)
{
	cap_t now = cap_get_proc();
	cap_flag_value_t set = CAP_CLEAR;

	if (now)
		cap_get_flag(now, CAP_NET_ADMIN, CAP_EFFECTIVE, &set);
	cap_free(now);
	return set == CAP_SET;
}

/* Returns its exit status. */
static int child_change(const struct forwarding *forwarding)
{
	const char *table = forwarding->table;
	struct library nft;
	bool stays = false;
	int error = is_allowed() ? library_open(&nft)
				 : failure_take(-EPERM, "usher needs root or CAP_NET_ADMIN for that");

	if (error == 0 && forwarding->now == FORWARDING_LEAVE)
		stays = strstr(library_list(&nft, table, true), "elements = {") != NULL;
	if (error == 0 && forwarding->now == FORWARDING_INSTALL)
		error = child_install(&nft, table, forwarding->rules);
	else if (error == 0 && !stays)
		error = child_remove(&nft, table);
	if (error == 0)
		return stays ? STAYS : 0;
	const char *why = failure_text(error);
	ipc_send_waiting(forwarding->channel, why, strlen(why));
	return 1;
}

static void __attribute__((noreturn)) child_run(struct forwarding *forwarding, int channel)
{
	fd_close(forwarding->channel);
	forwarding->channel = channel;
	if (helper_process_begin(
		    &(struct helper_process){ .role = "rules", .keep = (int[]){ channel }, .n_keep = 1 }) < 0 ||
		privileges_put_in_force(UINT64_C(1) << CAP_NET_ADMIN) < 0)
		_exit(1);
	_exit(child_change(forwarding));
}

/* ---- in the master ----------------------------------------------------------------------------------------------------- */

void forwarding_init(struct forwarding *forwarding)
{
	*forwarding = (struct forwarding){ .channel = -1, .error = -EOPNOTSUPP };
}

void forwarding_adopt(struct forwarding *forwarding, const char *table)
{
	snprintf(forwarding->table, sizeof(forwarding->table), "%s", table);
	forwarding->error = table[0] ? 0 : -EOPNOTSUPP;
}

void forwarding_fini(struct forwarding *forwarding)
{
	forwarding->channel = fd_close(forwarding->channel);
	free(forwarding->rules);
	free(forwarding->next_rules);
	forwarding->rules = forwarding->next_rules = NULL;
}

static void forwarding_failed(struct forwarding *forwarding, const char *why)
{
	if (forwarding->now == FORWARDING_INSTALL) {
		forwarding->error = -ENOPROTOOPT;
		log_error("flows cannot be given to the kernel: %s", why);
	} else {
		log_error("the table inet %s, with rules for the kernel, cannot be removed: %s", forwarding->table,
			why);
	}
}

/* One process at a time; what was wanted in between but for the last is never done. */
static void forwarding_start(struct forwarding *forwarding)
{
	if (forwarding->pid || forwarding->next == FORWARDING_NONE)
		return;
	forwarding->now = forwarding->next;
	forwarding->next = FORWARDING_NONE;
	free(forwarding->rules);
	forwarding->rules = forwarding->next_rules;
	forwarding->next_rules = NULL;
	fflush(NULL);
	int channel = -1;
	pid_t pid = helper_process_fork(&channel);
	if (pid == 0)
		child_run(forwarding, channel);
	if (pid < 0) {
		forwarding_failed(forwarding, failure_text(pid));
		return;
	}
	forwarding->pid = pid;
	forwarding->channel = channel;
}

void forwarding_follow(struct forwarding *forwarding, const struct policy *policy)
{
	size_t size = 0;

	free(forwarding->next_rules);
	forwarding->next_rules = NULL;
	forwarding->error = -EOPNOTSUPP;
	if (policy->forwarding_table) {
		const char *hindrance = forwarding_hindrance(policy);
		FILE *to = open_memstream(&forwarding->next_rules, &size);
		if (hindrance)
			log_warning("%s", hindrance);
		if (to)
			forwarding_write(policy, to);
		if (!to || fclose(to) != 0) {
			log_error("flows cannot be given to the kernel: no memory");
			return;
		}
		snprintf(forwarding->table, sizeof(forwarding->table), "%s", policy->forwarding_table);
		forwarding->error = -EAGAIN;
		forwarding->next = FORWARDING_INSTALL;
	} else if (forwarding->table[0]) {
		forwarding->next = FORWARDING_REMOVE;
	}
	forwarding_start(forwarding);
}

void forwarding_renew(struct forwarding *forwarding, const struct policy *policy, uint64_t now_us)
{
	if (forwarding->error < 0 || now_us < forwarding->renewed_us + RENEW_US)
		return;
	log_warning(
		"the table inet %s is not in the kernel any more, with the flows that were in it: it is put in again",
		forwarding->table);
	forwarding->renewed_us = now_us;
	forwarding_follow(forwarding, policy);
}

bool forwarding_end(struct forwarding *forwarding)
{
	if (forwarding->table[0] && forwarding->now != FORWARDING_LEAVE && forwarding->next != FORWARDING_LEAVE) {
		forwarding->next = FORWARDING_LEAVE;
		forwarding_start(forwarding);
	}
	return !forwarding->pid && forwarding->next == FORWARDING_NONE;
}

bool forwarding_reap(struct forwarding *forwarding, pid_t pid, int status)
{
	char why[FAILURE_MAX] = "";

	if (pid <= 0 || pid != forwarding->pid)
		return false;
	ssize_t n = recv(forwarding->channel, why, sizeof(why) - 1, MSG_DONTWAIT);
	why[n > 0 ? n : 0] = '\0';
	forwarding->pid = 0;
	forwarding->channel = fd_close(forwarding->channel);
	bool stays = WIFEXITED(status) && WEXITSTATUS(status) == STAYS;
	if (!stays && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
		forwarding_failed(forwarding, why[0] ? why : "the process that does it has died");
	else if (forwarding->now == FORWARDING_INSTALL)
		forwarding->error =
			forwarding->error == -EAGAIN && forwarding->next == FORWARDING_NONE ? 0 : forwarding->error;
	else if (!stays)
		forwarding->table[0] = '\0';
	if (stays)
		log_notice(
			"the kernel goes on forwarding flows: the table inet %s stays for them", forwarding->table);
	forwarding_start(forwarding);
	return true;
}

/* ---- the kernel's settings --------------------------------------------------------------------------------------------- */

static bool setting_is_off(const char *path)
{
	FILE *file = fopen(path, "re");
	int c = file ? fgetc(file) : 0;

	if (file)
		fclose(file);
	return c == '0';
}

static bool is_here(const struct address *address)
{
	struct address at = *address;
	int fd = socket(address->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	address_set_port(&at, 0);
	bool here = fd >= 0 && bind(fd, &at.sa, at.len) == 0;
	fd_close(fd);
	return here;
}

const char *forwarding_hindrance(const struct policy *policy)
{
	static const struct {
		sa_family_t family;
		const char *name, *path;
	} settings[] = {
		{ AF_INET, "net.ipv4.ip_forward", "/proc/sys/net/ipv4/ip_forward" },
		{ AF_INET6, "net.ipv6.conf.all.forwarding", "/proc/sys/net/ipv6/conf/all/forwarding" },
	};
	static char text[256];

	for (size_t i = 0; i < policy->n_services; i++)
		for (size_t k = 0; service_is_forwarded(&policy->services[i]) && k < 2; k++) {
			const struct service *service = &policy->services[i];
			const struct backend *backend = forwarding_backend(service, settings[k].family);
			if (!backend || is_here(&backend->address) || !setting_is_off(settings[k].path))
				continue;
			snprintf(text, sizeof(text),
				"the kernel will not forward flows of service %s to %s: %s is 0, expected 1",
				service->name, backend->text, settings[k].name);
			return text;
		}
	return NULL;
}
