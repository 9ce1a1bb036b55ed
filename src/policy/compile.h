/* What the files of this room share while a policy is compiled. Nothing of it outlives policy_load(). */
#pragma once
#include "arena.h"
#include "index.h"
#include "policy.h"
#include "reader.h"

/* One rule, and where it applies. */
struct draft {
	struct rule rule;          /* where `starttls' is set: of the request for TLS */
	const uint32_t *listeners; /* none: on all */
	size_t n_listeners;
	bool implied;        /* the rule's protocols: none is named */
	bool broken;         /* complained about: not to be compiled, nor compared with others */
	unsigned transports; /* bits, 1 << enum transport_kind: what comes so can match it */
	unsigned starttls;   /* bits, 1 << enum starttls_kind: what TLS is asked for within; 0: none */
	struct rule hello;   /* then: of the ClientHello */
};

struct identity;

struct compiler {
	struct policy *policy;
	struct arena *arena; /* the policy's */
	struct reader *reader;
	const struct policy_options *options;

	struct index *listeners; /* by the address as written: places in policy->listeners */
	struct index *protocols;
	bool protocols_missing;  /* those of a module that was refused: no complaints about unknown ones */
	struct index *externals; /* of the protocols, those that only identifiers name */
	size_t protocols_room;   /* in policy->protocols, where names of identifiers were added; 0: it is full */
	struct index *services;
	struct index *names;

	const struct setting **listener_at; /* where each stands, for complaints; of services too */
	const struct setting **service_at;
	struct values *listener_values; /* of each; what names a service can be read once these are known */

	struct draft *drafts; /* on the heap, in order of services */
	size_t n_drafts;

	char *words; /* of a service's match, while they are put together; on the heap */
	size_t words_len, words_room;

	uint8_t *ports[TRANSPORT_COUNT]; /* a bit for each port that a listener has */
	struct address *local;           /* this machine's own addresses, once somebody asked */
	size_t n_local;
	bool local_known;

	struct index *identities; /* "user:group" that were looked up already */
	const struct identity **identity;
	size_t n_identities;

	unsigned n_hash_services;  /* with balance = "hash" */
	unsigned n_paced_services; /* with total_bandwidth */
};

#define compile_error(compiler, at, ...) reader_error((compiler)->reader, at, __VA_ARGS__)

/* Each takes its part of the configuration (NULL: absent) and fills its part of the policy. */
void listeners_compile(struct compiler *compiler, const struct setting *at);
void log_fields_compile(struct compiler *compiler, const struct setting *at); /* NULL: all */
void metrics_compile(struct compiler *compiler, const struct setting *at);    /* behind the listeners */
void protocols_compile(struct compiler *compiler, const struct setting *at);
/* A protocol without a name: all of its keys but that. */
void protocol_pattern_compile(struct compiler *compiler, struct protocol *protocol, const struct setting *at);
/* Hex digits; `key' is for complaints. False: complained. */
bool protocol_bytes(struct compiler *compiler, const struct setting *at, const char *key, struct literal *ret);
void identifiers_compile(struct compiler *compiler, const struct setting *at); /* behind the protocols */
void services_compile(struct compiler *compiler, const struct values *top);

/* How long a peer may leave bytes unacknowledged where connections may be idle for so long; 0: as the system has it. */
unsigned patience_ms(const struct policy *policy, uint64_t idle_us);
void match_compile(struct compiler *compiler, uint32_t service, const struct setting *at);
/* The address of a backend, as it stands there; NULL: there is none. */
const char *backend_text(const struct setting *at);
/* Whose name is in `connect' in place of backends; NAME_BY_FILE: nobody's. NULL: there is no `connect'. */
enum name_by client_names_by(const struct setting *connect);
void client_names_compile(struct compiler *compiler, uint32_t service, const struct values *values);
void client_names_check_absent(struct compiler *compiler, const struct values *values);
void backends_compile(struct compiler *compiler, uint32_t service, const struct values *values);
/* What is said of the health of backends: behind them. */
void check_compile(struct compiler *compiler, uint32_t service, const struct values *values);
/* False: the target is one of usher's own listeners, and it was complained of. `transports`: by which it is connected to. */
bool own_listener_check(
	struct compiler *compiler, unsigned transports, const struct setting *at, const struct address *target);
void delivery_compile(struct compiler *compiler, uint32_t service, const struct values *values);
/* usher carries its bytes. Behind delivery_compile(). */
bool service_is_relayed(const struct service *service);

/* How fast a service may relay; behind delivery_compile(). */
void bandwidth_compile(struct compiler *compiler, uint32_t service, const struct values *values);
void access_compile(struct compiler *compiler, uint32_t service, const struct values *values);
void program_compile(struct compiler *compiler, const struct values *values, struct program *ret);
/* The words of a program's command line, the first one as an absolute path (NULL: complained). `key` is for complaints. */
char *const *program_argv(struct compiler *compiler, const struct setting *at, const char *key);

/* Who runs a program: as `user` and `group` say. Without them the caller's choice stands. */
void program_identity(
	struct compiler *compiler, struct program *ret, const struct setting *user, const struct setting *group);
/* Or whoever the workers are. */
void program_unprivileged(const struct compiler *compiler, struct program *ret);
void identity_compile(struct compiler *compiler, const struct values *top);

/* The service that a key of `values` names; SERVICE_NONE where absent or unknown. */
uint32_t service_reference(struct compiler *compiler, const struct values *values, size_t key);

/* A name for people, logs and environments: 1 to 63 letters, digits, `.', `_', `-', `+'. Complains otherwise.
 */
bool name_check(struct compiler *compiler, const struct setting *at, const char *what);

/* Who a program is: looked up at once, by name or number. NULL: complained. */
struct identity {
	const char *user, *home, *shell;
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	size_t n_groups;
};
const struct identity *identity_find(
	struct compiler *compiler, const struct setting *user, const struct setting *group);

/* The number of one more protocol. */
uint32_t protocol_add(struct compiler *compiler, const struct protocol *protocol);
/* One more draft, behind all others: pointers to drafts end here. */
struct draft *draft_add(struct compiler *compiler, uint32_t service);

/* Where `starttls' is set: its drafts become those of requests for TLS. Behind match_compile(). Then, where all services are known, that its
 * clients come to none that expects others. */
void starttls_compile(struct compiler *compiler, uint32_t service, const struct values *values);
void starttls_check(struct compiler *compiler, const struct values *all);

/* By what its clients can come, from its match and its delivery; and that of its drafts. Behind match_compile(). */
void transports_compile(struct compiler *compiler, uint32_t service, const struct values *values);
/* Of services and listeners, what does not go with their transports. `all` are the values of the services. */
void transports_check(struct compiler *compiler, const struct values *all);

/* Of services whose flows the kernel forwards: one of their backends; and behind all that is compiled of services and listeners, what else
 * they need. `all` are the values of the services. */
void forwarding_backend_check(struct compiler *compiler, const struct backend *backend, const struct setting *at);
void forwarding_compile(struct compiler *compiler, const struct values *all);

/* On this listener. Of datagrams only those that its service takes, and that can match it. */
bool draft_applies(const struct compiler *compiler, const struct draft *draft, uint32_t listener);

/* From rules without an error. */
void deciders_compile(struct compiler *compiler);

/* Warns of what can never happen: services that an earlier one takes everything from. */
void overlap_warn(struct compiler *compiler);
void ambiguity_warn(struct compiler *compiler);
void waiting_warn(struct compiler *compiler); /* behind deciders_compile() */
