/* The tables of names. Who adds an end, a rule or a limit adds its name here, and in usher(8). */
#include "reasons.h"
#include <string.h>

const char *const session_end_names[SESSION_ENDS] = {
	[END_FINISHED] = "finished",
	[END_CLIENT_GONE] = "client-gone",
	[END_CLIENT_RESET] = "client-reset",
	[END_SERVER_RESET] = "server-reset",
	[END_IDLE] = "idle",
	[END_NO_SERVICE] = "no-service",
	[END_REJECTED] = "rejected",
	[END_REFUSED] = "refused",
	[END_PROXY_HEADER] = "proxy-header",
	[END_STARTTLS] = "starttls",
	[END_HANDED_OVER] = "handed-over",
	[END_FORWARDED] = "given-to-kernel",
	[END_PROGRAM] = "program-started",
	[END_DELIVERY_FAILED] = "delivery-failed",
	[END_SHUTDOWN] = "shutdown",
	[END_NO_MEMORY] = "no-memory",
	[END_CLOSED] = "closed",
	[END_BACKEND_DOWN] = "backend-down",
	[END_SHED] = "shed",
};

const char *const rule_names[] = { "ban", "deny", "allow", "hours", "max_connections", "per_source", "rate",
	"sources", "access", "max_startups", "max_startups_per_source", "back-off" };
const size_t n_rule_names = sizeof(rule_names) / sizeof(rule_names[0]);

const char *const limit_names[] = { "descriptors", "max_connections", "listener_max_connections", "max_undecided",
	"max_undecided_per_source" };
const size_t n_limit_names = sizeof(limit_names) / sizeof(limit_names[0]);

const char *const queue_names[] = { "log_queue" };
const size_t n_queue_names = sizeof(queue_names) / sizeof(queue_names[0]);

const char *rule_name(const char *text)
{
	for (size_t i = 0; i < n_rule_names; i++)
		if (strcmp(rule_names[i], text) == 0)
			return rule_names[i];
	return NULL;
}

const char *const datagram_event_names[DATAGRAM_EVENTS] = {
	[DATAGRAM_UNWANTED] = "unwanted",
	[DATAGRAM_BANNED] = "banned",
	[DATAGRAM_NO_ROOM] = "no_room",
	[DATAGRAM_FULL] = "full",
	[DATAGRAM_KERNEL] = "kernel",
	[DATAGRAM_TOO_BIG] = "too_big",
	[DATAGRAM_FRAGMENTED] = "fragmented",
	[DATAGRAM_UNSENT] = "unsent",
	[DATAGRAM_UNUSABLE] = "unusable",
};
