/* Reads SRV records by libresolv, which checks each length and each compressed name. Refuses hosts that are no host names: they are asked for
 * and written to the log. Owns nothing.
 *
 * Targets are kept in order of priority, host and port, which is not the order of the answer: name servers rotate it, and where there are too
 * many, the same ones are to be left out each time. */
#include "srv_answer.h"
#include <arpa/nameser.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define WEIGHT_MAX 256
#define SHARES     840 /* can be divided by each number up to SRV_ADDRESSES_MAX */

/* ---- the message ---- */

static uint16_t get_u16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void lower_ttl(struct srv_answer *answer, uint32_t ttl_s)
{
	if (ttl_s > INT32_MAX) /* RFC 2181 8 */
		ttl_s = 0;
	if (ttl_s < answer->ttl_s)
		answer->ttl_s = ttl_s;
}

static int compare_targets(const struct srv_target *a, const struct srv_target *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	int order = strcasecmp(a->host, b->host);
	return order ? order : (a->port > b->port) - (a->port < b->port);
}

static void target_add(struct srv_answer *answer, const struct srv_target *target)
{
	size_t at = answer->n;

	while (at > 0 && compare_targets(target, &answer->targets[at - 1]) < 0)
		at--;
	if (at > 0 && compare_targets(target, &answer->targets[at - 1]) == 0)
		return;
	answer->left_out += answer->n == SRV_TARGETS_MAX;
	if (at == SRV_TARGETS_MAX)
		return;
	answer->n += answer->n < SRV_TARGETS_MAX;
	memmove(&answer->targets[at + 1], &answer->targets[at], (answer->n - at - 1) * sizeof(*target));
	answer->targets[at] = *target;
}

static bool is_host(const char *host)
{
	char with_port[264], name[254];
	uint16_t port;

	snprintf(with_port, sizeof(with_port), "%s:1", host);
	return address_split_name(with_port, name, &port) == 0;
}

/* False: it is malformed. */
static bool read_target(struct srv_answer *answer, ns_msg *message, ns_rr *record)
{
	const uint8_t *data = ns_rr_rdata(*record);
	struct srv_target target = { .n = 0 };

	if (ns_rr_rdlen(*record) < 7 ||
		ns_name_uncompress(
			ns_msg_base(*message), ns_msg_end(*message), data + 6, target.host, sizeof(target.host)) < 0)
		return false;
	target.priority = get_u16(data);
	target.weight = get_u16(data + 2);
	target.port = get_u16(data + 4);
	if (target.host[0] == '\0' || strcmp(target.host, ".") == 0)
		answer->withdrawn = true;
	else if (target.port > 0 && is_host(target.host))
		target_add(answer, &target);
	return true;
}

static bool read_address(ns_rr *record, struct address *ret)
{
	*ret = (struct address){ 0 };
	if (ns_rr_type(*record) == ns_t_a && ns_rr_rdlen(*record) == 4) {
		ret->len = sizeof(ret->in);
		ret->in.sin_family = AF_INET;
		memcpy(&ret->in.sin_addr, ns_rr_rdata(*record), 4);
		return true;
	}
	if (ns_rr_type(*record) != ns_t_aaaa || ns_rr_rdlen(*record) != 16)
		return false;
	ret->len = sizeof(ret->in6);
	ret->in6.sin6_family = AF_INET6;
	memcpy(&ret->in6.sin6_addr, ns_rr_rdata(*record), 16);
	return true;
}

static void add_address(struct srv_answer *answer, ns_rr *record)
{
	struct address address;
	bool is_wanted = false;

	if (!read_address(record, &address))
		return;
	for (size_t i = 0; i < answer->n; i++) {
		struct srv_target *target = &answer->targets[i];
		if (target->n == SRV_ADDRESSES_MAX || strcasecmp(target->host, ns_rr_name(*record)) != 0)
			continue;
		target->addresses[target->n++] = address;
		is_wanted = true;
	}
	if (is_wanted)
		lower_ttl(answer, ns_rr_ttl(*record));
}

static bool read_section(struct srv_answer *answer, ns_msg *message, ns_sect section)
{
	for (int i = 0; i < ns_msg_count(*message, section); i++) {
		ns_rr record;
		if (ns_parserr(message, section, i, &record) < 0)
			return false;
		if (ns_rr_class(record) != ns_c_in)
			continue;
		if (section == ns_s_ar) {
			add_address(answer, &record);
			continue;
		}
		if (ns_rr_type(record) != ns_t_srv && ns_rr_type(record) != ns_t_cname)
			continue;
		lower_ttl(answer, ns_rr_ttl(record));
		if (ns_rr_type(record) == ns_t_srv && !read_target(answer, message, &record))
			return false;
	}
	return true;
}

int srv_answer_read(const uint8_t *message, size_t len, struct srv_answer *ret)
{
	ns_msg parsed;

	*ret = (struct srv_answer){ .ttl_s = INT32_MAX };
	if (len > UINT16_MAX || ns_initparse(message, (int)len, &parsed) < 0 || !read_section(ret, &parsed, ns_s_an))
		return -EBADMSG;
	/* What comes along is not needed: where it is malformed, the targets are asked for. */
	if (!read_section(ret, &parsed, ns_s_ar))
		for (size_t i = 0; i < ret->n; i++)
			ret->targets[i].n = 0;
	if (ret->n > 0)
		ret->withdrawn = false;
	return ret->n == 0 && !ret->withdrawn ? -ENODATA : 0;
}

/* ---- its addresses ---- */

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

/* To 1 for all where they are the same, and to WEIGHT_MAX for the heaviest where the rest of them does not fit. A weight of 0 is for "a very small
 * chance" beside others (RFC 2782). */
static void weights_reduce(const uint32_t *weights, size_t n, struct resolved_address *ret)
{
	uint32_t most = 0, divisor = 0;
	bool has_none = false;

	for (size_t i = 0; i < n; i++) {
		most = weights[i] > most ? weights[i] : most;
		divisor = common_divisor(weights[i], divisor);
		has_none |= weights[i] == 0;
	}
	for (size_t i = 0; i < n; i++) {
		uint64_t weight = weights[i];
		if (most > 0 && (has_none || most / divisor > WEIGHT_MAX))
			weight = weight * WEIGHT_MAX / most;
		else if (most > 0)
			weight /= divisor;
		ret[i].weight = weight ? (uint16_t)weight : 1;
	}
}

static bool contains(const struct resolved_address *addresses, size_t n, const struct address *wanted)
{
	for (size_t i = 0; i < n; i++)
		if (address_equal(&addresses[i].address, wanted))
			return true;
	return false;
}

size_t srv_answer_addresses(const struct srv_answer *answer, bool (*takes)(const void *context, uint16_t port),
	const void *context, struct resolved_address ret[RESOLVED_ADDRESSES_MAX], size_t *ret_refused)
{
	uint32_t weights[RESOLVED_ADDRESSES_MAX];
	size_t n = 0, first = 0; /* of those of one priority */
	uint16_t priority = 0;
	uint8_t rank = 0;

	*ret_refused = 0;
	for (size_t i = 0; i < answer->n; i++) {
		const struct srv_target *target = &answer->targets[i];
		if (takes && !takes(context, target->port)) {
			*ret_refused += 1;
			continue;
		}
		if (n > first && target->priority != priority) {
			weights_reduce(weights + first, n - first, ret + first);
			first = n;
			rank += rank < UINT8_MAX;
		}
		priority = target->priority;
		for (size_t k = 0; k < target->n && n < RESOLVED_ADDRESSES_MAX; k++) {
			struct address address = target->addresses[k];
			address_set_port(&address, target->port);
			if (contains(ret, n, &address))
				continue;
			ret[n] = (struct resolved_address){ .address = address, .rank = rank };
			weights[n++] = target->weight * (uint32_t)(SHARES / target->n);
		}
	}
	weights_reduce(weights + first, n - first, ret + first);
	return n;
}
