/* Finds the backends that an order of the operator is for, writes it into the table, and drops it when the file says something else. Refuses to
 * tell workers: they see the table. Owns nothing past a call. */
#include "backend_orders.h"
#include "backend_table.h"
#include "backend_walk.h"
#include "generation.h"
#include "log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

struct giving {
	struct backend_table *table;
	const struct control_backend *order;
	struct address address; /* len 0: it is meant by its name */
	bool datagrams_alone;   /* "udp:" */
	const char *text;
	bool connects; /* the service has backends */
	bool unresolved;
	int n;
};

static bool is_meant(const struct giving *giving, const struct backend_at *at)
{
	if (giving->datagrams_alone && at->transport != TRANSPORT_DATAGRAM)
		return false;
	if (strcasecmp(giving->text, at->backend->text) == 0)
		return true;
	struct address address = address_unmapped(&at->address);
	return giving->address.len && at->key && address_equal(&giving->address, &address);
}

static void order_write(
	struct backend_table *table, uint32_t place, const struct backend_at *at, const struct control_backend *order)
{
	uint32_t said = backend_said(at), now_s = (uint32_t)time(NULL);
	struct backend_record *record = backend_table_at(table, place);

	switch (order->order) {
	case CONTROL_BACKEND_DRAIN:
		backend_order_set(table, place, BACKEND_MODE_DRAIN, said, now_s);
		break;
	case CONTROL_BACKEND_DOWN:
		backend_order_set(table, place, BACKEND_MODE_DOWN, said, now_s);
		break;
	case CONTROL_BACKEND_UP: /* whatever clients have found */
		backend_health_clear(&record->health);
		atomic_store_explicit(&record->since_s, now_s, memory_order_relaxed);
		backend_order_set(table, place, BACKEND_MODE_NONE, said, now_s);
		break;
	case CONTROL_BACKEND_WEIGHT:
		backend_order_set_weight(table, place,
			order->weight == at->backend->weight ? BACKEND_WEIGHT_OF_FILE : order->weight, said);
		break;
	}
}

static int give_one(void *context, const struct backend_at *at)
{
	struct giving *giving = context;

	if (strcmp(at->service->name, giving->order->service) != 0)
		return 0;
	giving->connects = true;
	if (!is_meant(giving, at))
		return 0;
	if (!at->key) {
		giving->unresolved = true;
		return 0;
	}
	uint32_t place = backend_table_place(giving->table, BACKEND_MASTER, at->service_hash, at->key);
	if (place == BACKEND_NONE)
		return -ENOSPC;
	order_write(giving->table, place, at, giving->order);
	giving->n++;
	return 0;
}

static void log_order(const struct control_backend *order)
{
	switch (order->order) {
	case CONTROL_BACKEND_DRAIN:
		log_notice("service %s: backend %s gets no new clients, by the control socket", order->service,
			order->address);
		break;
	case CONTROL_BACKEND_DOWN:
		log_notice("service %s: backend %s is taken down, by the control socket", order->service,
			order->address);
		break;
	case CONTROL_BACKEND_UP:
		log_notice(
			"service %s: backend %s is taken up, by the control socket", order->service, order->address);
		break;
	case CONTROL_BACKEND_WEIGHT:
		log_notice("service %s: backend %s has weight %u, by the control socket", order->service,
			order->address, order->weight);
		break;
	}
}

static bool has_service(const struct policy *policy, const char *name)
{
	for (size_t i = 0; i < policy->n_services; i++)
		if (strcmp(policy->services[i].name, name) == 0)
			return true;
	return false;
}

int backend_orders_give(struct backend_table *table, const struct generation *serving,
	const struct control_backend *order, char *why, size_t size)
{
	struct giving giving = { .table = table, .order = order, .text = order->address };

	if (strncmp(order->address, "udp:", 4) == 0) {
		giving.datagrams_alone = true;
		giving.text += 4;
	}
	if (address_parse(&giving.address, giving.text) == 0)
		giving.address = address_unmapped(&giving.address);
	int r = backend_walk(serving->policy, serving->resolved, give_one, &giving);
	if (r == 0 && giving.n > 0) {
		log_order(order);
		return giving.n;
	}
	if (r < 0)
		snprintf(why, size, "the table of backends is full");
	else if (giving.unresolved)
		snprintf(why, size, "the name of backend `%s' has no address yet: try again", order->address);
	else if (giving.connects)
		snprintf(why, size, "service `%s' has no backend `%s', expected one that `usher backends' lists",
			order->service, order->address);
	else
		snprintf(why, size,
			has_service(serving->policy, order->service) ? "service `%s' has no backends"
								     : "there is no service `%s'",
			order->service);
	return r < 0 ? r : -ENOENT;
}

/* ---- another policy ---- */

struct keeping {
	uint32_t *said; /* of all orders, sorted, each once */
	bool *again;    /* this policy says it too */
	size_t n;
};

static int compare_said(const void *first, const void *second)
{
	uint32_t a = *(const uint32_t *)first, b = *(const uint32_t *)second;
	return (a > b) - (a < b);
}

static int keep_one(void *context, const struct backend_at *at)
{
	struct keeping *keeping = context;
	uint32_t said = backend_said(at);
	const uint32_t *found = bsearch(&said, keeping->said, keeping->n, sizeof(said), compare_said);

	if (found)
		keeping->again[found - keeping->said] = true;
	return 0;
}

static size_t said_gather(const struct backend_table *table, uint32_t *said)
{
	size_t n = 0, kept = 0;

	for (uint32_t place = 0; place < BACKEND_PLACES; place++)
		if ((said[n] = backend_order_said(table, place)))
			n++;
	qsort(said, n, sizeof(*said), compare_said);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || said[i] != said[i - 1])
			said[kept++] = said[i];
	return kept;
}

static unsigned drop_others(struct backend_table *table, const struct keeping *keeping)
{
	unsigned n = 0;

	for (uint32_t place = 0; place < BACKEND_PLACES; place++) {
		uint32_t said = backend_order_said(table, place);
		const uint32_t *found =
			said ? bsearch(&said, keeping->said, keeping->n, sizeof(said), compare_said) : NULL;
		if (!found || keeping->again[found - keeping->said])
			continue;
		backend_order_drop(table, place);
		n++;
	}
	return n;
}

void backend_orders_keep(struct backend_table *table, const struct policy *policy)
{
	struct keeping keeping = { 0 };

	if (backend_orders_edition(table) == 0) /* there was never one */
		return;
	keeping.said = calloc(BACKEND_PLACES + 1, sizeof(*keeping.said));
	keeping.again = calloc(BACKEND_PLACES, sizeof(*keeping.again));
	if (keeping.said && keeping.again) {
		keeping.n = said_gather(table, keeping.said);
		backend_walk(policy, NULL, keep_one, &keeping); /* whatever addresses names have now */
		unsigned n = drop_others(table, &keeping);
		if (n)
			log_notice("orders for %u backends are over: the configuration says otherwise of them", n);
	}
	free(keeping.said);
	free(keeping.again);
}
