/* Identifier modules: shared objects that teach usher protocols which it does not know by itself.
 *
 * A module registers probes. A probe has a name, which services use in `match` like a built-in one's, and a
 * function that looks at the first bytes that a client sent and says YES, NO or MORE. A whole module:
 *
 *     #include <string.h>
 *     #include <usher/module.h>
 *
 *     USHER_MODULE;
 *
 *     static enum usher_verdict hello(
 *             void *context, const struct usher_evidence *evidence, struct usher_findings *findings)
 *     {
 *         size_t len = evidence->len < 6 ? evidence->len : 6;
 *         if (memcmp(evidence->bytes, "HELLO ", len) != 0)
 *             return USHER_NO;
 *         return len < 6 ? USHER_MORE : USHER_YES;
 *     }
 *
 *     int usher_module_init(struct usher_host *host)
 *     {
 *         return host->probe_add(host, &(struct usher_probe){ .name = "hello", .run = hello });
 *     }
 *
 * built with `cc -shared -fPIC -o hello.so hello.c` and named in the configuration:
 *
 *     identifiers = ( { module = "/usr/lib/usher/modules/hello.so"; } );
 *     services = ( { name = "greeter"; match = "hello"; connect = "127.0.0.1:7000"; } );
 *
 * ## What a module exports
 *
 * `usher_module_abi`, by the line USHER_MODULE, and `usher_module_init`. Nothing else is looked for. A module
 * that was built for another number than the running usher's USHER_MODULE_ABI is refused: the number changes
 * with everything in this file that is not a comment.
 *
 * ## Processes, threads, time
 *
 * usher_module_init() is called once for each entry of `identifiers` that names the module: in every worker,
 * before it takes its first connection, and in a process of its own whenever the configuration is read, so
 * that `usher check` can say which probes there are. Both have the workers' user, no privileges and nothing
 * to give away; the second one ends after the call, and is killed after 5 seconds. Both calls must register
 * the same probes.
 *
 * A worker is one thread that serves thousands of connections, and a probe runs in it. So a probe must not
 * wait for anything, nor take long: microseconds. After init a module must not open files or sockets, nor make any
 * other system call than those of malloc() and clock_gettime(): the sandbox ends the worker for it, and the log names
 * the call and the probe. At no time may a module start processes or threads, change signal
 * handlers, signal masks or the working directory, write to descriptors that it did not open, or end the
 * process. A probe that crashes takes the worker's connections with it: the worker is replaced and the log
 * names the probe.
 *
 * A module is never unloaded: what init allocated lives as long as the process.
 *
 * ## Verdicts
 *
 * A probe is a function of the bytes and nothing else: not of earlier calls, nor of time. And it is monotone:
 * where it says YES or NO of some bytes it says the same of everything that begins with them. From that
 * follows that a client's connection goes to the same service however the network cut its bytes. A probe that
 * cannot decide says MORE, and says NO as soon as no continuation of the bytes could make it say YES, because
 * a MORE holds back every service that is listed behind.
 *
 * usher makes sure of the following, whatever a module does. A probe is asked only of evidence with at least
 * one byte, only where its answer can change the outcome, and at most once for each state of the evidence. An
 * answer that is none of the three counts as NO. So does MORE once USHER_EVIDENCE_MAX bytes are there or
 * `decide_timeout` is over, and always of a datagram: over UDP, a probe is given the first one of a flow, whole. After a NO the probe is not asked about that connection again; after a YES,
 * anything else that it says about the same connection counts as YES without attributes, and is logged. A
 * worker remembers the last 1024 such answers, so that this holds for all but very many connections at a time
 * that send their first bytes in pieces. Once a service is chosen no probe is asked again. What usher cannot
 * do is make a probe answer the same when the same bytes come in other pieces: a probe that is not monotone
 * breaks the promise above, for the services that name it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define USHER_MODULE_ABI 1

#define USHER_EVIDENCE_MAX 32768 /* bytes of a connection that are looked at */
#define USHER_PROBES_MAX   1024  /* of one module */
#define USHER_NAME_MAX     63    /* bytes of a probe's name */

enum usher_verdict { USHER_NO, USHER_MORE, USHER_YES };

/* What is known of a connection. Valid during the call. */
struct usher_evidence {
	/* Grows with every state of evidence that is judged, and is never 0. Probes that are asked about the
	 * same state are given the same number, so that a module that finds out many names at once does the
	 * work for the first. */
	uint64_t serial;
	const uint8_t *bytes; /* from the very first one that the client sent; there is no NUL behind them */
	size_t len;           /* 1..USHER_EVIDENCE_MAX */
};

/* Attributes that a probe may set, as a set of bits. */
#define USHER_SETS_SNI  0x1u
#define USHER_SETS_ALPN 0x2u
#define USHER_SETS_HOST 0x4u

#define USHER_VALUES_MAX 16 /* of one attribute; later ones are refused */

struct usher_findings;

typedef enum usher_verdict usher_probe_function(
	void *context, const struct usher_evidence *evidence, struct usher_findings *findings);

struct usher_probe {
	const char *name;    /* 1..USHER_NAME_MAX of letters, digits, '.', '_', '+', '-' */
	int priority;        /* where several say YES the lowest one's name is reported, of equals the first one's */
	unsigned attributes; /* USHER_SETS_* that it may set */
	usher_probe_function *run;
	void *context; /* handed to `run`; the module's */
};

enum usher_level { USHER_ERROR, USHER_WARNING, USHER_NOTICE, USHER_INFO, USHER_DEBUG };

/* What usher does for a module. One for each entry of `identifiers`; valid as long as the process. Functions
 * return 0 or a negated errno. */
struct usher_host {
	unsigned abi; /* usher's USHER_MODULE_ABI: the module's own, or it would not have been loaded */

	/* In init only. Copies everything but what `context` points to. -EEXIST: the name is built in, the
	 * configuration's own or another module's. A module may do without this probe; one that cannot
	 * returns the error from init. -EINVAL: the name is malformed or was registered by this module
	 * before, `run` is missing or an attribute unknown. -E2BIG: one more than USHER_PROBES_MAX. After
	 * these two the module is refused whatever init returns. */
	int (*probe_add)(struct usher_host *host, const struct usher_probe *probe);

	/* The other keys of the module's group in `identifiers`. In init only. A key is a string, a number,
	 * true or false, or a list of these; `setting_count` says how many, 0 for one that is not there.
	 * `place` counts from 0. 0 and a value; -ENOENT, with *ret as it was: there is none at that place.
	 * -EINVAL: a value of another type or out of range, for which usher refuses the module with a message
	 * of its own, whatever init returns. A key that is there and that init did not ask for is an error of
	 * the configuration. Strings live as long as the host. */
	size_t (*setting_count)(struct usher_host *host, const char *key);
	int (*setting_string)(struct usher_host *host, const char *key, size_t place, const char **ret);
	int (*setting_whole)(
		struct usher_host *host, const char *key, size_t place, int64_t least, int64_t most, int64_t *ret);
	int (*setting_real)(
		struct usher_host *host, const char *key, size_t place, double least, double most, double *ret);
	int (*setting_bool)(struct usher_host *host, const char *key, size_t place, bool *ret);

	/* A line in usher's log, of at most 512 bytes, escaped. At most 10 a second are written, those left
	 * out are counted. In init the last USHER_ERROR says why init failed; of an inspected configuration
	 * nothing else is shown. */
	void (*log)(struct usher_host *host, enum usher_level level, const char *format, ...)
		__attribute__((format(printf, 3, 4)));

	/* In a probe only: one value of one attribute that the probe was registered with, copied. Counts only
	 * if the probe says YES, and then for good. A server name or host (USHER_SETS_SNI, USHER_SETS_HOST)
	 * is 1 to 255 bytes of letters, digits, '.', '_' and '-', a host also an IPv6 address in brackets or
	 * followed by a port; it is kept in lower case, without the port and one dot at the end. A protocol
	 * of USHER_SETS_ALPN is 1 to 255 bytes of any kind. -EPERM: not an attribute of this probe's.
	 * -EINVAL: not such a value. -ENOSPC: more than USHER_VALUES_MAX, or than there is room for. */
	int (*attribute_set)(struct usher_findings *findings, unsigned attribute, const void *value, size_t len);
};

/* What the module exports. Init returns 0, or a negated errno: the configuration is refused then. It is
 * refused too where no probe was registered. */
extern const unsigned usher_module_abi;
int usher_module_init(struct usher_host *host);

#define USHER_MODULE const unsigned usher_module_abi = USHER_MODULE_ABI

#ifdef __cplusplus
}
#endif
