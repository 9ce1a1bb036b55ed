/* The first word of a logger that was begun, for who has other things to do meanwhile. */
#pragma once
#include "logger.h"
#include "loop.h"

struct logger_wait {
	struct loop *loop;
	struct logger *logger; /* NULL: nothing is waited for */
	struct watch watch;
	struct timer patience;
	/* 0, it logs; or -errno, of which failure_text() says more: it was ended then, and the caller closes what there is. */
	void (*over)(struct logger_wait *wait, int error);
};

void logger_wait_init(struct logger_wait *wait, struct loop *loop, void (*over)(struct logger_wait *wait, int error));

/* 0, and `over` will be called; or -errno. */
int logger_wait_begin(struct logger_wait *wait, struct logger *logger);

/* `over` is not called any more. The logger is as it is. */
void logger_wait_cancel(struct logger_wait *wait);
