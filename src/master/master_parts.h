/* The master's own state, for the files that it is made of: master.c (start, children, end), master_orders.c (what it is told),
 * master_log.c (where its words go), master_generations.c (one generation after the other), master_upgrade.c (one image after
 * the other). */
#pragma once
#include "ask.h"
#include "backend_upkeep.h"
#include "checking.h"
#include "compiling.h"
#include "control.h"
#include "exporting.h"
#include "forwarding.h"
#include "generation.h"
#include "listener_guard.h"
#include "logger_wait.h"
#include "loop.h"
#include "master_options.h"
#include "notify.h"
#include "server_processes.h"
#include "shared.h"
#include "sockets.h"
#include "takeover.h"
#include "upgrade.h"
#include "watching.h"
#include "worker.h"
#include <stdint.h>
#include <time.h>

enum master_state {
	MASTER_RUNNING,
	MASTER_DRAINING, /* its workers accept no more, and it ends with them */
	MASTER_STOPPING, /* its workers end now */
	MASTER_LEAVING,  /* it ends, and its workers serve what they have */
};

struct master {
	const struct master_options *options;
	struct loop loop;
	struct watch signals;
	struct sockets sockets;
	struct listener_guard guard;       /* of them */
	struct logger logger, next_logger; /* the next: of the generation that is coming, where it logs elsewhere */
	struct logger_wait logger_wait, next_logger_wait;
	struct policy *waiting; /* for the next logger; NULL: none is */
	time_t waiting_since;   /* with what compiling it took */
	struct shared shared;
	struct program_table *programs;
	struct server_processes servers;
	struct asks asks;
	struct forwarding forwarding;
	bool slots[LIMITS_SLOTS_MAX];
	int connection; /* inetd; -1: none */
	bool stderr_is_client;

	struct generation *serving, *coming; /* NULL: none */
	struct generation *all;              /* with those that retire */

	bool reload_again;
	struct task reload;
	struct compiling compiling; /* the policy of the next reload */
	struct upgrade upgrade;
	struct notify notify; /* systemd */
	struct task all_held; /* then it goes on */
	struct control *control;
	struct exporting exporting;
	struct checking checking;
	struct watching watching;
	struct timespec read_since; /* the configuration, at the start */
	struct backend_upkeep upkeep;
	time_t since;
	uint64_t privileges, privileges_told; /* in force, and as the log has them; 0: not limited yet */
	struct takeover *takeover;            /* from the image before this one; NULL: there was none */

	int ready_fd; /* of the process that started a daemon */
	char *pid_file;
	bool control_missing;   /* and told so */
	bool reopen_when_ready; /* the log's file: what starts has opened it before that was asked */
	enum master_state state;
	time_t ending_since; /* by the wall clock, for people; 0: it does not end, or has not begun */
	struct timer deadline, logger_restart, control_again;
	int status; /* to exit with */
};

/* None, or one that was closed. */
#define NO_LOGGER ((struct logger){ .pipe_fd = -1, .control_fd = -1, .read_fd = -1 })

static inline bool master_is_ending(const struct master *master)
{
	return master->state != MASTER_RUNNING;
}

/* ---- master.c ---- */

/* The configuration, with what is wrong with it said so. 0 or -errno. */
int master_load(struct master *master, struct policy **ret);

/* Whoever has ended. */
void master_reap(struct master *master);

/* ---- master_orders.c ---- */

extern const struct control_hooks master_control_hooks;

/* From here on signals are orders. 0 or -errno. */
int master_watch_signals(struct master *master);

/* For the exporter: what the master knows. */
void master_publish(void *master, struct master_facts *facts);

void master_reload_task(struct task *task);
void master_compiled(struct master *master); /* or not */
void master_logged(struct master *master, struct policy *policy);
void master_refuse_reload(struct master *master, const char *why);
bool master_is_reloading(const struct master *master);
void master_deadline(struct timer *timer);

/* ---- master_log.c ---- */

/* Before there is a log. */
void master_say(const struct master *master, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first one says what is wrong, as does the next one, where the log goes elsewhere than now, or is written by another user. 0 or -errno:
 * -EINPROGRESS, it is on its way, and what follows is master_logged(), where it logs, or master_refuse_reload(). */
int master_start_first_logger(struct master *master, const struct policy *policy);
int master_start_next_logger(struct master *master, struct policy *policy);

/* It takes the place of the one before. Lines of the old generation still go to that one; it ends with the last process that has its
 * pipe. */
void master_take_next_logger(struct master *master);
void master_forget_next_logger(struct master *master);

void master_next_logger_over(struct logger_wait *wait, int error);
void master_logger_over(struct logger_wait *wait, int error);

void master_logger_died(struct master *master);
void master_restart_logger(struct timer *timer);
int master_reopen_log(struct master *master); /* 0 or -errno; logs without a file have nothing to reopen */

/* It writes the last lines and ends; one whose reader is stuck is not waited for. */
void master_end_logger(struct master *master);

/* ---- master_generations.c ---- */

/* A generation under this policy, which it takes over: not started yet. NULL: no memory. */
struct generation *master_new_generation(struct master *master, struct policy *policy);

/* Listening sockets that this generation does not listen on are closed; NULL: all of them. */
void master_close_sockets(struct master *master, const struct generation *but);

/* Opens what it listens on and starts it; it serves when it is ready. Takes the policy over. 0 or -errno. */
int master_start_generation(struct master *master, struct policy *policy);

/* Lets go of generations of which no process is left, and ends the loop where none is needed any more. */
void master_sweep(struct master *master);

/* The control socket, which another process had: once more. */
void master_control_again(struct timer *timer);

/* A reload that was asked for in between. */
void master_reload_again(struct master *master);

/* The capabilities that the policies in force need, and one that comes (NULL: none does). */
void master_fit_privileges(struct master *master, const struct policy *coming);

/* ---- master_upgrade.c ---- */

extern const struct upgrade_hooks master_upgrade_hooks;

/* 0: it has begun; -EBUSY: a reload is under way; -ESHUTDOWN. */
int master_upgrade(struct master *master);
void master_upgrade_failed(void *master, const char *why);
void master_worker_held(struct generation *generation);
void master_all_held(struct task *task);

/* All workers go on. */
void master_resume(void *master);

/* In the next image: the state of the one before, where there was one; its generations, sockets, programs. 0 or -errno. */
int master_inherit(struct master *master, struct takeover *takeover, int state);
void master_resume_taken(const struct master *master);
int master_take_over(struct master *master, const struct policy *policy);
int master_load_again(struct master *master, struct policy **ret);

/* In place of all that: it was told to end before there was a configuration. Returns the exit status. */
int master_leave_nothing(struct master *master);
