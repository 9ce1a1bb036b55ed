/* The questions for one name's SRV records: first the records, then the addresses of their targets, a few at a time. Where a target's addresses
 * cannot be had, those that it had stay, unless the answer is that there are none. Owns the answers; lives as long as the resolver. */
#define CARES_NO_DEPRECATED /* what is new since 1.28 is not in Debian 12 */
#include "srv.h"
#include <arpa/nameser.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ASKED_MAX 8 /* targets at a time */

struct srv {
	const char *name;
	void (*done)(void *context, int status, const struct srv_answer *answer);
	void *context;
	ares_channel channel; /* of the question that is asked */
	bool is_over;         /* the channel goes away */
	size_t next;          /* target to be asked for */
	size_t in_flight;     /* targets */
	bool is_asking;       /* an answer that comes at once (of the hosts file) is seen by who asks */
	struct srv_answer fresh, last;
	struct question {
		struct srv *srv;
		bool is_asked;
		size_t target;
	} questions[ASKED_MAX];
};

struct srv *srv_new(
	const char *name, void (*done)(void *context, int status, const struct srv_answer *answer), void *context)
{
	struct srv *srv = calloc(1, sizeof(*srv));

	if (!srv)
		return NULL;
	srv->name = name;
	srv->done = done;
	srv->context = context;
	for (size_t i = 0; i < ASKED_MAX; i++)
		srv->questions[i].srv = srv;
	return srv;
}

static void srv_end(struct srv *srv, int status)
{
	if (status == ARES_SUCCESS)
		srv->last = srv->fresh;
	srv->done(srv->context, status, &srv->last);
}

/* ---- addresses of targets ---- */

/* The last good ones. */
static void keep_addresses(const struct srv *srv, struct srv_target *target)
{
	for (size_t i = 0; i < srv->last.n; i++) {
		const struct srv_target *before = &srv->last.targets[i];
		if (strcasecmp(before->host, target->host) != 0)
			continue;
		target->n = before->n;
		memcpy(target->addresses, before->addresses, sizeof(target->addresses));
		return;
	}
}

static void read_addresses(struct srv *srv, struct srv_target *target, const struct ares_addrinfo *info)
{
	for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next) {
		struct address address = { .len = node->ai_addrlen };
		if (node->ai_addrlen > sizeof(address.in6) || target->n == SRV_ADDRESSES_MAX)
			continue;
		memcpy(&address.sa, node->ai_addr, node->ai_addrlen);
		if (!address_is_ip(&address))
			continue;
		address_set_port(&address, 0);
		target->addresses[target->n++] = address;
		if (node->ai_ttl > 0 && (unsigned)node->ai_ttl < srv->fresh.ttl_s)
			srv->fresh.ttl_s = (unsigned)node->ai_ttl;
	}
	for (const struct ares_addrinfo_cname *cname = info->cnames; cname; cname = cname->next)
		if (cname->ttl >= 0 && (unsigned)cname->ttl < srv->fresh.ttl_s)
			srv->fresh.ttl_s = (unsigned)cname->ttl;
}

static void ask_targets(struct srv *srv);

static void on_target(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct question *question = arg;
	struct srv *srv = question->srv;
	struct srv_target *target = &srv->fresh.targets[question->target];

	question->is_asked = false;
	srv->is_over |= status == ARES_EDESTRUCTION;
	if (status == ARES_SUCCESS && info)
		read_addresses(srv, target, info);
	else if (status != ARES_ENODATA && status != ARES_ENOTFOUND)
		keep_addresses(srv, target);
	if (info)
		ares_freeaddrinfo(info);
	srv->in_flight--;
	if (!srv->is_asking)
		ask_targets(srv);
}

static struct question *free_question(struct srv *srv)
{
	for (size_t i = 0; i < ASKED_MAX; i++)
		if (!srv->questions[i].is_asked)
			return &srv->questions[i];
	return NULL;
}

/* Asks for as many as may be asked for. Where none is left, that was it. */
static void ask_targets(struct srv *srv)
{
	static const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct question *question;

	srv->is_asking = true;
	while (!srv->is_over && srv->next < srv->fresh.n && (question = free_question(srv))) {
		size_t target = srv->next++;
		if (srv->fresh.targets[target].n > 0)
			continue;
		question->is_asked = true;
		question->target = target;
		srv->in_flight++;
		ares_getaddrinfo(srv->channel, srv->fresh.targets[target].host, NULL, &hints, on_target, question);
	}
	srv->is_asking = false;
	if (srv->in_flight == 0)
		srv_end(srv, srv->is_over ? ARES_EDESTRUCTION : ARES_SUCCESS);
}

/* ---- the records ---- */

static void on_records(void *arg, int status, int timeouts, unsigned char *message, int len)
{
	struct srv *srv = arg;
	int error = status == ARES_SUCCESS ? srv_answer_read(message, (size_t)len, &srv->fresh) : 0;

	if (error < 0)
		status = error == -ENODATA ? ARES_ENODATA : ARES_EBADRESP;
	if (status != ARES_SUCCESS)
		srv_end(srv, status);
	else
		ask_targets(srv);
}

void srv_ask(struct srv *srv, ares_channel channel)
{
	srv->channel = channel;
	srv->is_over = false;
	srv->next = 0;
	ares_search(channel, srv->name, ns_c_in, ns_t_srv, on_records, srv);
}
