/* What a master leaves to the one that is executed in its place (`usher upgrade`): JSON in a file in memory.
 *
 * Both are the same process, so descriptors and children stay what they are: only their numbers cross. Nothing that a client can
 * write is in it. Two builds that would not understand each other have another format, and one does not follow the other. */
#pragma once
#include "address.h"
#include "sockets.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Where the next image finds it: a number. The trial has it on standard input. */
#define TAKEOVER_VARIABLE "USHER_TAKES_OVER"
#define TRIAL_VARIABLE    "USHER_TRIAL"

#define TAKEOVER_PROOF_MAX 33 /* hexadecimal digits, and a NUL */

struct takeover_child {
	int pid;
	int worker; /* whose, by its place among the workers; -1: nobody's any more */
	uint32_t identifier;
	uint64_t number;
};

struct takeover_worker {
	int pid;
	int channel;
	unsigned slot;
	unsigned generation; /* by its place in the list; 0 is the one that serves */
	unsigned number;     /* among the workers of its generation, */
	unsigned workers;    /* which were so many */
};

struct takeover_program {
	int pid;
	char service[64];
	uint64_t source, started_us;
};

struct takeover_server {
	int pid;
	unsigned uid;
	char service[64];
	uint64_t digest, started_us, stop_after_us;
};

struct takeover {
	uint64_t log_lost;              /* lines of the log, not told of yet */
	char proof[TAKEOVER_PROOF_MAX]; /* for a trial to say, once its workers are ready */
	char *pid_file;                 /* NULL: none */
	int64_t since;
	uint64_t
		services; /* a digest of the serving policy's: requests of its workers are only served where it is the same */
	int shared_fd, limits_fd, counters_fd, affinity_fd, backends_fd, live_fd;
	int resolver;                   /* a pid; 0: none */
	int resolver_channel, names_fd; /* -1: none */
	int control_fd, control_client; /* -1: none */
	char control_path[108];
	struct socket_file control_file;
	struct socket_held metrics; /* the exporter's; fd -1: none */
	int exporter, checker;      /* pids; 0: none */
	char forwarding_table[32];  /* of the kernel, for flows that it forwards; "": none */
	struct socket_held *sockets;
	struct takeover_worker *workers;
	struct takeover_child *children;
	struct takeover_program *programs;
	struct takeover_server *servers;
	char **names; /* of the table behind names_fd, in its order */
	size_t n_names;
	size_t n_sockets, n_workers, n_children, n_programs, n_servers;
};

/* A descriptor (close-on-exec), or -errno. */
int takeover_write(const struct takeover *takeover);

/* 0, or -EINVAL with a sentence in *ret_why. Free it in both cases. */
int takeover_read(int fd, struct takeover *ret, const char **ret_why);
void takeover_free(struct takeover *takeover);

/* Every descriptor that it names is kept by the next execve(), or not. */
void takeover_keep_fds(const struct takeover *takeover, bool keep);
