/* Usher's side of handovers to a receiver that the target plays. Every request ends once; what its receiver owns is never sent to
 * another, nor taken back; what was taken back cannot be owned any more. No descriptor is left. */
#pragma once
#include "fuzz.h"
#include "handover.h"
#include <sys/socket.h>
#include <sys/un.h>

#define JOBS_MAX 200

enum fate { OPEN, CANCELLED, DONE, FAILED, BROKEN, TAKEN_BACK, LEFT };

struct job {
	struct handover_request request;
	struct facts facts;
	enum fate fate;
	bool owned; /* by a receiver that has said so */
};

extern struct sockaddr_un address; /* of the receiver */
extern struct job jobs[JOBS_MAX];  /* by id - 1 */
extern size_t n_jobs;
extern unsigned mischief; /* what a request that ends does to the others */
extern uint64_t now_us;   /* 0: the real time */

void jobs_begin(void);
void jobs_settle(void); /* while the receiver's descriptors are open still */
void jobs_end(void);    /* when they are closed */

void job_send(void);
void job_cancel(struct job *job);
void job_own(uint64_t id);
void turn(void);
