/* Servers that are started on demand (`start` of a service with `connect`): one a service, started when a worker's client finds nobody at
 * the backend, ended when the service has had no client for `stop_after`. Whether it has any shows in the shared counters, so that no worker says
 * anything for a client of a server that runs. */
#pragma once
#include "loop.h"
#include "policy.h"
#include "shared.h"

struct server;

struct server_processes {
	struct loop *loop;
	const struct shared *shared;
	struct server *first;
	struct timer look; /* runs while a server does */
};

void server_processes_init(struct server_processes *servers, struct loop *loop, const struct shared *shared);

/* Ends all servers with SIGTERM, and waits for none. */
void server_processes_fini(struct server_processes *servers);

/* 0: it runs, from now on or already. -EAGAIN: it is being ended. -EBUSY: it ended by itself too soon, and is not started again yet. Or -errno of
 * what failed. */
int server_processes_start(struct server_processes *servers, const struct service *service);
bool server_processes_run(const struct server_processes *servers, const struct service *service);

/* A child has ended: true if it was one of these. */
bool server_processes_reap(struct server_processes *servers, pid_t pid, int status);

/* This policy is in force. Servers that it starts in another way, or not at all, are ended. */
void server_processes_follow(struct server_processes *servers, const struct policy *policy);

size_t server_processes_count(const struct server_processes *servers); /* that run */

/* Those that run, for the next image; and one of the image before this one. 0 or -ENOMEM. */
struct takeover_server;
void server_processes_leave(const struct server_processes *servers, struct takeover_server *ret, size_t *ret_n);
int server_processes_adopt(struct server_processes *servers, const struct takeover_server *from);
