/* What a child process that looked at a module tells its parent, as bytes on a pipe:
 *
 *     'L'   it begins to load the module
 *     'I'   it begins its init
 *     'R'   a struct report_head, its probes, one byte for each setting: was it asked for?
 *
 * The module runs in the process that writes this, so the reader believes none of it. */
#pragma once
#include "module.h"

#define REPORT_LOADING 'L'
#define REPORT_INIT    'I'
#define REPORT_DONE    'R'

struct report_head {
	int32_t error; /* 0, or -errno with a sentence */
	uint32_t n_probes;
	uint32_t n_settings;
	char sentence[MODULE_ERROR_MAX];
};

struct report_probe {
	char name[USHER_NAME_MAX + 1];
	int32_t priority;
	uint32_t attributes;
};

#define REPORT_SETTINGS_MAX 4096
#define REPORT_MAX                                                                                                   \
	(3 + sizeof(struct report_head) + USHER_PROBES_MAX * sizeof(struct report_probe) + REPORT_SETTINGS_MAX)

struct report {
	char phase; /* the last letter; 0: none came */
	struct report_head head;
	const uint8_t *probes; /* head.n_probes of struct report_probe, unaligned */
	const uint8_t *asked;  /* head.n_settings of 0 or 1 */
};

/* 0: whole, and everything in it is what it should be. -EAGAIN: so far so good, `phase` is known. -EBADMSG:
 * it is not. */
int report_parse(const uint8_t *bytes, size_t len, struct report *ret);
void report_probe_read(const struct report *report, size_t i, struct report_probe *ret);
