/* Identifier modules: shared objects that register probes of their own. <usher/module.h> is what they see of
 * us.
 *
 * A module is looked at in a process of its own when a configuration is compiled (module_inspect()), so that
 * the policy knows its probes and the compiling process never runs its code; and is loaded for good in a
 * worker (module_bind()). In between nothing of it is in memory. */
#pragma once
#include "arena.h"
#include "evidence.h"
#include <sys/types.h>
#include <usher/module.h>

#define MODULE_INIT_LIMIT_MS 5000
#define MODULE_ANSWERS       1024 /* that a worker remembers, to hold probes to them */
#define MODULE_ERROR_MAX     1024 /* bytes of an error's text that are enough */

enum module_type { MODULE_STRING, MODULE_WHOLE, MODULE_REAL, MODULE_BOOL };

struct module_value {
	enum module_type type;
	const char *text;
	int64_t whole; /* of MODULE_WHOLE; 0 or 1 of MODULE_BOOL */
	double real;   /* of MODULE_REAL, and of MODULE_WHOLE too */
};

/* A key of the module's own, from its group in `identifiers`. */
struct module_setting {
	const char *key;
	const struct module_value *values;
	size_t n_values;
	bool asked; /* by its init */
};

struct module_probe {
	const char *name;
	int priority;
	unsigned attributes; /* bit set of 1 << enum attribute, which are the USHER_SETS_* */
	uint32_t number;     /* of its protocol in the policy: for module_hooks.running */

	/* In the process that called module_bind(); NULL elsewhere. */
	struct module_host *host;
	usher_probe_function *run;
	void *context;
};

/* One entry of `identifiers`. The pointers are the caller's. */
struct module_use {
	const char *path;
	struct module_setting *settings;
	size_t n_settings;
	struct module_probe *probes; /* in the order of their registration */
	size_t n_probes;
};

struct module_inspection {
	bool drop_identity; /* become uid, gid; privileges are dropped in any case */
	uid_t uid;
	gid_t gid;
	unsigned limit_ms;                                 /* of loading and init together; 0: MODULE_INIT_LIMIT_MS */
	bool (*is_taken)(void *context, const char *name); /* a name that no module may have; NULL: none */
	void *context;
};

/* Loads the module and runs its init in a child process that ends then, and fills the use's probes (in the
 * arena) and which settings were asked for. Takes as long as that, and no longer than the limit. 0, or -errno
 * with a sentence for people: nothing was filled in then. A crash, an exit and a hang in the module are
 * errors like others. The caller has one thread.
 *
 * As root it refuses a file that somebody else could have written: the file and the folders above it must be
 * root's, and writable for nobody else, save folders with the sticky bit. */
int module_inspect(
	struct module_use *use, const struct module_inspection *how, struct arena *arena, char *error, size_t size);

/* Loads every module into this process, runs its init and fills in what is needed to run the probes. To be
 * called once a process, without privileges, before the sandbox closes. The uses and their settings must live
 * as long as the process. 0, or -errno with a sentence for people: the process is of no use then, as there is
 * no unloading. */
int module_bind(struct module_use *modules, size_t n, char *error, size_t size);

/* Asks a bound probe, or tells what it said before of the same connection (by the evidence's serial); NO of
 * one that is not bound. The evidence has bytes. The findings were reset for this evidence. Values that the
 * probe sets are added to the findings where it says YES; `settled` is left to the built-in probes, so an
 * attribute is settled only when the built-in probe says so and no module's probe that may set it says MORE.
 * */
enum verdict module_probe_run(
	const struct module_probe *probe, const struct evidence *evidence, struct findings *findings);

/* Is the text a probe's name as the ABI demands it? */
bool module_name_is_valid(const char *name);

/* What the process that loads modules does for this room. To be set before module_bind(). */
struct module_hooks {
	/* A line of a module's, rate-limited already; NULL: they are dropped. */
	void (*log)(const char *path, enum usher_level level, const char *text);
	/* Shared with whoever sees this process die: which of a module's functions is running. NULL: nobody
	 * looks. */
	_Atomic uint32_t *running;
};
void module_set_hooks(const struct module_hooks *hooks);

/* The value of `running`: 0, a module's place with MODULE_IN_INIT, or a probe's number + 1. */
#define MODULE_IN_INIT 0x80000000U
