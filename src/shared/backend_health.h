/* Whether a backend takes connections, as the clients of all workers have found: one word in shared memory, which any worker changes by
 * compare-and-swap.
 *
 *	up     -- a client's connection failed -----------------> down, for a back-off of 1 s, doubling up to 60 s
 *	down   -- the back-off is over, a client comes ---------> on trial: that client alone is sent there, others as if it was down
 *	trial  -- the connection failed ------------------------> down, for twice as long
 *	any    -- a connection was made ------------------------> up
 *	any    -- checks failed --------------------------------> checked: down until checks pass, whatever clients find
 *	any    -- checks passed --------------------------------> up
 *
 * The checker renews what it has found to be down as long as it lives: BACKEND_CHECKED_US after the last time a client is the trial.
 *
 * The back-off begins where it was when the backend fails again within a minute. A trial whose worker is gone, or that takes longer than
 * it may, is over. A word that says what no back-off could is due for a trial: a worker that was taken over may write any. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BACKEND_BACK_OFF_US      1000000
#define BACKEND_BACK_OFF_MOST_US 60000000
#define BACKEND_RESETS_MAX       3 /* in a row, without a byte: then it is down */
#define BACKEND_CHECKED_US       60000000

enum backend_health { BACKEND_UP, BACKEND_DUE, BACKEND_DOWN };

enum backend_health backend_health_look(const _Atomic uint64_t *word, uint64_t now_us);

/* One that is due: true where this client, of the worker that has the slot, is its trial. */
bool backend_health_try(_Atomic uint64_t *word, unsigned slot, uint64_t now_us);
/* The trial ended without a result: its client has left. */
void backend_health_give_up(_Atomic uint64_t *word, unsigned slot, uint64_t now_us);

/* A connection to it was made, or failed. True: it is up, or down, with this, and was not before. */
bool backend_health_worked(_Atomic uint64_t *word, uint64_t now_us);
bool backend_health_failed(_Atomic uint64_t *word, unsigned slot, bool is_trial, uint64_t now_us);

/* A connection was reset before a byte came back, or bytes came. True as above. */
bool backend_health_reset(_Atomic uint64_t *word, uint64_t now_us);
void backend_health_spoke(_Atomic uint64_t *word);

/* The master's: it is up, whatever clients have found; the worker that had the slot is gone, and its trial with it. */
void backend_health_clear(_Atomic uint64_t *word);
void backend_health_forget(_Atomic uint64_t *word, unsigned slot, uint64_t now_us);

/* The checker's: checks of it failed, or passed. True: it is down, or up, with this, and was not before. */
bool backend_health_check_failed(_Atomic uint64_t *word, uint64_t now_us);
bool backend_health_check_passed(_Atomic uint64_t *word, uint64_t now_us);
void backend_health_check_renew(_Atomic uint64_t *word, uint64_t now_us); /* where it is down by checks */
bool backend_health_is_checked(const _Atomic uint64_t *word);             /* it is down by checks */

/* For how long it has been up, since it was down; UINT64_MAX: it is not up, or always was. */
uint64_t backend_health_up_us(const _Atomic uint64_t *word, uint64_t now_us);
