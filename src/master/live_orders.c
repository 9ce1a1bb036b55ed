/* Puts the operator's words of clients into the list that workers read, and lists it. Refuses an opening of a service that the policy does
 * not have, or that is open for everybody. Owns nothing past a call. */
#include "live_orders.h"
#include "hash.h"
#include "log.h"
#include "snapshot_live.h"
#include "timer.h"
#include <errno.h>
#include <string.h>

static const struct service *service_find(const struct policy *policy, const char *name)
{
	for (size_t i = 0; i < policy->n_services; i++)
		if (strcmp(policy->services[i].name, name) == 0)
			return &policy->services[i];
	return NULL;
}

static void log_order(const struct control_live *order, const char *address)
{
	char time[40] = "until that is taken back";

	if (order->seconds != CONTROL_EVER)
		snprintf(time, sizeof(time), "for %llu s", (unsigned long long)order->seconds);
	switch (order->order) {
	case CONTROL_LIVE_BAN:
		log_notice("%s is banned %s, by the control socket", address, time);
		break;
	case CONTROL_LIVE_UNBAN:
		log_notice("%s is banned no more, by the control socket", address);
		break;
	case CONTROL_LIVE_OPEN:
		log_notice("service %s is open for %s %s, by the control socket", order->service, address, time);
		break;
	case CONTROL_LIVE_SHUT:
		log_notice("service %s is open for %s no more, by the control socket", order->service, address);
		break;
	}
}

static bool takes_orders(const struct policy *policy, const struct control_live *order, char *why, size_t size)
{
	const struct service *service = *order->service ? service_find(policy, order->service) : NULL;

	if (!*order->service || order->order == CONTROL_LIVE_SHUT)
		return true;
	if (!service)
		snprintf(why, size, "there is no service `%s'", order->service);
	else if (!service->access || !service->access->allow)
		snprintf(why, size, "service `%s' has no `allow': it is open for everybody", order->service);
	else
		return true;
	return false;
}

int live_orders_give(
	struct live_list *list, const struct policy *policy, const struct control_live *order, char *why, size_t size)
{
	uint64_t service = *order->service ? hash_name(order->service) : LIVE_BAN, now_us = clock_monotonic_us();
	uint64_t until_us = order->seconds == CONTROL_EVER ? LIVE_LIST_EVER : now_us + order->seconds * 1000000;
	char address[LIVE_SOURCE_MAX];
	bool takes_back = order->order == CONTROL_LIVE_UNBAN || order->order == CONTROL_LIVE_SHUT;

	if (!takes_orders(policy, order, why, size))
		return -ENOENT;
	live_source_format(&order->source, address);
	int error = 0;
	if (!takes_back)
		error = live_list_put(list, service, &order->source, until_us, now_us);
	else if (!live_list_remove(list, service, &order->source, now_us))
		error = -ENOENT;
	if (error == -ENOSPC)
		snprintf(why, size, "%d bans and openings are all that may be at a time", LIVE_LIST_MAX);
	else if (error < 0 && *order->service)
		snprintf(why, size, "service `%s' is not open for %s by a request", order->service, address);
	else if (error < 0)
		snprintf(why, size, "%s is not banned, expected an address or prefix that `usher bans' lists",
			address);
	else
		log_order(order, address);
	return error;
}

static const char *service_name(const struct policy *policy, uint64_t hash)
{
	for (size_t i = 0; i < policy->n_services; i++)
		if (hash_name(policy->services[i].name) == hash)
			return policy->services[i].name;
	return NULL;
}

void live_orders_write(const struct live_list *list, const struct policy *policy, FILE *to)
{
	uint64_t now_us = clock_monotonic_us();
	struct live_entry entry;

	for (size_t at = 0; live_list_next(list, &at, now_us, &entry);) {
		char address[LIVE_SOURCE_MAX];
		const struct snapshot_live live = {
			.address = live_source_format(&entry.source, address),
			.service = entry.service == LIVE_BAN ? NULL : service_name(policy, entry.service),
			.ends = entry.until_us != LIVE_LIST_EVER,
			.left_s = (entry.until_us - now_us + 999999) / 1000000,
		};
		if (entry.service != LIVE_BAN && !live.service)
			continue;
		snapshot_live_json(&live, to);
		fputc('\n', to);
	}
}
