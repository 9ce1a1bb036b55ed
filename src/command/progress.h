/* One line on standard error while something takes long, where that is a terminal; elsewhere nothing. It moves, and is erased at the end. */
#pragma once
#include <stddef.h>

/* From the second second on: "checking: 3 s". The caller goes on meanwhile; calls that wait are restarted (SA_RESTART), which poll() and its
 * like are not. */
void progress_begin(const char *doing);
void progress_end(void);

/* "123456 packets read": for who counts what is done, and makes no calls but write() for it once it has begun. */
void progress_count_begin(const char *counted); /* " packets read" */
void progress_count(size_t done);               /* 0: no more */
