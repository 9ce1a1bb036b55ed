/* What is on usher's side of <usher/module.h>: shared by module.c, module_host.c and module_inspect.c, and by
 * no other file. */
#pragma once
#include "module.h"

struct module_host {
	struct usher_host api; /* what the module sees; first, so that one pointer is both */
	struct module_use *use;
	struct module_host *next; /* of all that live as long as the process */

	/* Taking a probe that passed all checks: 0, or -EEXIST. */
	int (*take)(struct module_host *host, const struct usher_probe *probe);
	void *context; /* for `take` */

	bool in_init;
	bool failed;                  /* something was wrong that init's value does not undo */
	char error[MODULE_ERROR_MAX]; /* why, or the last that was said; "" */
	size_t n_probes;
	char (*names)[USHER_NAME_MAX + 1]; /* registered so far, USHER_PROBES_MAX of room; during init only */

	uint64_t second; /* of the monotonic clock: the one in which `n_lines` were logged */
	unsigned n_lines, n_suppressed;
};

/* Of one use. 0 or -ENOMEM. */
int module_host_new(struct module_host **ret, struct module_use *use);
void module_host_free(struct module_host *host); /* accepts NULL; only where the module is gone too */

/* Loads the shared object and checks what it exports. 0 and its init; or -errno with a sentence in `error`.
 * */
typedef int module_init_function(struct usher_host *host);
int module_load(const char *path, module_init_function **ret_init, char *error, size_t size);

/* Runs init and sums up what it did. The value and the sentence are module_bind()'s. */
int module_host_init(struct module_host *host, module_init_function *init, char *error, size_t size);

/* Where the number of the running function is written (module_hooks.running, or a place of its own); never NULL. */
extern _Atomic uint32_t *module_running;

/* What attribute_set() does; the host has it in its table. */
int module_attribute_set(struct usher_findings *findings, unsigned attribute, const void *value, size_t len);
